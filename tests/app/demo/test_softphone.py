"""The demo's softphone against itself: what it claims to hear, send and see is true without any gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hushwire.app.demo.packets import look
from hushwire.app.demo.party import Party, PartyError
from hushwire.app.demo.speech import AGENT, CARRIER, bundled
from tests.interop.hearing import End, hear_each_other

pytest.importorskip("pjsua2")


@asynccontextmanager
async def pair(srtp: str) -> AsyncIterator[tuple[Party, Party]]:
    async with (
        await Party.start("one", speech=bundled(AGENT), watch=True) as one,
        await Party.start("two", speech=bundled(CARRIER), watch=True) as two,
    ):
        await one.tell("account", uri="sip:one@127.0.0.1", srtp=srtp)
        await two.tell("account", uri="sip:two@127.0.0.1", srtp=srtp)
        yield one, two


@pytest.mark.parametrize(("srtp", "profile"), [("off", "RTP/AVP"), ("mandatory", "RTP/SAVP")])
async def test_both_hear_each_other_and_the_packets_show_what_was_agreed(srtp: str, profile: str) -> None:
    async with pair(srtp) as (one, two):
        call = await one.call(f"sip:two@{two.address}")
        await one.expect_state(call, "confirmed")
        await hear_each_other(End(one, call, AGENT), End(two, 1, CARRIER))
        assert (await one.tell("stats", call=call))["profile"] == profile
        await one.hangup(call)
        await two.expect_state(1, "disconnected")
        for party, number, own in ((one, call, AGENT), (two, 1, CARRIER)):
            seen = look(await party.packets(number), bundled(own))
            assert seen.is_protected if srtp == "mandatory" else seen.is_plain


async def test_keys_pressed_arrive_in_order_and_a_refusal_arrives_with_its_status() -> None:
    async with pair("off") as (one, two):
        call = await one.call(f"sip:two@{two.address}")
        await one.expect_state(call, "confirmed")
        await one.tell("dtmf", call=call, digits="12#")
        await two.expect("dtmf", lambda e: e["digit"] == "#")
        assert [e["digit"] for e in two.events if e["event"] == "dtmf"] == ["1", "2", "#"]
        await one.hangup(call)
        await two.tell("policy", status=486)
        ended = await one.expect_state(await one.call(f"sip:two@{two.address}"), "disconnected")
        assert ended["status"] == 486


async def test_srtp_mandatory_does_not_talk_to_a_phone_without_it() -> None:
    async with pair("mandatory") as (one, two):
        await two.tell("account", uri="sip:two@127.0.0.1", srtp="off")
        ended = await one.expect_state(await one.call(f"sip:two@{two.address}"), "disconnected")
        assert ended["status"] in (406, 488)


async def test_a_fifth_call_and_an_unknown_command_are_errors_and_the_phone_goes_on() -> None:
    async with pair("off") as (one, two):
        await two.tell("policy", status=0)
        for _ in range(4):
            await one.call(f"sip:two@{two.address}")
        with pytest.raises(PartyError, match="four"):
            await one.call(f"sip:two@{two.address}")
        with pytest.raises(PartyError, match="unknown command"):
            await one.tell("dance")
        assert (await one.tell("stats", call=1))["ok"]


async def test_waiting_for_what_does_not_come_tells_what_came_instead() -> None:
    async with pair("off") as (one, two):
        await two.tell("policy", status=0)
        call = await one.call(f"sip:two@{two.address}")
        with pytest.raises(PartyError, match="seen: state calling"):
            await one.expect("confirmed", timeout_s=0.5)
        await one.hangup(call)
