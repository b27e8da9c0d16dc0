"""Whether a TLS peer has said its ClientHello whole (RFC 8446 sections 4, 5.1), told of its first bytes without taking them."""

import asyncio
import select
import socket
from typing import Final

_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_LONGEST_RECORD: Final = (1 << 14) + 256
LONGEST: Final = 1 << 16
"""Bytes that are looked at; a longer ClientHello never counts as whole."""
_MOST_RECORDS: Final = 16
"""More than any client uses. All of them are walked along each time that more has come, so one in more never counts as whole either."""
_LONGEST_PAUSE_S: Final = 0.5


def wanted(data: bytes) -> int:
    """How many bytes there must be at least for the ClientHello that `data` begins with to be whole; never more than there are where it is.

    What is no ClientHello is whole as it is: the handshake refuses it at once.
    """
    at, begun = 0, bytearray()
    for _ in range(_MOST_RECORDS):
        if data[at : at + 1] not in (b"", bytes((_HANDSHAKE,))):
            return 0
        if len(data) < at + _RECORD_HEADER:
            return at + _RECORD_HEADER
        length = int.from_bytes(data[at + 3 : at + _RECORD_HEADER], "big")
        if not 0 < length <= _LONGEST_RECORD:
            return 0
        begun += data[at + _RECORD_HEADER : at + _RECORD_HEADER + length]
        at += _RECORD_HEADER + length
        if begun and begun[0] != _CLIENT_HELLO:
            return 0
        is_whole = len(begun) >= _MESSAGE_HEADER and len(begun) >= _MESSAGE_HEADER + int.from_bytes(begun[1:_MESSAGE_HEADER], "big")
        if is_whole or len(data) < at:
            return at
    return LONGEST + 1


async def said(peer: socket.socket) -> None:
    """Return once it is there, or the peer has hung up. Who says half of it and falls silent costs nothing meanwhile."""
    pause_s, before = 0.01, -1
    while True:
        await _readable(peer)
        try:
            data = peer.recv(LONGEST, socket.MSG_PEEK)
        except BlockingIOError:
            continue
        needed = wanted(data)
        if needed <= len(data) or has_hung_up(peer):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            return
        # The kernel wakes us once so much is there; where it does not obey, what is there already would wake us again and again.
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, needed)
        if len(data) == before:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        before = len(data)


def has_hung_up(peer: socket.socket) -> bool:
    """Whether nobody is there any more to shake hands with."""
    look = select.poll()
    look.register(peer, select.POLLRDHUP)
    return bool(look.poll(0))


async def _readable(peer: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    readable: asyncio.Future[None] = loop.create_future()
    loop.add_reader(peer.fileno(), lambda: None if readable.done() else readable.set_result(None))
    try:
        await readable
    finally:
        loop.remove_reader(peer.fileno())
