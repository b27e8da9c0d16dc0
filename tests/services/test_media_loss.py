"""hushwire-media is killed in the middle of a recorded call: both parties are told other ports and keys, and hear each other again."""

import asyncio
import random
import struct
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from hushwire.core.errors import Unavailable
from hushwire.media.client import MediaClient
from hushwire.media.model import MediaEvent
from hushwire.media.wire import EventType
from hushwire.sdp.offer_answer import LegMedia, LocalMedia, Refusal, Srtp, answer_offer
from hushwire.services import calling
from hushwire.services.live import LiveCall
from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.native.call import Party, parse, rtp
from tests.native.hwr_reader import read
from tests.native.srtp_oracle import Oracle, Written, oracle
from tests.polling import until
from tests.services.running import FAR_NUMBER, Peer, World, local_media, need_program, running

pytestmark = need_program


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path, environ={"HUSHWIRE_MEDIA__ON_LOSS": "re-establish"}) as made:
        yield made


@pytest.fixture
def parties() -> Iterator[tuple[Party, Party]]:
    agent, far = Party(), Party()
    yield agent, far
    agent.close()
    far.close()


@dataclass
class Talk:
    """Anna's SRTP phone and the carrier's plain RTP, with real sockets for the audio."""

    anna: Peer
    agent: Party
    far: Party
    accepted: sip.Accepted
    live: LiveCall
    media: LegMedia  # as anna agreed on
    tx: Oracle
    rx: Oracle
    said: int = 0

    def speak(self, count: int = 5) -> None:
        """Each hears what the other says; the numbers go on through the whole call."""
        for n in range(self.said, self.said + count):
            self.agent.send(self.tx.protect(rtp(n, 160 * n, 0xA, b"A%06d" % n)))
            assert parse(self.far.receive()).payload == b"A%06d" % n
            self.far.send(rtp(n, 160 * n, 0xB, b"B%06d" % n))
            assert parse(self.rx.unprotect(self.agent.receive())).payload == b"B%06d" % n
        self.said += count


def protections(media: LegMedia) -> tuple[Oracle, Oracle]:
    assert media.send_crypto is not None
    assert media.recv_crypto is not None
    suite = media.send_crypto.suite.value
    if suite == "AES_256_CM_HMAC_SHA1_80":
        return Written(media.send_crypto.key), Written(media.recv_crypto.key)
    return oracle(suite, media.send_crypto.key, is_sender=True), oracle(suite, media.recv_crypto.key, is_sender=False)


async def talking(world: World, agent: Party, far: Party) -> Talk:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER, local=local_media(agent.port))
    incoming = await world.carrier.expect(sip.RequestReceived)
    _, there = world.carrier.accept(incoming, local=local_media(far.port, keys=False))
    accepted = await anna.expect(sip.Accepted)
    await world.carrier.expect(sip.AckReceived)
    here = anna.answer_of(accepted.response)
    agent.to, far.to = ("127.0.0.1", here.port), ("127.0.0.1", there.port)
    live = next(iter(world.gateway.calling.live))
    await until(lambda: live.recording is not None and live.recording.is_running)
    return Talk(anna, agent, far, accepted, live, here, *protections(here))


def answered(peer: Peer, event: sip.InDialogRequest, local: LocalMedia, srtp: Srtp) -> LegMedia:
    outcome = answer_offer(event.request.body, local, srtp)
    assert not isinstance(outcome, Refusal), outcome
    peer.endpoint.respond(event.tx, 200, body=outcome.body)
    return outcome.media


async def re_established(world: World, talk: Talk) -> None:
    """Both parties take the re-INVITE that follows the loss, as phones do."""
    here = await talk.anna.expect(sip.InDialogRequest, timeout_s=10)
    there = await world.carrier.expect(sip.InDialogRequest, timeout_s=10)
    assert (here.request.method, there.request.method) == ("INVITE", "INVITE")
    mine = answered(talk.anna, here, local_media(talk.agent.port, version=2), Srtp.REQUIRED)
    theirs = answered(world.carrier, there, local_media(talk.far.port, keys=False, version=2), Srtp.NEVER)
    await talk.anna.expect(sip.AckReceived)
    await world.carrier.expect(sip.AckReceived)
    assert mine.recv_crypto is not None
    assert talk.media.recv_crypto is not None
    assert mine.recv_crypto.key != talk.media.recv_crypto.key  # hushwire's own: never the key that was used before
    talk.media = mine
    talk.agent.to, talk.far.to = ("127.0.0.1", mine.port), ("127.0.0.1", theirs.port)
    talk.tx, talk.rx = protections(mine)
    await until(lambda: talk.live.renewal is None)

    async def is_set() -> bool:
        legs = (await world.gateway.link.client.state(talk.live.id)).legs.values()
        return len(legs) == 2 and all(leg.digest is not None for leg in legs)

    await until(is_set)


