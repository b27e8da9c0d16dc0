"""Chromium against our SDP, DTLS and media: both directions, Opus and G.711, both roles, ICE restart; sound is known by its frequency."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from hushwire.media.dtls import Failure
from hushwire.media.model import Mode
from hushwire.media.wire import EventType
from hushwire.sdp.dtls import Setup
from hushwire.sdp.offer_answer import OPUS
from tests.interop.browser import BrowserPhone, browser_phone
from tests.interop.webrtc_leg import BROWSER, PLAIN, Bridge, PlainPhone, bridge
from tests.polling import until
from tests.services.running import need_program

pytestmark = [pytest.mark.interop, need_program]

PAGE, PHONE = 440, 880


async def joined(made: Bridge, there: BrowserPhone, codec: str, stack: AsyncExitStack) -> PlainPhone:
    """The page has called a plain phone."""
    plain = PlainPhone(made.sides[1], codec, PHONE)
    stack.callback(plain.close)
    offer = await there.offer(codec)
    offered = made.sides[0].end.read(offer.encode())
    assert not isinstance(offered, str), offered
    await plain.meet(offered)
    await there.take_answer(await made.sides[0].answer(offer, made.sides[1].media))
    await made.sides[0].keyed()
    return plain


@pytest.mark.parametrize("codec", ["opus", "PCMU"])
async def test_a_page_that_calls_and_a_plain_phone_hear_each_other_and_both_count_packets(tmp_path: Path, codec: str) -> None:
    async with bridge(tmp_path, terms=(BROWSER, PLAIN)) as made, browser_phone(PAGE) as there, AsyncExitStack() as stack:
        plain = await joined(made, there, codec, stack)
        await asyncio.gather(there.hears(PHONE), plain.hears(PAGE))
        stats = await there.stats()
        assert stats["inbound"]["packets"] > 50
        assert stats["outbound"]["packets"] > 50
        assert stats["codec"].lower() == f"audio/{codec}".lower()
        assert stats["transport"]["dtls"] == "connected"
        assert stats["transport"]["role"] == "client"
        report = await made.report()
        assert all(leg.packets_received > 50 and leg.packets_sent > 50 for leg in report.legs)
        assert (report.legs[0].dropped_tag, report.legs[0].dropped_replay) == (0, 0)


@pytest.mark.parametrize("role", [Setup.ACTPASS, Setup.ACTIVE, Setup.PASSIVE])
async def test_a_page_that_is_called_hears_its_echo_in_whichever_role_it_takes(tmp_path: Path, role: Setup) -> None:
    async with bridge(tmp_path, Mode.ECHO, (BROWSER,)) as made, browser_phone(PAGE) as there:
        side = made.sides[0]
        # One codec: Chromium sends the first that is offered, also where it does not take it itself.
        side.end.local = replace(side.end.local, codecs=(OPUS,))
        if role is not Setup.ACTPASS:
            # The role that we offer decides the page's.
            assert side.end.local.dtls is not None
            side.end.local = replace(side.end.local, dtls=replace(side.end.local.dtls, role=role))
        await side.take_answer(await there.answer(side.end.offer().decode(), "opus"))
        await side.keyed()
        await there.hears(PAGE)
        assert (await there.stats())["transport"]["role"] == ("server" if role is Setup.ACTIVE else "client")


async def test_after_an_ice_restart_the_same_keys_carry_the_sound_over_new_credentials(tmp_path: Path) -> None:
    async with bridge(tmp_path, terms=(BROWSER, PLAIN)) as made, browser_phone(PAGE) as there, AsyncExitStack() as stack:
        plain = await joined(made, there, "opus", stack)
        await asyncio.gather(there.hears(PHONE), plain.hears(PAGE))
        side = made.sides[0]
        before, keys = side.media.ice, made.handshakes.keys(made.id, 0)
        selected = sum(event.type is EventType.ICE_SELECTED for event in made.events)
        await there.take_answer(await side.answer(await there.offer("opus", restart=True), made.sides[1].media))
        assert before is not None
        assert side.media.ice is not None
        assert side.media.ice.remote != before.remote
        assert side.media.ice.local != before.local
        await until(
            lambda: sum(event.type is EventType.ICE_SELECTED for event in made.events) > selected,
            timeout_s=20,
            what="a pair is chosen anew",
        )
        assert made.handshakes.keys(made.id, 0) is keys
        received = (await there.stats())["inbound"]["packets"]
        plain.heard.clear()
        await asyncio.gather(there.hears(PHONE), plain.hears(PAGE))
        assert (await there.stats())["inbound"]["packets"] > received


async def test_a_page_under_a_forged_fingerprint_gets_no_keys_and_nothing_of_it_is_relayed(tmp_path: Path) -> None:
    async with bridge(tmp_path, terms=(BROWSER, PLAIN)) as made, browser_phone(PAGE) as there, AsyncExitStack() as stack:
        plain = PlainPhone(made.sides[1], "PCMU", PHONE)
        stack.callback(plain.close)
        lines = (await there.offer("PCMU")).splitlines()
        forged = ["a=fingerprint:sha-256 " + ":".join(["5A"] * 32) if "a=fingerprint" in line else line for line in lines]
        offer = "\r\n".join(forged) + "\r\n"
        offered = made.sides[0].end.read(offer.encode())
        assert not isinstance(offered, str), offered
        await plain.meet(offered)
        await there.take_answer(await made.sides[0].answer(offer, made.sides[1].media))
        await until(lambda: 0 in made.failures, timeout_s=20, what="the handshake failed")
        assert made.failures[0] is Failure.FINGERPRINT
        assert [leg.packets_sent for leg in (await made.report()).legs] == [0, 0]
        assert plain.heard == []
        await until(lambda: there.state(), what="the page says how it stands")
        assert (await there.stats()).get("inbound", {"packets": 0})["packets"] == 0
