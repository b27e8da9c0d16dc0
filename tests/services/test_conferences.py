"""Conferences of a whole gateway: agents dial a room, hear each other, are recorded together, and leave one by one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.calls.model import JoinedAs
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.native.hwr_reader import read
from tests.polling import until
from tests.services.listening import Ear
from tests.services.running import Peer, World, local_media, need_program, running
from tests.services.test_call_sounds import SPEECH, events, sounding

pytestmark = need_program
ULAW = (b"\x11" * 160, b"\x22" * 160, b"\x33" * 160)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made
        Ear.close_all()


async def enter(world: World, name: str, room: str = "*8812") -> tuple[Peer, sip.Accepted, Ear]:
    phone, ear = await world.peer(name), Ear()
    phone.invite(room, local=local_media(ear.port))
    accepted = await phone.expect(sip.Accepted)
    ear.agree(phone.answer_of(accepted.response))
    return phone, accepted, ear


async def ended(world: World, count: int) -> None:
    async def is_so() -> bool:
        rows = await world.rows("calls")
        return len(rows) == count and all(row["state"] == "ended" for row in rows)

    await until(is_so, what="all rows are closed")


async def test_members_are_calls_of_their_own_in_a_room_that_stays_until_the_last_has_left(world: World) -> None:
    members = [await enter(world, name) for name in ("anna", "ben", "sue")]
    room = next(live for live in world.gateway.calling.live if live.route.plan.is_room)
    await until(lambda: room.hears == {0: {1, 2}, 1: {0, 2}, 2: {0, 1}}, what="each hears the others")
    await until(lambda: room.recorded == {0, 1, 2}, what="all are recorded")
    run = await world.row("recordings", state="live", call_id=room.id)
    await until(lambda: room.recording is not None and room.recording.is_running)
    assert room.recording is not None
    key = room.recording.key.key
    for (_, _, ear), payload in zip(members, ULAW, strict=True):
        ear.speak(payload, 10)

    async def taken() -> bool:
        return [leg.packets_received for leg in (await world.gateway.link.client.bridge(room.id)).legs] == [10, 10, 10]

    await until(taken, what="what was said was taken in")
    # Who opened the room leaves, and the others go on.
    members[0][0].endpoint.bye(members[0][1].dialog)
    await until(lambda: room.hears == {1: {2}, 2: {1}}, what="two are left")
    assert not room.is_ended
    again = await enter(world, "anna")
    await until(lambda: room.hears == {0: {1, 2}, 1: {0, 2}, 2: {0, 1}}, what="three are there again")
    for phone, accepted, _ in (again, *members[1:]):
        phone.endpoint.bye(accepted.dialog)
    await ended(world, 5)
    rows = await world.rows("calls", "started_at")
    assert {row["direction"] for row in rows} == {"conference"}
    assert [row["end_reason"] for row in rows if row["joined_call_id"] is None] == ["everybody-left"]
    assert [(row["joined_as"], row["end_reason"]) for row in rows if row["joined_call_id"] == room.id] == [("member", "bye-agent")] * 4
    assert not world.gateway.calling.table.calls
    assert [entry async for entry in world.gateway.link.client.bridges()] == []
    file = read((world.folder / "spool" / run["spool_name"]).read_bytes(), key)
    spoken = [(entry.leg, entry.data[12:]) for entry in file.entries if entry.kind == "packet"]
    assert [[payload for leg, payload in spoken if leg == one] for one in range(3)] == [[payload] * 10 for payload in ULAW]


async def test_each_hears_the_others_mixed(world: World) -> None:
    _, _, anna = await enter(world, "anna")
    _, _, ben = await enter(world, "ben")
    room = next(live for live in world.gateway.calling.live if live.route.plan.is_room)
    await until(lambda: room.hears == {0: {1}, 1: {0}}, what="both hear each other")
    anna.speak(ULAW[0])
    await until(lambda: bool(ben.packets), what="ben hears anna")
    assert ben.packets[-1].payload == ULAW[0]  # of two, one's packets go to the other as they are
    _, _, sue = await enter(world, "sue")
    await until(lambda: room.hears.get(2) == {0, 1}, what="sue is in")

    def all_hear() -> bool:
        anna.speak(ULAW[0])
        ben.speak(ULAW[1])
        return len(sue.packets) > 10

    await until(all_hear, what="sue hears the mix")


async def test_the_seventeenth_is_told_that_the_conference_is_full_and_other_rooms_are_open(world: World) -> None:
    phones = [(await enter(world, ("anna", "ben", "sue")[n % 3]))[0] for n in range(16)]
    late = await world.peer("ben")
    late.invite("*8812")
    rejected = await late.expect(sip.Rejected)
    assert rejected.status == 486
    await enter(world, "anna", "*88999")
    rooms = [live for live in world.gateway.calling.live if live.route.plan.is_room]
    assert sorted(len(room.guests) for room in rooms) == [1, 16]
    assert len(phones) == 16
    big = next(room for room in rooms if len(room.guests) == 16)
    await until(lambda: len(big.hears) == 16 and all(len(others) == 15 for others in big.hears.values()), what="each hears fifteen others")


async def test_all_who_dial_a_room_at_once_come_into_one(world: World) -> None:
    phones = [await world.peer(name) for name in ("anna", "ben", "sue")]
    ears = [Ear() for _ in phones]
    for phone, ear in zip(phones, ears, strict=True):
        phone.invite("*881", local=local_media(ear.port))
    for phone in phones:
        await phone.expect(sip.Accepted)
    rooms = [live for live in world.gateway.calling.live if live.route.plan.is_room]
    assert [sorted(room.guests) for room in rooms] == [[0, 1, 2]]
    world.gateway.calling.hang_up(rooms[0])
    for phone in phones:
        await phone.expect(sip.DialogEnded)
    await ended(world, 4)


async def test_who_cancels_at_once_leaves_no_room_behind(world: World) -> None:
    phone = await world.peer("anna")
    for _ in range(5):
        invite = phone.invite("*8855")
        phone.endpoint.cancel(invite)
        async with asyncio.timeout(5):
            outcome = await phone.events.get()
        if isinstance(outcome, sip.Accepted):
            phone.endpoint.bye(outcome.dialog)
    await until(lambda: not world.gateway.calling.table.calls, what="nothing is left")
    assert [entry async for entry in world.gateway.link.client.bridges()] == []
    table = world.gateway.calling.table
    assert [len(names) for names in (table.by_tx, table.by_invite, table.by_dialog, table.by_request)] == [0, 0, 0, 0]


async def test_a_conference_is_not_supervised_and_its_members_neither(world: World) -> None:
    await enter(world, "anna")
    await world.peer("sue")
    supervision, sue = world.gateway.calling.supervision, world.organisation.by_username["sue"].id
    for live in list(world.gateway.calling.live):
        answer = await supervision.supervise(live, JoinedAs.LISTEN, sue, actor="api-key:test", purpose="training")
        assert answer == "calls of this kind are not supervised"


async def test_a_killed_media_process_ends_the_conference_for_all(world: World) -> None:
    members = [await enter(world, name) for name in ("anna", "ben")]
    await world.media.kill()
    for phone, _, _ in members:
        await phone.expect(sip.DialogEnded)
    await ended(world, 3)


async def test_each_member_of_a_recorded_conference_hears_the_announcement_before_it_is_heard(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, announcement="peer") as world:
        _, _, anna = await enter(world, "anna")
        room = next(live for live in world.gateway.calling.live if live.route.plan.is_room)
        await anna.hears(SPEECH)
        assert room.hears == {}
        assert room.recorded == {0, 1}
        await until(lambda: room.hears == {0: frozenset()}, what="anna is in")
        _, _, ben = await enter(world, "ben")
        await ben.hears(SPEECH)
        await until(lambda: room.hears == {0: {1}, 1: {0}}, what="both are in")
        assert len(await events(world, "announcement.played")) == 2
