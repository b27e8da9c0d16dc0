"""Masked calls with SIPp as the carrier of both parties, through a whole hushwire: what travels, and what the API shows."""

from pathlib import Path

import pytest

from tests.deployments import FAR_NUMBER, PROVISIONING, Deployment, start_deployment
from tests.interop.sipp import (
    Sipp,
    answer,
    expect,
    free_port,
    invite_received,
    invite_to,
    pause,
    receive,
    reply_in_dialog,
    request_on,
    sdp,
)

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

RIDER, PROXY = "+4915112345678", "+493023125900"
TRUNK = 'uri = "sip:127.0.0.1:{carrier};transport=udp"'
POOL = f"""
[[orgs.numbers]]
number = "{PROXY}"
masks = true

[[orgs.api_keys]]
name = "owner"
"""


async def _called(running: Deployment, folder: Path, scenario: list[str], port: int) -> str:
    """What the caller was sent. Gateways know a new session within a second: until then it is told 404."""
    for attempt in range(8):
        async with await Sipp.start(folder / f"caller-{attempt}", scenario, port=port, towards=running.stack.sip("udp")) as caller:
            try:
                await caller.succeeded()
            except AssertionError:
                if "SIP/2.0 404" not in caller.messages():
                    raise
            else:
                return caller.messages()
    pytest.fail("the gateway never knew the session")


async def test_two_people_outside_talk_by_a_proxy_number_and_no_message_or_row_shows_either_the_other(tmp_path: Path) -> None:
    calling = free_port()
    provisioning = PROVISIONING.replace(TRUNK, f'{TRUNK}\naddresses = ["127.0.0.1"]', 1)
    provisioning = provisioning.replace('\n[[orgs.api_keys]]\nname = "owner"\n', POOL, 1)
    async with start_deployment(provisioning=provisioning) as running:
        api = running.api()
        wanted = {"agent": "anna", "parties": [RIDER, FAR_NUMBER], "expires_in_s": 600}
        made = await api.post("/v1/masking/sessions", wanted)
        assert made["number"] == PROXY
        taking = [invite_received(), answer(180, "Ringing"), answer(200, "OK", sdp=sdp(), retransmit=True), receive("ACK")]
        taking += [receive("BYE"), reply_in_dialog(200, "OK")]
        ringing = [invite_to(PROXY, RIDER), expect(100, optional=True), expect(180, optional=True), expect(200, routes=True)]
        ringing += [request_on("ACK", PROXY, RIDER, 1), pause(500), request_on("BYE", PROXY, RIDER, 2), expect(200)]
        async with await Sipp.start(tmp_path / "callee", taking, port=running.carrier_port) as callee:
            to_caller = await _called(running, tmp_path, ringing, calling)
            await callee.succeeded()
            to_callee = callee.messages()
        assert f"INVITE sip:{FAR_NUMBER}@" in to_callee
        assert f"From: <sip:{PROXY}@" in to_callee
        assert RIDER[1:] not in to_callee
        assert FAR_NUMBER[1:] not in to_caller
        row = (await api.get("/v1/calls"))["items"][0]
        assert (row["masking_session_id"], row["remote"], row["local"], row["caller_hidden"]) == (made["id"], None, PROXY, True)
        shown = str(await api.get("/v1/calls")) + str(await api.get("/v1/masking/sessions"))
        assert RIDER not in shown
        assert FAR_NUMBER not in shown
