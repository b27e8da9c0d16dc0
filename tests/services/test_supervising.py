"""Supervisors in the calls of a whole gateway: who may, what they hear, and what becomes of them with the call."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hushwire.calls.model import JoinedAs
from hushwire.core.ids import AgentId
from hushwire.projections.outbox import project
from hushwire.sdp.offer_answer import Direction, Srtp, build_offer
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.native.hwr_reader import read
from tests.polling import until
from tests.services.listening import Ear
from tests.services.running import ANNA_NUMBER, Peer, World, facts, local_media, need_program, running
from tests.services.test_call_sounds import Talk, talking

pytestmark = need_program
LISTEN, WHISPER, BARGE = JoinedAs.LISTEN, JoinedAs.WHISPER, JoinedAs.BARGE
ULAW = {"agent": b"\x11" * 160, "far": b"\x22" * 160, "supervisor": b"\x33" * 160}


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made
        Ear.close_all()


def agent_id(world: World, name: str) -> AgentId:
    return world.organisation.by_username[name].id


async def ask(world: World, live: LiveCall, role: JoinedAs, name: str = "sue") -> str:
    supervision = world.gateway.calling.supervision
    return await supervision.supervise(live, role, agent_id(world, name), actor="api-key:test", purpose="quality-assurance")


async def joined(world: World, talk: Talk, role: JoinedAs) -> tuple[Peer, Ear]:
    """Sue's phone is in the call."""
    sue, ear = await world.peer("sue"), Ear()
    assert await ask(world, talk.live, role) == "ok"
    incoming = await sue.expect(sip.RequestReceived)
    assert incoming.request.from_.sip_uri.user == "101"
    _, media = sue.accept(incoming, srtp=Srtp.REQUIRED, local=local_media(ear.port))
    ear.agree(media)
    await sue.expect(sip.AckReceived)
    await until(lambda: talk.live.hears.get(2) == {0, 1}, what="the supervisor hears the call")
    return sue, ear


async def taken(world: World, talk: Talk, packets: int) -> None:
    async def is_so() -> bool:
        return all(leg.packets_received >= packets for leg in (await world.gateway.link.client.bridge(talk.live.id)).legs)

    await until(is_so, what="what was said was taken in")


async def test_the_supervisors_leg_is_a_call_of_its_own_that_ends_with_the_one_that_it_joined(world: World) -> None:
    talk = await talking(world)
    await world.row("recordings", state="live")
    sue, ear = await joined(world, talk, LISTEN)

    async def are_written() -> bool:
        return len(await world.rows("calls")) == 2

    await until(are_written, what="both calls' rows")
    rows = {row["direction"]: row for row in await world.rows("calls")}
    host, leg = rows["outbound"], rows["supervision"]
    assert (leg["joined_call_id"], leg["joined_as"], leg["bridge_id"]) == (host["id"], "listen", host["id"])
    assert leg["agent_id"] == agent_id(world, "sue")
    assert (leg["remote_sealed"], leg["sealed_with"]) == (None, None)

    def sent() -> bool:
        talk.agent.speak(ULAW["agent"])
        return len(ear.packets) > 5

    await until(sent, what="the supervisor is sent the mix")
    talk.anna.endpoint.bye(talk.accepted.dialog)
    await sue.expect(sip.DialogEnded)

    async def closed() -> bool:
        return all(row["state"] == "ended" for row in await world.rows("calls"))

    await until(closed, what="both rows are closed")
    rows = {row["direction"]: row for row in await world.rows("calls")}
    assert rows["supervision"]["end_reason"] == "joined-ended"
    assert rows["outbound"]["end_reason"] == "bye-agent"
    assert facts(rows["supervision"], "agent_leg")["media"] == "srtp"
    assert not world.gateway.calling.table.calls
    assert [entry async for entry in world.gateway.link.client.bridges()] == []


