"""One connection of a peer: bytes to messages and back, with its limits. It knows no SIP beyond framing.

`StreamConnection` is TCP and TLS; `transport/websocket.py` has the other kind.
"""

import asyncio
import ssl
from abc import abstractmethod
from typing import TYPE_CHECKING, Final, cast

from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.parse import Ping, StreamParser

if TYPE_CHECKING:
    from hushwire.transport.endpoint import SipEndpoint

# A peer that does not read what it asked for is cut off here.
_MOST_UNSENT: Final = 1 << 20
# How long one message, or the first one, may take to arrive.
PATIENCE_S: Final = 32.0
# A source that has used up its rate is read on after this; one that sent so many messages beyond it at once is cut off.
_PAUSE_S: Final = 0.1
_MOST_REFUSED: Final = 256
PING_COST: Final = 4


class Connection(asyncio.Protocol):
    """A connection that a peer opened, or that we opened to it. `has_place`: it was counted before its handshake already."""

    def __init__(self, endpoint: "SipEndpoint", transport_name: Transport, id_: int, *, has_place: bool = False) -> None:
        self.endpoint = endpoint
        self._name = transport_name
        self._id = id_
        self._refused = 0
        self._resume: asyncio.TimerHandle | None = None
        self.wire: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._active_at = 0.0
        self._whole_at = 0.0
        self._has_spoken = False
        self.has_place = has_place
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
        return min(PATIENCE_S, self.endpoint.config.idle_s) / 2

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
        self.flow = Flow(
            self._name, self._id, Address(local[0], local[1]), Address(remote[0], remote[1]), tls.version() if tls is not None else None
        )
        self._active_at = self._whole_at = self.endpoint.now()
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

    def completed(self, *, is_message: bool) -> None:
        """Something came whole: a message, or only a sign of life."""
        self._whole_at = self._active_at
        self._has_spoken = self._has_spoken or is_message

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

    def close(self) -> None:
        """Close after what is queued is sent."""
        if self.wire is not None:
            self.wire.close()

    def _arm(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(self.look_every_s, self._look)

    def _look(self) -> None:
        now = self.endpoint.now()
        is_stuck = (not self.is_idle or not self._has_spoken) and now - self._whole_at > PATIENCE_S
        if (is_stuck or not self.look(now - self._active_at)) and self.wire is not None:
            self.wire.abort()
            return
        self._arm()


class StreamConnection(Connection):
    """TCP or TLS: messages are cut by Content-Length (RFC 3261 section 18.3)."""

    def __init__(self, endpoint: "SipEndpoint", transport_name: Transport, id_: int, *, has_place: bool = False) -> None:
        super().__init__(endpoint, transport_name, id_, has_place=has_place)
        self._parser = StreamParser(endpoint.config.max_message, self.admits)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is half received."""
        return self._parser.is_idle

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
