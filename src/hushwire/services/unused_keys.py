"""Keys that a gateway had made ready and never used, because it died: destroyed once they can't be wanted any more.

A living gateway hands no key out that is older than `pool.KEPT_FOR`. So a key of a call or recording that is much older than that, and
that no row knows, is nobody's: its gateway is gone, or dropped it. Clocks may jump, so a key is looked at twice, as far apart by this
machine's monotonic clock as a pool keeps keys. A node that is known and dead may have call records in its journal that name their keys:
while there is one, keys wait longer.
"""

from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.store import calls, expiry, nodes
from hushwire.store.database import Database
from hushwire.vault import pool
from hushwire.vault.buckets import KeyKind
from hushwire.vault.keyring import Keyring

OLD_AFTER: Final = timedelta(days=7)
OLD_AFTER_WITH_DEAD_NODES: Final = timedelta(days=30)
LOOKED_AT_TWICE_WITHIN_S: Final = pool.KEPT_FOR.total_seconds() + 3600
_DEAD_AFTER: Final = timedelta(minutes=10)
_PAGE: Final = 1000
_KINDS: Final[tuple[KeyKind, ...]] = ("recording", "call", "message")
"""Those that are made ahead, or before a row that may turn out not to be wanted. Every other key is made for the row that follows it."""
_log = structlog.get_logger(__name__)


class UnusedKeys:
    """One worker's look; two workers at once do no harm."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._first_seen: dict[UUID, float] = {}

    async def sweep(self) -> int:
        """One round over every organisation; returns how many keys were destroyed."""
        async with self._main.transaction() as connection:
            organisations = await expiry.organisations(connection)
            old_after = OLD_AFTER_WITH_DEAD_NODES if await nodes.count_dead(connection, _DEAD_AFTER) else OLD_AFTER
        found: dict[UUID, float] = {}

        async def sweep(org_id: OrgId) -> int:
            return sum([await self._sweep(org_id, kind, old_after, found) for kind in _KINDS])

        try:
            return await for_each(organisations, sweep, "unused-keys")
        finally:
            self._first_seen = found

    async def _sweep(self, org_id: OrgId, kind: KeyKind, old_after: timedelta, found: dict[UUID, float]) -> int:
        after, destroyed, now = UUID(int=0), 0, self._clock.monotonic()
        while page := await self._keyring.keys_older_than(org_id, kind, old_after, after=after, limit=_PAGE):
            after = page[-1]
            async with self._main.organisation(org_id) as connection:
                used = await calls.keys_in_use(connection, kind, page)
            due = []
            for key_id in page:
                if key_id not in used:
                    first = self._first_seen.get(key_id, now)
                    if now - first >= LOOKED_AT_TWICE_WITHIN_S:
                        due.append(key_id)
                    else:
                        found[key_id] = first
            if due:
                gone = await self._keyring.destroy_data_keys(org_id, kind, due)
                destroyed += len(gone)
                _log.info("vault.unused_keys_destroyed", org_id=str(org_id), kind=kind, keys=len(gone))
        return destroyed
