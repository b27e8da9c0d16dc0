"""SIPp as the carrier: every way in which a call can go on from there."""

import asyncio
from pathlib import Path

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER
from tests.deployments import ANNA_NUMBER, FAR_NUMBER, TRUNK_USER, Deployment
from tests.interop.hearing import hears, lost_nothing
from tests.interop.sipp import (
    Sipp,
    ack_of_refusal,
    answer,
    answer_kept,
    cancel_of,
    expect,
    invite_kept,
    invite_received,
    invite_to,
    pause,
    receive,
    reply_in_dialog,
    request_back,
    request_on,
    sdp,
    unasked,
)
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

RING = [invite_received(), answer(180, "Ringing"), pause(200)]
PICK_UP = [*RING, answer(200, "OK", sdp=sdp(), retransmit=True), receive("ACK")]
CALLER = "+442079460999"


async def test_an_agent_hears_herself_from_the_carriers_echo_until_she_hangs_up(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [*PICK_UP, receive("BYE"), reply_in_dialog(200, "OK")]
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "confirmed")
        await hears(anna, call, AGENT, CARRIER)
        await lost_nothing(anna, call)
        await anna.hangup(call)
        await carrier.succeeded()


async def test_the_carrier_answers_and_hangs_up(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [*PICK_UP, pause(300), request_back("BYE", 2), expect(200)]
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "early")
        await anna.expect_state(call, "confirmed")
        ended = await anna.expect_state(call, "disconnected")
        assert ended["status"] == 200
        await carrier.succeeded()


async def test_only_the_canonical_number_and_no_header_of_the_agent_leaves_the_house(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [*PICK_UP, receive("BYE"), reply_in_dialog(200, "OK")]
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        headers = {"P-Asserted-Identity": "<sip:+15005550006@evil.example>", "X-Inner": "secret-of-the-house", "Diversion": "<tel:+1900>"}
        call = await anna.call(deployment.uri("0044 20 7946 0123".replace(" ", "")), headers=headers)
        await anna.expect_state(call, "confirmed")
        await anna.hangup(call)
        await carrier.succeeded()
        said = carrier.messages()
        assert f"INVITE sip:{FAR_NUMBER}@127.0.0.1" in said
        assert f"sip:{ANNA_NUMBER}@" in said
        for leak in ("secret-of-the-house", "evil.example", "+1900", "hushwire-demo", "anna", "acme"):
            assert leak not in said, leak


@pytest.mark.parametrize(
    ("status", "reason"), [(486, "Busy Here"), (603, "Decline"), (480, "Temporarily Unavailable"), (503, "Service Unavailable")]
)
async def test_the_carriers_refusal_reaches_the_agent(deployment: Deployment, tmp_path: Path, status: int, reason: str) -> None:
    scenario = [invite_received(), answer(status, reason), receive("ACK")]
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        ended = await anna.expect_state(call, "disconnected")
        assert ended["status"] == status
        await carrier.succeeded()


async def test_an_agent_that_gives_up_while_it_rings_cancels_the_carriers_call(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [
        invite_received(), answer(180, "Ringing"), receive("CANCEL"), reply_in_dialog(200, "OK"),
    ]  # fmt: skip
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "early")
        await anna.tell("hangup", call=call)
        ended = await anna.expect_state(call, "disconnected")
        assert ended["status"] == 487
        await carrier.succeeded()


async def test_early_media_is_heard_before_the_answer(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [
        invite_received(), answer(183, "Session Progress", sdp=sdp()), receive("CANCEL"), reply_in_dialog(200, "OK"),
    ]  # fmt: skip
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "early")
        await hears(anna, call, AGENT, CARRIER)
        await anna.tell("hangup", call=call)
        ended = await anna.expect_state(call, "disconnected")
        assert ended["status"] == 487
        await carrier.succeeded()


async def test_a_carrier_that_rings_reliably_is_acknowledged_by_prack_and_refreshes_its_session_by_update(
    deployment: Deployment, tmp_path: Path
) -> None:
    scenario = [
        invite_kept(), answer(183, "Session Progress", sdp=sdp(), extra="Require: 100rel\nRSeq: 4711"), receive("PRACK"),
        reply_in_dialog(200, "OK"), answer_kept(200, "OK", sdp=sdp(), extra="Session-Expires: 90;refresher=uas\nRequire: timer"),
        receive("ACK"), request_back("UPDATE", 1), expect(200), receive("BYE"), reply_in_dialog(200, "OK"),
    ]  # fmt: skip
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "confirmed")
        await until(lambda: "UPDATE" in carrier.messages() and "CSeq: 1 UPDATE" in carrier.messages(), timeout_s=10, what="the UPDATE")
        await anna.hangup(call)
        await carrier.succeeded()
        said = carrier.messages()
        assert "RAck: 4711 1 INVITE" in said
        assert "Session-Expires: 1800" in said


async def test_a_carrier_that_asks_for_credentials_gets_them(deployment: Deployment, tmp_path: Path) -> None:
    challenge = 'Proxy-Authenticate: Digest realm="carrier", nonce="473a1fe6", algorithm=MD5, qop="auth"'
    scenario = [
        invite_received(), answer(407, "Proxy Authentication Required", extra=challenge), receive("ACK"),
        *PICK_UP, receive("BYE"), reply_in_dialog(200, "OK"),
    ]  # fmt: skip
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "confirmed")
        await anna.hangup(call)
        await carrier.succeeded()
        said = carrier.messages()
        assert "Proxy-Authorization: Digest" in said
        assert f'username="{TRUNK_USER}"' in said
        assert "nc=00000001" in said


