"""An answering machine of a whole gateway: it greets, beeps, records who calls and nobody else, and ends by itself."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import orjson

from hushwire.calls.model import JoinedAs
from hushwire.media import encoding
from hushwire.media.sounds import SoundCodec
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.native.hwr_reader import read
from tests.polling import until
from tests.services.listening import Ear, pitch, tone_file
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, Peer, World, local_media, need_program, running
from tests.services.test_call_sounds import events
from tests.services.test_diversion import agent_id, forward, rejected, told
from tests.services.watcher import Watcher

pytestmark = need_program

GREETING, BEEP, SPEECH = 900.0, 1300.0, 500.0
QUIET = b"\xff" * 160


@asynccontextmanager
async def answering(databases: Databases, folder: Path, *, environ: dict[str, str] | None = None, **org: Any) -> AsyncIterator[World]:
    files = {
        "BEEP": str(tone_file(folder / "beep.wav", BEEP, 0.3)),
        "GREETINGS": orjson.dumps({"default": str(tone_file(folder / "greeting.wav", GREETING, 0.8))}).decode(),
    }
    made = {f"HUSHWIRE_SOUNDS__{name}": value for name, value in files.items()} | {"HUSHWIRE_VOICEMAIL__SILENCE_S": "2"}
    (folder / "data").mkdir()
    async with running(databases, folder / "data", environ=made | (environ or {}), **org) as world:
        try:
            yield world
        finally:
            Ear.close_all()


def speech(seconds: float = 0.2, hertz: float = SPEECH) -> list[bytes]:
    """Packets of a tone, in mu-law."""
    at = np.arange(int(encoding.MASTER_RATE * seconds)) / encoding.MASTER_RATE
    return encoding.encode((0.2 * np.sin(2 * np.pi * hertz * at)).astype(np.float32), SoundCodec.PCMU).payloads()


async def say(ear: Ear, seconds: float, payload: bytes | None = None) -> None:
    """Speak as a phone does, 20 ms at a time."""
    for made in speech(seconds) if payload is None else [payload] * round(seconds * 50):
        ear.speak(made)
        await asyncio.sleep(0.02)


async def into(world: World, mailbox: str = "102", name: str = "anna") -> tuple[Peer, sip.Accepted, Ear, LiveCall]:
    """A caller in somebody's mailbox."""
    phone, ear = await world.peer(name), Ear()
    phone.invite(f"*98{mailbox}", local=local_media(ear.port))
    accepted = await phone.expect(sip.Accepted)
    live = newest(world, lambda live: live.route.mailbox is not None)
    await expected(world, live)
    ear.agree(phone.answer_of(accepted.response))
    return phone, accepted, ear, live


def newest(world: World, fits: Callable[[LiveCall], bool]) -> LiveCall:
    """The call that began last: one before it may be on its way out still."""
    return [live for live in world.gateway.calling.live if fits(live)][-1]


async def expected(world: World, live: LiveCall) -> None:
    """Return once the media program knows whose packets are the call's.

    They are told to it just before the answer leaves: a phone that speaks once only may be too early, and is asked to another port.
    """
    await world.gateway.link.client.bridge(live.id)


async def records(live: LiveCall) -> bytes:
    """Return once the message is being recorded; its key."""
    await until(lambda: live.recording is not None and live.recording.is_running, what="the recording runs")
    assert live.recording is not None
    return live.recording.key.key


async def message_row(world: World, **wanted: Any) -> asyncpg.Record:
    """The only message, once its columns are these."""

    async def found() -> asyncpg.Record | None:
        rows = await world.rows("voicemail_messages", "recording_id")
        return rows[0] if len(rows) == 1 and all(rows[0][name] == value for name, value in wanted.items()) else None

    result = await until(found, what=f"the message with {wanted}")
    assert result is not None
    return result


