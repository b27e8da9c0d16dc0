"""A gateway dies in the middle of a transfer; the next one leaves every party with somebody to talk to."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.calls.transfer import SPARE
from hushwire.core.ids import CallId
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from hushwire.store import account_deletions
from tests.databases import Databases
from tests.polling import until
from tests.ports import free_port
from tests.services.running import FAR_NUMBER, World, local_media, need_program, running
from tests.services.test_adoption import killed_and_back
from tests.services.test_diversion import forward
from tests.services.test_transfers import Heard, accept, refer, row_of, settled, to_carrier

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, environ={"HUSHWIRE_SIP__LISTEN": f'["udp://127.0.0.1:{free_port()}"]'}) as made:
        yield made


def again(world: World, live: LiveCall) -> LiveCall:
    """The call in the process of now."""
    return world.gateway.calling.table.calls[CallId(live.id)]


@pytest.mark.parametrize("when", ["aside", "come"])
async def test_killed_while_legs_move_both_calls_are_as_they_were(world: World, when: str) -> None:
    anna = await world.peer("anna")
    first, near, far = await to_carrier(world, anna)
    second, consulted, other_far = await to_carrier(world, anna, "+493023125998")
    calling, client = world.gateway.calling, world.gateway.link.client
    never = asyncio.Event()
    move = client.move_leg

    async def stuck(*_: object) -> str:
        await never.wait()
        return "ok"

    async def moved_and_stuck(*legs: object) -> None:
        await move(*legs)  # type: ignore[arg-type]
        if legs[0] == second.id:
            await never.wait()

    if when == "aside":
        calling.recorder.continue_as = stuck  # type: ignore[method-assign, assignment]
    else:
        client.move_leg = moved_and_stuck  # type: ignore[method-assign, assignment]
    refer(anna, near, FAR_NUMBER, replaces=consulted)

    async def there() -> bool:
        legs = [leg.leg for leg in (await client.bridge(first.id)).legs]
        return SPARE in legs and (when == "aside") is (0 not in legs)

    await until(there, what="the legs are on their way")
    client.move_leg = move  # type: ignore[method-assign]
    gateway = await killed_and_back(world)
    for live in (first, second):
        assert [leg.leg for leg in (await gateway.link.client.bridge(live.id)).legs] == [0, 1]
        assert again(world, live).call.state is State.ACTIVE

    async def is_named() -> bool:
        running, index = again(world, first).recording, world.organisation.keys.index("calls.remote", FAR_NUMBER)
        rows = {row["id"]: row for row in await world.rows("recordings")}
        return running is not None and index in (rows[running.id]["remote_index"], *(rows[running.id]["further_indexes"] or ()))

    await until(is_named, what="what is recorded is found by the number of who is back")
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over, "anna is told that it came to nothing")
    assert told.statuses[-1] == 503
    carrier = Heard(world.carrier)
    for dialog in (near, consulted):
        anna.endpoint.bye(dialog)
    await carrier.until(lambda heard: {event.dialog for event in heard.ended} == {far, other_far}, "both parties hear of the end")


async def test_killed_as_a_colleague_came_the_running_segment_is_the_agents_again(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    _live, near, _ = await to_carrier(world, anna)
    client, come, never = world.gateway.link.client, asyncio.Event(), asyncio.Event()
    move = client.move_leg
    agents = world.organisation.by_username

    async def moved_and_stuck(*legs: object) -> None:
        await move(*legs)  # type: ignore[arg-type]
        if legs[3] != SPARE:
            come.set()
            await never.wait()

    client.move_leg = moved_and_stuck  # type: ignore[method-assign, assignment]
    refer(anna, near, "102")
    accept(ben, await ben.expect(sip.RequestReceived))

    async def running_is_of(user: str) -> bool:
        rows = await world.rows("recordings", "segment")
        return len(rows) == 2 and rows[1]["state"] == "live" and rows[1]["agent_id"] == agents[user].id

    await come.wait()
    await until(lambda: running_is_of("ben"), what="the next segment names the colleague")
    client.move_leg = move  # type: ignore[method-assign]
    await killed_and_back(world)
    await until(lambda: running_is_of("anna"), what="it names the agent who is in the call")


async def test_killed_while_the_target_rings_the_party_stays_with_who_asked(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "102")
    await ben.expect(sip.RequestReceived)
    told = Heard(anna)
    await told.until(lambda heard: 100 in heard.statuses, "the transfer is under way")
    await killed_and_back(world)
    await told.until(lambda heard: heard.is_over, "anna is told")
    assert told.statuses[-1] == 503
    assert again(world, live).call.state is State.ACTIVE
    await told.stop()
    # And it can be transferred from there.
    while not ben.events.empty():
        ben.events.get_nowait()
    refer(anna, near, "102")
    accept(ben, await ben.expect(sip.RequestReceived))
    told, _ben = Heard(anna), Heard(ben)
    await told.until(lambda heard: heard.is_over and heard.ended, "the transfer is done")
    assert told.statuses[-1] == 200


async def test_killed_after_who_asked_hung_up_it_is_rung_again(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "102")
    await ben.expect(sip.RequestReceived)
    told = Heard(anna)
    await told.until(lambda heard: 100 in heard.statuses, "the transfer is under way")
    anna.endpoint.bye(near)
    sounds = world.gateway.calling.sounds
    await until(lambda: live.id in sounds._of_call and sounds._of_call[live.id].company, what="the carrier's party hears ringing")
    await told.stop()
    await killed_and_back(world)
    while not isinstance(event := await anna.expect(sip.Event), sip.RequestReceived):  # type: ignore[arg-type]
        pass
    accept(anna, event)
    _anna = Heard(anna)
    await until(lambda: again(world, live).call.end(Side.CALLER) is not None, what="they talk again")


async def test_killed_after_an_attended_transfer_the_two_parties_go_on_and_the_rows_say_who_paid_until_when(world: World) -> None:
    anna = await world.peer("anna")
    first, near, far = await to_carrier(world, anna)
    second, consulted, other_far = await to_carrier(world, anna, "+493023125998")
    refer(anna, near, FAR_NUMBER, replaces=consulted)
    told = Heard(anna)
    await told.until(lambda heard: len(heard.ended) == 2, "both of anna's dialogs are over")
    await settled(first)
    await killed_and_back(world)
    live = again(world, first)
    assert live.party(Side.CALLER).number is not None
    assert {key.call_id for key in live.dialogs.values()} == {far.call_id, other_far.call_id}
    assert world.gateway.calling.table.on_trunk(live.route.trunk.id) == 2  # type: ignore[union-attr]
    carrier = Heard(world.carrier)
    world.carrier.endpoint.bye(far)
    await carrier.until(lambda heard: heard.ended, "the other one hears of the end")
    await row_of(world, first, state="ended")
    row = await row_of(world, second, transferred_to=first.id)
    await until(lambda: None if row is None else True)

    async def said() -> bool:
        return (await row_of(world, second))["leg_ended_at"] is not None

    await until(said, what="until when the second leg was there")


async def test_a_call_does_not_go_on_where_who_pays_for_it_was_removed_meanwhile(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "ben", always="+493023125990")
    live, near, far = await to_carrier(world, anna)
    refer(anna, near, "102")
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(43000, keys=False))
    told = Heard(anna)
    await told.until(lambda heard: heard.is_over and heard.ended, "the transfer is done")
    await settled(live)
    ben = world.organisation.by_username["ben"].id
    await killed_and_back(world)
    assert world.gateway.calling.table.out_for(ben) == 1, "the next process still counts it"
    await world.kill()
    async with world.owner.organisation(live.route.org.id) as connection:
        await account_deletions.detach(connection, ben)
        assert await account_deletions.remove_account(connection, ben)
    await world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{world.carrier.gateway_port}"]')
    assert not list(world.gateway.calling.live)
    carrier = Heard(world.carrier)
    await carrier.until(lambda heard: far in [one.dialog for one in heard.ended], "the carrier's party hears of the end")
    await row_of(world, live, state="ended")


async def test_who_hid_is_shown_to_nobody_by_the_next_process_and_a_revoked_device_is_still_known(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    anna.invite("*31102")
    accept(ben, await ben.expect(sip.RequestReceived))
    await until(lambda: any(live.answered is not None for live in world.gateway.calling.live), what="they talk")
    (live,) = world.gateway.calling.live
    before = live.party(Side.CALLER)
    assert before.shown is None
    await world.row("calls", state="active")
    await killed_and_back(world)
    after = again(world, live).party(Side.CALLER)
    assert after.agent is not None
    assert (after.shown, after.device_id) == (None, before.device_id)
