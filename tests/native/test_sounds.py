"""Sounds played by hushwire-media over real sockets: what the parties hear, in which stream, and what is told of it."""

from __future__ import annotations

import hashlib
import itertools
import os
import random
import struct
import time
import uuid
from contextlib import suppress

import av
import numpy as np
import pytest

from hushwire.media.encoding import MASTER_RATE, encode
from hushwire.media.sounds import EncodedSound, SoundCodec
from hushwire.recording.decoders import decoder
from tests.native.call import SUITES, Call, Keys, Party, Rtp, parse, rtp
from tests.native.client import INVALID, NOT_FOUND, STATE, Controller, Media, RequestError
from tests.native.hwr_reader import read
from tests.native.sent_indexes import SentIndexes
from tests.native.srtp_oracle import oracle
from tests.native.test_recording import Recorded

LIMIT = 10
FINISHED, STOPPED, REPLACED, LEG_CLOSED = 1, 2, 3, 4


def tone(frequency: float, codec: SoundCodec = SoundCodec.PCMU, seconds: float = 1.0) -> EncodedSound:
    at = np.arange(int(MASTER_RATE * seconds)) / MASTER_RATE
    return encode((0.3 * np.sin(2 * np.pi * frequency * at)).astype(np.float32), codec)


def load(control: Controller, sound: EncodedSound) -> EncodedSound:
    common = {"sound": sound.id, "clock_rate": sound.codec.clock_rate, "frame_samples": sound.frame_samples}
    reply = {}
    for offset, part in sound.chunks():
        reply = control.request("load_sound", **common, total_bytes=len(sound.data), offset=offset, data=part)
    assert reply["is_whole"] == 1
    return sound


def play(call: Call, leg: int, sound: EncodedSound, playback: int = 1, payload_type: int = 0, **how: int) -> None:
    call.control.request(
        "play", bridge=call.id, leg=leg, sound=sound.id, playback=playback, payload_type=payload_type, **how
    )  # fmt: skip


def stop(call: Call, leg: int, **which: int) -> None:
    call.control.request("stop_play", bridge=call.id, leg=leg, **which)


def pitch(payloads: list[bytes], codec: SoundCodec) -> float:
    """The loudest frequency of what was heard, Hz."""
    samples, rate = _samples(payloads, codec)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * rate / len(samples))


def _samples(payloads: list[bytes], codec: SoundCodec) -> tuple[np.ndarray, int]:
    if codec is SoundCodec.OPUS:
        context = av.CodecContext.create("libopus", "r")
        frames = [frame for payload in payloads for frame in context.decode(av.Packet(payload))]
        interleaved = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
        return interleaved[:: frames[0].layout.nb_channels].astype(float), 48_000
    made = decoder(codec.value)
    assert made is not None
    return np.concatenate([made.decode(payload) for payload in payloads]).astype(float), codec.sample_rate


def heard(party: Party, count: int) -> list[Rtp]:
    return [parse(party.receive()) for _ in range(count)]


def check_one_stream(packets: list[Rtp], step: int = 160) -> None:
    for before, after in itertools.pairwise(packets):
        assert (after.seq - before.seq) & 0xFFFF == 1
        assert after.ssrc == before.ssrc
        assert (after.timestamp - before.timestamp) & 0xFFFFFFFF >= step


@pytest.mark.parametrize("codec", list(SoundCodec))
def test_a_sound_is_heard_in_each_codec_as_what_it_is_and_with_its_clocks_time_stamps(control: Controller, codec: SoundCodec) -> None:
    call, sound = Call(control), load(control, tone(1000, codec))
    began = time.monotonic()
    play(call, 0, sound, 77, 96)
    packets = heard(call.a, 50)
    assert time.monotonic() - began > 0.9
    assert {packet.pt for packet in packets} == {96}
    assert {packet.ssrc for packet in packets} == {call.a.ssrc}
    assert [(p.seq - packets[0].seq) & 0xFFFF for p in packets] == list(range(50))
    step = codec.clock_rate // 50
    assert [(p.timestamp - packets[0].timestamp) & 0xFFFFFFFF for p in packets] == [step * n for n in range(50)]
    assert [packet.payload for packet in packets] == sound.payloads()
    assert abs(pitch([packet.payload for packet in packets], codec) - 1000) < 5
    ended = control.event("play_ended").fields
    assert (ended["bridge"], ended["leg"], ended["playback"]) == (call.id.bytes, 0, 77)
    assert (ended["play_end"], ended["sent_ms"]) == (FINISHED, 1000)


