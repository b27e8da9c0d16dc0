"""A UDP socket that is emptied at once, and works off calls before registrations."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hushwire.sip.flow import Address, Flow
from hushwire.transport.datagrams import MOST_LATER, Datagrams
from tests.polling import until

REGISTER, INVITE = b"REGISTER sip:a SIP/2.0\r\n", b"INVITE sip:a SIP/2.0\r\n"


@asynccontextmanager
async def opened(seen: list[bytes], refused: bytes = b"never") -> AsyncIterator[tuple[Datagrams, socket.socket]]:
    def receive(data: bytes, flow: Flow) -> None:
        assert flow.remote.port == peer.getsockname()[1]
        seen.append(data)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        made = Datagrams(3, "127.0.0.1", 0, lambda data, _remote: not data.startswith(refused), receive, lambda _remote: "127.0.0.1")
        try:
            yield made, peer
        finally:
            made.close()


async def test_what_waits_is_worked_off_with_calls_first_and_nothing_is_lost() -> None:
    seen: list[bytes] = []
    async with opened(seen) as (made, peer):
        for number in range(60):
            peer.sendto(REGISTER + b"%d" % number, made.local)
        for number in range(20):
            peer.sendto(INVITE + b"%d" % number, made.local)
        await until(lambda: len(seen) == 80, what="all are worked off")
    kinds = [data.startswith(INVITE) for data in seen]
    # The first slice has every call, though the registrations came before.
    assert kinds[:20] == [True] * 20
    assert [data for data in seen if data.startswith(REGISTER)] == [REGISTER + b"%d" % number for number in range(60)]


class Counting:
    """A socket whose reads are counted."""

    def __init__(self, of: socket.socket) -> None:
        self.of = of
        self.reads = 0

    def recvfrom_into(self, buffer: bytearray) -> tuple[int, tuple[str, int]]:
        self.reads += 1
        return self.of.recvfrom_into(buffer)

    def __getattr__(self, name: str) -> object:
        return getattr(self.of, name)


async def test_whether_more_has_come_is_not_asked_after_each_message_that_comes_alone() -> None:
    seen: list[bytes] = []
    async with opened(seen) as (made, peer):
        counting = Counting(made._socket)
        made._socket = counting  # type: ignore[assignment]
        for number in range(32):
            peer.sendto(INVITE, made.local)
            await until(lambda number=number: len(seen) == number + 1, what="it is worked off")  # type: ignore[misc]
    assert counting.reads <= 32 + 32 // 4


async def test_registrations_go_on_while_calls_do_not_end() -> None:
    seen: list[bytes] = []
    async with opened(seen) as (made, peer):
        for number in range(40):
            peer.sendto(REGISTER + b"%d" % number, made.local)
            for _ in range(10):
                peer.sendto(INVITE, made.local)
            if number % 10 == 9:
                await asyncio.sleep(0)
        await until(lambda: len(seen) == 440, what="all are worked off")
    assert sum(data.startswith(REGISTER) for data in seen[:300]) >= 8


async def test_what_a_phone_sends_again_while_it_waits_takes_no_second_place_and_is_heard_once_it_was_answered() -> None:
    seen: list[bytes] = []
    async with opened(seen) as (made, peer):
        made._is_due = True  # busy
        for _ in range(3):
            peer.sendto(REGISTER + b"1", made.local)
        peer.sendto(REGISTER + b"2", made.local)
        await until(lambda: len(made._later) == 2, what="both wait")
        made._work()
        await until(lambda: len(seen) == 2, what="both are worked off")
        assert made._later_bytes == 0
        peer.sendto(REGISTER + b"1", made.local)
        await until(lambda: len(seen) == 3, what="it is heard again")
    assert seen == [REGISTER + b"1", REGISTER + b"2", REGISTER + b"1"]


async def test_the_queue_of_registrations_has_an_end_and_what_is_not_admitted_takes_no_place() -> None:
    seen: list[bytes] = []
    async with opened(seen, refused=b"REGISTER sip:a SIP/2.0\r\nbad") as (made, peer):
        made._later.extend([(REGISTER, made._flow(("127.0.0.1", peer.getsockname()[1])))] * (MOST_LATER - 1))
        made._is_due = True
        for last in (b"bad", b"good", b"too many"):
            peer.sendto(REGISTER + last, made.local)
        await until(lambda: len(made._later) == MOST_LATER, what="the queue is full")
        await asyncio.sleep(0)
        made._work()
        await until(lambda: len(seen) == MOST_LATER, what="all are worked off")
    assert seen[-1] == REGISTER + b"good"


async def test_a_closed_socket_sends_nothing_and_bad_addresses_are_told() -> None:
    async with opened([]) as (made, peer):
        assert made.send(b"x", Address("127.0.0.1", peer.getsockname()[1]))
        assert not made.send(b"x", Address("not an address", 5060))
        assert not made.send(b"x", Address("127.0.0.1", 70000))
    assert not made.send(b"x", Address("127.0.0.1", 5060))
    made.close()
