"""Who objected to recording, or is a minor, is not recorded: through a whole gateway. The call itself is made."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from hushwire.app.sources import SystemClock
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.phone_numbers import REMOTE
from hushwire.sip import effects as sip
from hushwire.store import restrictions
from tests.databases import Databases
from tests.polling import until
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, Peer, World, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


async def objected(world: World, number: str = FAR_NUMBER, request: UUID | None = None) -> UUID:
    """As the API does it; returns once the gateway knows."""
    org, request = world.organisation, request or uuid4()
    api = await world.databases.connect("main", "api", max_size=1)
    async with api.organisation(org.id) as connection:
        index = org.keys.index(REMOTE, number)
        await restrictions.object_to_recording(connection, org.id, uuid4(), index, request, SystemClock().now())
    await until(lambda: index in world.organisation.unrecorded)
    return request


async def called(world: World, anna: Peer) -> sip.Accepted:
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.accept(incoming)
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    await world.row("calls", state="active")
    return accepted


async def test_a_call_to_who_objected_is_made_and_not_recorded_though_the_organisation_records_all(world: World) -> None:
    await objected(world)
    anna = await world.peer("anna")
    accepted = await called(world, anna)
    live = next(iter(world.gateway.calling.live))
    assert await world.gateway.calling.recorder.start(live) == "the other party is not recorded: it objected, or is a minor"
    anna.endpoint.bye(accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-agent", recording_id=None)
    assert await world.rows("recordings") == []


async def test_a_call_from_who_objected_is_not_recorded_and_others_calls_are(world: World) -> None:
    await objected(world)
    anna = await world.peer("anna")
    for number, recordings in ((FAR_NUMBER, 0), ("+493023125998", 1)):
        world.carrier.user = number
        world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
        ringing = await anna.expect(sip.RequestReceived)
        anna.accept(ringing, srtp=Srtp.REQUIRED)
        accepted = await world.carrier.expect(sip.Accepted)
        await anna.expect(sip.AckReceived)
        world.carrier.endpoint.bye(accepted.dialog)
        await anna.expect(sip.DialogEnded)
        await world.carrier.expect(sip.Responded)
        await until(lambda: not list(world.gateway.calling.live))
        assert len(await world.rows("recordings")) == recordings


async def test_an_objection_ends_the_recording_of_a_live_call_and_the_call_goes_on(world: World) -> None:
    anna = await world.peer("anna")
    await called(world, anna)
    await world.row("recordings", state="live")
    await until(lambda: all(live.recording and live.recording.is_running for live in world.gateway.calling.live))
    await objected(world)
    await world.row("recordings", state="closed")
    assert [live.is_ended for live in world.gateway.calling.live] == [False]
    assert anna.events.empty()


async def test_an_objection_that_comes_while_the_phone_rings_holds_when_it_is_answered(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    incoming = await world.carrier.expect(sip.RequestReceived)
    await objected(world)
    world.carrier.accept(incoming)
    await anna.expect(sip.Accepted)
    await world.row("calls", state="active")
    assert await world.rows("recordings") == []


async def test_a_withdrawn_objection_lets_the_next_call_be_recorded(world: World) -> None:
    request = await objected(world)
    api = await world.databases.connect("main", "api", max_size=1)
    async with api.organisation(world.organisation.id) as connection:
        assert await restrictions.withdraw_objection(connection, request) == 0
    await until(lambda: not world.organisation.unrecorded)
    await called(world, await world.peer("anna"))
    await world.row("recordings", state="live")
