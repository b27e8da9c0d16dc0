"""Banned sources in the database: what the gateways share and what `hushwire bans` shows. Their addresses stand sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import uuid7
from hushwire.core.personal import Personal
from hushwire.store import bans as rows
from hushwire.store.database import Database
from hushwire.vault.keyring import DeploymentKeys, Keyring

_PLACE: Final = {"table": "bans", "column": "source_sealed"}
_NO_ORG: Final = UUID(int=0)


class Why(StrEnum):
    """What a source was banned for."""

    GUESSING = "guessing"
    SCANNING = "scanning"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Ban:
    """One ban; `source` is an address or network in its canonical form (transport/sources.py)."""

    source: Personal[str]
    why: Why
    created_at: datetime
    expires_at: datetime


@dataclass(slots=True)
class Bans:
    """The rows, opened. `known` are bans that were read already: a row never changes its source."""

    db: Database
    keyring: Keyring
    clock: Clock
    random: Random
    known: dict[UUID, Ban] = field(default_factory=dict)

    async def put(self, source: str, why: Why, lasts: timedelta) -> None:
        """Ban a source; one that is banned already stays so until the later end."""
        keys, now = await self.keyring.deployment(), self.clock.now()
        id_ = uuid7(int(now.timestamp() * 1000), self.random.token_bytes(10))
        sealed = keys.operational.seal(source.encode(), row=id_, org=_NO_ORG, **_PLACE)
        async with self.db.transaction() as connection:
            await rows.put(connection, rows.BanRow(id_, keys.source(source), sealed, why.value, now, now + lasts))

    async def remove(self, sources: Sequence[str]) -> int:
        """End bans; how many there were."""
        keys = await self.keyring.deployment()
        async with self.db.transaction() as connection:
            return await rows.remove(connection, [keys.source(source) for source in sources])

    async def standing(self) -> list[Ban]:
        """All bans of now, oldest first; those that are over are deleted."""
        now = self.clock.now()
        keys = await self.keyring.deployment()
        async with self.db.transaction() as connection:
            await rows.remove_ended(connection, now)
            ends = await rows.ends(connection, now)
            new = await rows.read(connection, [id_ for id_, at in ends.items() if not self._is_known(id_, at)])
        self.known = {id_: ban for id_, ban in self.known.items() if id_ in ends} | {row.id: _opened(row, keys) for row in new}
        return sorted(self.known.values(), key=lambda ban: ban.created_at)

    def _is_known(self, id_: UUID, expires_at: datetime) -> bool:
        ban = self.known.get(id_)
        return ban is not None and ban.expires_at == expires_at


def _opened(row: rows.BanRow, keys: DeploymentKeys) -> Ban:
    source = keys.operational.open(row.source_sealed, row=row.id, org=_NO_ORG, **_PLACE).decode()
    return Ban(Personal(source), Why(row.reason), row.created_at, row.expires_at)
