"""A supervisor's own softphone (PJSUA2, baresip) in a live call, asked for by the API: it listens, whispers, barges in, and leaves."""

import io
from typing import Any

import av
import numpy as np
import pytest

from hushwire.app.demo.speech import RATE
from tests.deployments import FAR_NUMBER, Deployment, Kind
from tests.interop.tones import hears, tone
from tests.native.sound import level_db
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

ANNA, CARRIER, SUE = 420.0, 1020.0, 1620.0


@pytest.mark.parametrize("kind", ["pjsua2", "baresip"])
async def test_a_supervisor_listens_whispers_to_the_agent_alone_barges_in_and_leaves(deployment: Deployment, kind: Kind) -> None:
    api = deployment.api()
    async with (
        deployment.carrier(opened={"speech": tone(CARRIER)}) as carrier,
        deployment.phone("anna", speech=tone(ANNA)) as anna,
        deployment.phone("sue", kind=kind, speech=tone(SUE)) as sue,
    ):
        call = await anna.call(deployment.uri(FAR_NUMBER))
        far = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")

        async def answered() -> dict[str, Any] | None:
            rows = [row for row in (await api.get("/v1/calls"))["items"] if row["state"] == "active"]
            return rows[0] if rows else None

        live = await until(answered, what="the call's row is active")
        assert live is not None

        async def supervise(action: str) -> None:
            answer = await api.post(f"/v1/calls/{live['id']}/supervise", {"action": action, "agent": "sue"})
            assert answer["outcome"] == "ok"

        await supervise("listen")
        ear = (await sue.expect("incoming"))["call"]
        await sue.expect_state(ear, "confirmed")
        await hears(sue, ear, (ANNA, CARRIER), (SUE,))
        await hears(anna, call, (CARRIER,), (SUE, ANNA))
        await hears(carrier, far, (ANNA,), (SUE, CARRIER))

        await supervise("whisper")
        await hears(anna, call, (CARRIER, SUE), (ANNA,))
        await hears(carrier, far, (ANNA,), (SUE, CARRIER))
        unheard = (await carrier.heard(far)).samples
        assert level_db(unheard[-2 * RATE :], SUE, RATE) < -60

        await supervise("barge")
        await hears(carrier, far, (ANNA, SUE), (CARRIER,))
        await hears(anna, call, (CARRIER, SUE), (ANNA,))
        await hears(sue, ear, (ANNA, CARRIER), (SUE,))

        await supervise("leave")
        await sue.expect_state(ear, "disconnected")
        await hears(carrier, far, (ANNA,), (SUE,))
        await hears(anna, call, (CARRIER,), (SUE,))
        await anna.hangup(call)
        await carrier.expect_state(far, "disconnected")

    async def ended() -> dict[str, Any] | None:
        row = await api.get(f"/v1/calls/{live['id']}")
        return row if row["state"] == "ended" and row["recording_id"] else None

    row = await until(ended, timeout_s=10, what="the call's row is closed")
    assert row is not None
    assert row["supervised_ms"] > 1000
    rows = (await api.get("/v1/calls?direction=supervision"))["items"]
    leg = next(one for one in rows if one["joined_call_id"] == live["id"])
    assert (leg["agent"], leg["joined_as"], leg["end_reason"]) == ("sue", "barge", "hangup")
    assert leg["agent_leg"]["media"] == "srtp"
    assert leg["duration_ms"] == row["supervised_ms"]
    log = (await api.get("/v1/audit?limit=200"))["items"]
    told = [entry for entry in log if entry["object"] == f"call:{live['id']}"]
    wanted = {"call.supervise.listen", "call.supervise.leave", "supervision.started", "supervision.changed", "supervision.ended"}
    assert wanted <= {entry["action"] for entry in told}
    purposes = {entry["fields"]["purpose"] for entry in told if "supervis" in entry["action"]}
    assert len(purposes) == 1
    await barged_in_is_recorded(deployment, row["recording_id"])


async def barged_in_is_recorded(deployment: Deployment, recording_id: str) -> None:
    """The recording holds the supervisor on both sides, in one stretch. (To the packet: tests/services/test_supervising.py.)"""
    answer = await deployment.api().ask("GET", f"/v1/recordings/{recording_id}/audio?format=wav")
    assert answer.status == 200
    timeline = await deployment.api().get(f"/v1/recordings/{recording_id}/timeline")
    assert [leg["leg"] for leg in timeline["legs"]] == ["agent", "other", "leg-2"]
    with av.open(io.BytesIO(answer.body)) as container:
        pieces = [frame.to_ndarray().reshape(-1, 2) for frame in container.decode(audio=0)]
        rate = container.streams.audio[0].rate
    sound = np.concatenate(pieces)
    seconds = [sound[at : at + rate] for at in range(0, len(sound) - rate, rate // 2)]
    levels = [(level_db(piece[:, 0], SUE, rate), level_db(piece[:, 1], SUE, rate)) for piece in seconds]
    assert max(min(left, right) for left, right in levels) > -30
    loud = [n for n, (left, right) in enumerate(levels) if min(left, right) > -30]
    assert loud == list(range(loud[0], loud[-1] + 1))
