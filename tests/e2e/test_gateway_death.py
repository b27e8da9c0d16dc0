"""kill -9 of the gateway: calls go on in the next process as if nothing had happened to their phones, and none is without its record."""

import os
import signal
from typing import Any

import pytest

from hushwire.app.demo.party import Party
from tests.deployments import Deployment, start_deployment
from tests.e2e.test_supervision import closed, connected, restarted, still_heard
from tests.polling import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def killed(running: Deployment) -> None:
    """Dead without a word, and back by its supervisor."""
    old = running.stack.children()["gateway"]
    os.kill(old, signal.SIGKILL)
    await restarted(running, "gateway", old)


async def calls(running: Deployment) -> list[dict[str, Any]]:
    return list((await running.api().get("/v1/calls"))["items"])


async def ended(running: Deployment, reason: str) -> dict[str, Any]:
    async def found() -> dict[str, Any] | None:
        return next((row for row in await calls(running) if row["state"] == "ended" and row["end_reason"] == reason), None)

    row = await until(found, timeout_s=20, what=f"a call that ended by {reason}")
    assert row is not None
    return row


async def registered_again(running: Deployment, phone: Party, seen: int) -> None:
    event = await phone.expect("registration", since=seen, timeout_s=60)
    assert event["status"] == 200


@pytest.mark.parametrize("hangs_up", ["agent", "carrier"])
@pytest.mark.parametrize("kind", ["pjsua2", "baresip"])
async def test_phones_over_udp_hear_each_other_through_it_and_hang_up_as_ever(kind: Any, hangs_up: str) -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna", kind=kind) as anna:
        call, theirs = await connected(running, anna, carrier)
        await killed(running)
        assert await still_heard(anna, call)
        assert await still_heard(carrier, theirs)
        assert [row["state"] for row in await calls(running)] == ["active"]
        if hangs_up == "agent":
            await anna.hangup(call)
            await carrier.expect_state(theirs, "disconnected")
        else:
            await carrier.hangup(theirs)
            await anna.expect_state(call, "disconnected")
        row = await ended(running, "bye-agent" if hangs_up == "agent" else "bye-peer")
        assert row["duration_ms"] >= 3000
        (kept,) = await until(lambda: closed(running), timeout_s=20, what="its recording closed")
        assert kept["state"] != "crashed"
        assert kept["duration_ms"] >= 3000


async def test_hold_and_keys_work_afterwards() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        call, theirs = await connected(running, anna, carrier)
        await killed(running)
        seen = len(anna.events)
        await anna.tell("hold", call=call)
        held = await carrier.expect("media", lambda event: event["call"] == theirs and event["status"] == 3)
        assert held
        await anna.expect("media", lambda event: event["call"] == call, since=seen)
        await killed(running)
        await anna.tell("resume", call=call)
        await until(lambda: still_heard(carrier, theirs), timeout_s=20, what="the carrier hears the agent again")
        await anna.tell("dtmf", call=call, digits="42")
        await carrier.expect("dtmf", lambda event: event["digit"] == "4")
        await carrier.expect("dtmf", lambda event: event["digit"] == "2")
        await anna.hangup(call)
        await carrier.expect_state(theirs, "disconnected")


@pytest.mark.parametrize("hangs_up", ["agent", "carrier"])
async def test_a_phone_over_tls_connects_again_and_keeps_its_call(hangs_up: str) -> None:
    async with (
        start_deployment() as running,
        running.carrier() as carrier,
        running.phone("anna", transport="tls", expires_s=30) as anna,
    ):
        call, theirs = await connected(running, anna, carrier)
        seen = len(anna.events)
        await killed(running)
        assert await still_heard(anna, call)
        assert await still_heard(carrier, theirs)
        await registered_again(running, anna, seen)
        if hangs_up == "agent":
            await anna.hangup(call)
            await carrier.expect_state(theirs, "disconnected")
        else:
            await carrier.hangup(theirs)
            await anna.expect_state(call, "disconnected")
        await ended(running, "bye-agent" if hangs_up == "agent" else "bye-peer")
