"""Extensions and numbers that several agents answer: all at once, or one after the other."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.sdp.offer_answer import Srtp
from hushwire.services.ring_groups import LONGEST_IN_TURN_S
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import FAR_NUMBER, GROUP_NUMBER, World, need_program, running
from tests.services.test_diversion import agent_id, answered, forward, rejected, told

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def test_a_groups_number_rings_all_members_and_who_answers_is_in_the_call_and_its_row(world: World) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    world.carrier.user = FAR_NUMBER
    world.carrier.invite(f"sip:{GROUP_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    first, second = await anna.expect(sip.RequestReceived), await ben.expect(sip.RequestReceived)
    row = await world.row("calls", state="ringing")
    assert row["agent_id"] is None, "until somebody answers it is nobody's"
    anna.endpoint.respond(first.tx, 603)
    ben.accept(second, srtp=Srtp.REQUIRED)
    await ben.expect(sip.AckReceived)
    row = await world.row("calls", state="active")
    assert str(row["agent_id"]) == agent_id(world, "ben")
    assert str((await world.row("recordings"))["agent_id"]) == agent_id(world, "ben")
    (live,) = world.gateway.calling.live
    assert live.route.agent.username.reveal() == "ben"


async def test_nobody_of_a_group_answers_and_the_row_says_that_it_was_nobodys_call(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    sue.invite("600")
    for phone in (anna, ben):
        phone.endpoint.respond((await phone.expect(sip.RequestReceived)).tx, 486)
    assert await rejected(sue) == 486
    row = await world.row("calls", state="ended")
    assert (str(row["agent_id"]), row["peer_agent_id"]) == (agent_id(world, "sue"), None)


async def test_members_are_rung_one_after_the_other_and_the_caller_is_told_nothing_of_it_but_that_it_rings_on(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    world.carrier.user = FAR_NUMBER
    anna.invite("601")  # a member who calls is not rung itself
    incoming = await ben.expect(sip.RequestReceived)
    assert sue.events.empty()
    ben.endpoint.respond(incoming.tx, 603)
    _, accepted = await answered(anna, sue, Srtp.REQUIRED)
    row = await world.row("calls", state="active")
    assert str(row["peer_agent_id"]) == agent_id(world, "sue")
    assert told(row) == [], "a group's turns are no diversions"
    anna.endpoint.bye(accepted.dialog)
    await sue.expect(sip.DialogEnded)


async def test_nobody_else_of_a_group_is_rung_in_turn_once_the_call_has_rung_for_five_minutes(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    anna.invite("601")
    incoming = await ben.expect(sip.RequestReceived)
    (live,) = world.gateway.calling.live
    live.started -= LONGEST_IN_TURN_S
    ben.endpoint.respond(incoming.tx, 603)
    assert await rejected(anna) == 603
    assert sue.events.empty()


async def test_a_members_own_forwarding_is_not_followed_and_who_is_not_to_be_disturbed_is_passed_over(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    await forward(world, "anna", do_not_disturb=True)
    await forward(world, "ben", always="103")
    sue.invite("600")
    incoming = await ben.expect(sip.RequestReceived)
    ben.endpoint.respond(incoming.tx, 480)
    assert await rejected(sue) == 480
    assert anna.events.empty()


async def test_a_busy_agents_calls_can_go_on_to_a_group(world: World) -> None:
    anna, ben, sue = await world.peer("anna"), await world.peer("ben"), await world.peer("sue")
    sue.invite("*90600")
    await sue.expect(sip.Accepted)
    await sue.expect(sip.DialogEnded)
    await until(lambda: world.organisation.by_username["sue"].forwarding.destinations() == {"busy": "600"}, what="the gateway knows it")
    anna.invite("103")
    sue.endpoint.respond((await sue.expect(sip.RequestReceived)).tx, 486)
    _, accepted = await answered(anna, ben, Srtp.REQUIRED)
    row = await world.row("calls", state="active")
    assert told(row) == [(agent_id(world, "sue"), "user-busy", None)]
    assert str(row["peer_agent_id"]) == agent_id(world, "ben")
    anna.endpoint.bye(accepted.dialog)
    await ben.expect(sip.DialogEnded)
    await anna.expect(sip.Responded)
    await forward(world, "sue", always=GROUP_NUMBER)
    anna.invite("103")
    ben.endpoint.respond((await ben.expect(sip.RequestReceived)).tx, 486)
    assert await rejected(anna) == 486
    assert world.carrier.events.empty(), "a number of ours is rung here"


async def test_a_group_nobody_of_which_can_be_reached_is_not_called(world: World) -> None:
    sue = await world.peer("sue")
    sue.invite("600")
    assert await rejected(sue) == 480
    world.carrier.user = FAR_NUMBER
    world.carrier.invite(f"sip:{GROUP_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    assert await rejected(world.carrier) == 480
