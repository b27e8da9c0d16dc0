"""Every way out that SIP has, tried by PJSUA2: its own parser, its own dialogs, and its own idea of what a REFER or a 302 says."""

from contextlib import suppress
from typing import Any

import pytest

from hushwire.app.demo.party import Party, PartyError
from tests.polling import until
from tests.redteam.campaigns import Stack, Way, tricks
from tests.redteam.house import CODES, House, carrier_of_pjsip, emptied, reached_alike, softphone, tried
from tests.redteam.tricks import ALLOWED
from tests.redteam.ways import HOST, SALES, whole

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session")]


async def came_of(party: Party, call: int, since: int) -> tuple[str, int]:
    """Whether a call was answered (`confirmed`) or not, and the status."""
    ends = ("disconnected", "confirmed")
    event = await party.expect("state", lambda event: event["call"] == call and event["state"] in ends, since=since)
    return event["state"], int(event["status"])


async def called(party: Party, uri: str) -> int:
    """Call, and hang up where it is answered; the status. A URI that PJSIP's own parser takes for none is refused, too."""
    since = len(party.events)
    try:
        call = await party.call(uri)
    except PartyError as error:
        if "invalid" not in str(error).lower():
            raise
        return 400
    state, status = await came_of(party, call, since)
    if state == "confirmed":
        await over(party, call)
    return status


async def over(party: Party, *calls: int) -> None:
    """They end, or have ended by themselves."""
    for call in calls:
        with suppress(PartyError):
            await party.tell("hangup", call=call)
        await party.expect_state(call, "disconnected")


async def transferred(party: Party, call: int, **to: Any) -> int:
    """Transfer; the status that comes of it."""
    since = len(party.events)
    await party.tell("transfer", call=call, **to)
    return int((await party.expect("transferred", lambda event: event["call"] == call, since=since))["status"])


async def talking(party: Party) -> int:
    """A call of Anna's with Ben, who answers."""
    call = await party.call(f"sip:102@{HOST}")
    await party.expect_state(call, "confirmed")
    return call


async def answering(house: House) -> None:
    """Ben, by raw sockets."""
    ben = await house.phone("ben")
    ben.reply = lambda _request: "200"


async def test_no_invite_of_pjsip_gets_out(house: House) -> None:
    async with softphone(house, "anna") as anna:

        async def call(text: str) -> None:
            assert await called(anna, whole(text)) >= 400

        await tried(house, tricks(Way.INVITE, Stack.PJSIP), call)


async def test_no_blind_transfer_of_pjsip_gets_out(house: House) -> None:
    await answering(house)
    async with softphone(house, "anna") as anna:

        async def refer(text: str) -> None:
            call = await talking(anna)  # PJSIP hears of one transfer in a dialog, not of two
            assert await transferred(anna, call, to=f"<{whole(text)}>") >= 400
            await over(anna, call)

        await tried(house, tricks(Way.BLIND, Stack.PJSIP), refer)


async def test_no_attended_transfer_of_pjsip_gets_out_whether_it_asked_before_or_not(house: House) -> None:
    """Who transfers attended calls the other one first; whoever was refused there says that the call stood all the same."""
    await answering(house)
    async with softphone(house, "anna") as anna:

        async def consult(text: str) -> None:
            talk, since = await talking(anna), len(anna.events)
            asked = await anna.call(whole(text))
            if (await came_of(anna, asked, since))[0] == "confirmed":
                await anna.tell("transfer", call=talk, replaces=asked)
                for call in (talk, asked):
                    await anna.expect_state(call, "disconnected")
            else:
                made_up = f"<{whole(text)}?Replaces={asked}%40127.0.0.1%3Bto-tag%3D1%3Bfrom-tag%3D2>"
                assert await transferred(anna, talk, to=made_up) >= 400
                await over(anna, talk)

        house.carrier.reply = lambda _request: "200"
        await tried(house, tricks(Way.ATTENDED, Stack.PJSIP), consult)


async def test_no_redirection_of_a_phone_of_pjsip_gets_out(house: House) -> None:
    anna = await house.phone("anna")
    async with softphone(house, "ben") as ben:

        async def redirect(text: str) -> None:
            await ben.tell("policy", status=302, redirect=f"<{whole(text)}>")
            assert (await anna.invite(f"sip:102@{HOST}"))[0] >= 400

        await tried(house, tricks(Way.REDIRECT, Stack.PJSIP), redirect)


