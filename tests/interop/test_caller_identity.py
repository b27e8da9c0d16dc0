"""Hidden callers, PJSUA2 as the agent's phone and SIPp as the carrier: what travels when somebody does not want to be known."""

from pathlib import Path
from typing import Any

import pytest

from tests.deployments import ANNA_NUMBER, FAR_NUMBER, Deployment
from tests.interop.sipp import (
    Sipp,
    ack_of_refusal,
    answer,
    cancel_of,
    expect,
    invite_received,
    invite_to,
    pause,
    receive,
    reply_in_dialog,
    sdp,
)
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

CALLER = "+442079460999"


async def test_a_phone_that_dials_the_code_first_is_anonymous_to_the_carrier_in_every_message(
    deployment: Deployment, tmp_path: Path
) -> None:
    scenario = [invite_received(), answer(180, "Ringing"), answer(200, "OK", sdp=sdp(), retransmit=True), receive("ACK"), receive("BYE")]
    scenario += [reply_in_dialog(200, "OK")]
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(f"*31{FAR_NUMBER}"))
        await anna.expect_state(call, "confirmed")
        await anna.hangup(call)
        await carrier.succeeded()
        said = carrier.messages()
        assert f"INVITE sip:{FAR_NUMBER}@" in said
        assert 'From: "Anonymous" <sip:anonymous@anonymous.invalid>' in said
        assert "Privacy: id" in said
        for leak in (ANNA_NUMBER[1:], "anna", "acme", "*31", "P-Asserted-Identity"):
            assert leak not in said, leak


async def test_a_caller_who_hides_is_anonymous_to_the_phone_and_nobody_in_the_api(deployment: Deployment, tmp_path: Path) -> None:
    hidden = "Max-Forwards: 70\nPrivacy: id\nP-Asserted-Identity: <sip:+442079460998@carrier.example>"
    elsewhere = 'Max-Forwards: 70\nReason: SIP;cause=200;text="at +442079460997"'
    scenario = [
        invite_to(ANNA_NUMBER, CALLER).replace("Max-Forwards: 70", hidden), expect(100, optional=True), expect(180), pause(300),
        cancel_of(ANNA_NUMBER, CALLER).replace("Max-Forwards: 70", elsewhere), expect(200), expect(487),
        ack_of_refusal(ANNA_NUMBER, CALLER),
    ]  # fmt: skip
    async with deployment.phone("anna") as anna:
        await anna.tell("policy", status=0)
        async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port, towards=deployment.stack.sip("udp")) as carrier:
            incoming = await anna.expect("incoming")
            assert "anonymous@anonymous.invalid" in incoming["from"]
            assert "20794609" not in str(incoming)
            await anna.expect_state(incoming["call"], "disconnected")
            await carrier.succeeded()

        async def ended() -> dict[str, Any] | None:
            row: dict[str, Any] = (await deployment.api().get("/v1/calls?direction=inbound"))["items"][0]
            return row if row["end_reason"] == "answered-elsewhere" else None

        row = await until(ended, what="the call's row")
        assert (row["remote"], row["caller_hidden"]) == (None, True)
        assert row["explanation"] == "Call completed elsewhere."