@pytest.mark.parametrize("suite", SUITES)
def test_srtp_goes_on_from_the_relayed_stream_to_the_sound_and_back_under_one_index(control: Controller, suite: str) -> None:
    keys = Keys(suite)
    call, sound = Call(control, keys=(keys, None)), load(control, tone(500, seconds=0.2))
    unprotect = oracle(suite, keys.send, is_sender=False).unprotect
    packets = []
    for n in range(5):
        call.b.send(rtp(n, 160 * n, 7))
        packets.append(parse(unprotect(call.a.receive())))
    play(call, 0, sound)
    packets += [parse(unprotect(call.a.receive())) for _ in range(10)]
    control.event("play_ended")
    for n in range(15, 20):
        call.b.send(rtp(n, 160 * n, 7))
        packets.append(parse(unprotect(call.a.receive())))
    assert [packet.payload for packet in packets[5:15]] == sound.payloads()
    assert {packet.payload for packet in packets[:5] + packets[15:]} == {b"\xff" * 160}
    assert [n for n, packet in enumerate(packets) if packet.marker] == [5, 15]
    check_one_stream(packets)


def test_the_other_party_is_not_heard_under_a_sound_and_goes_on_being_heard_after_it(control: Controller) -> None:
    call, sound = Call(control), load(control, tone(500, seconds=0.1))
    play(call, 0, sound, times=0)
    heard(call.a, 3)
    for n in range(10):
        call.b.send(rtp(n, 160 * n, 7, b"hidden--" * 20))
    call.settle(1, "packets_received", 10)
    call.a.send(rtp(1, 0, 9, b"the other way" * 12))
    assert parse(call.b.receive()).payload == b"the other way" * 12
    stop(call, 0)
    assert control.event("play_ended").fields["play_end"] == STOPPED
    call.b.send(rtp(10, 1600, 7, b"heard---" * 20))
    packets = []
    while not packets or packets[-1].payload != b"heard---" * 20:
        packets.append(parse(call.a.receive()))
    assert {packet.payload for packet in packets[:-1]} <= set(sound.payloads())
    check_one_stream(packets)


def test_music_goes_round_without_a_break_until_it_is_stopped(control: Controller) -> None:
    call, sound = Call(control), load(control, tone(700, seconds=0.2))
    play(call, 1, sound, 3, times=0)
    packets = heard(call.b, 35)
    assert [packet.payload for packet in packets] == (sound.payloads() * 4)[:35]
    assert [(p.timestamp - packets[0].timestamp) & 0xFFFFFFFF for p in packets] == [160 * n for n in range(35)]
    stop(call, 1, playback=3)
    ended = control.event("play_ended").fields
    assert (ended["play_end"], ended["playback"]) == (STOPPED, 3)
    assert int(ended["sent_ms"]) >= 700  # type: ignore[call-overload]


def test_a_beep_comes_at_its_interval_and_the_call_is_heard_between(control: Controller) -> None:
    call, sound = Call(control), load(control, tone(1400, seconds=0.06))
    play(call, 0, sound, times=0, interval_ms=300, beep=1)
    packets, sent, began = [], 0, time.monotonic()
    while sum(packet.payload == sound.payloads()[0] for packet in packets) < 3:
        elapsed = time.monotonic() - began
        assert elapsed < 20
        while sent < elapsed / 0.02:
            call.b.send(rtp(sent, 160 * sent, 7, b"\x55" * 160))
            sent += 1
        call.a.rtp.settimeout(0.01)
        with suppress(TimeoutError):
            packets.append(parse(call.a.receive()))
    check_one_stream(packets)
    between = [packet for packet in packets if packet.payload == b"\x55" * 160]
    assert len(between) > 10
    beeps = [n for n, packet in enumerate(packets) if packet.payload == sound.payloads()[0]]
    apart = [(packets[b].timestamp - packets[a].timestamp) & 0xFFFFFFFF for a, b in itertools.pairwise(beeps)]
    assert all(8 * 250 < gap < 8 * 400 for gap in apart), apart


