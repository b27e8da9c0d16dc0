"""SIGTERM with a call under way, to the gateway of an `up` and to `up` itself: both parties go on until they hang up themselves."""

import asyncio
import os
import signal

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import FAR_NUMBER, Deployment, start_deployment
from tests.interop.hearing import End, hear_each_other
from tests.polling import until

# Slow: a deployment of its own, which is ended.
pytestmark = [pytest.mark.slow, pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def said(running: Deployment, event: str, count: int) -> None:
    """Returns once the log tells the event so often."""
    await until(lambda: running.stack.log.read_text(errors="replace").count(event) >= count, timeout_s=60, what=f"{event} in the log")


async def test_a_call_ends_by_itself_before_its_gateway_does_and_before_all_of_hushwire_does() -> None:
    async with start_deployment(more="[limits]\ndrain_s = 120\n") as running, running.carrier() as carrier, running.phone("anna") as anna:
        call = await anna.call(running.uri(FAR_NUMBER))
        incoming = await carrier.expect("incoming")
        await anna.expect_state(call, "confirmed")
        before = running.stack.children()["gateway"]
        os.kill(before, signal.SIGTERM)
        await said(running, "gateway.draining", 1)
        assert running.stack.children()["gateway"] == before
        await carrier.hangup(incoming["call"])
        await anna.expect_state(call, "disconnected")
        await said(running, "gateway.ready", 2)

        since = len(carrier.events)
        call = await anna.call(running.uri(FAR_NUMBER))
        incoming = await carrier.expect("incoming", since=since)
        await anna.expect_state(call, "confirmed")
        running.stack.process.send_signal(signal.SIGTERM)
        await said(running, "gateway.draining", 2)
        refused = await anna.call(running.uri(FAR_NUMBER))
        assert (await anna.expect_state(refused, "disconnected"))["status"] == 503
        await hear_each_other(End(anna, call, AGENT), End(carrier, incoming["call"], CARRIER))
        assert running.stack.process.returncode is None
        await anna.hangup(call)
        await carrier.expect_state(incoming["call"], "disconnected")
        async with asyncio.timeout(60):
            assert await running.stack.process.wait() == 0
