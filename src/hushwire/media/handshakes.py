"""The DTLS associations of all legs: datagrams to and from hushwire-media, timers, and a time limit for each.

A leg has at most one association. It stays while signalling names the same certificate and the same roles (RFC 8842 section 3.1); when
it names others, the old keys are gone at once and a new handshake makes new ones.

ICE lets only the party itself begin a handshake; without ICE hushwire-media lets a ClientHello up only with a cookie that was sent to its
address. Somebody else behind the party's own address may still be faster, and an alert proves nothing about who sent it. So a new
ClientHello begins the handshake anew until one is done, a server's failure is final only when for a moment nobody has begun again, and an
alert that nothing protects only shortens the wait for the handshake that it says has failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

import structlog

from hushwire.core.errors import Unavailable
from hushwire.media.certificates import Certificate
from hushwire.media.dtls import DtlsAssociation, Failure, SrtpKeys, client_hello_random, is_open_alert
from hushwire.media.model import DtlsDatagram, MediaRefused
from hushwire.sdp.dtls import RemoteDtls

PATIENCE_S: Final = 20.0
"""What a party has from the answer on until its handshake must be done; ICE, where it comes first, takes of the same time."""
AGAIN_S: Final = 2.0
ALERT_S: Final = 5.0
"""What a handshake has to be done after an alert that anybody could have sent. A true one is a party that has given up."""
MAX_ATTEMPTS: Final = 8
_log = structlog.get_logger(__name__)

Send = Callable[[UUID, int, Iterable[bytes]], Awaitable[None]]


class HandshakeObserver(Protocol):
    """Who is told; called on the loop."""

    def keyed(self, bridge_id: UUID, leg: int) -> None:
        """The party proved who it is: `Handshakes.keys` has the keys."""

    def not_keyed(self, bridge_id: UUID, leg: int, failure: Failure) -> None:
        """The party did not, and will not: nothing was sent to it and nothing is taken from it."""


@dataclass(slots=True, eq=False)
class _Running:
    association: DtlsAssociation
    remote: RemoteDtls
    certificate: Certificate
    patience: asyncio.TimerHandle
    hello: bytes | None = None
    """The random of the ClientHello that the association answers."""
    attempts: int = 1
    failure: Failure | None = None
    timer: asyncio.TimerHandle | None = None
    is_started: bool = False
    is_told: bool = False
    sending: set[asyncio.Task[None]] = field(default_factory=set)


class Handshakes:
    """Associations by bridge and leg. `send` gives datagrams to the media process (MediaClient.send_dtls)."""

    def __init__(self, send: Send, observer: HandshakeObserver, patience_s: float = PATIENCE_S) -> None:
        self._send = send
        self._observer = observer
        self._patience_s = patience_s
        self._legs: dict[tuple[UUID, int], _Running] = {}

    def expect(self, bridge_id: UUID, leg: int, remote: RemoteDtls, certificate: Certificate) -> SrtpKeys | None:
        """Have an association with this party; the keys where the one that stands is the one that is wanted and has them."""
        running = self._legs.get((bridge_id, leg))
        if running is not None and running.remote == remote and running.certificate is certificate:
            return running.association.keys
        self.forget(bridge_id, leg)
        patience = asyncio.get_running_loop().call_later(self._patience_s, self._give_up, bridge_id, leg)
        self._legs[bridge_id, leg] = _Running(DtlsAssociation(certificate, remote), remote, certificate, patience)
        return None

    def adopt(self, bridge_id: UUID, leg: int, remote: RemoteDtls, certificate: Certificate, keys: SrtpKeys) -> None:
        """An association that another process brought to its end: it stands for as long as signalling names the same one.

        Nothing is left of it but its keys.
        """
        self.forget(bridge_id, leg)
        association = DtlsAssociation.finished(certificate, remote, keys)
        patience = asyncio.get_running_loop().call_later(0, lambda: None)
        self._legs[bridge_id, leg] = _Running(association, remote, certificate, patience, is_started=True, is_told=True)

    def keys(self, bridge_id: UUID, leg: int) -> SrtpKeys | None:
        """What protects the leg now; None while nothing does."""
        running = self._legs.get((bridge_id, leg))
        return None if running is None else running.association.keys

    def begin(self, bridge_id: UUID, leg: int) -> None:
        """The party can be reached now: send the ClientHello, where it is ours and was not sent yet."""
        running = self._legs.get((bridge_id, leg))
        if running is not None and not running.is_started:
            running.is_started = True
            self._after(bridge_id, leg, running, running.association.start())

    def datagram(self, arrived: DtlsDatagram) -> None:
        """Something of a party's handshake; of a leg that has none it is dropped."""
        running = self._legs.get((arrived.bridge_id, arrived.leg))
        if running is None:
            return
        if running.remote.is_client and not running.is_started:
            return  # an answer to nothing
        if running.association.keys is None and is_open_alert(arrived.data):
            if running.failure is None and running.association.failure is None and not running.is_told:
                running.failure = Failure.REFUSED
                self._wait(arrived.bridge_id, arrived.leg, running, ALERT_S)
            return
        hello = None if running.remote.is_client or running.association.keys is not None else client_hello_random(arrived.data)
        if hello is not None and hello != running.hello:
            if running.hello is not None and running.association.failure is None and not self._renew(running):
                return
            running.hello = hello
            if running.failure is not None:
                self._wait(arrived.bridge_id, arrived.leg, running, self._patience_s)
        self._after(arrived.bridge_id, arrived.leg, running, running.association.receive(arrived.data))

    def move(self, bridge_id: UUID, leg: int, to_bridge: UUID, to_leg: int) -> None:
        """The leg is in another bridge now (MediaClient.move_leg), and its association with it; one that goes on goes on there."""
        running = self._legs.pop((bridge_id, leg), None)
        if running is None:
            return
        self.forget(to_bridge, to_leg)
        self._legs[to_bridge, to_leg] = running
        loop = asyncio.get_running_loop()
        if not running.is_told:
            self._wait(to_bridge, to_leg, running, max(0.0, running.patience.when() - loop.time()))
        if running.timer is not None:
            due = running.timer.when()
            running.timer.cancel()
            running.timer = loop.call_at(due, self._timer, to_bridge, to_leg, running)

    def forget(self, bridge_id: UUID, leg: int | None = None) -> None:
        """The leg's association is over, or that of every leg of the bridge."""
        for key in [key for key in self._legs if key[0] == bridge_id] if leg is None else [(bridge_id, leg)]:
            running = self._legs.pop(key, None)
            if running is not None:
                running.patience.cancel()
                if running.timer is not None:
                    running.timer.cancel()

    def __len__(self) -> int:
        return len(self._legs)

    def _after(self, bridge_id: UUID, leg: int, running: _Running, datagrams: list[bytes]) -> None:
        association = running.association
        if datagrams:
            task = asyncio.get_running_loop().create_task(self._give(bridge_id, leg, datagrams), name="dtls-send")
            running.sending.add(task)
            task.add_done_callback(running.sending.discard)
        if running.timer is not None:
            running.timer.cancel()
            running.timer = None
        wait_s = association.timeout_s
        if wait_s is not None:
            running.timer = asyncio.get_running_loop().call_later(wait_s, self._timer, bridge_id, leg, running)
        if running.is_told or (association.keys is None and association.failure is None):
            return
        if association.failure not in (None, Failure.TIMEOUT) and not running.remote.is_client and self._renew(running):
            running.failure = running.failure or association.failure
            self._wait(bridge_id, leg, running, AGAIN_S)
            return
        running.is_told = True
        running.patience.cancel()
        if association.failure is None:
            _log.info("dtls.keyed", bridge_id=str(bridge_id), leg=leg, we_began=running.remote.is_client)
            self._observer.keyed(bridge_id, leg)
        else:
            failure = running.failure or association.failure
            _log.warning("dtls.failed", bridge_id=str(bridge_id), leg=leg, reason=failure.value)
            self._observer.not_keyed(bridge_id, leg, failure)

    def _wait(self, bridge_id: UUID, leg: int, running: _Running, seconds: float) -> None:
        running.patience.cancel()
        running.patience = asyncio.get_running_loop().call_later(seconds, self._give_up, bridge_id, leg)

    @staticmethod
    def _renew(running: _Running) -> bool:
        """Begin anew, as who is called; False where that was done too often."""
        if running.attempts >= MAX_ATTEMPTS:
            return False
        running.attempts += 1
        running.association = DtlsAssociation(running.certificate, running.remote)
        running.hello = None
        return True

    def _timer(self, bridge_id: UUID, leg: int, running: _Running) -> None:
        running.timer = None
        self._after(bridge_id, leg, running, running.association.handle_timer())

    def _give_up(self, bridge_id: UUID, leg: int) -> None:
        running = self._legs.get((bridge_id, leg))
        if running is not None:
            running.association.give_up()
            self._after(bridge_id, leg, running, [])

    async def _give(self, bridge_id: UUID, leg: int, datagrams: list[bytes]) -> None:
        try:
            await self._send(bridge_id, leg, datagrams)
        except (MediaRefused, Unavailable) as error:
            # As good as lost on the way: the timer sends them again.
            _log.debug("dtls.not_sent", bridge_id=str(bridge_id), leg=leg, error=type(error).__name__)
