"""Transfers between stacks that we did not write: who is left hears each other, and the calls say who paid for which leg."""

import base64
import re
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from hushwire.app.demo.stack import DOMAIN
from tests.deployments import FAR_NUMBER, Deployment, Kind
from tests.interop.hearing import End, hears, samples
from tests.interop.rawsip import RawSip, challenges, digest, status
from tests.interop.sipp import Sipp, answer, invite_received, receive, reply_in_dialog, sdp
from tests.polling import until

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]

BEN = bundled(AGENT)[::-1].copy()
"""What ben says: nobody else says anything like it."""


async def now_hear_each_other(one: End, other: End) -> None:
    """Whatever they heard before, of this or of anybody else."""
    begins = [await samples(end.party, end.call) for end in (one, other)]
    await hears(one.party, one.call, other.says, one.says, since=begins[0])
    await hears(other.party, other.call, one.says, other.says, since=begins[1])


async def transferred(deployment: Deployment, kind: str) -> dict[str, Any]:
    """The call whose party went on in another one."""

    async def found() -> Any:
        rows = (await deployment.api().get("/v1/calls"))["items"]
        return next((row for row in rows if row["transferred_as"] == kind), None)

    row: dict[str, Any] = await until(found, timeout_s=10, what="a call that says where its party went on")
    return row


@pytest.mark.parametrize("kind", ["pjsua2", "baresip"])
async def test_a_blind_transfer_leaves_the_carriers_party_with_the_colleague(deployment: Deployment, kind: Kind) -> None:
    other: Kind = "baresip" if kind == "pjsua2" else "pjsua2"
    async with (
        deployment.carrier() as carrier,
        deployment.phone("anna", kind=kind) as anna,
        deployment.phone("ben", kind=other, speech=BEN) as ben,
    ):
        call = await anna.call(deployment.uri(FAR_NUMBER))
        theirs = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")
        await anna.tell("transfer", call=call, to=deployment.uri("ben"))
        his = (await ben.expect("incoming"))["call"]
        await ben.expect_state(his, "confirmed")
        await anna.expect_state(call, "disconnected")
        await now_hear_each_other(End(carrier, theirs, CARRIER), End(ben, his, BEN))
        await ben.hangup(his)
        await carrier.expect_state(theirs, "disconnected")
        row = await transferred(deployment, "blind")
        assert (row["agent"], row["peer_agent"], row["end_reason"]) == ("anna", "ben", "transferred")


async def test_an_attended_transfer_between_three_different_stacks(deployment: Deployment, tmp_path: Path) -> None:
    scenario = [
        invite_received(), answer(180, "Ringing"), answer(200, "OK", sdp=sdp(), retransmit=True), receive("ACK"),
        receive("BYE"), reply_in_dialog(200, "OK"),
    ]  # fmt: skip
    async with (
        await Sipp.start(tmp_path, scenario, port=deployment.carrier_port) as carrier,
        deployment.phone("anna") as anna,
        deployment.phone("ben", kind="baresip", speech=BEN) as ben,
    ):
        call = await anna.call(deployment.uri(FAR_NUMBER))
        await anna.expect_state(call, "confirmed")
        consulted = await anna.call(deployment.uri("ben"))
        his = (await ben.expect("incoming"))["call"]
        await anna.expect_state(consulted, "confirmed")
        await anna.tell("transfer", call=call, replaces=consulted)
        await anna.expect_state(call, "disconnected")
        await anna.expect_state(consulted, "disconnected")
        await hears(ben, his, BEN, AGENT, since=await samples(ben, his))  # SIPp echoes: what ben says goes all the way and comes back
        await ben.hangup(his)
        await carrier.succeeded()
        row = await transferred(deployment, "attended")
        host = await deployment.api().get(f"/v1/calls/{row['transferred_to']}")
        assert host["took_in"] == [row["id"]]
        assert (host["agent"], row["transferred_by"]) == ("anna", host["agent_id"])


