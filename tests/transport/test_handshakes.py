"""TLS handshakes by turns: everybody who connects at once gets in, and who dawdles keeps nobody waiting."""

import asyncio
import ssl
from pathlib import Path

import pytest

from hushwire.sip.flow import Transport
from hushwire.transport import listeners
from hushwire.transport.tls import server_context
from tests.polling import until
from tests.transport.stage import certificates, stage
from tests.transport.test_hello import client_hello

CLIENT_HELLO_BEGINS = b"\x16\x03\x01\x02\x00\x01"
MANY = 150


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def shaken(port: int) -> asyncio.StreamWriter:
    async with asyncio.timeout(30):
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
    return writer


async def test_more_than_may_shake_hands_at_once_all_get_in(tmp_path: Path) -> None:
    _, chain, key = certificates(tmp_path)
    async with stage(Transport.TLS, server_tls=server_context(chain, key), handshake_s=30.0) as made:
        port = made.port(Transport.TLS)
        opened = await asyncio.gather(*(shaken(port) for _ in range(MANY)))
        assert len(opened) == MANY
        for writer in opened:
            writer.close()


async def test_who_says_nothing_and_who_never_finishes_keep_nobody_waiting(tmp_path: Path) -> None:
    _, chain, key = certificates(tmp_path)
    async with stage(Transport.TLS, server_tls=server_context(chain, key), handshake_s=60.0) as made:
        port = made.port(Transport.TLS)
        dawdling = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2 * 40)]
        for _, writer in dawdling[::2]:
            writer.write(CLIENT_HELLO_BEGINS)
        writer = await shaken(port)  # long before any of theirs is given up
        writer.close()
        for _, left in dawdling:
            left.close()


async def test_half_a_hello_costs_no_turn_and_beyond_a_sources_share_the_oldest_of_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listeners, "_QUICK_S", 60.0)  # a turn that is taken is not given back while the test runs
    _, chain, key = certificates(tmp_path)
    limits = {"handshake_s": 60.0, "max_connections_per_source": 1000, "max_silent_per_source": 60}
    async with stage(Transport.TLS, server_tls=server_context(chain, key), **limits) as made:
        port, whole = made.port(Transport.TLS), client_hello()
        pieces = (0, len(whole) // 2, len(whole) - 1)
        sources = ("127.0.0.41", "127.0.0.42", "127.0.0.43")
        held = []
        for number in range(360):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(sources[number % len(sources)], 0))
            writer.write(whole[: pieces[number % 3]])
            held.append((reader, writer))
        places = made.endpoint._places
        await until(lambda: places.taken == 60 * len(sources), what="each source has its share")
        async with asyncio.timeout(10):
            assert await held[0][0].read() == b""  # the oldest was shown the door
        (await shaken(port)).close()
        # Who says the rest is let in, from the midst of them.
        reader, writer = held[-2]
        writer.write(whole[pieces[1] :])
        async with asyncio.timeout(10):
            assert (await reader.readexactly(1)) == b"\x16"
        for _, writer in held:
            writer.close()
