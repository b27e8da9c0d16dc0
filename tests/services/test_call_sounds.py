"""What the parties of calls are played, heard at their own sockets: a whole gateway, real databases, the real media program."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from hushwire.calls.call import State
from hushwire.calls.model import Side
from hushwire.media.encoding import UnusableSound
from hushwire.projections.outbox import project
from hushwire.sdp.model import Keying
from hushwire.sdp.offer_answer import PCMA, Direction, Srtp, answer_offer, build_offer
from hushwire.services.live import LiveCall
from hushwire.services.sound_library import SoundKind
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey
from tests.databases import Databases
from tests.polling import until
from tests.services.dtls_phone import DtlsPhone, close_all
from tests.services.listening import Ear, pitch, tone_file
from tests.services.running import FAR_NUMBER, Peer, World, local_media, need_program, running
from tests.services.test_transfers import Heard, refer

pytestmark = need_program

MUSIC, SPEECH, BEEP, REFUSED = 600.0, 900.0, 1300.0, 1100.0
COUNTRY = 500.0
PARKED, SLOT = 700.0, (1500.0, 1700.0)


@dataclass
class Talk:
    """Anna in a call with the carrier, and what both hear."""

    world: World
    anna: Peer
    accepted: sip.Accepted
    carrier_dialog: DialogKey
    agent: Ear
    far: Ear

    @property
    def live(self) -> LiveCall:
        return next(iter(self.world.gateway.calling.live))

    async def agent_offers(self, direction: Direction) -> None:
        """A re-INVITE of the agent, answered."""
        assert self.anna.local is not None
        self.anna.local = replace(self.anna.local, version=self.anna.local.version + 1)
        self.anna.offer = build_offer(self.anna.local, Srtp.REQUIRED, direction=direction)
        self.anna.endpoint.reinvite(self.accepted.dialog, body=self.anna.offer)
        answered = await self.anna.expect(sip.Responded)
        assert answered.status == 200
        assert answered.response is not None
        self.anna.answer_of(answered.response)

    async def hang_up(self) -> None:
        self.anna.endpoint.bye(self.accepted.dialog)
        await self.world.row("calls", state="ended", end_reason="bye-agent")


@asynccontextmanager
async def sounding(databases: Databases, folder: Path, announcement_s: float = 0.8, **org: Any) -> AsyncIterator[World]:
    files = {
        "MUSIC_ON_HOLD": str(tone_file(folder / "music.wav", MUSIC, 1.0)),
        "ANNOUNCEMENT": str(tone_file(folder / "announcement.wav", SPEECH, announcement_s)),
        "BEEP": str(tone_file(folder / "beep.wav", BEEP, 0.4)),
        "REFUSALS": orjson.dumps(
            {"default": str(tone_file(folder / "no.wav", REFUSED, 0.6)), "country": str(tone_file(folder / "country.wav", COUNTRY, 0.6))}
        ).decode(),
        "PARK": orjson.dumps(
            {
                "parked": str(tone_file(folder / "parked.wav", PARKED, 1.0)),
                "4": str(tone_file(folder / "four.wav", SLOT[0], 0.5)),
                "2": str(tone_file(folder / "two.wav", SLOT[1], 0.5)),
            }
        ).decode(),
    }
    environ = {f"HUSHWIRE_SOUNDS__{name}": value for name, value in files.items()}
    (folder / "data").mkdir()
    async with running(databases, folder / "data", environ=environ, **org) as world:
        try:
            yield world
        finally:
            Ear.close_all()


async def talking(world: World) -> Talk:
    anna, agent, far = await world.peer("anna"), Ear(), Ear()
    anna.invite(FAR_NUMBER, local=local_media(agent.port))
    incoming = await world.carrier.expect(sip.RequestReceived)
    dialog, media = world.carrier.accept(incoming, local=local_media(far.port, keys=False))
    far.agree(media)
    accepted = await anna.expect(sip.Accepted)
    agent.agree(anna.answer_of(accepted.response))
    await world.carrier.expect(sip.AckReceived)
    return Talk(world, anna, accepted, dialog, agent, far)


async def events(world: World, kind: str) -> list[dict[str, Any]]:
    return [orjson.loads(row["fields"]) | {"seq": row["seq"]} for row in await world.rows("outbox", "seq") if row["kind"] == kind]


async def test_who_is_put_on_hold_hears_music_until_the_call_is_resumed(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, music_on_hold=True) as world:
        talk = await talking(world)
        await world.row("recordings", state="live")
        for direction in (Direction.SENDONLY, Direction.INACTIVE):
            await talk.agent_offers(direction)
            await talk.far.hears(MUSIC)
            await talk.agent_offers(Direction.SENDRECV)
            await until(lambda: not talk.live.call.media(Side.CALLER).is_held)  # type: ignore[union-attr]
            await silent(talk.far)
            talk.agent.speak(b"\x55" * 160)
            await until(lambda: talk.far.packets[-1].payload == b"\x55" * 160)
        assert talk.agent.packets == []
        assert world.carrier.events.empty()  # the hold stayed between the agent and us
        assert len({packet.ssrc for packet in talk.far.packets}) == 1
        await talk.hang_up()


async def silent(ear: Ear) -> None:
    """Return once nothing more comes."""
    count = -1
    while count != len(ear.packets):
        count = len(ear.packets)
        await asyncio.sleep(0.1)


async def test_what_is_said_while_waiting_is_neither_heard_nor_recorded(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, music_on_hold=True) as world:
        talk = await talking(world)
        await talk.agent_offers(Direction.SENDONLY)
        await talk.far.hears(MUSIC)
        talk.far.speak(b"\x11" * 160, 10)
        client = world.gateway.link.client

        async def dropped() -> bool:
            report = await client.bridge(talk.live.id)
            return next(leg for leg in report.legs if leg.leg == 1).packets_received == 0

        assert await dropped()
        assert talk.agent.packets == []
        await talk.hang_up()


async def test_without_music_a_hold_is_passed_on(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path) as world:
        talk = await talking(world)
        assert talk.anna.local is not None
        talk.anna.offer = build_offer(talk.anna.local, Srtp.REQUIRED, direction=Direction.SENDONLY)
        talk.anna.endpoint.reinvite(talk.accepted.dialog, body=talk.anna.offer)
        passed = await world.carrier.expect(sip.InDialogRequest)
        assert b"a=sendonly" in passed.request.body
        outcome = answer_offer(passed.request.body, local_media(talk.far.port, keys=False), Srtp.NEVER)
        world.carrier.endpoint.respond(passed.tx, 200, body=outcome.body)  # type: ignore[union-attr]
        assert (await talk.anna.expect(sip.Responded)).status == 200


async def test_the_announcement_is_heard_at_answer_and_only_then_recording_begins_with_evidence_of_it(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, announcement="peer", recording_consent="announced") as world:
        talk = await talking(world)
        await talk.far.hears(SPEECH)
        assert await world.rows("recordings") == []
        await world.row("calls", state="active")
        recording = await world.row("recordings", state="live")
        assert recording["lawful_basis"] == "consent"
        assert abs(len(talk.far.packets) - 40) <= 1
        assert talk.agent.packets == []
        await until(lambda: _has(world, "announcement.played"))
        (played,) = await events(world, "announcement.played")
        digest = hashlib.sha256((tmp_path / "announcement.wav").read_bytes()).hexdigest()
        assert (played["leg"], played["announcement"], played["duration_ms"]) == ("peer", digest, 800)
        assert (await events(world, "recording.started"))[0]["seq"] > played["seq"]
        await project(await databases.connect("main", "worker"))
        consent = await world.row("consents", how="announcement-played")
        assert consent["call_id"] == talk.live.id
        assert consent["announcement_digest"].hex() == digest
        assert consent["remote_index"] is not None
        await talk.hang_up()


async def _has(world: World, kind: str) -> bool:
    return bool(await events(world, kind))


async def test_both_hear_the_announcement_where_it_is_set_so_and_recording_may_begin_at_answer(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, announcement="both", record_from="answer") as world:
        talk = await talking(world)
        await world.row("recordings", state="live")
        await asyncio.gather(talk.far.hears(SPEECH), talk.agent.hears(SPEECH))
        await until(lambda: _count(world, "announcement.played", 2))
        assert {played["leg"] for played in await events(world, "announcement.played")} == {"agent", "peer"}
        await talk.hang_up()


async def _count(world: World, kind: str, count: int) -> bool:
    return len(await events(world, kind)) == count


async def test_a_call_that_ends_within_the_announcement_was_not_announced_and_not_recorded(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, announcement="peer") as world:
        talk = await talking(world)
        await until(lambda: len(talk.far.packets) > 3)
        await talk.hang_up()
        assert await events(world, "announcement.played") == []
        assert await world.rows("recordings") == []


async def test_who_holds_within_the_announcement_lets_it_be_heard_to_its_end_and_music_follows(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, announcement="peer", music_on_hold=True) as world:
        talk = await talking(world)
        await until(lambda: len(talk.far.packets) > 5)
        await talk.agent_offers(Direction.SENDONLY)
        await talk.far.hears(SPEECH)
        await talk.far.hears(MUSIC)
        (played,) = await events(world, "announcement.played")
        assert played["duration_ms"] == 800
        await world.row("recordings", state="live")
        await talk.hang_up()


async def test_without_its_announcement_a_call_is_not_recorded_and_ends_where_calls_must_be(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, announcement="peer") as world:
        (tmp_path / "announcement.wav").unlink()
        talk = await talking(world)
        await talk.anna.expect(sip.DialogEnded)
        await world.row("calls", state="ended", end_reason="no-recording")
        assert await world.rows("recordings") == []


async def test_without_its_announcement_a_call_goes_on_unrecorded_where_it_may(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, announcement="peer", without_recording="unrecorded") as world:
        (tmp_path / "announcement.wav").unlink()
        talk = await talking(world)
        await world.row("calls", state="active")
        talk.agent.speak(b"\x55" * 160)
        await until(lambda: talk.far.packets)
        assert await world.rows("recordings") == []
        assert await world.gateway.calling.recorder.start(talk.live) == "the announcement could not be played"
        await talk.hang_up()


async def test_both_hear_the_beep_while_the_call_is_recorded_and_not_in_its_pauses(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, beep="both", beep_every_s=5) as world:
        talk = await talking(world)
        await asyncio.gather(talk.far.hears(BEEP), talk.agent.hears(BEEP))
        await silent(talk.far)
        assert len(talk.far.packets) == 20
        talk.agent.speak(b"\x55" * 160)
        await until(lambda: talk.far.packets[-1].payload == b"\x55" * 160)
        await talk.far.hears(BEEP)  # 5 s later
        assert await world.gateway.calling.recorder.pause(talk.live) == "ok"
        await until(lambda: not world.gateway.calling.sounds._of_call[talk.live.id].beeps)
        await silent(talk.far)
        before = len(talk.far.packets)
        assert await world.gateway.calling.recorder.resume(talk.live) == "ok"
        await until(lambda: len(talk.far.packets) >= before + 20)
        await talk.far.hears(BEEP)
        assert await world.gateway.calling.recorder.stop(talk.live) == "ok"
        await until(lambda: not world.gateway.calling.sounds._of_call[talk.live.id].beeps)
        await talk.hang_up()


async def test_a_configured_file_that_is_no_sound_stops_the_gateway_with_words(databases: Databases, tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    (tmp_path / "data").mkdir()
    with pytest.raises(UnusableSound, match=r"bad\.wav: is no sound that can be read"):
        async with running(databases, tmp_path / "data", environ={"HUSHWIRE_SOUNDS__BEEP": str(tmp_path / "bad.wav")}):
            pass


async def test_an_agent_hears_ringing_of_its_country_as_early_media_until_the_other_side_answers(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, ringback="early") as world:
        anna, agent, far = await world.peer("anna"), Ear(), Ear()
        anna.invite(FAR_NUMBER, local=local_media(agent.port))
        incoming = await world.carrier.expect(sip.RequestReceived)
        world.carrier.endpoint.respond(incoming.tx, 180)
        progress = await anna.expect(sip.Progress)
        assert progress.response.status == 183
        media = anna.answer_of(progress.response)
        agent.agree(media)
        await agent.hears(425, codec=media.codecs[0].name)
        dialog, at_far = world.carrier.accept(incoming, local=local_media(far.port, keys=False, codecs=(PCMA,)))
        far.agree(at_far)
        accepted = await anna.expect(sip.Accepted)
        assert accepted.response.body == progress.response.body
        await world.carrier.expect(sip.AckReceived)
        await world.row("calls", state="active")
        await silent(agent)
        far.speak(b"\x55" * 160)
        await until(lambda: agent.packets[-1].payload == b"\x55" * 160)
        assert len({packet.ssrc for packet in agent.packets}) == 1
        anna.endpoint.bye(accepted.dialog)
        assert (await world.carrier.expect(sip.DialogEnded)).dialog == dialog


async def test_an_agent_who_may_not_call_a_country_is_told_so_by_a_voice_and_the_trunk_hears_nothing(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, spoken_refusals=True) as world:
        anna, ear = await world.peer("anna"), Ear()
        anna.invite("+33142685300", local=local_media(ear.port))
        progress = await anna.expect(sip.Progress)
        assert progress.response.status == 183
        ear.agree(anna.answer_of(progress.response))
        await ear.hears(COUNTRY)
        rejected = await anna.expect(sip.Rejected)
        assert rejected.status == 403
        assert rejected.response is not None
        assert "SIP;cause=403" in (rejected.response.headers.get("Reason") or "")
        assert len(ear.packets) == 30  # the whole sentence
        assert (await world.row("calls", state="refused"))["verdict_reason"] == "country"
        assert world.carrier.events.empty()
        await until(lambda: _bridges(world, 0))


async def test_a_phone_that_protects_by_dtls_hears_why_too_once_it_proved_who_it_is(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, spoken_refusals=True) as world:
        anna, phone = await world.peer("anna"), await DtlsPhone.open()
        try:
            anna.invite("+33142685300", local=phone.local, body=build_offer(phone.local, Srtp.REQUIRED, keying=Keying.DTLS))
            progress = await anna.expect(sip.Progress)
            phone.meet(anna.answer_of(progress.response))
            await phone.keyed()
            assert (await anna.expect(sip.Rejected, timeout_s=15)).status == 403
            await until(lambda: len(phone.heard) >= 30, what="the phone read what was sent to it")
            assert len(phone.heard) == 30
            assert abs(pitch(phone.heard) - COUNTRY) < 10
            assert world.carrier.events.empty()
        finally:
            close_all()


async def test_the_announcement_waits_for_the_handshake_and_is_heard_whole(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, announcement="agent") as world:
        anna, phone = await world.peer("anna"), await DtlsPhone.open()
        try:
            anna.invite(FAR_NUMBER, local=phone.local, body=build_offer(phone.local, Srtp.REQUIRED, keying=Keying.DTLS))
            world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(keys=False))
            accepted = await anna.expect(sip.Accepted)
            await asyncio.sleep(0.3)  # as slow as a phone may be
            phone.meet(anna.answer_of(accepted.response))
            await until(lambda: _has(world, "announcement.played"))
            await until(lambda: len(phone.heard) >= 40, what="the phone read what was sent to it")
            assert len(phone.heard) == 40
            assert abs(pitch(phone.heard) - SPEECH) < 10
            await world.row("recordings", state="live")
        finally:
            close_all()


async def _bridges(world: World, count: int) -> bool:
    return len([entry async for entry in world.gateway.link.client.bridges()]) == count


async def test_who_hangs_up_within_the_sentence_leaves_nothing_behind(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, spoken_refusals=True) as world:
        tone_file(tmp_path / "country.wav", COUNTRY, 20)
        anna, ear = await world.peer("anna"), Ear()
        invite = anna.invite("+33142685300", local=local_media(ear.port))
        ear.agree(anna.answer_of((await anna.expect(sip.Progress)).response))
        await ear.hears(COUNTRY)
        anna.endpoint.cancel(invite)
        assert (await anna.expect(sip.Rejected)).status == 487
        await until(lambda: _bridges(world, 0))


async def test_only_denied_destinations_of_known_agents_are_answered_with_words_and_one_at_a_time(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path, spoken_refusals=True) as world:
        tone_file(tmp_path / "country.wav", COUNTRY, 20)
        anna, ear = await world.peer("anna"), Ear()
        anna.invite("+33142685300", local=local_media(ear.port))
        assert (await anna.expect(sip.Progress)).response.status == 183
        anna.invite("+33142685301", local=local_media(ear.port))  # a second one beside it
        assert (await anna.expect(sip.Rejected)).status == 403
        anna.invite("sip:%00@" + "acme.voice.example.org", local=local_media(ear.port))  # malformed
        assert (await anna.expect(sip.Rejected)).status in (404, 484)
        stranger = await world.peer()
        stranger.invite("+33142685300", local=local_media(ear.port))
        assert (await stranger.expect(sip.Rejected)).status in (401, 403)
        assert await _bridges(world, 1)


async def test_who_parks_a_call_hears_the_slot_before_it_is_out_of_the_call(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path) as world:
        talk = await talking(world)
        live = talk.live
        refer(talk.anna, talk.accepted.dialog, "*6942")
        told = Heard(talk.anna)
        await told.until(lambda heard: heard.is_over and heard.ended, "anna is told the slot, and out of the call")
        assert told.statuses[-1] == 200
        heard = talk.agent.pitches()
        at = [next(place for place, tone in enumerate(heard) if abs(tone - wanted) < 15) for wanted in (PARKED, *SLOT)]
        assert at == sorted(at)
        assert world.gateway.calling.transfers.park.find(live.route.org.id, "42") is live
        await talk.far.hears(MUSIC)


async def test_who_hangs_up_while_the_slot_is_said_has_parked_the_call(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path) as world:
        talk = await talking(world)
        live = talk.live
        refer(talk.anna, talk.accepted.dialog, "*6942")
        _told = Heard(talk.anna)
        await talk.agent.hears(PARKED)
        talk.anna.endpoint.bye(talk.accepted.dialog)
        await until(lambda: live.call.state is State.WAITING, what="the carrier's party waits")
        await talk.far.hears(MUSIC)
        assert world.gateway.calling.transfers.park.find(live.route.org.id, "42") is live


async def test_a_phone_that_holds_while_it_parks_is_not_kept_waiting_for_words(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path, music_on_hold=True) as world:
        talk = await talking(world)
        await talk.agent_offers(Direction.SENDONLY)
        said: list[Any] = []
        world.gateway.calling.sounds.play = spied(world.gateway.calling.sounds.play, said)  # type: ignore[method-assign]
        refer(talk.anna, talk.accepted.dialog, "*6942")
        told = Heard(talk.anna)
        await told.until(lambda heard: heard.is_over and heard.ended, "anna is out of the call")
        assert SoundKind.PARK not in said


def spied(play: Any, said: list[Any]) -> Any:
    async def playing(bridge: Any, leg: Any, media: Any, kind: SoundKind, *more: Any, **named: Any) -> Any:
        said.append(kind)
        return await play(bridge, leg, media, kind, *more, **named)

    return playing