async def test_baresip_transfers_attended_and_who_was_held_hears_again(deployment: Deployment) -> None:
    async with (
        deployment.carrier() as carrier,
        deployment.phone("anna", kind="baresip") as anna,
        deployment.phone("ben", speech=BEN) as ben,
    ):
        call = await anna.call(deployment.uri(FAR_NUMBER))
        theirs = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")
        consulted = await anna.call(deployment.uri("ben"))
        his = (await ben.expect("incoming"))["call"]
        await anna.expect_state(consulted, "confirmed")
        await anna.tell("transfer", call=call, replaces=consulted)
        assert (await anna.expect("transferred"))["status"] == 200
        await now_hear_each_other(End(carrier, theirs, CARRIER), End(ben, his, BEN))
        await carrier.hangup(theirs)
        await ben.expect_state(his, "disconnected")


async def registered(deployment: Deployment, agent: str) -> int:
    """A free port that this agent's phone is registered at."""
    async with await RawSip.open(deployment.stack.sip("udp")) as raw:
        home = f"acme.{DOMAIN}"
        challenge = challenges(await raw.ask(raw.register(agent, home)))[0]
        answered = await raw.ask(raw.register(agent, home, digest(challenge, agent, f"{agent}'s secret", "REGISTER", f"sip:{home}")))
        assert status(answered) == 200
        return raw.port


@pytest.mark.parametrize("follows", [True, False])
async def test_a_phone_that_follows_a_new_from_is_shown_by_it_who_it_talks_with_now(
    deployment: Deployment, tmp_path: Path, follows: bool
) -> None:
    keyed = sdp().replace("RTP/AVP", "RTP/SAVP")
    keyed += f"\na=crypto:1 AEAD_AES_256_GCM inline:{base64.b64encode(bytes(range(44))).decode()}"
    # anna's stack may offer once more by itself, to settle on one codec.
    scenario = [
        invite_received(), answer(200, "OK", sdp=keyed, extra="Supported: from-change" if follows else "", retransmit=True), receive("ACK"),
        '<label id="1"/>', receive("INVITE", optional=True, note=' next="2"'), receive("BYE", note=' next="3"'),
        '<label id="2"/>', reply_in_dialog(200, "OK", sdp=keyed), receive("ACK", note=' next="1"'),
        '<label id="3"/>', reply_in_dialog(200, "OK"),
    ]  # fmt: skip
    async with (
        deployment.carrier() as carrier,
        deployment.phone("anna") as anna,
        await Sipp.start(tmp_path, scenario, port=await registered(deployment, "ben")) as ben,
    ):
        call = await anna.call(deployment.uri(FAR_NUMBER))
        theirs = (await carrier.expect("incoming"))["call"]
        await anna.expect_state(call, "confirmed")
        consulted = await anna.call(deployment.uri("ben"))
        await anna.expect_state(consulted, "confirmed")
        await anna.tell("transfer", call=call, replaces=consulted)
        await anna.expect_state(consulted, "disconnected")
        told = rf"(?m)^P-Asserted-Identity: .*{re.escape(FAR_NUMBER)}(?:.*\r?\n)+?ACK sip:"
        await until(lambda: re.search(told, ben.messages()), what="ben was told, and took it")
        await carrier.hangup(theirs)
        await ben.succeeded()
        found = re.findall(r"(?m)^(INVITE|BYE) sip:(?:.*\r?\n)+?From: (.*?);tag=(\w+)(?:.*\r?\n)+?CSeq: (\d+)", ben.messages())
        froms = list(dict.fromkeys(found))  # whatever was sent more than once
        assert len({tag for _, _, tag, _ in froms}) == 1
        is_far = [FAR_NUMBER in name for _, name, *_ in froms]
        assert (is_far[0], is_far[-2], is_far[-1]) == (False, follows, follows)
        assert froms[-1][0] == "BYE"
