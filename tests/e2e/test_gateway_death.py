"""kill -9 of the gateway: calls go on in the next process as if nothing had happened to their phones, and none is without its record."""

import asyncio
import os
import random
import signal
from contextlib import AsyncExitStack
from typing import Any

import pytest

from hushwire.app.demo.party import Party
from tests.deployments import FAR_NUMBER, Deployment, start_deployment
from tests.e2e.test_supervision import closed, connected, restarted, still_heard
from tests.polling import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]

ROUNDS = 5
"""The supervisor waits twice as long before each new start of a gateway that dies young."""


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


@pytest.mark.parametrize("seed", range(4))
async def test_killed_at_any_moment_of_a_call_no_party_is_left_alone_and_no_call_without_a_record(seed: int) -> None:
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(start_deployment())
        carrier = await stack.enter_async_context(running.carrier(ring_s=0.4))
        anna = await stack.enter_async_context(running.phone("anna"))
        for number in range(ROUNDS):
            seen, own = len(carrier.events), len(anna.events)
            call = await anna.call(running.uri(FAR_NUMBER))
            await asyncio.sleep(chance.uniform(0.0, 1.5))
            holds = number % 3 == 2
            if holds and any(event.get("state") == "confirmed" for event in anna.events[own:]):
                await anna.tell("hold", call=call)
                await asyncio.sleep(chance.uniform(0.0, 0.1))
            await killed(running)
            # Whatever the agent believes now, hanging up ends it, and the carrier's side of it too.
            if not any(event.get("call") == call and event.get("state") == "disconnected" for event in anna.events[own:]):
                await anna.hangup(call)
            await anna.expect_state(call, "disconnected", timeout_s=40)
            for event in [event for event in carrier.events[seen:] if event["event"] == "incoming"]:
                await carrier.expect_state(event["call"], "disconnected", timeout_s=40)

            async def over(count: int = number + 1) -> bool:
                rows = await calls(running)
                return len(rows) == count and all(row["state"] in ("ended", "failed") for row in rows)

            await until(over, timeout_s=30, what=f"all of {number + 1} calls have their record")


async def test_killed_in_the_middle_of_a_transfer_nobody_is_left_alone_and_no_call_without_a_record() -> None:
    async with (
        start_deployment() as running,
        running.carrier() as carrier,
        running.phone("anna") as anna,
        running.phone("ben", kind="baresip") as ben,
    ):
        first = await anna.call(running.uri(FAR_NUMBER))
        await anna.expect_state(first, "confirmed")
        second = await anna.call(running.uri("ben"))
        await anna.expect_state(second, "confirmed")
        await anna.tell("transfer", call=first, replaces=second)
        await asyncio.sleep(random.uniform(0.0, 0.05))
        await killed(running)
        # Whoever the carrier's party talks with now, the agent or the colleague, is told when it hangs up; what the agent has left it ends.
        far, called = (await carrier.expect("incoming"))["call"], (await ben.expect("incoming"))["call"]
        await carrier.hangup(far)
        await anna.expect_state(first, "disconnected", timeout_s=40)
        if not any(event.get("call") == second and event.get("state") == "disconnected" for event in anna.events):
            await anna.hangup(second)
        await ben.expect_state(called, "disconnected", timeout_s=40)

        async def over() -> bool:
            rows = await calls(running)
            return len(rows) == 2 and all(row["state"] == "ended" for row in rows)

        await until(over, timeout_s=30, what="both calls have their record")