async def test_speech_is_recorded_while_the_supervisor_barges_in_and_at_no_other_time(world: World) -> None:
    talk = await talking(world)
    run = await world.row("recordings", state="live")
    await until(lambda: talk.live.recording is not None and talk.live.recording.is_running)
    assert talk.live.recording is not None
    key = talk.live.recording.key.key
    _, ear = await joined(world, talk, WHISPER)
    ears = {"agent": talk.agent, "far": talk.far, "supervisor": ear}
    said = 0
    for role in (WHISPER, BARGE, LISTEN):
        assert await ask(world, talk.live, role) == "ok"
        for name, one in ears.items():
            one.speak(ULAW[name], 5)
        said += 5
        await taken(world, talk, said)
    sue = agent_id(world, "sue")
    assert world.gateway.calling.supervision.leave(talk.live, sue) == "ok"
    await until(lambda: not talk.live.guests, what="the supervisor is gone")
    assert (talk.live.hears[0], talk.live.hears[1], talk.live.recorded) == ({1}, {0}, {0, 1})
    await talk_ends(world, talk)
    file = read((world.folder / "spool" / run["spool_name"]).read_bytes(), key)
    spoken = [(entry.leg, entry.data[12:]) for entry in file.entries if entry.kind == "packet"]
    assert [payload for leg, payload in spoken if leg == 2] == [ULAW["supervisor"]] * 5
    assert len([leg for leg, _ in spoken if leg == 0]) == len([leg for leg, _ in spoken if leg == 1]) == 15
    formats = [entry.data for entry in file.entries if entry.kind == "format"]
    assert formats[0].count(b"PCMU") == 2
    assert any(data.count(b"PCMU") == 3 for data in formats)


async def talk_ends(world: World, talk: Talk) -> None:
    talk.anna.endpoint.bye(talk.accepted.dialog)

    async def ended() -> bool:
        return all(row["state"] == "ended" for row in await world.rows("calls"))

    await until(ended, what="the rows are closed")


async def test_the_audit_log_tells_who_was_in_the_call_as_what_and_for_how_long(world: World) -> None:
    talk = await talking(world)
    await joined(world, talk, LISTEN)
    assert await ask(world, talk.live, BARGE) == "ok"
    assert await ask(world, talk.live, BARGE) == "ok"  # nothing changes, and nothing is told
    host = talk.live.id
    await talk_ends(world, talk)
    await project(await world.databases.connect("main", "worker"))
    told = [row for row in await world.rows("audit_log", "position") if row["action"].startswith("supervision")]
    assert [row["action"] for row in told] == ["supervision.started", "supervision.changed", "supervision.ended"]
    for row in told:
        assert (row["actor"], row["object"]) == ("api-key:test", f"call:{host}")
        said = facts(row, "fields")
        assert said["supervisor"] == str(agent_id(world, "sue"))
        assert said["purpose"] == "quality-assurance"
    assert [facts(row, "fields")["role"] for row in told] == ["listen", "barge", "barge"]
    assert facts(told[2], "fields")["duration_ms"] >= 0


@pytest.mark.parametrize(("name", "why"), [("ben", "the agent is no supervisor"), ("anna", "the agent is no supervisor")])
async def test_only_supervisors_supervise(world: World, name: str, why: str) -> None:
    talk = await talking(world)
    await world.peer(name)
    assert await ask(world, talk.live, LISTEN, name) == why
    assert not talk.live.guests


async def test_a_supervisor_without_a_phone_and_a_call_that_is_not_answered_are_refused(world: World) -> None:
    talk = await talking(world)
    assert await ask(world, talk.live, LISTEN) == "the supervisor has no phone that can be reached"
    await world.peer("sue")
    ben = await world.peer("ben")
    ben.invite("echo")
    await ben.expect(sip.Accepted)
    echo = next(live for live in world.gateway.calling.live if live is not talk.live)
    assert await ask(world, echo, LISTEN) == "calls of this kind are not supervised"
    world.carrier.user = "+493023125999"
    one = await world.peer("anna")
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    await one.expect(sip.RequestReceived)
    ringing = next(live for live in world.gateway.calling.live if live.answered_at is None)
    assert await ask(world, ringing, LISTEN) == "the call is not answered"


