"""One TCP or TLS connection: bytes to messages and back, with its limits. It knows no SIP beyond framing."""

import asyncio
import ssl
from typing import TYPE_CHECKING, Final, cast

from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Transport
from hushwire.sip.parse import Ping, StreamParser

if TYPE_CHECKING:
    from hushwire.transport.endpoint import SipEndpoint

# A peer that does not read what it asked for is cut off here.
_MOST_UNSENT: Final = 1 << 20
# How long one message, or the first one, may take to arrive.
_PATIENCE_S: Final = 32.0
# A source that has used up its rate is read on after this; one that sent so many messages beyond it at once is cut off.
_PAUSE_S: Final = 0.1
_MOST_REFUSED: Final = 256


class Connection(asyncio.Protocol):
    """A connection that a peer opened, or that we opened to it. `has_place`: it was counted before its handshake already."""

    def __init__(self, endpoint: "SipEndpoint", transport_name: Transport, id_: int, *, has_place: bool = False) -> None:
        self._endpoint = endpoint
        self._name = transport_name
        self._id = id_
        self._parser = StreamParser(endpoint.config.max_message, self._admits)
        self._refused = 0
        self._resume: asyncio.TimerHandle | None = None
        self._wire: asyncio.Transport | None = None
        self._watch: asyncio.TimerHandle | None = None
        self._active_at = 0.0
        self._whole_at = 0.0
        self._has_spoken = False
        self.has_place = has_place
        self.flow: Flow | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The handshake is done."""
        self._wire = cast(asyncio.Transport, transport)
        remote = transport.get_extra_info("peername")
        local = transport.get_extra_info("sockname")
        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        if remote is None or local is None:
            self._wire.abort()
            return
        self.flow = Flow(
            self._name, self._id, Address(local[0], local[1]), Address(remote[0], remote[1]), tls.version() if tls is not None else None
        )
        self._active_at = self._whole_at = self._endpoint.now()
        if not self._endpoint.opened(self, self.flow):
            self._wire.abort()
            return
        self._arm()

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""
        flow = self.flow
        if flow is None:
            return
        now = self._endpoint.now()
        self._active_at = now
        self._refused = 0
        has_ponged = False
        for item in self._parser.feed(data):
            self._whole_at = now
            if isinstance(item, Ping):
                # One answer for all that came at once: otherwise four bytes of a stranger would cost us a system call.
                if self._admits(4) and not has_ponged:
                    has_ponged = True
                    self.send(b"\r\n")
                continue
            self._has_spoken = True
            self._endpoint.received(item, flow)
            if isinstance(item, ParseError) and item.is_fatal:
                # The framing is lost: what follows could be read as messages that nobody sent (RFC 3261 section 18.3).
                self.close()
                return
        if self._refused > _MOST_REFUSED and self._wire is not None:
            self._wire.abort()
        elif self._refused and self._wire is not None and self._resume is None and not self._wire.is_closing():
            self._wire.pause_reading()
            self._resume = asyncio.get_running_loop().call_later(_PAUSE_S, self._read_on)

    def _admits(self, size: int) -> bool:
        is_admitted = self.flow is not None and self._endpoint.admits(self.flow.remote.host, size)
        self._refused += not is_admitted
        return is_admitted

    def _read_on(self) -> None:
        self._resume = None
        if self._wire is not None and not self._wire.is_closing():
            self._wire.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        if self._watch is not None:
            self._watch.cancel()
        if self._resume is not None:
            self._resume.cancel()
        if self.flow is not None:
            self._endpoint.closed(self, self.flow)

    def send(self, data: bytes) -> bool:
        """Queue bytes; False where the connection is closing or the peer does not read."""
        if self._wire is None or self._wire.is_closing():
            return False
        if self._wire.get_write_buffer_size() > _MOST_UNSENT:
            self._wire.abort()
            return False
        self._wire.write(data)
        return True

    def close(self) -> None:
        """Close after what is queued is sent."""
        if self._wire is not None:
            self._wire.close()

    def _arm(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(min(_PATIENCE_S, self._endpoint.config.idle_s) / 2, self._look)

    def _look(self) -> None:
        now = self._endpoint.now()
        is_stuck = (not self._parser.is_idle or not self._has_spoken) and now - self._whole_at > _PATIENCE_S
        if (is_stuck or now - self._active_at > self._endpoint.config.idle_s) and self._wire is not None:
            self._wire.abort()
            return
        self._arm()