def test_a_beep_sounds_over_music_and_each_is_stopped_by_its_name(control: Controller) -> None:
    call, music, beep = Call(control), load(control, tone(500)), load(control, tone(1400, seconds=0.06))
    play(call, 0, music, 1, times=0)
    play(call, 0, beep, 2, beep=1)
    packets = heard(call.a, 10)
    for payload in beep.payloads():
        assert payload in [packet.payload for packet in packets]
    assert control.event("play_ended").fields["playback"] == 2
    with pytest.raises(RequestError) as refused:
        stop(call, 0, playback=2)
    assert refused.value.status == STATE
    stop(call, 0, playback=1)
    assert control.event("play_ended").fields["playback"] == 1


def test_a_sound_waits_for_the_leg_to_be_set_and_is_then_heard_from_its_beginning(control: Controller) -> None:
    call, sound = Call(control), load(control, tone(900, seconds=0.2))
    call.set_leg(0, remote_port=0)
    play(call, 0, sound)
    before = int(call.stats(0)["packets_sent"])
    call.settle(0, "packets_sent", before)
    call.set_leg(0)
    assert [packet.payload for packet in heard(call.a, 10)] == sound.payloads()
    assert control.event("play_ended").fields["sent_ms"] == 200


def test_what_takes_a_sounds_place_ends_it(control: Controller) -> None:
    call, first, second = Call(control), load(control, tone(500, seconds=5)), load(control, tone(900, seconds=0.1))
    play(call, 0, first, 1)
    heard(call.a, 2)
    play(call, 0, second, 2)
    ends = [control.event("play_ended").fields for _ in range(2)]
    assert [(end["playback"], end["play_end"]) for end in ends] == [(1, REPLACED), (2, FINISHED)]
    assert ends[1]["sent_ms"] == 100


def test_what_is_sent_while_the_other_hears_a_sound_is_recorded_and_the_sound_is_not(media: Media, control: Controller) -> None:
    call, sound = Call(control), load(control, tone(500, seconds=5))
    recorded = Recorded(call)
    play(call, 0, sound, times=0)
    heard(call.a, 2)
    sent = [rtp(n, 160 * n, 7, bytes([n]) * 160) for n in range(5)]
    for packet in sent:
        call.b.send(packet)
    call.settle(1, "packets_received", 5)
    recorded.stop()
    entries = read((media.spool / recorded.name).read_bytes(), recorded.key).entries
    assert [entry.data for entry in entries if entry.kind == "packet"] == sent


