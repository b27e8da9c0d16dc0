"""Where an answer goes whose connection is gone: to its peer, and to no service of ours whose port Via names."""

import asyncio
import socket

import pytest

from hushwire.sip.effects import RequestReceived
from hushwire.sip.flow import Transport
from tests.polling import until
from tests.transport.stage import stage
from tests.transport.test_websocket import options


@pytest.mark.parametrize("is_ours", [False, True])
async def test_an_answer_whose_connection_is_gone_is_not_carried_to_a_service_of_ours(is_ours: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as named:
        named.setblocking(False)
        port = named.getsockname()[1]
        ours = frozenset({port}) if is_ours else frozenset()
        async with stage(Transport.TCP, react=None, admin_ports=ours) as made:
            _, writer = await asyncio.open_connection("127.0.0.1", made.port(Transport.TCP))
            asked = options("lost", more="Content-Length: 0\r\n").replace(b"OPTIONS", b"MESSAGE")
            writer.write(asked.replace(b"SIP/2.0/WS xyz.invalid", f"SIP/2.0/TCP 127.0.0.1:{port}".encode()))
            event = await made.next(RequestReceived)
            assert isinstance(event, RequestReceived)
            writer.close()
            await until(lambda: not made.endpoint._connections, what="the connection is gone")
            made.endpoint.respond(event.tx, 200)
            await until(lambda: not made.endpoint._opening, what="the answer was tried")
            if is_ours:
                with pytest.raises(BlockingIOError):
                    named.accept()
                return
            peer, _ = named.accept()
            with peer:
                peer.setblocking(False)
                async with asyncio.timeout(10):
                    assert (await asyncio.get_running_loop().sock_recv(peer, 4096)).startswith(b"SIP/2.0 200")
