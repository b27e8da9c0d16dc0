"""The announcement before the answer: heard by who calls while nobody is rung yet, with evidence of it, or else again at answer."""

import hashlib
from pathlib import Path

from hushwire.projections.outbox import project
from hushwire.sdp.offer_answer import PCMA, Answered, Srtp, answer_offer
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.listening import Ear
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, World, local_media, need_program
from tests.services.test_call_sounds import SPEECH, _bridges, _has, events, sounding

pytestmark = need_program
RINGING = 425
LENGTH_S, PACKETS = 2.4, 120
"""Long enough for whoever hears it to say so in time on a busy machine."""


def call_in(world: World, far: Ear) -> sip.InviteId:
    local = local_media(far.port, keys=False)
    return world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=local)


async def early(world: World, far: Ear, *, speaks: bool = True) -> sip.Progress:
    """The carrier's early answer; `speaks`: its media flows from then on, as that of a gateway that opens the way both ways does."""
    progress = await world.carrier.expect(sip.Progress)
    assert progress.response.status == 183
    far.agree(world.carrier.answer_of(progress.response))
    if speaks:
        far.speak(b"\xd5" * 160, 3)
    return progress


async def test_who_calls_hears_it_before_the_agent_is_rung_and_recording_begins_with_the_answer(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="peer", announce_at="before", recording_consent="announced") as world:
        anna, far, agent = await world.peer("anna"), Ear(), Ear()
        call_in(world, far)
        progress = await early(world, far)
        await far.hears(SPEECH, codec="PCMA")
        assert anna.events.empty()
        incoming = await anna.expect(sip.RequestReceived)
        assert len(far.packets) >= PACKETS - 2  # nobody was rung before its end
        await until(lambda: _has(world, "announcement.played"))
        (played,) = await events(world, "announcement.played")
        digest = hashlib.sha256((tmp_path / "announcement.wav").read_bytes()).hexdigest()
        assert (played["leg"], played["when"], played["announcement"], played["duration_ms"]) == ("peer", "before", digest, 2400)
        assert await world.rows("recordings") == []
        anna.endpoint.respond(incoming.tx, 180)
        assert (await world.carrier.expect(sip.Progress)).response.status == 180
        await far.hears(RINGING, codec="PCMA")  # it was answered early, so nobody else makes the tone
        _, media = anna.accept(incoming, srtp=Srtp.REQUIRED, local=local_media(agent.port, codecs=(PCMA,)))
        agent.agree(media)
        accepted = await world.carrier.expect(sip.Accepted)
        assert accepted.response.body == progress.response.body
        await world.row("recordings", state="live")
        agent.speak(b"\x55" * 160)
        await until(lambda: far.packets[-1].payload == b"\x55" * 160)
        assert len(await events(world, "announcement.played")) == 1  # not once more
        await project(await databases.connect("main", "worker"))
        consent = await world.row("consents", how="announcement-played")
        assert consent["announcement_digest"].hex() == digest
        assert len({packet.ssrc for packet in far.packets}) == 1
        world.carrier.endpoint.bye(accepted.dialog)
        await world.row("calls", state="ended", end_reason="bye-peer")


async def test_who_takes_no_early_media_hears_it_at_answer_and_only_that_counts(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="peer", announce_at="before") as world:
        anna, far, agent = await world.peer("anna"), Ear(), Ear()
        call_in(world, far)
        await early(world, far, speaks=False)  # its device is sent to, and perhaps plays nothing of it: it sends nothing itself
        incoming = await anna.expect(sip.RequestReceived)
        assert await events(world, "announcement.played") == []
        _, media = anna.accept(incoming, srtp=Srtp.REQUIRED, local=local_media(agent.port, codecs=(PCMA,)))
        agent.agree(media)
        before = len(far.packets)
        accepted = await world.carrier.expect(sip.Accepted)
        await until(lambda: _has(world, "announcement.played"))
        assert len(far.packets) >= before + PACKETS - 2
        (played,) = await events(world, "announcement.played")
        assert (played["leg"], played["when"]) == ("peer", "answer")
        await world.row("recordings", state="live")
        world.carrier.endpoint.bye(accepted.dialog)
        await world.row("calls", state="ended")


