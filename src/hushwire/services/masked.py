"""Masked sessions as calls meet them: in memory, by proxy number and by who calls it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.services.phone_numbers import REMOTE
from hushwire.store.masking import PartyRow
from hushwire.vault.keyring import OrgKeys


@dataclass(frozen=True, slots=True)
class Masked:
    """The session that a call to a proxy number belongs to, and the number of the other party."""

    session_id: UUID
    agent_id: AgentId
    other: Personal[str]


@dataclass(frozen=True, slots=True)
class MaskedSessions:
    """One organisation's sessions as of a version of them. Numbers stay sealed until a call needs one."""

    version: int = 0
    other_of: Mapping[tuple[UUID, bytes], PartyRow] = field(default_factory=dict, repr=False)
    """By proxy number and blind index of the caller: the party that is not the caller."""

    def find(self, keys: OrgKeys, number_id: UUID, caller: str, now: datetime) -> Masked | None:
        """Whom a caller of a proxy number means; None where no session of theirs goes on."""
        row = self.other_of.get((number_id, keys.index(REMOTE, caller)))
        if row is None or row.expires_at <= now:
            return None
        place = {"table": "masking_parties", "column": "number_sealed"}
        other = keys.operational.open(row.number_sealed, row=row.id, org=keys.org_id, **place)
        return Masked(row.session_id, row.agent_id, Personal(other.decode()))


NO_SESSIONS: Final = MaskedSessions()


def masked_sessions(version: int, rows: Iterable[PartyRow]) -> MaskedSessions:
    """The sessions that these parties make."""
    by_session: dict[UUID, list[PartyRow]] = {}
    for row in rows:
        by_session.setdefault(row.session_id, []).append(row)
    pairs = (pair for pair in by_session.values() if len(pair) == 2)
    return MaskedSessions(
        version,
        {(one.number_id, one.remote_index): other for pair in pairs for one, other in (pair, pair[::-1])},
    )
