"""Keys for calls and their recordings, committed before they are used: from the pool, or left over by calls that did not need theirs."""

import asyncio
from collections import defaultdict
from typing import Final

import structlog

from hushwire.core.errors import LocalError
from hushwire.core.ids import OrgId
from hushwire.services.live import LiveCall
from hushwire.vault.buckets import DataKey, KeyKind
from hushwire.vault.pool import KeyPool

WAIT_S: Final = 2.0
_log = structlog.get_logger(__name__)
_Slot = tuple[OrgId, KeyKind]


class CallKeys:
    """The keys that calls take."""

    def __init__(self, pool: KeyPool) -> None:
        self._pool = pool
        self._spare: defaultdict[OrgId, list[DataKey]] = defaultdict(list)
        self._making: defaultdict[_Slot, asyncio.Lock] = defaultdict(asyncio.Lock)

    def take(self, org_id: OrgId, kind: KeyKind) -> DataKey | None:
        """A key that is ready now, or None."""
        while kind == "recording" and self._spare[org_id]:
            if self._pool.is_good(org_id, spare := self._spare[org_id].pop()):
                return spare
        return self._pool.take(org_id, kind)

    def give_back(self, live: LiveCall) -> None:
        """Keep the recording key of a call that was never recorded for the next one."""
        key, live.recording_key = live.recording_key, None
        if key is not None:
            self._spare[live.route.org.id].append(key)

    def fill(self, live: LiveCall) -> bool:
        """Give a call what is ready; whether that is all that it needs."""
        org_id, is_recorded = live.route.org.id, live.route.plan.is_recorded
        live.key = live.key or self.take(org_id, "call")
        if is_recorded and live.recording_key is None:
            live.recording_key = self.take(org_id, "recording")
        return live.key is not None and (live.recording_key is not None or not is_recorded)

    async def wait(self, live: LiveCall) -> None:
        """Make what is missing (the organisation's first call, or a burst), but don't hold the caller for long. It may stay missing."""
        org_id = live.route.org.id
        try:
            async with asyncio.timeout(WAIT_S):
                live.key = live.key or await self._make(org_id, "call")
                if live.route.plan.is_recorded and live.recording_key is None:
                    live.recording_key = await self._make(org_id, "recording")
        except (TimeoutError, LocalError, OSError) as error:
            _log.error("call.keys_missing", org_id=str(org_id), error=type(error).__name__)

    async def made(self, org_id: OrgId, kind: KeyKind) -> DataKey | None:
        """A key that is ready, else one that is made now; None where that takes too long."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._make(org_id, kind)
        except (TimeoutError, LocalError, OSError) as error:
            _log.error("call.keys_missing", org_id=str(org_id), error=type(error).__name__)
            return None

    async def instead_of(self, org_id: OrgId, refused: DataKey) -> DataKey | None:
        """Another recording key for one that came too late: the customer's custody was changed, or a recipient expired."""
        _log.warning("call.key_refused", org_id=str(org_id), custody_version=refused.custody_version)
        self._pool.drop(org_id)
        self._spare.pop(org_id, None)
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._make(org_id, "recording")
        except (TimeoutError, LocalError, OSError) as error:
            _log.error("call.keys_missing", org_id=str(org_id), error=type(error).__name__)
            return None

    async def for_refusal(self, org_id: OrgId) -> DataKey | None:
        """A key for the row of a call that is refused already: nobody waits for it."""
        try:
            async with asyncio.timeout(WAIT_S):
                return await self._make(org_id, "call")
        except (TimeoutError, LocalError, OSError) as error:
            _log.error("call.keys_missing", org_id=str(org_id), error=type(error).__name__)
            return None

    async def prepare(self, org_id: OrgId, *, is_recorded: bool) -> None:
        """Have keys ready, so that the organisation's first call waits for nothing."""
        try:
            await self._pool.prepare(org_id, "call")
            if is_recorded:
                await self._pool.prepare(org_id, "recording")
        except (LocalError, OSError) as error:
            _log.error("call.keys_missing", org_id=str(org_id), error=type(error).__name__)

    async def _make(self, org_id: OrgId, kind: KeyKind) -> DataKey | None:
        """A key out of a batch that is made for everyone who waits: one by one they would cost three times as much."""
        async with self._making[org_id, kind]:
            key = self.take(org_id, kind)
            if key is None:
                await self._pool.prepare(org_id, kind)
                key = self.take(org_id, kind)
            return key
