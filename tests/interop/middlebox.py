"""A router between a phone and hushwire that reads along and rewrites session descriptions, as SIP helpers in routers do.

hushwire sees all of the phone's signalling come from the router; media goes past it. What is rewritten is said by the test.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Address = tuple[str, int]
Rewrite = Callable[[str], str]


@dataclass(eq=False)
class Middlebox(asyncio.DatagramProtocol):
    """UDP between one phone and `hushwire`; `outward` rewrites each description that the phone sends, `inward` each that it gets."""

    hushwire: Address
    outward: Rewrite
    inward: Rewrite
    address: Address = ("", 0)
    phone: Address | None = None
    descriptions: list[str] = field(default_factory=list)
    """What came from hushwire, as it came."""
    _transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport

    def datagram_received(self, data: bytes, source: Address) -> None:
        assert self._transport is not None
        if source == self.hushwire:
            if self.phone is not None:
                self._transport.sendto(self._to_phone(data), self.phone)
        else:
            self.phone = source
            self._transport.sendto(self._to_hushwire(data), self.hushwire)

    def _to_phone(self, data: bytes) -> bytes:
        head, body = _parted(data)
        if body.startswith("v=0"):
            self.descriptions.append(body)
            body = self.inward(body)
        # What follows in the dialog comes through here too.
        head = re.sub(r"(?mi)^(Contact: .*)" + re.escape(_said(self.hushwire)), lambda m: m[1] + _said(self.address), head)
        return _whole(head, body)

    def _to_hushwire(self, data: bytes) -> bytes:
        head, body = _parted(data)
        first, line_end, rest = head.partition("\r\n")
        head = first.replace(_said(self.address), _said(self.hushwire)) + line_end + rest
        return _whole(head, self.outward(body) if body.startswith("v=0") else body)


def _said(address: Address) -> str:
    return f"{address[0]}:{address[1]}"


def _parted(data: bytes) -> tuple[str, str]:
    head, _, body = data.decode("latin-1").partition("\r\n\r\n")
    return head, body


def _whole(head: str, body: str) -> bytes:
    head = re.sub(r"(?mi)^(Content-Length|l)(\s*:\s*)\d+", lambda m: f"{m[1]}{m[2]}{len(body)}", head)
    return f"{head}\r\n\r\n{body}".encode("latin-1")


@asynccontextmanager
async def middlebox(
    hushwire: Address, *, outward: Rewrite = str, inward: Rewrite = str, host: str = "127.0.0.1"
) -> AsyncIterator[Middlebox]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, 0))
    box = Middlebox(hushwire, outward, inward, sock.getsockname())
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: box, sock=sock)
    try:
        yield box
    finally:
        transport.close()


def only_suite(suite: str) -> Rewrite:
    """Leave of the keys only those of one suite."""

    def rewrite(sdp: str) -> str:
        return "".join(line for line in sdp.splitlines(keepends=True) if not line.startswith("a=crypto:") or f" {suite} " in line)

    return rewrite


def media_at(ip: str) -> Rewrite:
    """Announce another address for the media."""

    def rewrite(sdp: str) -> str:
        return re.sub(r"(?m)^c=IN IP4 \S+", f"c=IN IP4 {ip}", sdp)

    return rewrite
