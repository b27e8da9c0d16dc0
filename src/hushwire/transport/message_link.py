"""One link to a message centre: a connection kept up around the pure session, by TCP or TLS. It decides nothing about messages."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.sip.resolve import may_lead_to
from hushwire.sip.routing import numeric
from hushwire.sms.smpp.bodies import DataSm, SubmitSm
from hushwire.sms.smpp.codes import Status, status_name
from hushwire.sms.smpp.session import Bound, Closed, Event, Send, Session, Settings, State
from hushwire.transport.locating import Dns
from hushwire.transport.lookups import Unanswered as NoAnswer
from hushwire.transport.tls import is_pinned

CONNECT_WITHIN_S: Final = 10.0
STEADY_AFTER_S: Final = 30.0
_MOST_UNSENT: Final = 1 << 20
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a link leads. `tls` None: in clear. `networks`: private ones that the name may lead to. Pins count instead of authorities."""

    name: str
    host: str = field(repr=False)
    port: int = field(repr=False)
    tls: ssl.SSLContext | None = None
    pins: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BackOff:
    """How long a link that failed is left alone: doubling, with up to half of it taken off by chance, so that links don't come together."""

    first_s: float = 0.5
    most_s: float = 60.0
    refused_s: float = 30.0
    """After a refused bind at least: a wrong password does not get right by trying."""

    def pause_s(self, failures: int, reason: str, random: Random) -> float:
        """For how long, after so many failures in a row (1 or more)."""
        longest = min(self.most_s, self.first_s * 2.0 ** min(failures - 1, 20))
        if reason.startswith("bind-refused"):
            longest = max(longest, min(self.refused_s, self.most_s))
        return longest * (1.0 - int.from_bytes(random.token_bytes(4), "big") / 2**33)


class NotReached(Exception):
    """The centre could not be connected to; the message is a word."""


class MessageLink:
    """Connects, binds, and connects again. Events of the session go to `on_events`, `Send` excepted; all on the running loop."""

    def __init__(
        self,
        place: Place,
        settings: Settings,
        dns: Dns,
        clock: Clock,
        random: Random,
        on_events: Callable[["MessageLink", Sequence[Event]], None],
        back_off: BackOff = BackOff(),
    ) -> None:
        self.place = place
        self.settings = settings
        self.reason = "starting"
        """Why it is not bound, in a word; "" while it is."""
        self.since = clock.monotonic()
        """Since when it is bound, or is not (monotonic)."""
        self.binds = 0
        """How often it was bound."""
        self._dns = dns
        self._clock = clock
        self._random = random
        self._on_events = on_events
        self._back_off = back_off
        self._wire: _Wire | None = None

    async def run(self) -> None:
        """Never ends but by cancellation, which takes leave of the centre first."""
        failures = 0
        while True:
            begun = self._clock.monotonic()
            try:
                wire = await self._connected()
            except NotReached as error:
                reason = str(error)
            else:
                reason = await self._stay(wire)
            if self._clock.monotonic() - begun >= STEADY_AFTER_S:
                failures = 0
            failures += 1
            pause_s = self._back_off.pause_s(failures, reason, self._random)
            if reason != self.reason or failures in (1, 5, 20):
                _log.warning("message_link.down", link=self.place.name, reason=reason, again_in_s=round(pause_s, 1))
            if not self.reason:
                self.since = self._clock.monotonic()
            self.reason = reason
            await asyncio.sleep(pause_s)

    @property
    def is_bound(self) -> bool:
        return self._wire is not None and self._wire.session.state is State.BOUND

    @property
    def is_sender(self) -> bool:
        """Whether it is bound and may submit at all."""
        return self._wire is not None and self._wire.session.is_sender

    @property
    def unanswered(self) -> int:
        """How many messages wait for their answers."""
        return 0 if self._wire is None else self._wire.session.unanswered

    def free(self) -> int:
        """How many messages may be submitted now."""
        wire = self._wire
        return 0 if wire is None or wire.is_choked else wire.session.free(self._clock.monotonic())

    def opens_at(self) -> float | None:
        """When one may be submitted without an answer before (monotonic), or None."""
        wire = self._wire
        return None if wire is None or wire.is_choked else wire.session.opens_at(self._clock.monotonic())

    def submit(self, ref: object, body: SubmitSm | DataSm) -> None:
        """Send one message, of which `free` must allow one. Raises ValueError where a field can't hold its value: nothing was sent."""
        if self._wire is None:
            raise RuntimeError("no message may be submitted now")
        self._wire.handle(self._wire.session.submit(ref, body, self._clock.monotonic()))

    def acknowledger(self) -> Callable[[int, int], None]:
        """How to answer deliveries of the present session, now or later; once it is over, an answer goes nowhere."""
        wire = self._wire

        def acknowledge(sequence: int, status: int = Status.ESME_ROK) -> None:
            if wire is not None:
                wire.handle(wire.session.acknowledge(sequence, status))

        return acknowledge

    async def _stay(self, wire: "_Wire") -> str:
        """Until the connection is over; returns why."""
        try:
            return await asyncio.shield(wire.over)
        except asyncio.CancelledError:
            wire.handle(wire.session.unbind(self._clock.monotonic()))
            try:
                async with asyncio.timeout(self.settings.bind_within_s):
                    await wire.over
            except TimeoutError:
                wire.end("unbound")
            raise
        finally:
            self._wire = None

    async def _connected(self) -> "_Wire":
        """A connection whose certificate is the centre's. Raises NotReached."""
        place, loop = self.place, asyncio.get_running_loop()
        reason = "unreachable"
        try:
            async with asyncio.timeout(CONNECT_WITHIN_S):
                for address in await self._addresses():
                    try:
                        _, wire = await loop.create_connection(
                            lambda: _Wire(self._clock, Session(self.settings), self._told),
                            address,
                            place.port,
                            ssl=place.tls,
                            server_hostname=place.host if place.tls is not None else None,
                        )
                    except ssl.SSLError:
                        reason = "certificate"
                    except OSError:
                        continue
                    else:
                        if place.pins and not is_pinned(wire.certificate(), place.pins):
                            wire.end("certificate")
                            reason = "certificate"
                            continue
                        self._wire = wire
                        wire.handle(wire.session.start(self._clock.monotonic()))
                        return wire
        except TimeoutError:
            reason = "silent"
        raise NotReached(reason)

    async def _addresses(self) -> list[str]:
        """Where the host is; a name may lead inside only where the operator named the network."""
        host = self.place.host
        if numeric(host) is not None:
            return [host]
        try:
            answer = await self._dns.addresses(host)
        except NoAnswer:
            raise NotReached("unresolved") from None
        allowed = [address for address in answer.records if may_lead_to(address, self.place.networks)]
        if not allowed:
            raise NotReached("inside" if answer.records else "unresolved")
        return allowed

    def _told(self, wire: "_Wire", events: Sequence[Event]) -> None:
        if any(isinstance(event, Bound) for event in events):
            self.reason, self.since = "", self._clock.monotonic()
            self.binds += 1
            _log.info("message_link.bound", link=self.place.name, mode=self.settings.mode)
        self._on_events(self, events)