async def test_who_calls_hears_greeting_and_tone_and_all_that_it_says_then_is_the_message(databases: Databases, tmp_path: Path) -> None:
    async with answering(databases, tmp_path) as world:
        phone, accepted, ear, live = await into(world)
        ear.speak(QUIET)
        await ear.hears(GREETING, packets=5)
        assert live.recording is None
        key = await records(live)
        await ear.hears(BEEP, packets=5)
        await say(ear, 2.0)
        phone.endpoint.bye(accepted.dialog)
        call = await world.row("calls", state="ended", end_reason="bye-agent", direction="internal")
        run = await world.row("recordings", state="closed", call_id=call["id"], lawful_basis="consent")
        message = await message_row(world, recording_id=run["id"], is_empty=False, read_at=None)
        assert message["agent_id"] == world.organisation.by_username["ben"].id
        assert 1500 <= message["speech_ms"] <= 2100
        file = read((world.folder / "spool" / run["spool_name"]).read_bytes(), key)
        said = [entry.data[12:] for entry in file.entries if entry.kind == "packet" and entry.leg == 0]
        assert said == speech(2.0), "all that was said, and neither greeting nor tone"
        assert not [entry for entry in file.entries if entry.kind == "packet" and entry.leg != 0]
        assert abs(pitch(said[:10]) - SPEECH) < 15
        (told,) = await events(world, "announcement.played")
        assert told["when"] == "answer"


async def test_a_message_ends_by_silence_and_its_owners_phone_learns_of_it(databases: Databases, tmp_path: Path) -> None:
    async with answering(databases, tmp_path) as world:
        ben = await Watcher.open(world.port, "ben")
        taken = await ben.subscribe("ben", "message-summary")
        assert taken.status == 200
        assert b"Voice-Message: 0/0" in (await ben.told()).body
        phone, _, ear, live = await into(world)
        await records(live)
        await say(ear, 1.5)
        await phone.expect(sip.DialogEnded, timeout_s=10)
        await world.row("calls", state="ended", end_reason="message-left")
        assert b"Messages-Waiting: yes" in (await ben.told()).body
        ben.close()


async def test_a_message_ends_by_its_key_and_with_nothing_said_there_is_none(databases: Databases, tmp_path: Path) -> None:
    async with answering(databases, tmp_path) as world:
        phone, accepted, ear, live = await into(world)
        await ear.hears(GREETING, packets=5)
        phone.endpoint.request(accepted.dialog, "INFO", body=b"Signal=#\r\nDuration=160\r\n", content_type="application/dtmf-relay")
        assert (await phone.expect(sip.Responded)).status == 200
        await records(live)
        await say(ear, 0.5, QUIET)
        phone.endpoint.request(accepted.dialog, "INFO", body=b"Signal=#\r\nDuration=160\r\n", content_type="application/dtmf-relay")
        assert (await phone.expect(sip.Responded)).status == 200
        await phone.expect(sip.DialogEnded)
        await message_row(world, is_empty=True)
        counted = await world.gateway.waiting.mailboxes.counts(world.organisation.id, [world.organisation.by_username["ben"].id])
        assert not counted


async def test_a_mailbox_that_is_full_takes_no_more_and_says_so(databases: Databases, tmp_path: Path) -> None:
    said = orjson.dumps({"full": str(tone_file(tmp_path / "full.wav", 700.0, 0.6))}).decode()
    environ = {"HUSHWIRE_VOICEMAIL__MESSAGES": "1", "HUSHWIRE_SOUNDS__VOICEMAIL": said}
    async with answering(databases, tmp_path, environ=environ) as world:
        phone, accepted, ear, live = await into(world)
        await records(live)
        await say(ear, 1.5)
        phone.endpoint.bye(accepted.dialog)
        await world.row("recordings", state="closed")
        phone, _, ear, _ = await into(world)
        await ear.hears(700.0, packets=5)
        await phone.expect(sip.DialogEnded)
        assert len(await world.rows("recordings")) == 1


async def test_a_gateway_that_is_killed_goes_on_with_the_message_and_a_media_process_leaves_what_was_sealed(
    databases: Databases, tmp_path: Path
) -> None:
    async with answering(databases, tmp_path) as world:
        phone, _, ear, live = await into(world)
        key = await records(live)
        await say(ear, 1.2)
        port = world.port
        await world.kill()
        await world.restart(HUSHWIRE_SIP__LISTEN=f'["udp://127.0.0.1:{port}"]', HUSHWIRE_VOICEMAIL__SILENCE_S="30")
        (again,) = world.gateway.calling.live
        assert again.recording is not None
        assert again.answering is not None
        await say(ear, 1.2)
        await world.media.kill()
        await phone.expect(sip.DialogEnded, timeout_s=10)
        call = await world.row("calls", state="ended", end_reason="media-lost")
        run = await world.row("recordings", state="crashed", call_id=call["id"])
        await message_row(world, recording_id=run["id"], is_empty=False, speech_ms=None)
        counted = await world.gateway.waiting.mailboxes.counts(world.organisation.id, [world.organisation.by_username["ben"].id])
        assert [counts.new for counts in counted.values()] == [1]
        file = read((world.folder / "spool" / run["spool_name"]).read_bytes(), key)
        heard = [entry for entry in file.entries if entry.kind == "packet"]
        assert len(heard) >= 90, "what was sealed plays, from before and after the gateway's death"