async def test_who_offers_nothing_yet_is_not_kept_waiting_and_hears_it_at_answer(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="peer", announce_at="before") as world:
        anna, far, agent = await world.peer("anna"), Ear(), Ear()
        world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", body=b"")
        incoming = await anna.expect(sip.RequestReceived)
        _, media = anna.accept(incoming, srtp=Srtp.REQUIRED, local=local_media(agent.port, codecs=(PCMA,)))
        agent.agree(media)
        accepted = await world.carrier.expect(sip.Accepted)
        offered = answer_to(accepted.response.body, far)
        world.carrier.endpoint.ack(accepted.dialog, body=offered)
        await far.hears(SPEECH, codec="PCMA")
        await until(lambda: _has(world, "announcement.played"))
        assert (await events(world, "announcement.played"))[0]["when"] == "answer"


def answer_to(offer: bytes, far: Ear) -> bytes:
    outcome = answer_offer(offer, local_media(far.port, keys=False), Srtp.NEVER)
    assert isinstance(outcome, Answered)
    far.agree(outcome.media)
    return outcome.body


async def test_who_gives_up_within_it_was_not_told_nothing_is_kept_and_nobody_was_rung(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="peer", announce_at="before") as world:
        anna, far = await world.peer("anna"), Ear()
        invite = call_in(world, far)
        await early(world, far)
        await until(lambda: len(far.packets) > 5)
        world.carrier.endpoint.cancel(invite)
        assert (await world.carrier.expect(sip.Rejected)).status == 487
        await world.row("calls", state="ended", end_reason="cancelled")
        await until(lambda: _bridges(world, 0))
        assert len(far.packets) < PACKETS
        assert anna.events.empty()
        assert await events(world, "announcement.played") == []
        assert await world.rows("recordings") == []


async def test_an_agent_who_calls_hears_it_before_the_carrier_is_rung_and_the_carrier_at_answer(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="both", announce_at="before") as world:
        anna, agent, far = await world.peer("anna"), Ear(), Ear()
        anna.invite(FAR_NUMBER, local=local_media(agent.port))
        progress = await anna.expect(sip.Progress)
        assert progress.response.status == 183
        agent.agree(anna.answer_of(progress.response))
        agent.speak(b"\xd5" * 160, 3)
        await agent.hears(SPEECH, codec="PCMA")
        assert world.carrier.events.empty()
        incoming = await world.carrier.expect(sip.RequestReceived)
        _, at_far = world.carrier.accept(incoming, local=local_media(far.port, keys=False, codecs=(PCMA,)))
        far.agree(at_far)
        accepted = await anna.expect(sip.Accepted)
        assert await world.rows("recordings") == []
        await far.hears(SPEECH, codec="PCMA")
        await world.row("recordings", state="live")
        played = [(one["leg"], one["when"]) for one in await events(world, "announcement.played")]
        assert played == [("agent", "before"), ("peer", "answer")]
        assert len(agent.packets) == PACKETS
        anna.endpoint.bye(accepted.dialog)
        await world.row("calls", state="ended")


async def test_a_call_that_is_not_recorded_is_announced_to_nobody_and_rings_at_once(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="both", announce_at="before", record="none") as world:
        anna, far = await world.peer("anna"), Ear()
        call_in(world, far)
        incoming = await anna.expect(sip.RequestReceived)
        anna.endpoint.respond(incoming.tx, 486)
        assert (await world.carrier.expect(sip.Rejected)).status in (480, 486)
        assert far.packets == []


async def test_where_there_is_nothing_to_play_the_agent_is_rung_at_once_and_the_answered_call_ends(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, LENGTH_S, announcement="peer", announce_at="before") as world:
        (tmp_path / "announcement.wav").unlink()
        anna, far, agent = await world.peer("anna"), Ear(), Ear()
        call_in(world, far)
        await early(world, far)
        incoming = await anna.expect(sip.RequestReceived)
        anna.accept(incoming, srtp=Srtp.REQUIRED, local=local_media(agent.port, codecs=(PCMA,)))
        await world.row("calls", state="ended", end_reason="no-recording")
        assert await world.rows("recordings") == []
