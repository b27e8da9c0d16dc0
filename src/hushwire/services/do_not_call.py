"""The do-not-call set of an organisation: numbers that its telemarketing must not reach, kept as keyed indexes only.

The set outlives the erasure of everything else about a number, since it is what keeps the person from being called again; nobody can
read the number out of it. It ends with the organisation's index key. Gateways hold it in memory (services/verdicts.py asks it).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import audit
from hushwire.privacy.audit import Action
from hushwire.services.phone_numbers import canonical, dialling
from hushwire.services.verdicts import INDEX
from hushwire.store import do_not_call as table
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring, OrgKeys

AT_ONCE: Final = 10_000
MOST: Final = 1_000_000
"""Entries of one organisation: gateways hold them in memory, about 120 bytes each."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many numbers are listed, and when the newest was."""

    count: int
    newest_at: datetime | None


@dataclass(frozen=True, slots=True)
class Changed:
    """How many entries came or went, and how many are listed now."""

    changed: int
    count: int


@dataclass(frozen=True, slots=True)
class NoNumbers:
    """Nothing was changed: at these positions, from 0, stands no number."""

    positions: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TooMany:
    """Nothing was changed: the set would grow beyond `MOST`."""


class DoNotCall:
    """One organisation's set at a time."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock

    async def add(self, org_id: OrgId, typed: Sequence[str], *, actor: str) -> Changed | NoNumbers | TooMany:
        """List all of these or none. Safe to repeat. The next call obeys."""
        indexes = await self._indexes(org_id, typed)
        if isinstance(indexes, NoNumbers):
            return indexes
        async with self._main.organisation(org_id) as connection:
            await table.lock(connection)
            now = self._clock.now()
            before, _ = await table.size(connection)
            if before + len(indexes) > MOST and before + await table.missing(connection, indexes) > MOST:
                return TooMany()
            added = await table.add(connection, org_id, indexes, now, actor)
            if added:
                await audit.append(connection, org_id, now, actor, Action.DO_NOT_CALL_CHANGED, f"organisation:{org_id}", {"added": added})
            return Changed(added, before + added)

    async def remove(self, org_id: OrgId, typed: Sequence[str], *, actor: str) -> Changed | NoNumbers:
        """List these no more. Safe to repeat."""
        indexes = await self._indexes(org_id, typed)
        if isinstance(indexes, NoNumbers):
            return indexes
        async with self._main.organisation(org_id) as connection:
            await table.lock(connection)
            removed = await table.remove(connection, indexes)
            if removed:
                now = self._clock.now()
                await audit.append(
                    connection, org_id, now, actor, Action.DO_NOT_CALL_CHANGED, f"organisation:{org_id}", {"removed": removed}
                )
            count, _ = await table.size(connection)
            return Changed(removed, count)

    async def is_listed(self, org_id: OrgId, typed: str) -> bool | None:
        """Whether this number is listed; None for what is no number."""
        indexes = await self._indexes(org_id, [typed])
        if isinstance(indexes, NoNumbers):
            return None
        async with self._main.organisation(org_id) as connection:
            return await table.has(connection, indexes[0])

    async def size(self, org_id: OrgId) -> Size:
        """How many are listed."""
        async with self._main.organisation(org_id) as connection:
            return Size(*await table.size(connection))

    async def _indexes(self, org_id: OrgId, typed: Sequence[str]) -> list[bytes] | NoNumbers:
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            home, prefix = await dialling(connection)
        return await asyncio.to_thread(_indexed, keys, typed, home, prefix)


def _indexed(keys: OrgKeys, typed: Sequence[str], home: str, prefix: str | None) -> list[bytes] | NoNumbers:
    """Reading numbers takes about 50 us each: not for the event loop."""
    numbers = [canonical(text, home, prefix) for text in typed]
    wrong = tuple(position for position, number in enumerate(numbers) if number is None)
    if wrong:
        return NoNumbers(wrong)
    return [keys.index(INDEX, number) for number in dict.fromkeys(numbers) if number is not None]
