"""The credentials of one organisation's devices in memory, as of a version of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

from hushwire.core.ids import AgentId
from hushwire.services.snapshot import Credential
from hushwire.services.snapshot_opening import opened
from hushwire.store.directory import DeviceRow
from hushwire.vault.keyring import OrgKeys


@dataclass(frozen=True, slots=True)
class _Opened:
    """A device's credential, and the sealed form that it was opened from."""

    login: str
    ha1_sealed: bytes
    credential: Credential


@dataclass(frozen=True, slots=True)
class DeviceCredentials:
    """Those that were handed out and not revoked; expired ones among them."""

    version: int = -1
    by_id: Mapping[UUID, _Opened] = field(default_factory=dict)
    by_login: Mapping[str, Credential] = field(default_factory=dict)

    def of(self, agent_id: AgentId, credential_id: UUID) -> Credential | None:
        """The agent's credential with this id; None where it is none of the agent's."""
        found = self.by_id.get(credential_id)
        return None if found is None or found.credential.agent_id != agent_id else found.credential

    def read_anew(self, version: int, keys: OrgKeys, rows: Iterable[DeviceRow]) -> Self:
        """What the rows of this version say; those that are known already are not opened again."""
        by_id: dict[UUID, _Opened] = {}
        for row in rows:
            known = self.by_id.get(row.id)
            if known is None or known.ha1_sealed != row.ha1_sealed:
                ha1 = json.loads(opened(keys, row.ha1_sealed, "devices", "ha1_sealed", row.id))
                known = _Opened(row.login, row.ha1_sealed, Credential(row.id, row.agent_id, ha1, row.expires_at))
            by_id[row.id] = known
        return type(self)(version, by_id, {one.login: one.credential for one in by_id.values()})


NO_DEVICES: Final = DeviceCredentials()
