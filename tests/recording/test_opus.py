"""Recordings of calls in Opus: played in place, at the right pitch and at the right time, beside a leg of another clock."""

import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from hushwire.recording import entries
from hushwire.recording.containers import AudioFormat
from hushwire.recording.decoders import Opus, duration
from hushwire.recording.entries import Entry
from hushwire.recording.playback import play
from tests.recording.test_playback import KEY, WHO, Sound, encoded, file_of, heard, packets, speech

FORMATS = entries.formats([{111: "opus/48000", 110: "telephone-event/48000"}, {0: "PCMU/8000"}])


def opus(sound: Sound, frame_ms: int = 20) -> list[bytes]:
    """Sound of 48,000 samples a second as Opus packets, by FFmpeg."""
    context = av.AudioCodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48000, "mono", "s16"
    context.bit_rate = 48000
    context.options = {"frame_duration": str(frame_ms)}
    context.open()
    made, size = [], 48 * frame_ms
    for start in range(0, len(sound) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(sound[start : start + size].reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        made += [bytes(packet) for packet in context.encode(frame)]
    return [*made, *(bytes(packet) for packet in context.encode(None))]


def arriving(payloads: list[bytes], frame_ms: int = 20, *, first: int = (1 << 32) - 48_000) -> list[Entry]:
    """One packet each `frame_ms`; timestamps of 48 kHz that wrap around early."""
    made = []
    for n, payload in enumerate(payloads):
        header = struct.pack(">BBHII", 0x80, 111, (65_500 + n) & 0xFFFF, (first + 48 * frame_ms * n) & 0xFFFFFFFF, 5)
        made.append(entries.rtp(0, round(n * frame_ms * 10), header + payload))
    return made


def tone(hertz: float, seconds: float) -> Sound:
    return (9000 * np.sin(2 * np.pi * hertz * np.arange(round(48000 * seconds)) / 48000)).astype(np.int16)


def loudest(sound: Sound, rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return float(np.argmax(spectrum)) * rate / len(sound)


def rendered(content: list[Entry], seconds: float) -> Sound:
    audio, _ = play([file_of(content, seconds, formats=FORMATS)], KEY, WHO, AudioFormat.WAV)
    rate, sound = heard(audio)
    assert rate == 16000
    return sound


@pytest.mark.parametrize("frame_ms", [10, 20, 60])
@pytest.mark.parametrize("hertz", [440, 6500])
def test_a_tone_has_its_pitch_and_the_call_its_length(hertz: int, frame_ms: int) -> None:
    content = arriving(opus(tone(hertz, 3), frame_ms), frame_ms) + packets(1, encoded(speech(3, 4), "PCMU"), ssrc=7)
    sound = rendered(content, 3)
    assert len(sound) == 3 * 16000
    assert abs(loudest(sound[8000:40000, 0].astype(float), 16000) - hertz) < 3
    assert float(np.abs(sound[8000:40000, 1]).mean()) > 100, "the other leg is there too"


def test_a_gap_stays_where_it_was_and_what_follows_is_in_its_place() -> None:
    payloads = opus(tone(440, 3))
    content = [entry for n, entry in enumerate(arriving(payloads)) if not 50 <= n < 75]
    sound = rendered([*content, *packets(1, encoded(speech(3, 4), "PCMU"), ssrc=7)], 3)[:, 0].astype(float)
    assert np.abs(sound[16_400:23_600]).max() == 0
    assert np.abs(sound[24_600:40_000]).mean() > 1000
    assert np.abs(sound[2_000:15_500]).mean() > 1000


def test_the_length_of_a_packet_is_read_from_its_first_bytes() -> None:
    for frame_ms in (10, 20, 40, 60):
        assert {duration("OPUS", payload) for payload in opus(tone(440, 1), frame_ms)} == {8 * frame_ms}
    assert duration("PCMU", bytes(160)) == 160
    assert duration("OPUS", b"\x03") == 0
    assert duration("OPUS", b"\xff\xff") == 0


@pytest.mark.parametrize("payload", [b"\x00", b"\xff", b"\xff\xff", b"\x03\x00", bytes(1275), b"\x78" + bytes(40)])
def test_a_packet_that_is_no_opus_leaves_silence_and_ends_nothing(payload: bytes) -> None:
    made = Opus()
    for good in opus(tone(440, 0.2)):
        made.decode(good)
    made.decode(payload)
    assert len(made.decode(opus(tone(440, 0.2))[-2])) == 320
