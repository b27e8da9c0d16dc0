"""A ClientHello is known to be whole by looking at its bytes where they lie: in one record or in several, and what is none is no secret."""

import asyncio
import socket
import ssl
from itertools import pairwise

import pytest

from hushwire.transport import hello


def client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="voice.example.org").do_handshake()
    return outgoing.read()


def in_records(whole: bytes, cuts: tuple[int, ...]) -> bytes:
    message = whole[5:]
    parts = [message[begin:end] for begin, end in pairwise((0, *cuts, len(message)))]
    return b"".join(whole[:3] + len(part).to_bytes(2, "big") + part for part in parts)


@pytest.mark.parametrize("cuts", [(), (1,), (3,), (4,), (1, 2, 3, 100)])
def test_no_prefix_of_a_hello_is_whole_and_all_of_it_is(cuts: tuple[int, ...]) -> None:
    said = in_records(client_hello(), cuts)
    for length in range(len(said)):
        assert length < hello.wanted(said[:length]) <= len(said)
    assert hello.wanted(said) == len(said)
    assert hello.wanted(said + b"more") <= len(said)


@pytest.mark.parametrize(
    "data",
    [
        b"OPTIONS sip:a SIP/2.0\r\n",
        b"\x17\x03\x03\x00\x10",
        b"\x16\x03\x01\xff\xff\x01",
        b"\x16\x03\x01\x00\x00",
        b"\x16\x03\x01\x00\x04\x02\0\0\0",
    ],
)
def test_what_is_no_hello_is_left_to_the_handshake_which_refuses_it(data: bytes) -> None:
    assert hello.wanted(data) <= len(data)


def test_a_hello_that_says_it_is_endless_is_never_whole() -> None:
    record = b"\x16\x03\x01\x40\x00"
    endless = b"".join(record + (b"\x01\xff\xff\xff" if not at else b"aaaa") + bytes(0x4000 - 4) for at in range(5))
    assert hello.wanted(endless[: hello.LONGEST]) > hello.LONGEST


def test_a_hello_in_very_many_records_is_never_whole_and_soon_looked_at() -> None:
    whole = client_hello()
    several = in_records(whole, tuple(range(1, 15)))
    assert hello.wanted(several) == len(several)
    crumbs = in_records(whole, tuple(range(1, len(whole) - 5)))
    assert hello.wanted(crumbs) > hello.LONGEST

    class Counting(bytes):
        looks = 0

        def __getitem__(self, at: object) -> bytes:  # type: ignore[override]
            Counting.looks += 1
            return super().__getitem__(at)  # type: ignore[index]

    hello.wanted(Counting(b"\x16\x03\x01\x00\x01\x01" * 10_000))
    assert Counting.looks < 100


async def test_who_says_it_in_pieces_is_heard_once_it_is_whole_and_nothing_of_it_is_taken() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        whole = client_hello()
        waiting = asyncio.create_task(hello.said(ours))
        for at in range(0, len(whole), 60):
            assert not waiting.done()
            theirs.send(whole[at : at + 60])
            await asyncio.sleep(0)
        async with asyncio.timeout(10):
            await waiting
        assert ours.recv(4096) == whole