async def test_the_carrier_puts_the_call_on_hold_and_takes_it_back(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [
        *PICK_UP, pause(300),
        request_back("INVITE", 2, sdp=sdp("sendonly", 2)), expect(100, optional=True), expect(200), request_back("ACK", 2), pause(500),
        request_back("INVITE", 3, sdp=sdp("sendrecv", 3)), expect(100, optional=True), expect(200), request_back("ACK", 3), pause(500),
        request_back("BYE", 4), expect(200),
    ]  # fmt: skip
    async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier, deployment.phone("anna") as anna:
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "confirmed")
        await anna.expect_state(call, "disconnected")
        await carrier.succeeded()


async def test_a_carrier_calls_in_and_hangs_up(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [
        invite_to(ANNA_NUMBER, CALLER), expect(100, optional=True), expect(180, optional=True), expect(183, optional=True),
        expect(200, routes=True), request_on("ACK", ANNA_NUMBER, CALLER, 1), pause(1000),
        request_on("BYE", ANNA_NUMBER, CALLER, 2), expect(200),
    ]  # fmt: skip
    async with deployment.phone("anna") as anna:
        await anna.tell("policy", status=200, ring_s=0.2)
        async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port, towards=deployment.stack.sip("udp")) as carrier:
            incoming = await anna.expect("incoming")
            assert CALLER in incoming["from"]
            await anna.expect_state(incoming["call"], "disconnected")
            await carrier.succeeded()


async def test_a_carrier_changes_early_media_by_an_offer_in_prack(deployment: Deployment, tmp_path: Path) -> None:
    progress = """<recv response="183" rrs="true">
  <action><ereg regexp="[0-9]+" search_in="hdr" header="RSeq:" assign_to="rseq"/></action>
</recv>"""
    prack = request_on("PRACK", ANNA_NUMBER, CALLER, 2, body=sdp(version=2)).replace(
        "Max-Forwards: 70", "RAck: [$rseq] 1 INVITE\nMax-Forwards: 70"
    )
    answered = """<recv response="200">
  <action><ereg regexp="m=audio [1-9][0-9]* RTP/AVP 0" search_in="body" check_it="true" assign_to="answer"/></action>
</recv>"""
    scenario = [
        invite_to(ANNA_NUMBER, CALLER).replace("Max-Forwards: 70", "Require: 100rel\nMax-Forwards: 70"),
        expect(100, optional=True), progress, prack, answered, expect(200, routes=True),
        request_on("ACK", ANNA_NUMBER, CALLER, 1), pause(300), request_on("BYE", ANNA_NUMBER, CALLER, 3), expect(200),
        '<Reference variables="answer"/>',
    ]  # fmt: skip
    async with deployment.phone("anna") as anna:
        await anna.tell("policy", status=200, ring_s=1.0, early=True)
        async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port, towards=deployment.stack.sip("udp")) as carrier:
            incoming = await anna.expect("incoming")
            await anna.expect_state(incoming["call"], "confirmed")
            await anna.expect_state(incoming["call"], "disconnected")
            await carrier.succeeded()


async def test_a_carrier_that_gives_up_stops_the_agents_ringing(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [
        invite_to(ANNA_NUMBER, CALLER), expect(100, optional=True), expect(180), pause(300),
        cancel_of(ANNA_NUMBER, CALLER), expect(200), expect(487), ack_of_refusal(ANNA_NUMBER, CALLER),
    ]  # fmt: skip
    async with deployment.phone("anna") as anna:
        await anna.tell("policy", status=0)
        async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port, towards=deployment.stack.sip("udp")) as carrier:
            incoming = await anna.expect("incoming")
            ended = await anna.expect_state(incoming["call"], "disconnected")
            assert ended["status"] == 487
            await carrier.succeeded()
        assert await unasked(deployment.carrier_port, 1.2) == [], "what was acknowledged is not sent again"


@pytest.mark.parametrize("user", ["+493023125999", "anna", "101", "*43"])
async def test_a_carrier_reaches_assigned_numbers_and_nothing_else(deployment: Deployment, tmp_path: Path, user: str) -> None:
    scenario = [invite_to(user, CALLER), expect(100, optional=True), expect(404), ack_of_refusal(user, CALLER)]
    async with deployment.phone("anna") as anna:
        async with await Sipp.start(tmp_path, scenario, port=deployment.carrier_port, towards=deployment.stack.sip("udp")) as carrier:
            await carrier.succeeded()
        assert not [e for e in anna.events if e["event"] == "incoming"]


async def test_a_stranger_that_is_no_trunk_is_not_taken_for_a_carrier(deployment: Deployment, tmp_path: Path) -> None:
    from tests.ports import free_port

    scenario = [invite_to(ANNA_NUMBER, CALLER), expect(100, optional=True), expect(401), ack_of_refusal(ANNA_NUMBER, CALLER)]
    async with deployment.phone("anna") as anna:
        async with await Sipp.start(tmp_path, scenario, port=free_port(), towards=deployment.stack.sip("udp")) as stranger:
            await stranger.succeeded()
        await asyncio.sleep(0.2)
        assert not [e for e in anna.events if e["event"] == "incoming"]