async def answered(phone: Peer, ear: Ear) -> sip.Accepted:
    """The caller's answer, after whatever came before it."""
    event = await phone.events.get()
    while isinstance(event, (sip.Progress, sip.Responded)):  # a BYE before it may be answered first
        event = await phone.events.get()
    assert isinstance(event, sip.Accepted), event
    ear.agree(phone.answer_of(event.response))
    return event


async def test_a_carriers_call_that_no_phone_takes_becomes_a_message_of_its_caller_alone(databases: Databases, tmp_path: Path) -> None:
    async with answering(databases, tmp_path) as world:
        await forward(world, "anna", no_answer="voicemail")
        carrier, ear = world.carrier, Ear()
        carrier.user = FAR_NUMBER
        carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER, local=local_media(ear.port, keys=False))
        accepted = await answered(carrier, ear)
        (live,) = world.gateway.calling.live
        await expected(world, live)
        ear.speak(QUIET)
        await ear.hears(GREETING, packets=5)
        key = await records(live)
        await say(ear, 1.5)
        carrier.endpoint.bye(accepted.dialog)
        call = await world.row("calls", state="ended", end_reason="bye-peer", direction="inbound")
        assert str(call["agent_id"]) == agent_id(world, "anna")
        assert told(call) == [(agent_id(world, "anna"), "unavailable", None)]
        run = await world.row("recordings", state="closed")
        assert run["remote_index"] == call["remote_index"], "who called is found by its number, as in any recording"
        await message_row(world, recording_id=run["id"], is_empty=False)
        file = read((world.folder / "spool" / run["spool_name"]).read_bytes(), key)
        assert {entry.leg for entry in file.entries if entry.kind == "packet"} == {1}


async def test_who_finds_an_agent_busy_or_not_to_be_disturbed_is_asked_for_a_message(databases: Databases, tmp_path: Path) -> None:
    async with answering(databases, tmp_path) as world:
        anna, ben, ear = await world.peer("anna"), await world.peer("ben"), Ear()
        await forward(world, "ben", busy="voicemail")
        anna.invite("102", local=local_media(ear.port))
        incoming = await ben.expect(sip.RequestReceived)
        ben.endpoint.respond(incoming.tx, 180)
        ben.endpoint.respond(incoming.tx, 486)
        accepted = await answered(anna, ear)
        await ear.hears(GREETING, packets=5)
        anna.endpoint.bye(accepted.dialog)
        await world.row("calls", state="ended")
        assert await world.rows("recordings") == [], "who hangs up within the greeting left nothing"
        await forward(world, "ben", busy="voicemail", do_not_disturb=True)
        anna.invite("102", local=local_media(ear.port))
        accepted = await answered(anna, ear)
        assert ben.events.empty()
        (live,) = [live for live in world.gateway.calling.live if not live.is_ended]
        sue, supervision = world.organisation.by_username["sue"].id, world.gateway.calling.supervision
        said = await supervision.supervise(live, JoinedAs.LISTEN, sue, actor="api-key:test", purpose="training")
        assert said == "calls of this kind are not supervised"
        anna.endpoint.bye(accepted.dialog)


async def test_for_who_objected_to_being_recorded_there_is_no_machine(databases: Databases, tmp_path: Path) -> None:
    async with answering(databases, tmp_path) as world:
        await forward(world, "anna", no_answer="voicemail")
        objected = world.organisation.keys.index("calls.remote", FAR_NUMBER)
        directory, org = world.gateway.directory, world.organisation
        directory._orgs[org.id] = replace(org, unrecorded=frozenset({objected}))
        world.carrier.user = FAR_NUMBER
        world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
        assert await rejected(world.carrier) == 480
        call = await world.row("calls", state="ended")
        assert told(call) == [(agent_id(world, "anna"), "unavailable", "objected")]
