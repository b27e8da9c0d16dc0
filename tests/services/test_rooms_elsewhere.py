"""A conference's room is the organisation's: who dials it at another gateway is in it with those who dialled it at this one."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest

from hushwire.app.gateway import Gateway
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow
from hushwire.sip.message import Message, Request
from hushwire.store import expiry
from tests.databases import Databases
from tests.polling import until
from tests.services.running import NODE, Peer, World, need_program, running
from tests.services.test_taken_elsewhere import beside, refused
from tests.services.test_two_gateways import OTHER

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def entered(phone: Peer, room: str = "*8812") -> DialogKey:
    phone.invite(room)
    return (await phone.expect(sip.Accepted)).dialog


def room_of(gateway: Gateway, members: int) -> LiveCall | None:
    """The only room there, once so many are in it."""
    rooms = [live for live in gateway.calling.live if live.route.plan.is_room and not live.is_ended]
    is_full = len(rooms) == 1 and sum(one.joining is not None and one.joining.is_in for one in rooms[0].guests.values()) == members
    return rooms[0] if is_full else None


async def places(world: World) -> Mapping[str, UUID]:
    return {row["room"]: row["node_id"] for row in await world.rows("conference_rooms", "room")}


async def left(phone: Peer, dialog: DialogKey) -> None:
    phone.endpoint.bye(dialog)
    await phone.expect(sip.Responded)


async def test_agents_who_dial_a_room_at_two_gateways_are_in_one_room_and_it_is_free_for_either_afterwards(
    world: World, tmp_path: Path
) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        for holder, node, first, second in ((world.gateway, NODE, anna, ben), (b, OTHER, ben, anna)):
            one, other = await entered(first), await entered(second)
            await until(lambda holder=holder: room_of(holder, 2), what="both are in the room")
            assert sum(live.route.plan.is_room for gateway in (world.gateway, b) for live in gateway.calling.live) == 1
            assert await places(world) == {"12": node}
            await left(second, other)
            await left(first, one)
            await until(lambda holder=holder: not list(holder.calling.live), what="the room is over")

            async def free() -> bool:
                return await places(world) == {}

            await until(free, what="its row is gone")
    rows = await world.rows("calls")
    rooms = [row["id"] for row in rows if row["joined_call_id"] is None]
    assert len(rooms) == 2
    assert sorted(row["joined_call_id"] for row in rows if row["joined_call_id"] is not None) == sorted(rooms * 2)


async def test_who_dial_a_room_in_one_moment_at_two_gateways_meet_in_it(world: World, tmp_path: Path) -> None:
    anna, sue = await world.peer("anna"), await world.peer("sue")
    async with beside(world, tmp_path / "b") as (b, ben):
        for phone in (anna, ben, sue):
            phone.invite("*88777")
        await asyncio.gather(*(phone.expect(sip.Accepted) for phone in (anna, ben, sue)))
        await until(lambda: room_of(world.gateway, 3) or room_of(b, 3), what="all three are in one room")


async def test_a_room_that_stands_for_days_keeps_its_row_as_long_as_its_gateway_is_there(world: World) -> None:
    anna = await world.peer("anna")
    await entered(anna)
    owner, worker = await world.databases.connect("main"), await world.databases.connect("main", "worker")
    org, now = world.organisation.id, datetime.now(UTC)
    async with owner.organisation(org) as connection:
        await connection.execute("UPDATE conference_rooms SET opened_at = now() - interval '3 days'")
    async with worker.organisation(org) as connection:
        await expiry.remove_older_than(connection, now - timedelta(days=1))
    assert await places(world) == {"12": NODE}
    async with worker.organisation(org) as connection:
        await expiry.remove_older_than(connection, now + timedelta(days=1))
    assert await places(world) == {}, "of a gateway that was not heard of since"


async def test_a_phone_that_is_not_registered_where_it_calls_is_told_that_the_room_is_elsewhere(world: World, tmp_path: Path) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        await entered(anna)
        assert await ben.register("ben", expires=0) == 200
        ben.invite("*8812")
        assert await refused(ben) == 480
        assert not list(b.calling.live)


@pytest.mark.parametrize("how", ["lost", "late"])
async def test_a_room_stays_one_though_a_packet_is_lost_or_its_gateway_is_held_up_for_a_moment(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        await entered(anna)
        take, seen = world.gateway.endpoint._take, list[Message]()

        def taking(item: Message | ParseError, flow: Flow) -> None:
            if isinstance(item, Request) and item.method == "INVITE" and not seen:
                seen.append(item)
                if how == "late":
                    asyncio.get_running_loop().call_later(1.1, monkeypatch.setattr, world.gateway.endpoint, "_take", take)
            elif how == "lost":
                take(item, flow)

        monkeypatch.setattr(world.gateway.endpoint, "_take", taking)
        await entered(ben)
        await until(lambda: room_of(world.gateway, 2), what="both are in the room")
        assert seen
        assert await places(world) == {"12": NODE}
        assert not any(live.route.plan.is_room for live in b.calling.live)


async def test_a_room_whose_gateway_has_died_is_opened_where_it_is_dialled_and_its_row_does_not_come_back(
    world: World, tmp_path: Path
) -> None:
    anna = await world.peer("anna")
    async with beside(world, tmp_path / "b") as (b, ben):
        await entered(anna)
        await until(lambda: room_of(world.gateway, 1), what="the room stands")
        await world.kill()
        assert await places(world) == {"12": NODE}
        await entered(ben)
        await until(lambda: room_of(b, 1), what="it is opened anew")
        assert await places(world) == {"12": OTHER}
        await world.restart()
        await world.gateway.elsewhere.close_rooms_but(world.gateway.calling.conferences.has)
        assert await places(world) == {"12": OTHER}
