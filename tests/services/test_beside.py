"""Calls of one agent lie side by side in the media process, so that a leg can go over from one to the other (a transfer)."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.media.model import MediaRefused
from hushwire.media.wire import Status
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, Peer, World, need_program, running

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
    # Those of two agents are spread over the workers as load wants it.
    with pytest.raises(MediaRefused) as caught:
        await client.move_leg(first.id, 0, others[0].id, 7)
    assert caught.value.status is Status.STATE


async def test_nothing_is_kept_of_calls_that_are_over(world: World) -> None:
    anna = await world.peer("anna")
    for _ in range(2):
        await call(world, anna)
    for live in list(world.gateway.calling.live):
        world.gateway.calling.hang_up(live)
    await until(lambda: not world.gateway.calling.table.calls, what="both calls are over")
    assert not world.gateway.calling._media._newest