def test_one_loaded_sound_is_played_to_five_hundred_legs_at_once(control: Controller) -> None:
    calls, sound = [Call(control) for _ in range(250)], load(control, tone(600, seconds=2))
    for n, call in enumerate(calls):
        for leg in (0, 1):
            play(call, leg, sound, 2 * n + leg)
    ends = [control.event("play_ended").fields for _ in range(500)]
    assert {end["play_end"] for end in ends} == {FINISHED}
    assert {end["sent_ms"] for end in ends} == {2000}
    assert {end["playback"] for end in ends} == set(range(500))
    for call in calls[::50]:
        assert [packet.payload for packet in heard(call.b, 100)] == sound.payloads()


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_128_GCM"])
def test_no_srtp_index_is_used_twice_whatever_is_played_stopped_relayed_and_re_keyed(control: Controller, suite: str) -> None:
    first, second, sent = Keys(suite), Keys(suite), SentIndexes()
    sent.knows(first, second)
    call = Call(control, keys=(first, None))
    music, prompt, beep = (load(control, tone(pitch, seconds=seconds)) for pitch, seconds in ((500, 1), (900, 0.06), (1400, 0.04)))
    chance, seq, until = random.Random(5), 0, time.monotonic() + 60
    for step in itertools.count():
        if sent.count(first) > 300 and sent.count(second) > 300:
            break
        assert time.monotonic() < until
        match chance.randrange(8):
            case 0:
                play(call, 0, music, step, times=0)
            case 1:
                play(call, 0, prompt, step, times=2)
            case 2:
                play(call, 0, beep, step, times=0, interval_ms=60, beep=1)
            case 3:
                with suppress(RequestError):
                    stop(call, 0)
            case 4:
                call.keys = (chance.choice((first, second)), None)
                call.set_leg(0)
            case 5:
                seq = chance.randrange(65_536)  # a sender that begins anew
        for _ in range(chance.randrange(6)):
            call.b.send(rtp(seq, 160 * seq, 7))
            seq += 1
        sent.drain(call.a)  # fails where an index comes again


def test_what_can_not_be_played_is_refused_and_changes_nothing(control: Controller) -> None:
    call, sound = Call(control), load(control, tone(500, seconds=0.1))

    def refused(op: str, **fields: object) -> int:
        with pytest.raises(RequestError) as error:
            control.request(op, **fields)
        return error.value.status

    good = {"bridge": call.id, "leg": 0, "sound": sound.id, "playback": 1, "payload_type": 0}
    assert refused("play", **{**good, "sound": bytes(32)}) == STATE
    assert refused("play", **{**good, "leg": 5}) == NOT_FOUND
    assert refused("play", **{**good, "leg": 200}) == NOT_FOUND
    assert refused("play", **{**good, "bridge": uuid.uuid4()}) == NOT_FOUND
    assert refused("play", **{**good, "payload_type": 128}) == INVALID
    assert refused("stop_play", bridge=call.id, leg=0) == STATE
    assert refused("load_sound", sound=bytes(32)) == INVALID
    assert refused("load_sound", sound=bytes(32), unload=1) == NOT_FOUND
    common = {"sound": bytes(32), "clock_rate": 8000, "frame_samples": 160}
    assert refused("load_sound", **common, total_bytes=len(sound.data), offset=0, data=sound.data) == INVALID  # another's name
    assert refused("load_sound", **common, total_bytes=1 << 30, offset=0, data=b"x") == LIMIT
    assert refused("load_sound", **common, total_bytes=10, offset=4, data=b"x") == STATE
    for _ in range(40):
        common["sound"] = os.urandom(32)
        control.send("load_sound", **common, total_bytes=100, offset=0, data=b"x")
    data = struct.pack(">H", 0)
    named = hashlib.sha256(struct.pack(">II", 8000, 160) + data).digest()
    drain(control, 40)
    assert refused("load_sound", **{**common, "sound": named}, total_bytes=2, offset=0, data=data) in (INVALID, LIMIT)
    assert call.a.hears_nothing()
    play(call, 0, sound)
    assert [packet.payload for packet in heard(call.a, 5)] == sound.payloads()


def drain(control: Controller, replies: int) -> None:
    while replies:
        kind, _, _, _ = control.read()
        replies -= kind == 1


def test_sounds_outlive_their_controller_and_an_unloaded_one_plays_on_where_it_plays(media: Media, control: Controller) -> None:
    call, sound = Call(control), load(control, tone(500, seconds=0.4))
    play(call, 0, sound)
    heard(call.a, 2)
    control.request("load_sound", sound=sound.id, unload=1)
    assert [packet.payload for packet in heard(call.a, 18)] == sound.payloads()[2:]
    with pytest.raises(RequestError):
        play(call, 0, sound)
    load(control, sound)
    with media.controller(epoch=2) as other:
        other.request("play", bridge=call.id, leg=0, sound=sound.id, playback=9, payload_type=0)
        assert parse(call.a.receive()).payload == sound.payloads()[0]
