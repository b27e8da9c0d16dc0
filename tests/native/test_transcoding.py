"""Legs that share no codec hear each other all the same; FFmpeg's codecs speak and listen at both ends."""

from __future__ import annotations

import struct

import pytest

from tests.native.call import Call, rtp
from tests.native.client import Controller, Media
from tests.native.sound import CODECS, FRAME_S, Event, Voice, converse, encode, event_field, tone, unhurried

PAIRS = [("PCMU", "opus"), ("PCMA", "G722"), ("PCMU", "PCMA"), ("opus", "G722"), ("PCMA", "opus"), ("G722", "PCMU")]


def joined(control: Controller, a: str, b: str, tones: tuple[float, float] = (440, 1000), seconds: float = 3) -> tuple[Call, Voice, Voice]:
    call = Call(control)
    voices = []
    for leg, (name, hz) in enumerate(zip((a, b), tones, strict=True)):
        kind = CODECS[name]
        call.set_leg(leg, codec=[kind.field(), event_field(clock=kind.clock)], clock_rate=kind.clock)
        voices.append(Voice(call.party(leg), kind, encode(kind, tone(hz, seconds, kind.rate)), ssrc=leg + 1))
    return call, voices[0], voices[1]


@pytest.mark.parametrize(("a", "b"), PAIRS)
def test_each_side_hears_the_others_tone_at_its_level_in_its_own_codec(media: Media, control: Controller, a: str, b: str) -> None:
    unhurried(media, lambda: each_hears_the_other(control, a, b))


def each_hears_the_other(control: Controller, a: str, b: str) -> None:
    _, one, other = joined(control, a, b)
    converse([one, other], 3)
    sent_db = -12.25  # 8,000 of 32,768
    for ear, theirs, own in ((one, 1000, 440), (other, 440, 1000)):
        assert {packet.pt for _, packet in ear.heard} == {ear.kind.payload_type}
        assert ear.is_one_stream()
        assert ear.heard[0][1].marker
        assert abs(ear.level(theirs) - sent_db) < 1.5
        assert ear.level(own) < -55
        # Made by the wall's clock, one each 20 ms, however unevenly a busy machine let them be sent and read.
        passed_s = ear.heard[-1][0] - ear.heard[0][0]
        assert passed_s > 2
        assert abs(len(ear.heard) - 1 - passed_s / FRAME_S) <= 8


def test_legs_that_share_a_codec_are_relayed_byte_for_byte_even_where_their_first_choice_differs(control: Controller) -> None:
    call = Call(control)
    call.set_leg(0, codec=[CODECS["opus"].field(), CODECS["PCMU"].field()])
    call.set_leg(1, codec=[CODECS["G722"].field(), CODECS["PCMU"].field()])
    for n in range(5):
        call.a.send(rtp(n, n * 160, 7, bytes([n]) * 160))
        packet = call.b.receive()
        assert packet[1] & 0x7F == 0
        assert packet[12:] == bytes([n]) * 160
    assert "concealed_ms" not in call.stats(0)


def test_keys_cross_between_clocks_of_8_and_48_khz_with_their_length_and_are_not_heard_as_audio(control: Controller) -> None:
    _, one, other = joined(control, "PCMU", "opus")
    # One second of speech, then the key 5 for 200 ms: packets of RFC 4733 instead of audio, the last one three times.
    for n in range(10):
        payload = struct.pack(">BBH", 5, 10 | (0x80 if n == 9 else 0), (n + 1) * 160)
        one.events[50 + n] = Event(50, payload, n == 0, 3 if n == 9 else 1)
    converse([one, other], 3)
    keys = [packet for _, packet in other.heard if packet.pt == 101]
    assert len(keys) == 12
    assert len({packet.timestamp for packet in keys}) == 1
    assert keys[0].marker
    assert not any(packet.marker for packet in keys[1:])
    durations = [struct.unpack(">BBH", packet.payload) for packet in keys]
    assert [duration for _, _, duration in durations] == [*range(960, 9_601, 960), 9_600, 9_600]
    assert [event for event, _, _ in durations] == [5] * 12
    assert [bool(flags & 0x80) for _, flags, _ in durations] == [False] * 9 + [True] * 3
    assert other.is_one_stream()
    # What follows the key begins at its end or later, and no audio was sent while it was pressed.
    after = [packet for _, packet in other.heard if packet.pt == 111 and (packet.timestamp - keys[0].timestamp) & 0xFFFFFFFF < 1 << 31]
    assert after
    assert all(packet.timestamp - keys[0].timestamp >= 9_600 - 2 * 960 for packet in after)
    assert after[0].marker
    assert abs(other.level(440) + 12.25) < 1.5


def test_a_source_that_falls_silent_is_heard_as_quiet_and_comes_back_on_the_same_stream(control: Controller) -> None:
    call, one, other = joined(control, "PCMA", "opus", seconds=5)
    one.silent = set(range(75, 150))
    converse([one, other], 4.5)
    assert other.is_one_stream()
    pcm = other.audio()
    quiet = pcm[int(2.0 * 48_000) : int(2.8 * 48_000)]
    assert abs(quiet.astype(int)).max() < 600
    assert abs(other.level(440) + 12.25) < 1.5
    assert int(call.stats(0)["concealed_ms"]) <= 500  # of 1,500 ms of silence


def test_lost_packets_are_concealed_and_late_ones_counted(media: Media, control: Controller) -> None:
    unhurried(media, lambda: lost_packets_are_concealed(control))


def lost_packets_are_concealed(control: Controller) -> None:
    call, one, other = joined(control, "PCMU", "G722", seconds=4)
    one.lost = set(range(30, 200, 20))
    converse([one, other], 4)
    assert other.is_one_stream()
    stats = call.stats(0)
    assert 100 <= int(stats["concealed_ms"]) <= 400
    assert 10_000 <= int(stats["playout_delay_us"]) <= 200_000
    assert abs(other.level(440) + 12.25) < 2.5
