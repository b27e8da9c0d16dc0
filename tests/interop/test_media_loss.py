"""hushwire-media is killed in the middle of recorded calls of foreign phones: they hear each other again, and both segments play."""

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import FAR_NUMBER, Deployment, Kind, start_deployment
from tests.interop.hearing import RECORDED, hears, holds, samples
from tests.interop.test_codecs import stereo
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def lasting() -> AsyncIterator[Deployment]:
    """A hushwire whose calls outlive hushwire-media."""
    async with start_deployment(more='[media]\non_loss = "re-establish"') as running:
        yield running


async def segments(running: Deployment, call_id: str, *states: str) -> list[dict[str, Any]]:
    """The call's recordings in order, once they are in these states."""

    async def look() -> list[dict[str, Any]]:
        rows = [row for row in (await running.api().get("/v1/recordings"))["items"] if row["call_id"] == call_id]
        rows.sort(key=lambda row: row["segment"])
        return rows if len(rows) == len(states) and all(r["state"] in s.split("|") for r, s in zip(rows, states, strict=True)) else []

    return await until(look, timeout_s=20, what=f"segments in states {states}")


@pytest.mark.parametrize("kind", ["pjsua2", "baresip"])
async def test_sound_comes_back_and_the_recording_goes_on_as_a_new_segment(lasting: Deployment, kind: Kind) -> None:
    async with lasting.carrier() as carrier, lasting.phone("anna", kind=kind) as anna:
        near = await anna.call(lasting.uri(FAR_NUMBER))
        far = int((await carrier.expect("incoming"))["call"])
        await anna.expect_state(near, "confirmed")
        await hears(carrier, far, AGENT, CARRIER)
        await hears(anna, near, CARRIER, AGENT)
        (row,) = (await lasting.api().get("/v1/calls?state=active"))["items"]
        await segments(lasting, row["id"], "live")
        before = lasting.stack.children()
        os.kill(before["hushwire-media"], signal.SIGKILL)
        await until(lambda: lasting.stack.children().get("hushwire-media", before["hushwire-media"]) != before["hushwire-media"])
        await segments(lasting, row["id"], "crashed|stored", "live")
        begins = [await samples(carrier, far), await samples(anna, near)]
        await hears(carrier, far, AGENT, CARRIER, since=begins[0])
        await hears(anna, near, CARRIER, AGENT, since=begins[1])
        assert lasting.stack.children()["gateway"] == before["gateway"]
        await anna.hangup(near)
        assert (await carrier.expect_state(far, "disconnected"))["status"] == 200
        rows = await segments(lasting, row["id"], "crashed|stored", "closed|stored")
        for recording in rows:
            answer = await lasting.api().ask("GET", f"/v1/recordings/{recording['id']}/audio?format=wav")
            assert answer.status == 200, answer.body
            rate, left, right = stereo(answer.body)
            for side, said, other in ((left, AGENT, CARRIER), (right, CARRIER, AGENT)):
                assert holds(side, rate, said) >= RECORDED
                assert holds(side, rate, other) < 0.5
