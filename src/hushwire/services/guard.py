"""Who fails too often gets no answer any more: strikes of sources, bans, and how all gateways learn of them.

Only what is proven counts against a source: a TCP handshake, or a wrong digest that echoes a nonce which was sent to that very address.
So nobody gets another banned by sending in its name. Carriers' addresses, and those of `[limits] never_ban`, are never banned.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from hushwire.core.clock import Clock
from hushwire.services.bans import Bans, Why
from hushwire.sip.flow import Flow
from hushwire.store.database import STORE_FAILED
from hushwire.transport.bans import Banned, Strikes
from hushwire.transport.limits import SourceLimiter
from hushwire.transport.sources import AddressSet, source_key

POLL_S: Final = 5.0
SCAN_WEIGHT: Final = 0.5
"""Of the threshold: two proven requests of a program that calls itself a scanner are enough."""
_log = structlog.get_logger(__name__)


class Guard:
    """Strikes and bans of this gateway. `banned` is what the transport asks about each datagram and connection."""

    def __init__(
        self,
        bans: Bans,
        banned: Banned,
        clock: Clock,
        *,
        failures: int,
        within_s: float,
        ban_s: float,
        never: Iterable[str] = (),
        on_banned: Callable[[], None] = lambda: None,
        per_credential_s: float = 20.0,
    ) -> None:
        self._bans = bans
        self._banned = banned
        self._clock = clock
        self._failures = failures
        self._lasts = timedelta(seconds=ban_s)
        self._never = AddressSet(never)
        self._carriers = AddressSet()
        self._on_banned = on_banned
        self._strikes = Strikes(failures, within_s)
        self._credentials = SourceLimiter(per_credential_s, 3.0 * per_credential_s)
        self._unwritten: dict[str, Why] = {}
        self._wake = asyncio.Event()
        self._pronounced = 0

    # What happens to sources.

    def told(self) -> dict[str, int]:
        """For metrics: bans that stand, and those that this gateway pronounced since it started."""
        return {"bans": len(self._banned.sources()), "bans_pronounced": self._pronounced}

    def exempt(self, carriers: Iterable[str]) -> None:
        """Replace the addresses of carriers, as trunks declare them: they are never banned."""
        self._carriers = AddressSet(carriers)

    def failed(self, flow: Flow, *, is_proven: bool) -> None:
        """A wrong digest. `is_proven`: it echoes a nonce that was sent to this address."""
        if is_proven or flow.transport.is_reliable:
            self._strike(flow.remote.host, 1.0, Why.GUESSING)

    def succeeded(self, flow: Flow) -> None:
        """A right digest."""
        self._strikes.forgive(flow.remote.host, self._clock.monotonic())

    def scanned(self, flow: Flow) -> None:
        """A request of a scanner: it gets no answer, and by a connection it counts."""
        if flow.transport.is_reliable:
            self._strike(flow.remote.host, SCAN_WEIGHT * self._failures, Why.SCANNING)

    def would_admit(self, credential: str) -> bool:
        """What `admits` would say; it costs the credential nothing."""
        return self._credentials.would_admit(credential, self._clock.monotonic())

    def admits(self, credential: str) -> bool:
        """Whether one more request under this proven credential may be looked at: its bucket is its own, whatever address it comes from."""
        return self._credentials.admit(credential, self._clock.monotonic())

    def _strike(self, host: str, weight: float, why: Why) -> None:
        if host in self._never or host in self._carriers:
            return
        now = self._clock.monotonic()
        if self._strikes.add(host, now, weight):
            source = source_key(host)
            self._banned.add(source, now + self._lasts.total_seconds())
            self._on_banned()
            self._unwritten[source] = why
            self._pronounced += 1
            self._wake.set()
            _log.warning("source.banned", reason=why.value, hours=round(self._lasts.total_seconds() / 3600, 1))

    # What all gateways know.

    async def run(self) -> None:
        """Write our bans and learn those of others, by notification at once and by poll, until cancelled."""
        await self._bans.db.listen("hushwire_bans", lambda _: self._wake.set())
        while True:
            self._wake.clear()
            try:
                await self._write()
                await self._learn()
            except STORE_FAILED as error:
                _log.warning("bans.stale", error=type(error).__name__)
                await asyncio.sleep(1.0)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    async def _write(self) -> None:
        while self._unwritten:
            source, why = next(iter(self._unwritten.items()))
            await self._bans.put(source, why, self._lasts)
            self._unwritten.pop(source, None)

    async def _learn(self) -> None:
        standing = await self._bans.standing()
        wall, monotonic = self._clock.now(), self._clock.monotonic()
        ends = {ban.source.reveal(): monotonic + (ban.expires_at - wall).total_seconds() for ban in standing}
        for source in self._banned.sources() - ends.keys() - self._unwritten.keys():
            self._banned.remove(source)
        has_new = any(source not in self._banned for source in ends)
        for source, until in ends.items():
            self._banned.add(source, until)
        if has_new:
            self._on_banned()
