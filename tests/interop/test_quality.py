"""How calls sound, as hushwire says it, against the statistics of stacks that we did not write: PJSUA2's RTCP and baresip's."""

from typing import Any

import pytest

from tests.deployments import FAR_NUMBER, Deployment, Kind
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

KINDS = ["pjsua2", "baresip"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_phones_own_statistics_agree_with_the_calls_row(deployment: Deployment, kind: Kind) -> None:
    async with deployment.carrier() as carrier, deployment.phone("anna", kind=kind) as anna:
        known = {row["id"] for row in (await deployment.api().get("/v1/calls"))["items"]}
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await carrier.expect("incoming")
        await anna.expect_state(call, "confirmed")

        async def rows() -> list[dict[str, Any]]:
            return [row for row in (await deployment.api().get("/v1/calls"))["items"] if row["id"] not in known]

        async def row() -> dict[str, Any]:
            (found,) = await until(rows, what="the call's row")
            return found

        async def live() -> dict[str, Any] | None:
            quality = (await row())["quality"] or {}
            # Known once the phone has answered a report of ours with one of its own.
            return quality if {"round_trip_ms", "mos_heard"} <= quality.get("agent", {}).keys() else None

        quality = await until(live, timeout_s=60, every_s=0.5, what="how the live call sounds to the agent")
        assert quality["agent"]["round_trip_ms"] < 100
        assert quality["agent"]["loss_reported"] < 0.02
        assert quality["agent"]["mos_received"] > 4.0
        await anna.hangup(call)
        stats = (await anna.tell("stats", call=call))["stats"]

        async def ended() -> dict[str, Any] | None:
            found = await row()
            return found if found["state"] == "ended" else None

        agent = (await until(ended, what="the call's row is closed"))["quality"]["agent"]
        if kind == "pjsua2":
            sent, heard, lost, trip_ms = (
                stats["sent"]["packets"], stats["received"]["packets"], stats["sent"]["lost"], stats["round_trip_us"] / 1000
            )  # fmt: skip
        else:
            sent, heard, lost, trip_ms = stats["tx_packets"], stats["rx_packets"], stats["tx_lost"], stats["rtt_ms"]
        # Packets under way at the end of the call are counted by one side only.
        assert abs(agent["packets_received"] - sent) <= 10
        assert abs(agent["packets_sent"] - heard) <= 10
        assert lost == agent["lost"] == 0
        # The phone's own round trip comes from our reports: our LSR and DLSR are right.
        assert 0 < trip_ms < 100
        assert abs(trip_ms - agent["round_trip_ms"]) < 60
        assert agent["mos_heard"] > 4.0
        assert "one_way_audio" not in agent