async def test_a_phone_that_declines_or_is_taken_back_leaves_the_call_as_it_was(world: World) -> None:
    talk = await talking(world)
    sue = await world.peer("sue")
    assert await ask(world, talk.live, LISTEN) == "ok"
    incoming = await sue.expect(sip.RequestReceived)
    sue.endpoint.respond(incoming.tx, 603)
    await until(lambda: not talk.live.guests, what="the leg is closed")
    assert await ask(world, talk.live, LISTEN) == "ok"
    incoming = await sue.expect(sip.RequestReceived)
    world.gateway.calling.supervision.leave(talk.live, agent_id(world, "sue"))
    await sue.expect(sip.CancelReceived)
    await until(lambda: not talk.live.guests, what="the leg is closed")
    legs = (await world.gateway.link.client.bridge(talk.live.id)).legs
    assert [leg.leg for leg in legs] == [0, 1]
    rows = [row["end_reason"] for row in await world.rows("calls", "started_at") if row["direction"] == "supervision"]
    assert rows[:1] == ["declined"]
    talk.agent.speak(ULAW["agent"])
    await until(lambda: bool(talk.far.packets), what="the call goes on")


async def test_the_supervisors_own_hold_and_hang_up_concern_nobody_else(world: World) -> None:
    talk = await talking(world)
    sue, ear = await joined(world, talk, BARGE)
    local = local_media(ear.port, version=2)
    theirs = next(iter(sue.endpoint.ua._core.sessions))
    sue.endpoint.reinvite(theirs, body=build_offer(local, Srtp.REQUIRED, direction=Direction.INACTIVE))
    answered = await sue.expect(sip.Responded)
    assert answered.status == 200
    assert world.carrier.events.empty()
    assert talk.anna.events.empty()
    sue.endpoint.bye(theirs)
    await until(lambda: not talk.live.guests, what="the supervisor is gone")

    async def ended() -> bool:
        return any(row["end_reason"] == "bye-agent" and row["direction"] == "supervision" for row in await world.rows("calls"))

    await until(ended, what="the row says who hung up")
    assert not talk.live.is_ended


async def test_while_the_call_is_sensitive_the_supervisor_hears_nothing(world: World) -> None:
    talk = await talking(world)
    await joined(world, talk, LISTEN)
    calling = world.gateway.calling
    assert await calling.recorder.set_sensitive(talk.live, on=True) == "ok"
    await calling.supervision.settle(talk.live)
    assert talk.live.hears[2] == frozenset()
    await calling.recorder.set_sensitive(talk.live, on=False)
    await calling.supervision.settle(talk.live)
    assert talk.live.hears[2] == {0, 1}


async def test_who_objected_is_not_listened_to_any_more(world: World) -> None:
    talk = await talking(world)
    sue, _ = await joined(world, talk, LISTEN)
    rights = world.gateway.calling.supervision._router.rights
    allowed = rights.may_record
    rights.may_record = lambda route: False  # type: ignore[method-assign]
    try:
        world.gateway.calling.obey_directory()
        await sue.expect(sip.DialogEnded)
        await until(lambda: not talk.live.guests, what="the supervisor is gone")
        assert (await ask(world, talk.live, LISTEN)).startswith("all parties must agree")
    finally:
        rights.may_record = allowed  # type: ignore[method-assign]
    assert not talk.live.is_ended


async def test_a_killed_media_process_ends_the_supervision_too(world: World) -> None:
    talk = await talking(world)
    sue, _ = await joined(world, talk, LISTEN)
    await world.media.kill()
    await sue.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)

    async def ended() -> bool:
        return all(row["state"] == "ended" for row in await world.rows("calls"))

    await until(ended, timeout_s=10, what="the rows are closed")
