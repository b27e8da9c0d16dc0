"""One connection of a peer: bytes to messages and back, with its limits. It knows no SIP beyond framing.

`StreamConnection` is TCP and TLS; `transport/websocket.py` has the other kind.
"""

import asyncio
import ssl
from abc import abstractmethod
from typing import TYPE_CHECKING, Final, cast

import structlog

from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.parse import Ping, StreamParser
from hushwire.transport.tls import is_pinned, stands_for

if TYPE_CHECKING:
    from hushwire.transport.endpoint import SipEndpoint

_log = structlog.get_logger(__name__)

# A peer that does not read what it asked for is cut off here.
_MOST_UNSENT: Final = 1 << 20
# A source that has used up its rate is read on after this; one that sent so many messages beyond it at once is cut off.
_PAUSE_S: Final = 0.1
_MOST_REFUSED: Final = 256
PING_COST: Final = 4


class Connection(asyncio.Protocol):
    """A connection that a peer opened, or that we opened (then it leads `to` somewhere). `has_place`: was counted before its handshake."""

    def __init__(
        self, endpoint: "SipEndpoint", transport_name: Transport, id_: int, *, has_place: bool = False, to: Target | None = None
    ) -> None:
        self.endpoint = endpoint
        self._name = transport_name
        self.id = id_
        self._refused = 0
        self._resume: asyncio.TimerHandle | None = None
        self.wire: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._active_at = 0.0
        self._whole_at = 0.0
        self._made_at = 0.0
        self._has_spoken = False
        self.has_place = has_place
        self.to = to
        self.flow: Flow | None = None

    # What the kinds of connection differ in.

    @abstractmethod
    def take(self, data: bytes, flow: Flow) -> None:
        """Some bytes came: what they complete goes to the endpoint."""

    @abstractmethod
    def framed(self, message: bytes) -> bytes | None:
        """One message as it goes on the wire; None where none may go."""

    @property
    @abstractmethod
    def is_idle(self) -> bool:
        """Whether nothing is half received."""

    def look(self, silent_s: float) -> bool:
        """Regular look at a connection that has been silent for so long; False where it is dead."""
        return silent_s <= self.endpoint.config.idle_s

    @property
    def look_every_s(self) -> float:
        """Seconds between two looks."""
        return min(self.endpoint.config.patience_s, self.endpoint.config.idle_s) / 2

    # The wire.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self.wire = cast(asyncio.Transport, transport)
        remote = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if remote is None or local is None:
            self.wire.abort()
            return
        if self.to is not None and tls is not None:
            name = self.to.tls_name or self.to.host
            is_them = is_pinned(tls.getpeercert(True), self.to.pins) if self.to.pins else stands_for(tls.getpeercert() or {}, name)
            if not is_them:
                _log.warning("sip.not_the_peer", transport=self._name.value)
                self.wire.abort()
                return
        version = tls.version() if tls is not None else None
        self.flow = Flow(self._name, self.id, Address(local[0], local[1]), Address(remote[0], remote[1]), version)
        self._active_at = self._whole_at = self._made_at = self.endpoint.now()
        if not self.endpoint.opened(self, self.flow):
            self.wire.abort()
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        flow, wire = self.flow, self.wire
        if flow is None or wire is None:
            return
        self._active_at = self.endpoint.now()
        self._refused = 0
        self.take(data, flow)
        if self._refused > _MOST_REFUSED:
            wire.abort()
        elif self._refused and self._resume is None and not wire.is_closing():
            wire.pause_reading()
            self._resume = asyncio.get_running_loop().call_later(_PAUSE_S, self._read_on)

    def admits(self, size: int) -> bool:
        """Whether a message of so many bytes may be parsed."""
        is_admitted = self.flow is not None and self.endpoint.admits(self.flow.remote.host, size)
        self._refused += not is_admitted
        return is_admitted

    def takes(self, message: bytes) -> bool:
        """Whether a whole message may be parsed."""
        is_admitted = self.flow is not None and self.endpoint.admits_message(self.flow.remote.host, message)
        self._refused += not is_admitted
        return is_admitted

    def completed(self, *, is_message: bool) -> None:
        """Something came whole: a message, or only a sign of life."""
        self._whole_at = self._active_at
        if is_message and not self._has_spoken and self.flow is not None:
            self._has_spoken = True
            self.endpoint.proven(self.flow)

    def _read_on(self) -> None:
        self._resume = None
        if self.wire is not None and not self.wire.is_closing():
            self.wire.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._watch is not None:
            self._watch.cancel()
        if self._resume is not None:
            self._resume.cancel()
        if self.flow is not None:
            self.endpoint.closed(self, self.flow)

    def send(self, message: bytes) -> bool:
        """Queue one message; False where the connection is closing or the peer does not read."""
        if self.wire is None or self.wire.is_closing():
            return False
        data = self.framed(message)
        return data is not None and self.write(data)

    def write(self, data: bytes) -> bool:
        """Queue bytes; False where the peer does not read."""
        if self.wire is None or self.wire.is_closing():
            return False
        if self.wire.get_write_buffer_size() > _MOST_UNSENT:
            self.wire.abort()
            return False
        self.wire.write(data)
        return True

    def abort(self) -> None:
        """End it now."""
        if self.wire is not None:
            self.wire.abort()

    def close(self) -> None:
        """Close after what is queued is sent."""
        if self.wire is not None:
            self.wire.close()

    def _arm(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(self.look_every_s, self._look)

    def _look(self) -> None:
        now, patience_s = self.endpoint.now(), self.endpoint.config.patience_s
        # Signs of life don't count as a first word: a stranger could give them for ever.
        is_mute = not self._has_spoken and now - self._made_at > patience_s
        is_stuck = not self.is_idle and now - self._whole_at > patience_s
        if (is_mute or is_stuck or not self.look(now - self._active_at)) and self.wire is not None:
            self.wire.abort()
            return
        self._arm()


class StreamConnection(Connection):
    """TCP or TLS: messages are cut by Content-Length (RFC 3261 section 18.3)."""

    def __init__(
        self, endpoint: "SipEndpoint", transport_name: Transport, id_: int, *, has_place: bool = False, to: Target | None = None
    ) -> None:
        super().__init__(endpoint, transport_name, id_, has_place=has_place, to=to)
        self._parser = StreamParser(endpoint.config.max_message, self._is_to_be_parsed)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is half received."""
        return self._parser.is_idle

    def _is_to_be_parsed(self, message: bytes) -> bool:
        if not self.takes(message):
            return False
        if message.startswith(b"REGISTER ") and self.flow is not None and self.endpoint.went_short_way(message, self.flow):
            self.completed(is_message=True)
            return False
        return True

    def framed(self, message: bytes) -> bytes:
        """As it is."""
        return message

    def take(self, data: bytes, flow: Flow) -> None:
        """Some bytes came."""
        has_ponged = False
        for item in self._parser.feed(data):
            is_ping = isinstance(item, Ping)
            self.completed(is_message=not is_ping)
            if isinstance(item, Ping):
                # One answer for all that came at once: otherwise four bytes of a stranger would cost us a system call.
                if self.admits(PING_COST) and not has_ponged:
                    has_ponged = True
                    self.send(b"\r\n")
                continue
            self.endpoint.received(item, flow)
            if isinstance(item, ParseError) and item.is_fatal:
                # The framing is lost: what follows could be read as messages that nobody sent (RFC 3261 section 18.3).
                self.close()
                return
