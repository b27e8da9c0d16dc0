"""Click-to-call on a whole gateway: the agent's phone, the verdict, then the destination; once, whatever dies."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.calls.call import State
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.call_actions import KeyReused, Once
from hushwire.services.call_requests import Begun, NoAgent, NotBegun
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.clicking import BRITISH, CUBAN, Office, allow, ringing, talking
from tests.services.listening import Ear
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, World, facts, local_media, need_program, running

pytestmark = need_program
ULAW = (b"\x11" * 160, b"\x22" * 160)


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made
        Ear.close_all()


@pytest.fixture
async def office(world: World) -> Office:
    return await Office.of(world)


def quiet(world: World) -> bool:
    """Whether the carrier heard of nothing."""
    return world.carrier.events.empty()


async def test_the_agents_phone_rings_first_and_then_both_hear_each_other(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    live, rung = await ringing(office, anna)
    assert rung.request.from_.sip_uri.user_unescaped == FAR_NUMBER, "the phone shows whom the call is to"
    assert quiet(world), "nobody outside is called before there is somebody to talk"
    assert (await world.row("calls", state="ringing"))["id"] == live.id
    agent_ear, far_ear = Ear(), Ear()
    near, media = anna.accept(rung, srtp=Srtp.REQUIRED, local=local_media(agent_ear.port))
    agent_ear.agree(media)
    incoming = await world.carrier.expect(sip.RequestReceived)
    assert incoming.request.uri.startswith(f"sip:{FAR_NUMBER}@")
    assert ANNA_NUMBER in str(incoming.request.from_)
    world.carrier.endpoint.respond(incoming.tx, 180)
    await until(lambda: len(agent_ear.packets) > 5, what="the agent hears ringing")
    _, media = world.carrier.accept(incoming, local=local_media(far_ear.port, keys=False))
    far_ear.agree(media)
    await until(lambda: live.call.state is State.ACTIVE, what="it is answered")
    row = await world.row("calls", state="active")
    assert (row["direction"], row["verdict"], row["country"]) == ("outbound", "allow", "DE")
    assert row["device_id"] == world.organisation.by_username["anna"].id
    assert facts(row, "agent_leg")["media"] == "srtp"
    await until(lambda: live.recording is not None and live.recording.is_running, what="it is recorded as every call")
    for ear, other, payload in ((agent_ear, far_ear, ULAW[0]), (far_ear, agent_ear, ULAW[1])):
        ear.speak(payload, 10)
        await until(lambda other=other, payload=payload: [one.payload for one in other.packets].count(payload) == 10, what="all is heard")
    anna.endpoint.bye(near)
    await world.carrier.expect(sip.AckReceived)
    await world.carrier.expect(sip.DialogEnded)
    row = await world.row("calls", state="ended")
    assert (row["end_reason"], row["agent_id"]) == ("bye-agent", world.organisation.by_username["anna"].id)
    assert [request["outcome"] for request in await world.rows("call_requests")] == ["ok"]


@pytest.mark.parametrize(("to", "code"), [(CUBAN, "country"), ("garbage", "invalid-characters"), ("+4915", "incomplete")])
async def test_what_may_not_be_called_rings_no_phone_and_is_refused_with_its_reason(
    world: World, office: Office, to: str, code: str
) -> None:
    anna = await world.peer("anna")
    outcome = await office.click(to)
    assert isinstance(outcome, NotBegun)
    row = await world.row("calls", end_reason="refused")
    assert (row["verdict_reason"], row["agent_id"]) == (outcome.why.code, world.organisation.by_username["anna"].id)
    assert code != "country" or outcome.why.code == code
    assert anna.events.empty()
    assert quiet(world)
    (request,) = await world.rows("call_requests")
    assert request["destination_sealed"] is None


async def test_what_is_forbidden_while_the_agents_phone_rings_is_not_called(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    _, rung = await ringing(office, anna, BRITISH)
    await allow(world, "DE")
    anna.accept(rung, srtp=Srtp.REQUIRED)
    await anna.expect(sip.AckReceived)
    ended = await anna.expect(sip.DialogEnded)
    assert "The destination is not allowed any more" in str(ended.request.headers.get("Reason"))
    assert (await world.row("calls", state="ended"))["end_reason"] == "rules-changed"
    assert quiet(world)


async def test_without_a_phone_or_with_one_that_declines_nobody_outside_is_called(world: World, office: Office) -> None:
    outcome = await office.click(FAR_NUMBER)
    assert isinstance(outcome, NotBegun)
    assert outcome.why.code == "agent-not-reached"
    anna = await world.peer("anna")
    live, rung = await ringing(office, anna)
    anna.endpoint.respond(rung.tx, 603)
    await until(lambda: live.is_ended, what="it is over")

    async def written() -> bool:
        return [row["end_reason"] for row in await world.rows("calls", "started_at")] == ["agent-not-reached"] * 2

    await until(written, what="both rows say why")
    assert quiet(world)
    assert isinstance(await office.requests.ask(world.organisation.id, world.wired.node_id, FAR_NUMBER, actor="x"), NoAgent)  # type: ignore[arg-type]


async def test_who_hangs_up_while_the_destination_rings_ends_it_there(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    _, rung = await ringing(office, anna)
    near, _ = anna.accept(rung, srtp=Srtp.REQUIRED)
    incoming = await world.carrier.expect(sip.RequestReceived)
    world.carrier.endpoint.respond(incoming.tx, 180)
    anna.endpoint.bye(near)
    await world.carrier.expect(sip.CancelReceived)
    assert (await world.row("calls", state="ended"))["end_reason"] == "cancelled"


async def test_a_busy_destination_ends_the_agents_leg_with_words(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    _, rung = await ringing(office, anna)
    anna.accept(rung, srtp=Srtp.REQUIRED)
    world.carrier.endpoint.respond((await world.carrier.expect(sip.RequestReceived)).tx, 486)
    await anna.expect(sip.AckReceived)
    ended = await anna.expect(sip.DialogEnded)
    assert "cause=486" in str(ended.request.headers.get("Reason"))
    assert (await world.row("calls", state="ended"))["end_reason"] == "busy"


async def test_a_colleague_is_called_inside(world: World, office: Office) -> None:
    anna, ben = await world.peer("anna"), await world.peer("ben")
    _, rung = await ringing(office, anna, "102")
    anna.accept(rung, srtp=Srtp.REQUIRED)
    ben.accept(await ben.expect(sip.RequestReceived), srtp=Srtp.REQUIRED)
    row = await world.row("calls", state="active")
    people = world.organisation.by_username
    assert (row["direction"], row["agent_id"], row["peer_agent_id"]) == ("internal", people["anna"].id, people["ben"].id)
    assert (row["device_id"], row["peer_device_id"]) == (people["anna"].id, people["ben"].id)
    assert quiet(world)


async def test_a_phone_is_asked_to_answer_by_itself_only_where_that_is_wished(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    for wished in (True, False):
        live, rung = await ringing(office, anna, answers_itself=wished)
        assert ("answer-after=0" in (rung.request.headers.get("Call-Info") or "")) is wished
        assert (rung.request.headers.get("Alert-Info") is not None) is wished
        world.gateway.calling.hang_up(live)
        await anna.expect(sip.CancelReceived)


async def test_emergency_calls_are_made_though_nothing_is_allowed_and_never_by_a_phone_that_answers_itself(
    world: World, office: Office
) -> None:
    await allow(world)
    anna = await world.peer("anna")
    live, rung = await ringing(office, anna, "112", answers_itself=True)
    assert rung.request.headers.get("Call-Info") is None
    anna.accept(rung, srtp=Srtp.REQUIRED)
    assert (await world.carrier.expect(sip.RequestReceived)).request.uri.startswith("sip:112@")
    assert live.is_emergency


async def test_telemarketing_obeys_the_do_not_call_hours_whoever_the_agent_is(world: World, office: Office) -> None:
    org = world.organisation
    async with world.owner.organisation(org.id) as connection:
        await connection.execute("UPDATE orgs SET telemarketing_hours = ARRAY['* mon-sun 00:00-00:01', 'DE mon-mon 00:00-00:01']")
    await until(lambda: world.organisation.rules.version > org.rules.version, what="the gateway knows")
    anna = await world.peer("anna")
    outcome = await office.click(FAR_NUMBER, is_telemarketing=True)
    assert isinstance(outcome, NotBegun), "it was asked for in the one minute of the week that is allowed"
    assert outcome.why.code == "quiet-hours"
    await ringing(office, anna)


async def test_a_repeated_request_is_the_same_call(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    once = Once("key", b"hash")
    first, second = await asyncio.gather(*(office.click(FAR_NUMBER, once=once) for _ in range(2)))
    assert isinstance(first, Begun)
    assert first == second == await office.click(FAR_NUMBER, once=once)
    assert isinstance(await office.click(BRITISH, once=Once("key", b"other")), KeyReused)
    await anna.expect(sip.RequestReceived)
    assert anna.events.empty()
    assert len(await world.rows("calls")) == len(await world.rows("call_requests")) == 1


async def test_limits_of_calls_hold(world: World, office: Office) -> None:
    await world.limit(concurrent_calls={"most": 1})
    anna = await world.peer("anna")
    await ringing(office, anna)
    outcome = await office.click(FAR_NUMBER)
    assert isinstance(outcome, NotBegun)
    assert outcome.why.code == "concurrent-calls"
    assert anna.events.empty()


async def test_where_no_gateway_takes_it_no_phone_rings_later(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    world.gateway.calling.table.is_draining = True
    outcome = await office.click(FAR_NUMBER, once=Once("key", b"hash"))
    assert isinstance(outcome, NotBegun)
    assert outcome.why.code == "closing"
    (request,) = await world.rows("call_requests")
    assert (request["outcome"], request["destination_sealed"], request["node_id"]) == ("closing", None, None)
    world.gateway.calling.table.is_draining = False
    assert isinstance(await office.click(BRITISH, once=Once("key", b"hash")), Begun), "nothing was done: the key may be used again"
    assert (await anna.expect(sip.RequestReceived)).request.from_.sip_uri.user_unescaped == BRITISH
    assert anna.events.empty()


async def test_what_a_dead_gateway_had_taken_is_begun_by_nobody_again(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    taking = world.gateway.call_taking

    async def die(_wanted: object) -> object:
        await asyncio.Event().wait()
        return None

    taking._begin = die  # type: ignore[method-assign, assignment]
    asked = asyncio.create_task(office.click(FAR_NUMBER))

    async def taken() -> bool:
        return any(row["taken_at"] is not None for row in await world.rows("call_requests"))

    await until(taken, what="it is taken")
    await world.kill()
    await world.restart()
    outcome = await asked
    assert isinstance(outcome, NotBegun)
    assert outcome.why.code == "restarted"
    assert anna.events.empty()
    assert quiet(world)


async def test_a_call_goes_on_when_the_gateway_is_killed(world: World, office: Office) -> None:
    talk = await talking(office, await world.peer("anna"))
    call_id, listen = talk.live.id, f'["udp://127.0.0.1:{world.port}"]'
    await world.kill()
    await world.restart(HUSHWIRE_SIP__LISTEN=listen)
    adopted = world.gateway.calling.find(call_id)
    assert adopted is not None
    talk.agent_ear.speak(ULAW[0], 10)
    await until(lambda: [one.payload for one in talk.far_ear.packets].count(ULAW[0]) == 10, what="it is heard")
    world.carrier.endpoint.bye(talk.far)
    await talk.phone.expect(sip.DialogEnded)
    assert (await world.row("calls", state="ended"))["end_reason"] == "bye-peer"


async def test_an_agent_who_waits_for_the_destination_is_told_when_the_gateway_was_killed(world: World, office: Office) -> None:
    anna = await world.peer("anna")
    _, rung = await ringing(office, anna)
    anna.accept(rung, srtp=Srtp.REQUIRED)
    world.carrier.endpoint.respond((await world.carrier.expect(sip.RequestReceived)).tx, 180)
    await anna.expect(sip.AckReceived)
    listen = f'["udp://127.0.0.1:{world.port}"]'
    await world.kill()
    await world.restart(HUSHWIRE_SIP__LISTEN=listen)
    await anna.expect(sip.DialogEnded)
    assert (await world.row("calls", state="ended"))["end_reason"] == "orphaned"
    assert not list(world.gateway.calling.live), "and nobody is called a second time"
