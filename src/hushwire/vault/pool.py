"""Keys that are ready before a call needs them: already committed to the keyring, taken without waiting.

A key's id is made here, and becomes the id of the recording or call that it seals.
"""

import asyncio
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable, Unavailable
from hushwire.core.ids import OrgId
from hushwire.store.ids import new_id
from hushwire.vault.buckets import DataKey, KeyKind
from hushwire.vault.custody import HELD_KINDS
from hushwire.vault.keyring import Keyring

_RETRY_FIRST_S: Final = 0.1
_RETRY_MOST_S: Final = 5.0
_PORTION: Final = 16
KEPT_FOR: Final = timedelta(hours=6)
"""Longer no key is held ready: what nobody used by then may be swept (`services/unused_keys.py`)."""
_Slot = tuple[OrgId, KeyKind]
_log = structlog.get_logger(__name__)


class KeyPool:
    """Ready keys for each organisation and kind that was asked for, refilled behind the back of who takes them.

    A slot holds up to `size` keys, and doubles up to `most` each time that it was found empty: keys made together cost a third of
    keys made one by one.
    """

    def __init__(self, keyring: Keyring, clock: Clock, random: Random, size: int = 8, most: int = 64) -> None:
        if size < 1:
            raise ValueError("a pool holds at least one key")
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._size = size
        self._most = max(size, most)
        self._sizes: dict[_Slot, int] = {}
        self._ready: dict[_Slot, deque[DataKey]] = {}
        self._custody: dict[OrgId, int] = {}
        self._refilling: set[_Slot] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, org_id: OrgId, kind: KeyKind) -> DataKey | None:
        """A committed key, or None if none is ready at this moment; either way more are made. Call it on the running loop."""
        slot = (org_id, kind)
        ready = self._ready.setdefault(slot, deque())
        taken = ready.popleft() if ready else None
        while taken is not None and not self.is_good(org_id, taken):
            taken = ready.popleft() if ready else None
        if taken is None and slot in self._sizes:
            self._sizes[slot] = min(2 * self._sizes[slot], self._most)
        # Below half: so a busy organisation costs one transaction for several keys.
        if len(ready) <= self._sizes.setdefault(slot, self._size) // 2:
            self._start_refill(slot)
        return taken

    def follow(self, org_id: OrgId, custody_version: int) -> None:
        """Keys that were sealed under an older custody of the organisation are of no use any more: they are not handed out."""
        self._custody[org_id] = max(custody_version, self._custody.get(org_id, 0))

    def drop(self, org_id: OrgId) -> None:
        """Forget the ready keys that a customer may hold: one of them was refused."""
        for kind in HELD_KINDS:
            self._ready.setdefault((org_id, kind), deque()).clear()

    def is_good(self, org_id: OrgId, data_key: DataKey) -> bool:
        """Whether the key is young, and sealed as the organisation wants it now, as far as is known here, to recipients that have not
        expired.
        """
        made_at = datetime.fromtimestamp((data_key.id.int >> 80) / 1000, UTC)  # ids are made here, of version 7
        if not abs(self._clock.now() - made_at) < KEPT_FOR:
            return False
        if data_key.kind not in HELD_KINDS:
            return True
        is_current = data_key.custody_version >= self._custody.get(org_id, 0)
        return is_current and (data_key.good_until is None or data_key.good_until > self._clock.now())

    async def prepare(self, org_id: OrgId, kind: KeyKind) -> None:
        """Fill up now. Raises Unavailable if the keyring is away, KeyUnavailable if the organisation has no bucket."""
        await self._fill((org_id, kind))

    async def take_or_make(self, org_id: OrgId, kind: KeyKind) -> DataKey:
        """`take`, or else one made at once. Raises as `prepare` does."""
        return self.take(org_id, kind) or await self._keyring.new_data_key(org_id, kind, self._new_id())

    def ready(self, org_id: OrgId, kind: KeyKind) -> int:
        """How many keys could be taken without waiting."""
        return sum(self.is_good(org_id, data_key) for data_key in self._ready.get((org_id, kind), ()))

    async def close(self) -> list[tuple[OrgId, DataKey]]:
        """Stop refilling, and hand back the keys that were never used, for whoever may destroy them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        unused = [(org_id, data_key) for (org_id, _), ready in self._ready.items() for data_key in ready]
        self._ready.clear()
        return unused

    def _start_refill(self, slot: _Slot) -> None:
        if slot in self._refilling:
            return
        self._refilling.add(slot)
        task = asyncio.create_task(self._refill(slot), name="vault-key-pool")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _refill(self, slot: _Slot) -> None:
        """Fill the slot; while the keyring is away, try again ever more slowly."""
        delay_s = _RETRY_FIRST_S
        try:
            while True:
                try:
                    await self._fill(slot)
                    return
                except Unavailable:
                    _log.warning("vault.pool_waits_for_keyring", org_id=str(slot[0]), kind=slot[1])
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, _RETRY_MOST_S)
                except KeyUnavailable as error:
                    # No bucket, no recording: the next `take` asks again.
                    _log.error("vault.pool_not_filled", org_id=str(slot[0]), kind=slot[1], reason=str(error))
                    return
        finally:
            self._refilling.discard(slot)

    async def _fill(self, slot: _Slot) -> None:
        org_id, kind = slot
        ready = self._ready.setdefault(slot, deque())
        for _ in range(len(ready)):
            if self.is_good(org_id, data_key := ready.popleft()):
                ready.append(data_key)
        # In portions: making a key keeps the loop that carries calls busy for some 0.1 ms.
        while (wanted := min(_PORTION, self._sizes.setdefault(slot, self._size) - len(ready))) > 0:
            made = await self._keyring.new_data_keys(org_id, kind, [self._new_id() for _ in range(wanted)])
            if kind in HELD_KINDS:
                self.follow(org_id, made[0].custody_version)
            ready.extend(made)

    def _new_id(self) -> UUID:
        return new_id(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))
