"""SIP over WebSocket (RFC 7118, RFC 6455): the server's side of one connection. The framing is the `websockets` library's.

One SIP message per WebSocket message; nothing is compressed. A length is checked before anything of that length is kept. Pages of
origins that are not listed get 403; programs that are no browser send no origin, and prove who they are by digest like everybody.
We never open such a connection ourselves: the hosts that browsers name themselves by (`...invalid`) exist nowhere.
"""

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request as Opening
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Target, Transport
from hushwire.sip.message import Message, Request
from hushwire.sip.parse import parse
from hushwire.transport.connection import PING_COST, Connection

if TYPE_CHECKING:
    from hushwire.transport.endpoint import SipEndpoint

_SIP: Final = Subprotocol("sip")
_DOUBLE_CRLF: Final = b"\r\n\r\n"
_CRLF: Final = b"\r\n"
# The library would log headers and payloads, which are personal data.
_SILENT: Final = logging.Logger("hushwire.websocket")
_SILENT.disabled = True
_SILENT.setLevel(logging.CRITICAL + 1)


class WebSocketConnection(Connection):
    """A browser's connection, or that of any other WebSocket client."""

    def __init__(
        self, endpoint: "SipEndpoint", transport_name: Transport, id_: int, *, has_place: bool = False, to: Target | None = None
    ) -> None:
        super().__init__(endpoint, transport_name, id_, has_place=has_place, to=to)
        config = endpoint.config
        # None stands for a request without Origin.
        origins = None if config.origins is None else [None, *(Origin(origin) for origin in config.origins)]
        self._protocol = ServerProtocol(origins=origins, extensions=None, subprotocols=[_SIP], max_size=config.max_message, logger=_SILENT)
        self._is_open = False
        self._parts: list[bytes] = []
        self._is_text = False

    @property
    def is_idle(self) -> bool:
        """Whether neither the opening handshake, nor a frame, nor a message is half received."""
        protocol = self._protocol
        return protocol.state is not State.CONNECTING and not protocol.reader.buffer and not self._parts

    @property
    def look_every_s(self) -> float:
        """Seconds between two looks."""
        return min(super().look_every_s, self.endpoint.config.ping_s / 2)

    def look(self, silent_s: float) -> bool:
        """Ask a silent peer for a sign of life; a page that was closed, or a laptop that sleeps, gives none."""
        ping_s = self.endpoint.config.ping_s
        if silent_s > 2 * ping_s:
            return False
        if self._protocol.state is State.CONNECTING:
            return silent_s <= self.endpoint.config.handshake_s
        if silent_s >= ping_s and self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._flush()
        return True

    # In.

    def take(self, data: bytes, flow: Flow) -> None:
        """Some bytes came."""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Opening):
                self._open(event)
            elif isinstance(event, Frame):
                self._frame(event, flow)
        self._flush()

    def _open(self, opening: Opening) -> None:
        response = self._protocol.accept(opening)
        if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
            # The library's words repeat what the client sent.
            response = self._protocol.reject(HTTPStatus(response.status_code), "No SIP over WebSocket for this request.\n")
        self._protocol.send_response(response)
        self._is_open = self._protocol.state is State.OPEN
        self.completed(is_message=False)

    def _frame(self, frame: Frame, flow: Flow) -> None:
        if not self._is_open:
            return None
        if frame.opcode not in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            # Pings are answered by the library; a flood of them uses up the source's rate, and then ends the connection.
            self.admits(PING_COST)
            self.completed(is_message=False)
            return None
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        elif not self.admits(0):
            return self._fail(CloseCode.POLICY_VIOLATION)
        if not frame.fin or self._parts:
            self._parts.append(bytes(frame.data))
            if not frame.fin:
                return None
            message = b"".join(self._parts)
            self._parts.clear()
        else:
            message = bytes(frame.data)
        return self._message(message, flow)

    def _message(self, data: bytes, flow: Flow) -> None:
        if self._is_text and not _is_utf8(data):
            return self._fail(CloseCode.INVALID_DATA)
        if data in (_DOUBLE_CRLF, _CRLF, b""):
            # RFC 7118 section 6: the keep-alive of RFC 5626 section 3.5.1 is usable here too.
            self.completed(is_message=False)
            if self.admits(PING_COST) and data == _DOUBLE_CRLF:
                self.send(_CRLF)
            return None
        self.completed(is_message=True)
        if self.takes(data) and not (data.startswith(b"REGISTER ") and self.endpoint.went_short_way(data, flow)):
            self.endpoint.received(_only_message(data), flow)
        return None

    def _fail(self, code: CloseCode) -> None:
        self._is_open = False
        self._protocol.fail(code)
        self._flush()

    # Out.

    def framed(self, message: bytes) -> bytes | None:
        """One frame, of text where it is text (RFC 7118 section 5: both kinds are understood)."""
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return None
        if _is_utf8(message):
            protocol.send_text(message)
        else:
            protocol.send_binary(message)
        return b"".join(protocol.data_to_send())

    def close(self) -> None:
        """Say goodbye and close."""
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(CloseCode.GOING_AWAY)
            self._flush()
        super().close()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.write(data)
            else:  # the library's sign for the end of what we send; a server closes first (RFC 6455 section 7.1.1)
                super().close()


def _only_message(data: bytes) -> Message | ParseError:
    """The SIP message that a WebSocket message holds: Content-Length may be absent, and nothing may follow (RFC 7118 section 5)."""
    try:
        message = parse(data)
    except ParseError as error:
        return error
    head = data.index(_DOUBLE_CRLF, len(data) - len(data.lstrip(_CRLF))) + 4
    if head + len(message.body) != len(data):
        return ParseError("something follows the message", request=message if isinstance(message, Request) else None)
    return message


def _is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