async def restarted(world: World) -> None:
    """kill -9, and the successor that the supervisor starts."""
    await world.media.kill()
    await world.media.start()


async def test_both_parties_hear_each_other_again_and_the_recording_goes_on_as_a_segment(
    world: World, parties: tuple[Party, Party]
) -> None:
    talk = await talking(world, *parties)
    talk.speak(40)
    first = talk.live.recording
    assert first is not None

    def sealed() -> list[bytes]:
        entries = read((world.folder / "spool" / first.spool_name).read_bytes(), first.key.key).entries
        return [entry.data[12:20] for entry in entries if entry.kind == "packet"]

    await until(lambda: len(sealed()) == 80)  # half a second at most: what is sealed then outlasts the kill
    await restarted(world)
    await re_established(world, talk)
    talk.speak(1)
    await until(lambda: talk.live.recording is not None and talk.live.recording.is_running)
    second = talk.live.recording
    assert second is not None
    begun = talk.said
    talk.speak(20)
    talk.anna.endpoint.bye(talk.accepted.dialog)
    await world.carrier.expect(sip.DialogEnded)
    assert (await world.row("calls", state="ended"))["end_reason"] == "bye-agent"

    async def states() -> list[str]:
        return [row["state"] for row in await world.rows("recordings", "segment")]

    async def both_ended() -> bool:
        return await states() == ["crashed", "closed"]

    await until(both_ended)
    rows = await world.rows("recordings", "segment")
    assert [row["segment"] for row in rows] == [0, 1]
    assert rows[0]["key_fingerprint"] != rows[1]["key_fingerprint"]
    file = read((world.folder / "spool" / first.spool_name).read_bytes(), first.key.key)
    assert not file.is_final
    assert sorted(sealed()) == sorted(b"%c%06d" % (side, n) for side in b"AB" for n in range(40))
    file = read((world.folder / "spool" / second.spool_name).read_bytes(), second.key.key)
    assert file.is_final
    later = [entry.data[12:20] for entry in file.entries if entry.kind == "packet"]
    assert {b"%c%06d" % (side, n) for side in b"AB" for n in range(begun, begun + 20)} <= set(later)


async def test_it_survives_being_killed_at_random_moments(world: World, parties: tuple[Party, Party]) -> None:
    chance = random.Random(4)
    talk = await talking(world, *parties)
    for _ in range(4):
        talk.speak(chance.randrange(1, 30))
        await asyncio.sleep(chance.random() * 0.4)  # anywhere within the life of a chunk
        await restarted(world)
        await re_established(world, talk)
    talk.speak()
    talk.anna.endpoint.bye(talk.accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-agent")
    for path in (world.folder / "spool").iterdir():
        assert path.stat().st_size >= 76  # each has its header; what it holds was tried above


async def test_what_was_paused_is_recorded_again_only_once_it_is_resumed(world: World, parties: tuple[Party, Party]) -> None:
    talk = await talking(world, *parties)
    recorder = world.gateway.calling.recorder
    assert await recorder.pause(talk.live) == "ok"
    await restarted(world)
    await re_established(world, talk)
    talk.speak()
    entry = [entry async for entry in world.gateway.link.client.bridges()]
    assert [item.recording_id for item in entry] == [None]
    assert await recorder.resume(talk.live) == "ok"
    talk.speak(3)
    run = talk.live.recording
    assert run is not None
    assert run.segment == 1
    assert await recorder.stop(talk.live) == "ok"
    entries = read((world.folder / "spool" / run.spool_name).read_bytes(), run.key.key).entries
    assert sum(entry.kind == "packet" for entry in entries) == 6


async def test_a_party_that_refuses_the_new_ports_ends_the_call_for_both(world: World, parties: tuple[Party, Party]) -> None:
    talk = await talking(world, *parties)
    await restarted(world)
    here = await talk.anna.expect(sip.InDialogRequest, timeout_s=10)
    talk.anna.endpoint.respond(here.tx, 488)
    await talk.anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.InDialogRequest)
    await world.carrier.expect(sip.DialogEnded)
    assert (await world.row("calls", state="ended"))["end_reason"] == "media-lost"


