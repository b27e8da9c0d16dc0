"""Places of connections, and over real sockets who is let go of when there are too many silent ones."""

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from hushwire.sip.effects import Responded
from hushwire.sip.flow import Target, Transport
from hushwire.transport.places import Places, Waiting
from hushwire.transport.tls import client_context, server_context
from tests.polling import until
from tests.sip.world import ANNA, BOB
from tests.transport.stage import certificates, stage
from tests.transport.test_websocket import options


def test_one_source_has_its_share_and_all_together_have_theirs() -> None:
    places = Places(5, 2, 100)
    assert [places.take("a") for _ in range(3)] == [True, True, False]
    assert [places.take("b"), places.take("b"), places.take("c"), places.take("d")] == [True, True, True, False]
    places.free("a")
    assert places.take("d")
    assert places.take("e", is_exempt=True)
    assert places.taken == 6


def test_the_oldest_that_said_nothing_is_given_up_for_the_newest() -> None:
    places, ended = Places(100, 100, 3), []
    for id_ in range(5):
        places.expect(id_, "a", lambda id_=id_: ended.append(id_))
        places.proven(1)
    assert ended == [0]
    places.expect(5, "a", lambda: ended.append(5))
    assert ended == [0, 2]


def test_the_source_that_has_most_loses_its_oldest_and_so_does_one_that_has_all_its_own() -> None:
    waiting, ended = Waiting(6, 4), []
    for id_, host in enumerate("abaabcc"):
        waiting.put(id_, host, lambda id_=id_: ended.append(id_))
    assert ended == [0]
    for gone in (2, 3, 1, 4, 5):
        waiting.drop(gone)
    for id_ in range(7, 12):
        waiting.put(id_, "d", lambda id_=id_: ended.append(id_))
    assert ended == [0, 7]


async def is_ended(reader: asyncio.StreamReader) -> bool:
    with suppress(ConnectionError):
        async with asyncio.timeout(10):
            while await reader.read(1000):
                pass
    return True


@pytest.mark.parametrize("transport", [Transport.TCP, Transport.TLS])
async def test_a_phone_is_served_though_somebody_holds_silent_connections_open(transport: Transport, tmp_path: Path) -> None:
    ca, chain, key = certificates(tmp_path)
    async with stage(transport, server_tls=server_context(chain, key), max_unproven=4, handshake_s=60.0) as made:
        port = made.port(transport)
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        tls = client_context(ca) if transport is Transport.TLS else None
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
        writer.write(options("one", more="Content-Length: 0\r\n"))
        async with asyncio.timeout(10):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200")
        await asyncio.gather(*(is_ended(reader) for reader, _ in silent[:8]))
        await until(lambda: made.endpoint._places.taken <= 5, what="what was given up has no place")
        for _, other in [*silent, (reader, writer)]:
            other.close()
        await until(lambda: made.endpoint._places.taken == 0, what="all places are free")


async def test_a_handshake_that_is_given_up_before_its_first_step_gives_its_place_back(tmp_path: Path) -> None:
    _, chain, key = certificates(tmp_path)
    async with stage(Transport.TLS, server_tls=server_context(chain, key), max_unproven=4, handshake_s=60.0) as made:
        # All at the door before the loop runs again: they are taken in, and the oldest given up, in one go.
        at_once = [socket.create_connection(("127.0.0.1", made.port(Transport.TLS))) for _ in range(40)]
        await until(lambda: made.endpoint._places._unproven._sources, what="they are taken in")
        await until(lambda: made.endpoint._places.taken == 4, timeout_s=10, what="what was given up has no place")
        for other in at_once[:36]:
            other.settimeout(10)
            assert await asyncio.to_thread(other.recv, 1) == b"", "and no connection"
        for other in at_once:
            other.close()
        await until(lambda: made.endpoint._places.taken == 0, what="all places are free")


async def test_what_we_open_ourselves_is_not_refused_because_strangers_took_all_places() -> None:
    async with stage(Transport.TCP) as carrier, stage(Transport.TCP, max_connections=1) as made:
        _, stranger = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        await until(lambda: made.endpoint._places.taken == 1, what="the stranger has the only place")
        hop = Target(Transport.TCP, "127.0.0.1", carrier.port(Transport.TCP))
        made.endpoint.send("OPTIONS", hop=hop, uri=BOB.sip_uri, from_=ANNA, to=BOB)
        event = await made.next(Responded)
        assert isinstance(event, Responded)
        assert event.status == 200
        stranger.close()


@pytest.mark.parametrize("signs", [b"", b"\r\n\r\n"])
async def test_a_connection_that_never_says_a_message_is_cut_off_whatever_signs_of_life_it_gives(signs: bytes) -> None:
    async with stage(Transport.TCP, patience_s=0.6) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        ended = asyncio.create_task(is_ended(reader))
        async with asyncio.timeout(10):
            while not ended.done():
                with suppress(ConnectionError):
                    writer.write(signs)
                await asyncio.wait({ended}, timeout=0.05)
        writer.close()


async def test_a_message_that_trickles_in_byte_by_byte_is_cut_off_and_others_are_served_meanwhile() -> None:
    async with stage(Transport.TCP, patience_s=0.6) as made:
        reader, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        first = options("first", more="Content-Length: 0\r\n")
        writer.write(first)
        ended = asyncio.create_task(is_ended(reader))
        slow = iter(options("slow", more="X: " + "y" * 60000 + "\r\nContent-Length: 0\r\n"))
        async with asyncio.timeout(10):
            while not ended.done():
                with suppress(ConnectionError):
                    writer.write(bytes([next(slow)]))
                await asyncio.wait({ended}, timeout=0.02)
        other_reader, other = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
        other.write(first)
        async with asyncio.timeout(10):
            assert (await other_reader.readuntil(b"\r\n\r\n")).startswith(b"SIP/2.0 200")
        writer.close()
        other.close()
