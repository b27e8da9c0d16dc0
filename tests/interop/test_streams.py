"""SIP over TCP and TLS as networks really deliver it: torn anywhere, glued together, kept alive with empty lines."""

import asyncio
import ssl

import pytest

from hushwire.app.demo.stack import DOMAIN
from tests.deployments import Deployment, Transport

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


def options(branch: str, transport: str) -> bytes:
    return (
        f"OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/{transport.upper()} 127.0.0.1:9;branch=z9hG4bK{branch}\r\n"
        f"From: <sip:x@127.0.0.1>;tag=1\r\n"
        f"To: <sip:{DOMAIN}>\r\nCall-ID: {branch}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 4\r\n\r\nbody"
    ).encode()


async def connect(deployment: Deployment, transport: Transport) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = deployment.stack.sip(transport)
    context = ssl.create_default_context(cafile=deployment.stack.authority) if transport == "tls" else None
    return await asyncio.open_connection(host, port, ssl=context)


async def answered(reader: asyncio.StreamReader, count: int) -> list[bytes]:
    """Branches of `count` answers 200."""
    branches = []
    async with asyncio.timeout(10):
        while len(branches) < count:
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.lstrip().startswith(b"SIP/2.0 200"), head
            branches.append(head.partition(b"branch=z9hG4bK")[2].partition(b"\r\n")[0].partition(b";")[0])
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith((b"content-length:", b"l:")))
            await reader.readexactly(int(length.partition(b":")[2]))
    return branches


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_message_torn_at_every_byte_is_answered(deployment: Deployment, transport: Transport) -> None:
    reader, writer = await connect(deployment, transport)
    message = options("torn", transport)
    for byte in message:
        writer.write(bytes([byte]))
        await writer.drain()
    assert await answered(reader, 1) == [b"torn"]
    writer.close()


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_messages_glued_together_with_empty_lines_between_them_are_each_answered(
    deployment: Deployment, transport: Transport
) -> None:
    reader, writer = await connect(deployment, transport)
    names = [f"glued{n}" for n in range(10)]
    writer.write(b"\r\n".join(options(name, transport) for name in names))
    assert sorted(await answered(reader, len(names))) == sorted(name.encode() for name in names)
    writer.close()


async def test_a_ping_of_empty_lines_gets_its_pong(deployment: Deployment) -> None:
    reader, writer = await connect(deployment, "tcp")
    writer.write(b"\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.readexactly(2) == b"\r\n"
    writer.close()


async def test_a_connection_that_sends_nothing_but_a_half_message_does_not_disturb_the_others(deployment: Deployment) -> None:
    _, silent = await connect(deployment, "tcp")
    silent.write(options("half", "tcp")[:100])
    await silent.drain()
    reader, writer = await connect(deployment, "tcp")
    writer.write(options("whole", "tcp"))
    assert await answered(reader, 1) == [b"whole"]
    writer.close()
    silent.close()


async def test_tls_below_1_2_is_refused(deployment: Deployment) -> None:
    host, port = deployment.stack.sip("tls")
    context = ssl.create_default_context(cafile=deployment.stack.authority)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection(host, port, ssl=context)
