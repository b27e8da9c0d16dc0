"""A small SIP client for load: agents that call with digest (SHA-256, which SIPp does not know) over one UDP socket."""

from __future__ import annotations

import asyncio
import base64
import re
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

from provisioned import PASSWORD

from hushwire.app.demo.stack import DOMAIN
from tests.interop.rawsip import challenges, digest, status

NUMBER = "+442079460123"
SUITE = "AES_CM_128_HMAC_SHA1_80"


class Wire(asyncio.DatagramProtocol):
    """One UDP socket for many calls: each message goes to its Call-ID's call, else to `on_new`."""

    def __init__(self, on_new: Callable[[str, tuple[str, int]], None] = lambda _text, _addr: None) -> None:
        self.calls: dict[str, Callable[[str, tuple[str, int]], None]] = {}
        self._on_new = on_new
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    async def open(self, port: int = 0) -> None:
        """Binds 127.0.0.1:`port`."""
        await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode(errors="replace")
        self.calls.get(header(text, "Call-ID"), self._on_new)(text, addr)

    def send(self, text: str, to: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(text.encode(), to)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()


class AgentCall:
    """One call of one agent: `start` it, then `end` it. Where the packets go is `remote`, with which key `recv_key`."""

    def __init__(self, wire: Wire, gateway: tuple[str, int], name: str, media: str, send_key: bytes | None) -> None:
        self.wire, self.gateway, self.name, self.media, self.send_key = wire, gateway, name, media, send_key
        self.recv_key = b""
        self.remote = ""
        self.began = self.rang_at = self.confirmed_at = self.ended_at = 0.0
        self.call_id, self.tag, self.cseq = secrets.token_hex(8), secrets.token_hex(4), 0
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        wire.calls[self.call_id] = self.on_message
        self.target = f"sip:{NUMBER}@acme.{DOMAIN}"
        self.to, self.contact = f"<{self.target}>", self.target

    def on_message(self, text: str, addr: tuple[str, int]) -> None:
        """What the wire has for this call."""
        if text.startswith("SIP/2.0 "):
            if status(text) >= 200:
                self.answers.put_nowait(text)
            elif status(text) == 180:
                self.rang_at = self.rang_at or time.monotonic()
        elif text.startswith("BYE "):
            self.ended_at = time.monotonic()
            self.wire.send(response(text, 200, "OK"), addr)

    async def ask(self, method: str, uri: str, more: str = "", body: str = "", branch: str = "") -> str:
        """`branch`: of the INVITE whose refusal an ACK acknowledges, as part of its transaction (RFC 3261 section 17.1.1.3)."""
        if method != "ACK":
            self.cseq += 1
        self.branch = branch or f"z9hG4bK{secrets.token_hex(8)}"
        port = self.wire.port
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = (
            f"{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch={self.branch};rport\r\n"
            f"From: <sip:{self.name}@acme.{DOMAIN}>;tag={self.tag}\r\nTo: {self.to}\r\nCall-ID: {self.call_id}\r\n"
            f"CSeq: {self.cseq} {method}\r\nContact: <sip:{self.name}@127.0.0.1:{port}>\r\nMax-Forwards: 70\r\n{more}{kind}"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        )
        self.wire.send(text, self.gateway)
        if method == "ACK":
            return ""
        async with asyncio.timeout(10):
            return await self.answers.get()

    async def start(self) -> None:
        """An established call, or an error that tells its status."""
        self.began = time.monotonic()
        body = description(*self.media.split(":"), self.send_key)
        answer = await self.ask("INVITE", self.target, body=body)
        if status(answer) == 401:
            chosen = next(c for c in challenges(answer) if c["algorithm"] == "SHA-256")
            self.to = header(answer, "To")
            await self.ask("ACK", self.target, branch=self.branch)
            self.to = f"<{self.target}>"
            authorization = digest(chosen, self.name, PASSWORD, "INVITE", self.target)
            answer = await self.ask("INVITE", self.target, f"Authorization: {authorization}\r\n", body)
        if status(answer) != 200:
            raise RuntimeError(f"the call of {self.name} was answered with {status(answer)}")
        self.to = header(answer, "To")
        self.contact = re.search(r"<(.*?)>", header(answer, "Contact"))[1]  # type: ignore[index]
        await self.ask("ACK", self.contact)
        self.confirmed_at = time.monotonic()
        self.remote = media_address(answer)
        if self.send_key is not None:
            inline = re.search(rf"a=crypto:\d+ {SUITE} inline:([A-Za-z0-9+/=]+)", answer)
            assert inline, "no SRTP in the answer"
            self.recv_key = base64.b64decode(inline[1])

    async def end(self) -> None:
        """BYE, answered."""
        answer = await self.ask("BYE", self.contact)
        self.ended_at = time.monotonic()
        del self.wire.calls[self.call_id]
        if status(answer) != 200:
            raise RuntimeError(f"BYE of {self.name} was answered with {status(answer)}")


def header(text: str, name: str) -> str:
    found = re.search(rf"(?im)^{name}\s*:\s*(.*?)\r?$", text)
    assert found, f"no {name}"
    return found[1]


def media_address(text: str) -> str:
    address, port = re.search(r"c=IN IP4 (\S+)", text), re.search(r"m=audio (\d+)", text)
    assert address
    assert port
    return f"{address[1]}:{port[1]}"


def description(host: str, port: str, key: bytes | None) -> str:
    profile = "RTP/SAVP" if key else "RTP/AVP"
    crypto = f"a=crypto:1 {SUITE} inline:{base64.b64encode(key).decode()}\r\n" if key else ""
    return (
        f"v=0\r\no=- 1 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio {port} {profile} 0\r\na=rtpmap:0 PCMU/8000\r\n"
        f"a=sendrecv\r\n{crypto}"
    )


def response(request: str, code: int, reason: str, body: str = "") -> str:
    vias = "".join(f"{line}\r\n" for line in request.split("\r\n") if re.match(r"(?i)(via|v|record-route)\s*:", line))
    to = header(request, "To")
    to += "" if ";tag=" in to else ";tag=carrier"
    kind = "Content-Type: application/sdp\r\n" if body else ""
    return (
        f"SIP/2.0 {code} {reason}\r\n{vias}From: {header(request, 'From')}\r\nTo: {to}\r\nCall-ID: {header(request, 'Call-ID')}\r\n"
        f"CSeq: {header(request, 'CSeq')}\r\nContact: <sip:carrier@127.0.0.1>\r\n{kind}Content-Length: {len(body)}\r\n\r\n{body}"
    )
