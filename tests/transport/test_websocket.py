"""SIP over WebSocket on real sockets, with a client written here from RFC 6455 so that it can be as wrong as it likes."""

import asyncio
import base64
import hashlib
import os
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hushwire.sip.effects import Cause, RequestReceived, Responded
from hushwire.sip.flow import Flow, Target, Transport
from hushwire.sip.parse import parse
from hushwire.transport.tls import server_context
from tests.polling import until
from tests.sip.world import ANNA, BOB
from tests.transport.stage import Stage, certificates, stage

TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
PAGE = "https://phone.example.org"


class Client:
    """One WebSocket, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def shake(self, *, origin: str | None = PAGE, subprotocol: str | None = "sip", more: str = "") -> str:
        """The opening handshake; the head of the answer."""
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET /any HTTP/1.1", "Host: here", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Key: {key}",
                 "Sec-WebSocket-Version: 13"]  # fmt: skip
        if origin is not None:
            lines.append(f"Origin: {origin}")
        if subprotocol is not None:
            lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
        self.writer.write(("\r\n".join(lines) + f"\r\n{more}\r\n").encode())
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        if " 101 " in head.partition("\r\n")[0]:
            digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
            assert f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}" in head
            assert "Sec-WebSocket-Protocol: sip" in head
        return head

    def put(self, opcode: int, data: bytes, *, fin: bool = True, masked: bool = True, length: int | None = None) -> bytes:
        """The bytes of one frame; `length` is what its head claims."""
        size = len(data) if length is None else length
        first = bytes([(0x80 if fin else 0) | opcode])
        flag = 0x80 if masked else 0
        if size < 126:
            head = bytes([flag | size])
        else:
            head = bytes([flag | 126]) + struct.pack("!H", size) if size < 65536 else bytes([flag | 127]) + struct.pack("!Q", size)
        key = os.urandom(4) if masked else b""
        body = bytes(byte ^ key[at % 4] for at, byte in enumerate(data)) if masked else data
        self.writer.write(first + head + key + body)
        return first + head + key + body

    async def get(self) -> tuple[int, bytes]:
        """The next frame that comes."""
        async with asyncio.timeout(10):
            first, second = await self.reader.readexactly(2)
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            assert second & 0x80 == 0, "a server never masks"
            assert first & 0x80, "a server sends messages whole"
            return first & 0x0F, await self.reader.readexactly(size)

    async def closed(self) -> int | None:
        """The code of the close frame; None where the connection ends without."""
        try:
            while True:
                opcode, data = await self.get()
                if opcode == CLOSE:
                    async with asyncio.timeout(10):
                        assert await self.reader.read() == b""
                    return int.from_bytes(data[:2])
        except (asyncio.IncompleteReadError, ConnectionError):
            return None


def options(branch: str, *, body: bytes = b"", more: str = "") -> bytes:
    return (
        f"OPTIONS sip:bob@here SIP/2.0\r\nVia: SIP/2.0/WS xyz.invalid;branch=z9hG4bK{branch}\r\nFrom: <sip:a@b.c>;tag=1\r\n"
        f"To: <sip:bob@here>\r\nCall-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\n{more}\r\n"
    ).encode() + body


@asynccontextmanager
async def client(made: Stage, *, tls: ssl.SSLContext | None = None, shakes: bool = True) -> AsyncIterator[Client]:
    port = made.port(Transport.WS if tls is None else Transport.WSS)
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    try:
        found = Client(reader, writer)
        if shakes:
            assert " 101 " in await found.shake()
        yield found
    finally:
        writer.close()


@asynccontextmanager
async def ws_stage(**options: object) -> AsyncIterator[Stage]:
    async with stage(Transport.WS, **{"origins": (PAGE,), **options}) as made:
        yield made


async def answer(found: Client) -> tuple[int, str]:
    opcode, data = await found.get()
    assert opcode == TEXT, opcode
    message = parse(data)
    return getattr(message, "status", 0), message.via.branch or ""


async def test_a_message_is_answered_on_its_connection_though_its_via_names_a_host_that_is_nowhere() -> None:
    async with ws_stage() as made, client(made) as found:
        found.put(TEXT, options("one"))
        assert await answer(found) == (200, "z9hG4bKone")
        found.put(BINARY, options("two"))
        assert await answer(found) == (200, "z9hG4bKtwo")


async def test_a_message_over_wss_is_answered_and_its_flow_says_that_it_is_protected(tmp_path: Path) -> None:
    ca, chain, key = certificates(tmp_path)
    tls = ssl.create_default_context(cafile=ca)
    listening = stage(Transport.WSS, server_tls=server_context(chain, key), origins=(PAGE,))
    async with listening as made, client(made, tls=tls) as found:
        found.put(TEXT, options("one").replace(b"OPTIONS", b"MESSAGE"))
        assert (await answer(found))[0] == 200
        event = await made.next(RequestReceived)
        assert isinstance(event, RequestReceived)
        assert event.flow.transport is Transport.WSS
        assert event.flow.transport.is_protected
        assert event.flow.tls_version is not None


async def test_frames_torn_at_every_byte_and_messages_in_many_fragments_are_put_together() -> None:
    async with ws_stage() as made, client(made) as found:
        message = options("torn")
        for at in range(0, len(message), 7):
            found.put(TEXT if at == 0 else CONT, message[at : at + 7], fin=at + 7 >= len(message))
            if at == 21:
                found.put(PING, b"between fragments")
        assert await found.get() == (PONG, b"between fragments")
        assert await answer(found) == (200, "z9hG4bKtorn")
        whole = Client(found.reader, found.writer)
        sent: list[bytes] = []
        whole.writer = _Kept(sent)  # type: ignore[assignment]
        whole.put(TEXT, options("bytes"))
        for byte in b"".join(sent):
            found.writer.write(bytes([byte]))
            await found.writer.drain()
        assert await answer(found) == (200, "z9hG4bKbytes")


class _Kept:
    def __init__(self, sent: list[bytes]) -> None:
        self.write = sent.append


@pytest.mark.parametrize(
    ("shaking", "status"),
    [
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": PAGE + "."}, 403),
        ({"subprotocol": "xmpp"}, 400),
        ({"subprotocol": None}, 400),
        ({"more": "X: " + "a" * 9000 + "\r\n"}, 431),
        ({"more": "X: y\r\n" * 500}, 431),
    ],
)
async def test_handshakes_of_foreign_pages_other_protocols_and_too_long_ones_are_refused(shaking: dict[str, str], status: int) -> None:
    async with ws_stage() as made, client(made, shakes=False) as found:
        head = await found.shake(**shaking)  # type: ignore[arg-type]
        assert head.startswith(f"HTTP/1.1 {status} ")
        assert "evil" not in head
        found.writer.write(options("after"))
        async with asyncio.timeout(10):
            rest = await found.reader.read()
        assert b"SIP/2.0" not in rest
        await until(lambda: not made.endpoint._connections, timeout_s=10, what="nothing is kept of it")


async def test_a_program_that_is_no_browser_sends_no_origin_and_is_let_in() -> None:
    async with ws_stage(origins=()) as made, client(made, shakes=False) as found:
        assert " 101 " in await found.shake(origin=None)


async def test_an_http_client_that_wants_no_websocket_gets_an_http_answer_and_the_end() -> None:
    async with ws_stage() as made, client(made, shakes=False) as found:
        found.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
        async with asyncio.timeout(10):
            assert (await found.reader.read()).startswith(b"HTTP/1.1 426 ")


async def test_sip_without_a_handshake_gets_no_sip_answer() -> None:
    async with ws_stage() as made, client(made, shakes=False) as found:
        found.writer.write(options("raw"))
        async with asyncio.timeout(10):
            assert b"SIP/2.0 200" not in await found.reader.read()


async def test_a_frame_that_announces_more_than_a_message_may_hold_is_refused_before_its_first_byte_comes() -> None:
    async with ws_stage(max_message=8192) as made, client(made) as found:
        found.put(TEXT, b"", length=1 << 40)
        assert await found.closed() == 1009


async def test_fragments_that_add_up_to_too_much_are_refused() -> None:
    async with ws_stage(max_message=8192) as made, client(made) as found:
        for at in range(9):
            found.put(TEXT if at == 0 else CONT, b"x" * 1000, fin=False)
        assert await found.closed() == 1009


@pytest.mark.parametrize(
    ("opcode", "data", "masked", "code"),
    [(TEXT, b"OPTIONS", False, 1002), (3, b"", True, 1002), (TEXT, b"\xff\xfe", True, 1007), (CONT, b"x", True, 1002)],
)
async def test_frames_that_break_the_protocol_end_the_connection(opcode: int, data: bytes, masked: bool, code: int) -> None:
    async with ws_stage() as made, client(made) as found:
        found.put(opcode, data, masked=masked)
        assert await found.closed() == code


async def test_a_second_message_in_one_websocket_message_is_no_request_of_anybody() -> None:
    async with ws_stage() as made, client(made) as found:
        first = options("first", more="Content-Length: 0\r\n")
        found.put(TEXT, first + options("smuggled"))
        assert await answer(found) == (400, "z9hG4bKfirst")
        found.put(TEXT, options("third"))
        assert await answer(found) == (200, "z9hG4bKthird")
        assert made.events.empty()


async def test_a_message_without_content_length_ends_where_its_websocket_message_ends() -> None:
    async with ws_stage() as made, client(made) as found:
        found.put(TEXT, options("body", body=b"hello", more="Content-Type: text/plain\r\n").replace(b"OPTIONS", b"MESSAGE"))
        assert (await answer(found))[0] == 200
        event = await made.next(RequestReceived)
        assert isinstance(event, RequestReceived)
        assert event.request.body == b"hello"


async def test_both_keep_alives_are_answered() -> None:
    async with ws_stage() as made, client(made) as found:
        found.put(TEXT, b"\r\n\r\n")
        assert await found.get() == (TEXT, b"\r\n")
        found.put(PING, b"are you there")
        assert await found.get() == (PONG, b"are you there")


async def test_a_silent_page_is_asked_for_a_sign_of_life_and_let_go_when_it_gives_none() -> None:
    closed: list[Flow] = []
    async with ws_stage(ping_s=0.4) as made, client(made) as found:
        made.endpoint._on_flow_closed = closed.append
        found.put(TEXT, options("one"))
        await answer(found)
        for _ in range(3):  # as long as it answers it stays
            assert await found.get() == (PING, b"")
            found.put(PONG, b"")
        async with asyncio.timeout(10):
            while await found.reader.read(100):
                pass
        assert [flow.transport for flow in closed] == [Transport.WS]


async def test_what_a_page_sends_just_before_it_closes_is_heard() -> None:
    async with ws_stage() as made, client(made) as found:
        sent: list[bytes] = []
        kept = Client(found.reader, _Kept(sent))  # type: ignore[arg-type]
        kept.put(TEXT, options("last").replace(b"OPTIONS", b"MESSAGE"))
        kept.put(CLOSE, struct.pack("!H", 1000))
        found.writer.write(b"".join(sent))
        await made.next(RequestReceived)
        assert await found.closed() == 1000


async def test_a_handshake_that_never_ends_is_cut_off() -> None:
    async with ws_stage(ping_s=0.4, handshake_s=0.3) as made, client(made, shakes=False) as found:
        found.writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n")
        async with asyncio.timeout(10):
            assert await found.reader.read() == b""


async def test_a_flood_of_pings_ends_the_connection() -> None:
    async with ws_stage(rate_per_s=10.0, burst=20.0) as made, client(made) as found:
        for _ in range(2000):
            found.put(PING, b"")
        async with asyncio.timeout(20):
            try:
                while await found.reader.read(65536):
                    pass
            except ConnectionError:
                pass
        await until(lambda: not made.endpoint._connections, timeout_s=10, what="the connection is gone")


async def test_nobody_makes_us_open_a_websocket() -> None:
    async with ws_stage() as made, stage(Transport.WS) as other:
        made.endpoint.send("OPTIONS", hop=Target(Transport.WS, "127.0.0.1", other.port(Transport.WS)), uri=BOB.sip_uri, from_=ANNA, to=BOB)
        event = await made.next(Responded)
        assert isinstance(event, Responded)
        assert (event.status, event.cause) == (503, Cause.TRANSPORT)
        assert not other.endpoint._connections
