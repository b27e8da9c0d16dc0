"""Who opens TLS connections and never says a whole ClientHello keeps nobody waiting: a phone registers and calls beside hundreds."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from tests.deployments import FAR_NUMBER, Deployment, Kind
from tests.transport.test_hello import client_hello

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]
SOURCES = ("127.0.0.31", "127.0.0.32", "127.0.0.33")
MANY = 500


def opened(address: tuple[str, int], stack: ExitStack) -> None:
    """Half of a hello on most of them, and nothing at all on each fifth."""
    half = client_hello()[:-1]
    for number in range(MANY):
        one = stack.enter_context(socket.socket())
        one.bind((SOURCES[number % len(SOURCES)], 0))
        one.settimeout(10)
        one.connect(address)
        if number % 5:
            one.send(half)


@pytest.mark.parametrize("kind", ["pjsua2", "baresip"])
async def test_a_phone_registers_and_calls_beside_500_half_open_hellos_of_three_sources(deployment: Deployment, kind: Kind) -> None:
    with ExitStack() as stack:
        await asyncio.to_thread(opened, deployment.stack.sip("tls"), stack)
        async with deployment.carrier() as carrier, deployment.phone("anna", kind=kind, transport="tls") as anna:
            call = await anna.call(deployment.uri(FAR_NUMBER))
            incoming = await carrier.expect("incoming")
            await anna.expect_state(call, "confirmed")
            await anna.hangup(call)
            await carrier.expect_state(incoming["call"], "disconnected")