class _Wire(asyncio.Protocol):
    """The bytes of one session, written in one go for each turn of the loop; and its one timer."""

    def __init__(self, clock: Clock, session: Session, told: Callable[["_Wire", Sequence[Event]], None]) -> None:
        self.session = session
        self.is_choked = False
        self._loop = asyncio.get_running_loop()
        self.over: asyncio.Future[str] = self._loop.create_future()
        self._clock = clock
        self._told = told
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0

    def certificate(self) -> bytes | None:
        tls: ssl.SSLObject | None = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        return None if tls is None else tls.getpeercert(True)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.handle(self.session.receive(data, self._clock.monotonic()))

    def connection_lost(self, exc: Exception | None) -> None:
        self.end("disconnected")

    def pause_writing(self) -> None:
        self.is_choked = True
        if self._transport is not None and self._transport.get_write_buffer_size() > _MOST_UNSENT:
            self.end("not-reading")

    def resume_writing(self) -> None:
        self.is_choked = False
        self._told(self, ())

    def end(self, reason: str) -> None:
        """It is over, for whatever reason."""
        self.handle(self.session.lost(reason))
        if not self.over.done():
            self.over.set_result(reason)
        if self._transport is not None:
            self._transport.close()

    def handle(self, events: Sequence[Event]) -> None:
        """Carry out what the session wants, and tell the rest."""
        told: list[Event] = []
        for event in events:
            if isinstance(event, Send):
                if not self._unsent:
                    self._loop.call_soon(self._flush)
                self._unsent.append(event.data)
            else:
                told.append(event)
                if isinstance(event, Closed) and not self.over.done():
                    self._flush()
                    self.over.set_result(event.reason if event.status is None else f"{event.reason} {status_name(event.status)}")
                    if self._transport is not None:
                        self._transport.close()
        self._arm()
        if told:
            self._told(self, told)

    def _flush(self) -> None:
        if self._unsent and self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def _arm(self) -> None:
        """See to it that the timer fires no later than the session's deadline; one that fires early looks again."""
        at = self.session.deadline()
        if at is None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            return
        if self._timer is not None:
            if self._timer_at <= at:
                return
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_later(max(0.0, at - self._clock.monotonic()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.handle(self.session.fire(self._clock.monotonic()))