async def test_a_carrier_of_pjsip_that_redirects_gets_nowhere_at_all(house: House) -> None:
    anna = await house.phone("anna")
    async with carrier_of_pjsip(house) as carrier:
        for trick in tricks(Way.CARRIER_REDIRECT, Stack.PJSIP):
            for text in (trick.sent, trick.twin):
                since = len(carrier.events)
                await carrier.tell("policy", status=302, redirect=f"<{whole(text)}>")
                assert (await anna.invite(f"sip:+493023125999@{HOST}"))[0] >= 400
                came = [event["to"] for event in carrier.events[since:] if event["event"] == "incoming"]
                assert came, "the call itself arrived"
                assert all("+493023125999@" in to for to in came), trick.name


async def test_no_code_of_pjsip_lets_calls_to_an_agent_or_its_group_out(house: House) -> None:
    assert tricks(Way.FORWARD, Stack.PJSIP) == tricks(Way.GROUP, Stack.PJSIP)
    anna = await house.phone("anna")
    async with softphone(house, "ben") as ben:
        await ben.tell("policy", status=486)

        async def forward(text: str) -> int:
            return await called(ben, whole(CODES["always"] + text))

        await house.quiet(anna)
        for trick in tricks(Way.FORWARD, Stack.PJSIP):
            assert await forward(trick.sent) >= 400, trick.name
            for extension in ("102", SALES):
                await anna.invite(f"sip:{extension}@{HOST}")
                emptied(house, trick)
        for trick in tricks(Way.GROUP, Stack.PJSIP):
            assert await forward(trick.twin) == 200, trick.name
            await reached_alike(house, anna, "102", trick)
            house.carrier.seen.clear()
            await anna.invite(f"sip:{SALES}@{HOST}")
            emptied(house, trick)  # a member's wish leads no call of a group out, not even where it may go


async def test_no_code_of_pjsip_that_picks_calls_up_gets_out(house: House) -> None:
    ben, carl = await house.phone("ben"), await house.phone("carl")
    async with softphone(house, "anna") as anna:
        for trick in tricks(Way.PICKUP, Stack.PJSIP):
            for text in (trick.sent, trick.twin):
                assert await called(anna, whole("**" + text)) >= 400, trick.name
                emptied(house, trick)
        carl.reply = lambda _request: None

        async def pick_up() -> int:
            since = len(anna.events)
            return (await came_of(anna, await anna.call(f"sip:**103@{HOST}"), since))[1]

        await house.picked_up(ben, carl, pick_up)


async def test_no_transfer_of_pjsip_out_of_a_conference_gets_out(house: House) -> None:
    async with softphone(house, "anna") as anna:
        room = await anna.call(f"sip:*8801@{HOST}")
        await anna.expect_state(room, "confirmed")
        for trick in tricks(Way.CONFERENCE, Stack.PJSIP):
            for text in (trick.sent, trick.twin):
                assert await transferred(anna, room, to=f"<{whole(text)}>") >= 400, trick.name
                emptied(house, trick)
        api = house.deployment.api()
        listed = (await api.get("/v1/calls?direction=conference&state=active"))["items"]
        [call] = [call["id"] for call in listed if call["joined_call_id"] is None]
        assert (await api.ask("POST", f"/v1/calls/{call}/participants", {"agent": "anna", "to": ALLOWED})).status == 201
        await until(house.invited, what="who is in it could invite all the time")


async def test_no_keys_of_pjsip_get_out(house: House) -> None:
    await answering(house)
    async with softphone(house, "anna") as anna:
        call, refused = await talking(anna), await house.refused()
        for done, trick in enumerate(tricks(Way.KEYS, Stack.PJSIP), 1):
            await anna.tell("keys", call=call, digits=f"*2{trick.sent}#")
            await until(lambda wanted=refused + done: house.refused_are(wanted), timeout_s=15, what=f"{trick.name} is refused")  # type: ignore[misc]
            emptied(house, trick)
        for trick in tricks(Way.KEYS, Stack.PJSIP)[:: len(tricks(Way.KEYS, Stack.PJSIP)) - 1]:
            house.carrier.seen.clear()
            await anna.tell("keys", call=call, digits=f"*2{trick.twin}#")
            await until(house.invited, timeout_s=15, what="the same keys with an allowed number")
            assert f"sip:{trick.known_as}@" in house.invited()[0]
