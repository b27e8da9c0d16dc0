"""Somebody is called into a conference: judged as the call of the agent who invites, and gone when the last agent is."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.services.call_requests import Begun, NotBegun, Outcome, Room
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from tests.databases import Databases
from tests.polling import until
from tests.services.clicking import BRITISH, CUBAN, Office, allow
from tests.services.listening import Ear
from tests.services.running import NODE, Peer, World, local_media, need_program, running
from tests.services.test_conferences import enter

pytestmark = need_program
ULAW = (b"\x11" * 160, b"\x22" * 160)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made
        Ear.close_all()


def room_of(world: World) -> LiveCall:
    return next(live for live in world.gateway.calling.live if live.route.plan.is_room)


async def invite(world: World, office: Office, to: str, agent: str = "anna") -> Outcome:
    return await office.click(to, agent, room=Room(room_of(world).id, NODE))


async def answered(world: World) -> tuple[DialogKey, Ear]:
    """The carrier's party takes the call."""
    ear = Ear()
    dialog, media = world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(ear.port, keys=False))
    ear.agree(media)
    await world.carrier.expect(sip.AckReceived)
    return dialog, ear


async def test_a_number_is_called_into_the_room_heard_recorded_and_found_and_leaves_with_the_last_agent(world: World) -> None:
    office = await Office.of(world)
    anna, accepted, ear = await enter(world, "anna")
    ben, ben_accepted, _ = await enter(world, "ben")
    room = room_of(world)
    await until(lambda: room.recording is not None and room.recording.is_running, what="the room is recorded")
    outcome = await invite(world, office, BRITISH)
    assert isinstance(outcome, Begun)
    far, far_ear = await answered(world)
    await until(lambda: room.hears.get(2) == {0, 1}, what="the third is in")

    def heard() -> bool:
        ear.speak(ULAW[0])
        far_ear.speak(ULAW[1])
        return len(far_ear.packets) > 5 and len(ear.packets) > 5

    await until(heard, what="they hear each other")
    org = world.organisation
    recording = await world.row("recordings", state="live")
    assert recording["further_indexes"] == [org.keys.index("calls.remote", BRITISH)]
    (member,) = [row for row in await world.rows("calls") if row["id"] == outcome.call_id]
    assert (member["direction"], member["joined_call_id"], member["joined_as"]) == ("outbound", room.id, "member")
    assert (member["verdict"], member["country"], member["agent_id"]) == ("allow", "GB", org.by_username["anna"].id)
    # Who invited leaves, and the others go on; with the last agent everybody from outside goes.
    anna.endpoint.bye(accepted.dialog)
    await until(lambda: room.hears.get(1) == {2}, what="two are left")
    assert not room.is_ended
    ben.endpoint.bye(ben_accepted.dialog)
    assert (await world.carrier.expect(sip.DialogEnded)).dialog == far
    await until(lambda: not world.gateway.calling.table.calls, what="nobody is left")
    row = next(row for row in await world.rows("calls") if row["id"] == outcome.call_id)
    assert row["end_reason"] == "joined-ended"


async def test_what_the_agent_may_not_call_is_not_called_into_a_room_either(world: World) -> None:
    office = await Office.of(world)
    await enter(world, "anna")
    for to in (CUBAN, "garbage", "+4420"):
        outcome = await invite(world, office, to)
        assert isinstance(outcome, NotBegun)
    await allow(world, "DE")
    outcome = await invite(world, office, BRITISH)
    assert isinstance(outcome, NotBegun)
    assert outcome.why.code == "country"
    assert world.carrier.events.empty()
    await allow(world, "DE", "GB")
    assert isinstance(await invite(world, office, BRITISH), Begun)
    assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith(f"sip:{BRITISH}@")

    async def rows() -> bool:
        return sum(row["end_reason"] == "refused" for row in await world.rows("calls")) == 4

    await until(rows, what="each refusal is a row")


async def test_who_is_not_in_the_room_invites_nobody_and_nobody_is_invited_where_no_room_is(world: World) -> None:
    office = await Office.of(world)
    await enter(world, "ben")
    for to, room, code in (
        (BRITISH, Room(room_of(world).id, NODE), "not-in-conference"),
        (BRITISH, Room(next(iter(room_of(world).guests.values())).id, NODE), "no-conference"),
    ):
        outcome = await office.click(to, "anna", room=room)
        assert isinstance(outcome, NotBegun)
        assert outcome.why.code == code
    assert await office.requests.room(world.organisation.id, room_of(world).id) == Room(room_of(world).id, NODE)
    assert await office.requests.room(world.organisation.id, next(iter(room_of(world).guests.values())).id) is None
    assert world.carrier.events.empty()


async def test_who_rings_is_not_rung_on_when_the_last_agent_leaves_and_a_colleague_keeps_the_room(world: World) -> None:
    office = await Office.of(world)
    anna, accepted, _ = await enter(world, "anna")
    sue = await world.peer("sue")
    assert isinstance(await invite(world, office, "103"), Begun)
    sue_dialog = accept(sue, await sue.expect(sip.RequestReceived))
    room = room_of(world)
    await until(lambda: len(room.hears.get(0, ())) == 1, what="the colleague is in")
    assert isinstance(await invite(world, office, BRITISH), Begun)
    ringing = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(ringing.tx, 180)
    anna.endpoint.bye(accepted.dialog)
    await until(lambda: len(room.guests) == 2, what="she is out")
    assert not room.is_ended
    sue.endpoint.bye(sue_dialog)
    assert isinstance(await world.carrier.expect(sip.CancelReceived), sip.CancelReceived)
    await until(lambda: room.is_ended, what="the room is closed")


async def test_a_colleague_who_was_called_in_may_invite_and_who_has_left_may_not(world: World) -> None:
    office = await Office.of(world)
    anna, accepted, _ = await enter(world, "anna")
    sue = await world.peer("sue")
    assert isinstance(await invite(world, office, "103"), Begun)
    accept(sue, await sue.expect(sip.RequestReceived))
    room = room_of(world)
    await until(lambda: len(room.hears.get(0, ())) == 1, what="the colleague is in")
    anna.endpoint.bye(accepted.dialog)
    await until(lambda: len(room.guests) == 1, what="she is out")
    outcome = await invite(world, office, BRITISH)
    assert isinstance(outcome, NotBegun)
    assert outcome.why.code == "not-in-conference"
    assert world.carrier.events.empty()
    assert isinstance(await invite(world, office, BRITISH, "sue"), Begun)
    assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith(f"sip:{BRITISH}@")


def accept(phone: Peer, event: sip.RequestReceived) -> DialogKey:
    return phone.accept(event, srtp=Srtp.REQUIRED)[0]
