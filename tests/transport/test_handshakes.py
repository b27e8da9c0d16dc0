"""TLS handshakes by turns: everybody who connects at once gets in, and who dawdles keeps nobody waiting."""

import asyncio
import ssl
from pathlib import Path

from hushwire.sip.flow import Transport
from hushwire.transport.tls import server_context
from tests.transport.stage import certificates, stage

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
