"""Calls of one agent lie side by side in the media process, so that a leg can go over from one to the other (a transfer)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.core.ids import CallId
from hushwire.services.live import LiveCall
from hushwire.services.side_by_side import SideBySide
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, Peer, World, need_program, running
from tests.services.test_transfers import Heard, accept, refer, settled, to_carrier

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, "--workers", "4") as made:
        yield made


async def call(world: World, phone: Peer) -> LiveCall:
    """Another call of this phone with the carrier."""
    known = set(world.gateway.calling.table.calls)
    phone.invite(FAR_NUMBER)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    await phone.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    (new,) = set(world.gateway.calling.table.calls) - known
    return world.gateway.calling.table.calls[new]


async def test_an_agents_second_call_is_where_a_leg_of_the_first_can_go(world: World) -> None:
    world.gateway.calling._media.neighbours = SideBySide(most_together=0)
    anna, ben = await world.peer("anna"), await world.peer("ben")
    first = await call(world, anna)
    others = [await call(world, ben) for _ in range(3)]
    second = await call(world, anna)
    client = world.gateway.link.client
    await client.close_leg(first.id, 0)
    await client.move_leg(second.id, 1, first.id, 0)
    assert [leg.leg for leg in (await client.bridge(first.id)).legs] == [0, 1]
    assert [leg.leg for leg in (await client.bridge(second.id)).legs] == [0]
    await client.move_leg(others[0].id, 1, others[2].id, 5)
    # Those of two agents are spread over the workers as load wants it, where the organisation has too many to lie together: what has
    # ports of its own goes there all the same.
    await client.move_leg(first.id, 0, others[0].id, 7)
    assert [leg.leg for leg in (await client.bridge(others[0].id)).legs] == [0, 7]


async def test_what_came_about_apart_can_be_joined_while_the_organisation_has_few_calls(
    world: World,
) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    _, _, far = await to_carrier(world, anna)
    theirs, near, other_far = await to_carrier(world, ben, "+493023125998")
    ben.invite("101")
    accept(anna, await anna.expect(sip.RequestReceived))
    consulted = (await ben.expect(sip.Accepted)).dialog
    refer(ben, near, "101", replaces=consulted)
    told, _anna = Heard(ben), Heard(anna)
    await told.until(lambda heard: heard.is_over and len(heard.ended) == 2, "both of ben's dialogs are over")
    assert told.statuses[-1] == 200
    await settled(theirs)
    assert theirs.dialogs[Side.CALLEE].call_id == other_far.call_id != far.call_id
    assert theirs.party(Side.CALLER).agent == world.organisation.by_username["anna"]


class Apart(SideBySide):
    """As in an organisation with so many calls that they can't lie together."""

    def place(self, live: LiveCall) -> CallId | None:
        super().place(live)
        return None


async def test_a_leg_on_a_shared_port_is_given_its_own_where_a_transfer_wants_it_on_another_thread(world: World) -> None:
    world.gateway.calling._media.neighbours = Apart()
    anna, ben, client = await world.peer("anna"), await world.peer("ben"), world.gateway.link.client
    theirs, near, other_far = await to_carrier(world, ben)
    ben.invite("101")
    accept(anna, await anna.expect(sip.RequestReceived))
    consulted = (await ben.expect(sip.Accepted)).dialog
    (consultation,) = (live for live in world.gateway.calling.live if live is not theirs)
    leg = consultation.call.leg(Side.CALLEE)
    assert leg in consultation.shared_legs, "anna's phone is on a shared port"
    assert not await client.is_beside(theirs.id, consultation.id)
    told, _anna = Heard(ben), Heard(anna)
    await until(lambda: consultation.call.state is State.ACTIVE, what="they talk")
    refer(ben, near, "101", replaces=consulted)
    await told.until(lambda heard: heard.is_over and len(heard.ended) == 2, "both of ben's dialogs are over")
    assert told.statuses[-1] == 200
    await settled(theirs)
    assert _anna.reinvites, "anna's phone was told of its ports"
    assert theirs.dialogs[Side.CALLEE].call_id == other_far.call_id
    assert theirs.party(Side.CALLER).agent == world.organisation.by_username["anna"]
    assert not theirs.shared_legs
    assert [one.leg for one in (await client.bridge(theirs.id)).legs] == [0, 1]


async def test_a_call_that_outlives_the_agents_newest_one_is_still_the_neighbour_of_the_next(world: World) -> None:
    neighbours = world.gateway.calling._media.neighbours = SideBySide(most_together=0)
    anna = await world.peer("anna")
    first, second = await call(world, anna), await call(world, anna)
    world.gateway.calling.hang_up(second)
    await anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    await until(lambda: second.id not in neighbours._agents, what="the newer one is over")
    third = await call(world, anna)
    client = world.gateway.link.client
    await client.close_leg(first.id, 0)
    await client.move_leg(third.id, 1, first.id, 0)


async def test_nothing_is_kept_of_calls_that_are_over(world: World) -> None:
    anna = await world.peer("anna")
    for _ in range(2):
        await call(world, anna)
    for live in list(world.gateway.calling.live):
        world.gateway.calling.hang_up(live)
    await until(lambda: not world.gateway.calling.table.calls, what="both calls are over")
    assert world.gateway.calling._media.neighbours.is_empty
