"""An agent's devices that decline, are busy, do not answer, or died without a word; hold from the carrier's side. All real phones."""

import asyncio
import os
import signal
from typing import Any

import pytest

from hushwire.app.demo.party import Party
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment, Transport
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

SOON_S = 10.0
"""Far less than the 32 s that SIP gives an answer, with time for a busy machine."""
ON_HOLD, TALKING = 3, 1  # PJSUA_CALL_MEDIA_REMOTE_HOLD, PJSUA_CALL_MEDIA_ACTIVE


async def ring(running: Deployment, carrier: Party) -> int:
    host, port = running.stack.sip("udp")
    return await carrier.call(f"sip:{ANNA_NUMBER}@{host}:{port}")


async def received(party: Party, call: int) -> int:
    """RTP packets that a party took in since its stream was last set up."""
    stats = (await party.tell("stats", call=call))["stats"]
    return int(stats["received"]["packets"]) if stats else 0


async def arrived(party: Party, call: int, packets: int) -> bool:
    return await received(party, call) >= packets


async def ended_row(running: Deployment, known: set[str]) -> dict[str, Any]:
    async def look() -> list[dict[str, Any]]:
        return [row for row in (await running.api().get("/v1/calls"))["items"] if row["id"] not in known and row["state"] == "ended"]

    row: dict[str, Any]
    (row,) = await until(look, what="the call's row")
    return row


async def known_rows(running: Deployment) -> set[str]:
    return {row["id"] for row in (await running.api().get("/v1/calls"))["items"]}


@pytest.mark.parametrize(("status", "reason"), [(486, "busy"), (603, "declined")])
async def test_what_the_agents_device_answers_reaches_the_carrier_and_the_row(deployment: Deployment, status: int, reason: str) -> None:
    known = await known_rows(deployment)
    async with deployment.carrier() as carrier, deployment.phone("anna") as anna:
        await anna.tell("policy", status=status, ring_s=0.2)
        call = await ring(deployment, carrier)
        assert (await carrier.expect_state(call, "disconnected"))["status"] == status
        assert (await ended_row(deployment, known))["end_reason"] == reason


async def test_a_busy_device_does_not_keep_the_other_from_answering_but_a_decline_ends_the_ringing(deployment: Deployment) -> None:
    async with (
        deployment.carrier() as carrier,
        deployment.phone("anna") as first,
        deployment.phone("anna", transport="tcp") as second,
    ):
        await first.tell("policy", status=486)
        await second.tell("policy", status=200, ring_s=0.5)
        call = await ring(deployment, carrier)
        await carrier.expect_state(call, "confirmed")
        await carrier.hangup(call)
        await first.tell("policy", status=603)
        await second.tell("policy", status=0)
        call = await ring(deployment, carrier)
        assert (await carrier.expect_state(call, "disconnected"))["status"] == 603
        await second.expect("state", lambda e: e["state"] == "disconnected" and e["status"] == 487)


@pytest.mark.slow
async def test_a_device_that_nobody_picks_up_stops_ringing_after_a_minute_and_the_carrier_hears_480(deployment: Deployment) -> None:
    known = await known_rows(deployment)
    async with deployment.carrier() as carrier, deployment.phone("anna") as anna:
        await anna.tell("policy", status=0)
        call = await ring(deployment, carrier)
        ringing = await anna.expect("incoming")
        assert (await carrier.expect_state(call, "disconnected", timeout_s=70))["status"] == 480
        assert (await anna.expect_state(ringing["call"], "disconnected"))["status"] == 487
        assert (await ended_row(deployment, known))["end_reason"] == "no-answer"


@pytest.mark.parametrize("how", ["died before", "dies while it rings", "hangs"])
@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_device_whose_connection_died_holds_up_neither_the_other_device_nor_the_call(
    deployment: Deployment, transport: Transport, how: str
) -> None:
    known = await known_rows(deployment)
    async with (
        deployment.carrier() as carrier,
        deployment.phone("anna", transport="udp") as alive,
        deployment.phone("anna", transport=transport) as doomed,
    ):
        await alive.tell("policy", status=200, ring_s=1.0)
        await doomed.tell("policy", status=0)
        if how == "died before":
            # The kernel closes the connection; nothing is unregistered.
            os.kill(doomed.pid, signal.SIGKILL)
            await doomed.process.wait()
        elif how == "hangs":
            os.kill(doomed.pid, signal.SIGSTOP)
        try:
            call = await ring(deployment, carrier)
            await alive.expect("incoming", timeout_s=SOON_S)
            if how == "dies while it rings":
                await doomed.expect("incoming", timeout_s=SOON_S)
                os.kill(doomed.pid, signal.SIGKILL)
            await carrier.expect_state(call, "confirmed", timeout_s=SOON_S)
            await until(lambda: arrived(carrier, call, 10), what="the carrier hears")
            await carrier.hangup(call)
        finally:
            if how == "hangs":
                os.kill(doomed.pid, signal.SIGCONT)
        assert (await ended_row(deployment, known))["end_reason"] == "bye-peer"


async def test_an_agent_whose_only_device_died_is_unavailable_at_once(deployment: Deployment) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna", transport="tcp") as doomed:
        await doomed.tell("policy", status=0)
        call = await ring(deployment, carrier)
        await doomed.expect("incoming")
        os.kill(doomed.pid, signal.SIGKILL)
        assert (await carrier.expect_state(call, "disconnected", timeout_s=SOON_S))["status"] == 480
        call = await ring(deployment, carrier)
        assert (await carrier.expect_state(call, "disconnected", timeout_s=SOON_S))["status"] == 480


async def test_the_carriers_phone_holds_and_resumes_and_the_agents_phone_follows(deployment: Deployment) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        theirs = int((await carrier.expect("incoming"))["call"])
        await anna.expect_state(call, "confirmed")
        await until(lambda: arrived(carrier, theirs, 10), what="the carrier hears")
        for command, status in (("hold", ON_HOLD), ("resume", TALKING)) * 2:
            seen = len(anna.events)
            await carrier.tell(command, call=theirs)
            assert (await anna.expect("media", since=seen))["status"] == status
            if command == "hold":
                await asyncio.sleep(0.3)
                before = await received(carrier, theirs)
                await asyncio.sleep(0.5)
                assert await received(carrier, theirs) - before <= 2
            else:
                before = await received(carrier, theirs)
                await until(lambda before=before: arrived(carrier, theirs, before + 15), what="the carrier hears again")
        await until(lambda: arrived(anna, call, 15), what="the agent hears again")
        await carrier.hangup(theirs)
        await anna.expect_state(call, "disconnected")