async def test_without_a_successor_in_time_the_call_ends(
    world: World, parties: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling, "RENEW_WITHIN_S", 0.5)
    talk = await talking(world, *parties)
    await world.media.kill()
    await talk.anna.expect(sip.DialogEnded)
    await world.carrier.expect(sip.DialogEnded)
    assert (await world.row("calls", state="ended"))["end_reason"] == "media-lost"
    await world.row("recordings", state="crashed")


async def test_a_call_that_still_rings_ends_with_the_media_process(world: World) -> None:
    anna = await world.peer("anna")
    anna.invite(FAR_NUMBER)
    await world.carrier.expect(sip.RequestReceived)
    await restarted(world)
    assert (await anna.expect(sip.Rejected)).status == 503


def press(talk: Talk, digit: int, at: int) -> None:
    """Anna's phone sends a key of 100 ms: an update, and its end three times (RFC 4733 section 2.5.1.4)."""
    assert talk.media.dtmf is not None
    number = talk.media.dtmf.payload_type
    payloads = [struct.pack(">BBH", digit, 10, 400), *[struct.pack(">BBH", digit, 0x8A, 800)] * 3]
    for payload in payloads:
        n, talk.said = talk.said, talk.said + 1
        talk.agent.send(talk.tx.protect(rtp(n, at, 0xA, payload, pt=number)))
        talk.far.receive()


def digits_told(world: World, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The legs that digits are told of from now on, as the media process tells them to the gateway."""
    told: list[int] = []
    media_event = world.gateway.calling.media_event

    def seen(event: MediaEvent) -> bool:
        if event.type is EventType.DIGIT and event.leg is not None:
            told.append(event.leg)
        return media_event(event)

    monkeypatch.setattr(world.gateway.calling, "media_event", seen)
    return told


async def test_a_sensitive_call_is_sensitive_again_before_anything_of_it_is_recorded_or_a_digit_told(
    world: World, parties: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await talking(world, *parties)
    recorder = world.gateway.calling.recorder
    told = digits_told(world, monkeypatch)
    assert await recorder.set_sensitive(talk.live, on=True) == "ok"
    await restarted(world)
    await re_established(world, talk)
    begun = talk.said
    talk.speak(10)
    press(talk, 5, 200_000)
    await until(lambda: talk.live.recording is not None and talk.live.recording.is_running)
    talk.speak(10)
    press(talk, 6, 210_000)
    until_now = talk.said
    run = talk.live.recording
    assert run is not None
    assert run.segment == 1
    assert await recorder.set_sensitive(talk.live, on=False) == "ok"
    talk.speak(3)
    press(talk, 7, 220_000)
    await until(lambda: told)
    assert told == [0]  # the last one alone
    assert await recorder.stop(talk.live) == "ok"
    entries = read((world.folder / "spool" / run.spool_name).read_bytes(), run.key.key).entries
    kept = {entry.data[12:20] for entry in entries if entry.kind == "packet"}
    assert {b"%c%06d" % (side, until_now + n) for side in b"AB" for n in range(3)} <= kept
    assert not kept & {b"%c%06d" % (side, n) for side in b"AB" for n in range(begun, until_now)}
    assert not any(payload[:1] in (b"\x05", b"\x06") for payload in kept)
    assert any(payload[:1] == b"\x07" for payload in kept)
    talk.anna.endpoint.bye(talk.accepted.dialog)
    await world.row("calls", state="ended", end_reason="bye-agent")


async def test_a_sensitive_call_that_can_not_be_made_so_again_ends_and_nothing_more_of_it_is_recorded(
    world: World, parties: tuple[Party, Party], monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await talking(world, *parties)
    assert await world.gateway.calling.recorder.set_sensitive(talk.live, on=True) == "ok"

    async def fails(*_: object, **__: object) -> None:
        raise Unavailable("the connection broke")

    monkeypatch.setattr(MediaClient, "set_sensitive", fails)
    await restarted(world)
    await talk.anna.expect(sip.DialogEnded, timeout_s=10)
    await world.carrier.expect(sip.DialogEnded)
    await world.row("calls", state="ended", end_reason="media-failed")
    await world.row("recordings", state="crashed")  # the only one: no segment followed
    assert [entry async for entry in world.gateway.link.client.bridges()] == []
