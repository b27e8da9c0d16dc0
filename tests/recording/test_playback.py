"""Playback against networks that delay, lose, repeat and reorder, and senders whose clocks drift, leap and stop."""

import io
import itertools
import random
import struct
import time
from collections.abc import Iterable
from uuid import UUID

import av
import numpy as np
import numpy.typing as npt
import pytest

from hushwire.recording import entries
from hushwire.recording.containers import AudioFormat
from hushwire.recording.entries import Entry
from hushwire.recording.failures import Failure, RecordingError
from hushwire.recording.hwr import Ending, Identity, Reader, Writer
from hushwire.recording.playback import Gap, Player, measure, play

KEY = bytes(32)
WHO = Identity(UUID(int=1), UUID(int=2))
Sound = npt.NDArray[np.int16]


class Seeded:
    def __init__(self) -> None:
        self._random = random.Random(7)

    def token_bytes(self, count: int, /) -> bytes:
        return self._random.randbytes(count)


def speech(seconds: float, seed: int, rate: int = 8000) -> Sound:
    """Noise in syllables, band-limited: it correlates with nothing but itself, and only at the right place."""
    count = round(seconds * rate)
    source = np.random.default_rng(seed)
    noise = np.convolve(source.normal(0, 1, count + 15), np.hanning(16) / 8, "valid")[:count]
    syllables = np.repeat(source.uniform(0.1, 1, count // (rate // 5) + 1), rate // 5)[:count]
    return (noise * syllables * 6000).astype(np.int16)


def encoded(sound: Sound, codec: str) -> bytes:
    """The sound's payload bytes: encoded by FFmpeg, not by us."""
    context = av.AudioCodecContext.create({"PCMU": "pcm_mulaw", "PCMA": "pcm_alaw", "G722": "g722"}[codec], "w")
    context.sample_rate = 16000 if codec == "G722" else 8000
    context.layout = "mono"
    context.format = "s16"
    frame = av.AudioFrame.from_ndarray(sound.reshape(1, -1), format="s16", layout="mono")
    frame.sample_rate = context.sample_rate
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def packets(
    leg: int,
    payload: bytes,
    *,
    number: int = 0,
    start_s: float = 0.0,
    ssrc: int = 0xABCD,
    sequence: int = 65500,
    timestamp: int = (1 << 32) - 4000,
    drift: float = 1.0,
) -> list[Entry]:
    """RTP every 20 ms; sequence and timestamp wrap around early by default. `drift`: the sender's clock over ours."""
    made = []
    for n in range(len(payload) // 160):
        header = struct.pack(">BBHII", 0x80, number, (sequence + n) & 0xFFFF, (timestamp + 160 * n) & 0xFFFFFFFF, ssrc)
        made.append(entries.rtp(leg, round((start_s + n * 0.02 / drift) * 10_000), header + payload[160 * n : 160 * n + 160]))
    return made


def file_of(content: Iterable[Entry], length_s: float, *, formats: Entry | None = None, crashed: bool = False) -> bytes:
    """A sealed recording with a frame each 500 ms."""
    default = entries.formats([{0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000", 101: "telephone-event/8000"}] * 2)
    narrow = entries.formats([{0: "PCMU/8000", 8: "PCMA/8000", 101: "telephone-event/8000"}] * 2)
    content = sorted(content, key=lambda entry: entry.time)
    wide = any(entry.kind is entries.EntryKind.RTP and len(entry.data) > 1 and entry.data[1] & 0x7F == 9 for entry in content)
    writer = Writer(KEY, WHO, Seeded())
    out, pending, frame_at = [writer.header], [entries.anchor(1), formats or (default if wide else narrow)], 5000
    for entry in content:
        if entry.time >= frame_at:
            out.append(writer.frame(pending))
            pending, frame_at = [], entry.time + 5000
        pending.append(entry)
    if crashed:
        out.append(writer.frame(pending))
    else:
        out.append(writer.frame([*pending, entries.end(round(length_s * 10_000))], is_final=True))
    return b"".join(out)


def heard(audio: bytes) -> tuple[int, Sound]:
    """Rate and samples (frames, 2) as a player that isn't ours decodes them."""
    with av.open(io.BytesIO(audio)) as container:
        resampler = av.AudioResampler(format="s16", layout="stereo")
        frames = [piece for frame in container.decode(audio=0) for piece in resampler.resample(frame)]
        rate = frames[0].sample_rate
    return rate, np.concatenate([frame.to_ndarray().reshape(-1, 2) for frame in frames])


def likeness(found: Sound, wanted: Sound, at: int) -> float:
    """Correlation of the sound found at `at` with the one wanted there."""
    piece = found[at : at + len(wanted)].astype(float)
    return float(np.corrcoef(piece, wanted[: len(piece)].astype(float))[0, 1])


def best_place(found: Sound, wanted: Sound) -> int:
    """Where in `found` the sound lies best."""
    size = 1 << (len(found) + len(wanted)).bit_length()
    product = np.fft.irfft(np.fft.rfft(found.astype(float), size) * np.conj(np.fft.rfft(wanted.astype(float), size)), size)
    return int(np.argmax(product[: len(found)]))


def wav(content: Iterable[Entry], length_s: float) -> Sound:
    audio, _ = play([file_of(content, length_s)], KEY, WHO, AudioFormat.WAV)
    return heard(audio)[1]


AGENT, OTHER = speech(4, 1), speech(4, 2)


@pytest.mark.parametrize(("codec", "number"), [("PCMU", 0), ("PCMA", 8)])
def test_agent_is_left_and_the_other_party_right(codec: str, number: int) -> None:
    content = packets(0, encoded(AGENT, codec), number=number) + packets(1, encoded(OTHER, codec), number=number, ssrc=9)
    sound = wav(content, 4)
    assert len(sound) == 4 * 8000
    assert likeness(sound[:, 0], AGENT, 0) > 0.99
    assert likeness(sound[:, 1], OTHER, 0) > 0.99
    assert abs(likeness(sound[:, 0], OTHER, 0)) < 0.1


def test_who_barged_in_is_heard_on_both_sides_from_then_on() -> None:
    third = speech(2, 3)
    named = entries.formats([{0: "PCMU/8000"}, {0: "PCMU/8000"}])
    joined = entries.formats([{0: "PCMU/8000"}, {0: "PCMU/8000"}, {0: "PCMU/8000"}], time=10_000)
    content = packets(0, encoded(AGENT, "PCMU")) + packets(1, encoded(OTHER, "PCMU"), ssrc=9)
    content += [joined, *packets(2, encoded(third, "PCMU"), start_s=1.5, ssrc=10)]
    audio, summary = play([file_of(content, 4, formats=named)], KEY, WHO, AudioFormat.WAV)
    sound = heard(audio)[1].astype(int)
    without = wav(packets(0, encoded(AGENT, "PCMU")) + packets(1, encoded(OTHER, "PCMU"), ssrc=9), 4).astype(int)
    added = (sound - without).astype(np.int16)
    assert np.array_equal(sound[:12_000], without[:12_000])
    for side in (0, 1):
        assert likeness(added[:, side], third, 12_000) > 0.95
    assert [counts.packets for counts in summary.further] == [100]


def test_loud_voices_together_are_limited_not_wrapped_around() -> None:
    loud = np.full(8000, 30_000, np.int16)
    sound = wav(itertools.chain.from_iterable(packets(leg, encoded(loud, "PCMU"), ssrc=leg + 1) for leg in range(16)), 1)
    assert sound.min() >= 0
    assert sound.max() == 32_767


def test_g711_tables_are_those_of_ffmpeg() -> None:
    every_byte = bytes(range(256))
    for number, codec in ((0, "pcm_mulaw"), (8, "pcm_alaw")):
        context = av.AudioCodecContext.create(codec, "r")
        context.sample_rate, context.layout = 8000, "mono"
        wanted = context.decode(av.Packet(every_byte))[0].to_ndarray().reshape(-1)
        packet = struct.pack(">BBHII", 0x80, number, 1, 0, 1) + every_byte
        found = wav([entries.rtp(0, 0, packet)], 0.032)[:, 0]
        assert np.array_equal(found, wanted)


def test_g722_plays_at_16_khz_and_lines_up_with_a_pcmu_leg() -> None:
    wide, narrow = speech(4, 3, 16000), speech(4, 4)
    content = packets(0, encoded(wide, "G722"), number=9) + packets(1, encoded(narrow, "PCMU"), ssrc=7)
    audio, _ = play([file_of(content, 4)], KEY, WHO, AudioFormat.WAV)
    rate, sound = heard(audio)
    assert rate == 16000
    place = best_place(sound[:, 0], wide)
    assert place < 40
    assert likeness(sound[:, 0], wide, place) > 0.95
    assert likeness(sound[::2, 1], narrow, 0) > 0.95


def test_a_leg_that_turns_to_g722_later_is_heard_in_an_8_khz_file() -> None:
    first, second = speech(2, 5), speech(2, 6, 16000)
    narrow = entries.formats([{0: "PCMU/8000"}] * 2)
    content = [*packets(0, encoded(first, "PCMU")), entries.formats([{9: "G722/8000"}, {0: "PCMU/8000"}], 20000)]
    content += packets(0, encoded(second, "G722"), number=9, start_s=2, sequence=65600 - 65536, timestamp=12_000)
    audio, _ = play([file_of(content, 4, formats=narrow)], KEY, WHO, AudioFormat.WAV)
    sound = heard(audio)[1][:, 0]
    assert likeness(sound, first, 0) > 0.99
    assert likeness(sound, second[::2], best_place(sound, second[::2])) > 0.9
    assert abs(best_place(sound, second[::2]) - 16_000) < 40


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_each_format_keeps_the_channels_apart_and_the_length(audio_format: AudioFormat) -> None:
    content = packets(0, encoded(AGENT, "PCMU")) + packets(1, encoded(OTHER, "PCMU"), ssrc=9)
    audio, summary = play([file_of(content, 4)], KEY, WHO, audio_format)
    rate, sound = heard(audio)
    sound = sound[:: rate // 8000]
    assert summary.duration_ms == 4000
    assert len(sound) == pytest.approx(32_000, abs=400)
    for channel, mine, others in ((0, AGENT, OTHER), (1, OTHER, AGENT)):
        place = best_place(sound[:, channel], mine)
        assert place < 80
        assert likeness(sound[:, channel], mine, place) > 0.9
        assert abs(likeness(sound[:, channel], others, place)) < 0.15


def test_jitter_reordering_and_repetition_leave_no_trace() -> None:
    chance = random.Random(3)
    content = [entries.rtp(0, entry.time + chance.randrange(0, 800), entry.data) for entry in packets(0, encoded(AGENT, "PCMU"))]
    content += chance.sample(content, 40)
    sound = wav(content, 4.2)[:, 0]
    place = best_place(sound, AGENT)
    assert place < 0.03 * 8000
    assert likeness(sound, AGENT, place) > 0.99


def test_a_burst_after_a_stalled_network_stays_where_it_was_spoken() -> None:
    long = speech(12, 8)
    stalled = [
        entry if not 40_000 <= entry.time < 70_000 else entries.rtp(0, 70_000, entry.data) for entry in packets(0, encoded(long, "PCMU"))
    ]
    assert likeness(wav(stalled, 12)[:, 0], long, 0) > 0.99


def test_lost_packets_are_silence_of_their_own_length() -> None:
    content = [entry for n, entry in enumerate(packets(0, encoded(AGENT, "PCMU"))) if not 50 <= n < 60]
    sound = wav(content, 4)[:, 0]
    assert not sound[8000:9600].any()
    assert likeness(sound[:8000], AGENT[:8000], 0) > 0.99
    assert likeness(sound, AGENT[9600:], 9600) > 0.99


def test_a_pause_is_a_marked_gap_and_silence_of_the_right_length() -> None:
    before, after = speech(2, 10), speech(2, 11)
    content = packets(0, encoded(before, "PCMU"))
    content += [entries.pause(20_000), entries.resume(50_000)]
    content += packets(0, encoded(after, "PCMU"), start_s=5, sequence=65500 + 250, timestamp=((1 << 32) - 4000 + 40_000))
    audio, summary = play([file_of(content, 7)], KEY, WHO, AudioFormat.WAV)
    sound = heard(audio)[1][:, 0]
    assert summary.gaps == (Gap(2000, 5000),)
    assert len(sound) == 7 * 8000
    assert not sound[16_000:40_000].any()
    assert likeness(sound, after, 40_000) > 0.99


def test_a_pause_that_never_ends_is_marked_up_to_the_end() -> None:
    content = [*packets(0, encoded(AGENT, "PCMU")), entries.pause(40_000)]
    _, summary = play([file_of(content, 9)], KEY, WHO, AudioFormat.WAV)
    assert summary.gaps == (Gap(4000, 9000),)


def test_a_new_ssrc_is_placed_by_its_arrival() -> None:
    first, second = speech(2, 12), speech(2, 13)
    content = packets(0, encoded(first, "PCMU")) + packets(0, encoded(second, "PCMU"), start_s=2.5, ssrc=77, sequence=9, timestamp=123)
    sound = wav(content, 4.5)[:, 0]
    assert likeness(sound, first, 0) > 0.99
    assert likeness(sound, second, 20_000) > 0.99


@pytest.mark.parametrize("leap", [-500_000, 80_000, 1 << 31])
def test_timestamps_that_leap_without_time_passing_do_not_move_the_sound(leap: int) -> None:
    first, second = speech(2, 14), speech(2, 15)
    content = packets(0, encoded(first, "PCMU"))
    content += packets(0, encoded(second, "PCMU"), start_s=2, sequence=65600, timestamp=(1 << 32) - 4000 + 16_000 + leap)
    sound = wav(content, 4)[:, 0]
    assert likeness(sound, first, 0) > 0.99
    assert likeness(sound, second, 16_000) > 0.99


def test_timestamps_that_stand_still_while_time_passes_are_anchored_anew() -> None:
    first, second = speech(2, 16), speech(2, 17)
    content = packets(0, encoded(first, "PCMU"))
    content += packets(0, encoded(second, "PCMU"), start_s=9, sequence=65600, timestamp=(1 << 32) - 4000 + 16_000)
    sound = wav(content, 11)[:, 0]
    assert likeness(sound, second, 72_000) > 0.99


def test_a_sequence_that_starts_over_is_a_new_stream() -> None:
    first, second = speech(2, 18), speech(2, 19)
    content = packets(0, encoded(first, "PCMU"), sequence=100) + packets(
        0, encoded(second, "PCMU"), start_s=2, sequence=30_000, timestamp=5
    )
    sound = wav(content, 4)[:, 0]
    assert likeness(sound, first, 0) > 0.99
    assert likeness(sound, second, 16_000) > 0.99


@pytest.mark.parametrize("drift", [1.0005, 0.9995])
def test_a_drifting_clock_is_followed_within_30_ms_over_a_long_call(drift: float) -> None:
    long = speech(300, 20)
    sound = wav(packets(0, encoded(long, "PCMU"), drift=drift), 300)[:, 0]
    for second in (10, 100, 200, 290):
        spoken = round(second * 8000)
        piece = long[round(spoken * drift) : round(spoken * drift) + 4000]
        around = sound[spoken - 2000 : spoken + 6000]
        assert abs(best_place(around, piece) - 2000) <= 0.03 * 8000


def test_what_is_no_sound_is_left_out() -> None:
    events = [entries.rtp(0, n * 200, struct.pack(">BBHII", 0x80, 101, n, n * 160, 5) + b"\x05\x00\x00\xa0") for n in range(20)]
    junk = [entries.rtp(1, 100 + n, bytes([n]) * n) for n in range(30)]
    odd = [
        entries.rtp(1, 500, struct.pack(">BBHII", 0x9F, 0, 1, 1, 1)),
        entries.rtp(1, 500, struct.pack(">BBHIIHH", 0x90, 0, 1, 1, 1, 0, 9999)),
        entries.rtp(1, 500, struct.pack(">BBHII", 0xA0, 0, 1, 1, 1) + b"\xff"),
        entries.rtp(1, 500, struct.pack(">BBHII", 0xA0, 0, 1, 1, 1) + b"\x00"),
    ]
    audio, summary = play([file_of([*events, *junk, *odd], 1)], KEY, WHO, AudioFormat.WAV)
    assert not heard(audio)[1].any()
    assert summary.agent.not_sound == 20
    assert summary.other.malformed == 34


def test_padding_csrc_and_extension_are_not_heard() -> None:
    tone = encoded(AGENT[:160], "PCMU")
    dressed = struct.pack(">BBHIIIHHI", 0xB1, 0, 1, 1, 1, 2, 0xBEDE, 1, 3) + tone + b"\x00\x00\x03"
    plain = struct.pack(">BBHII", 0x80, 0, 1, 1, 1) + tone
    assert np.array_equal(wav([entries.rtp(0, 0, dressed)], 0.02), wav([entries.rtp(0, 0, plain)], 0.02))


def test_wav_sizes_are_right_when_the_length_is_known_and_unknown_otherwise() -> None:
    blob = file_of(packets(0, encoded(AGENT, "PCMU")), 4)
    player = Player(Reader(KEY, WHO), AudioFormat.WAV, length_ms=4000)
    audio = player.feed(blob) + player.finish()
    assert struct.unpack_from("<I", audio, 4)[0] == len(audio) - 8
    assert struct.unpack_from("<I", audio, 40)[0] == len(audio) - 44 == 4 * 8000 * 4
    audio, _ = play([blob], KEY, WHO, AudioFormat.WAV)
    assert struct.unpack_from("<I", audio, 40)[0] == 0xFFFFFFFF


@pytest.mark.parametrize("length_ms", [3000, 4000, 30_000])
def test_a_stated_length_is_kept_to_the_sample(length_ms: int) -> None:
    player = Player(Reader(KEY, WHO), AudioFormat.WAV, length_ms=length_ms)
    audio = player.feed(file_of(packets(0, encoded(AGENT, "PCMU")), 4)) + player.finish()
    assert len(audio) == 44 + length_ms * 8 * 4


def test_flac_tells_its_length() -> None:
    player = Player(Reader(KEY, WHO), AudioFormat.FLAC, length_ms=4000)
    audio = player.feed(file_of(packets(0, encoded(AGENT, "PCMU")), 4)) + player.finish()
    with av.open(io.BytesIO(audio)) as container:
        assert container.duration == 4_000_000


@pytest.mark.parametrize("audio_format", list(AudioFormat))
def test_a_recording_without_any_packet_plays_as_silence(audio_format: AudioFormat) -> None:
    audio, summary = play([file_of([], 2)], KEY, WHO, audio_format)
    assert summary.duration_ms == 2000
    assert np.abs(heard(audio)[1]).max() <= 1
    audio, summary = play([file_of([], 0)], KEY, WHO, audio_format)
    assert summary.duration_ms == 0
    audio, summary = play([b""], KEY, WHO, audio_format, crashed=True)
    assert summary.ending is Ending.CUT


def test_a_crashed_recording_plays_its_prefix_and_says_so() -> None:
    blob = file_of(packets(0, encoded(AGENT, "PCMU")), 4, crashed=True)
    audio, summary = play([blob], KEY, WHO, AudioFormat.WAV, crashed=True)
    assert summary.ending is Ending.CUT
    assert likeness(heard(audio)[1][:, 0], AGENT[:31_000], 0) > 0.99
    audio, summary = play([blob[: len(blob) // 2]], KEY, WHO, AudioFormat.WAV, crashed=True)
    assert 1400 < summary.duration_ms < 2500
    assert measure([blob[: len(blob) // 2]], Reader(KEY, WHO, crashed=True)) == summary.duration_ms
    with pytest.raises(RecordingError) as caught:
        play([blob], KEY, WHO, AudioFormat.WAV)
    assert caught.value.failure is Failure.TRUNCATED


def test_any_cutting_of_the_sealed_bytes_gives_the_same_audio() -> None:
    blob = file_of(packets(0, encoded(speech(30, 30), "PCMU")), 30)
    whole, _ = play([blob], KEY, WHO, AudioFormat.WAV)
    for size in (1000, 4096, 77_777):
        pieces = [blob[start : start + size] for start in range(0, len(blob), size)]
        assert play(pieces, KEY, WHO, AudioFormat.WAV)[0] == whole


def test_sound_flows_long_before_the_file_is_read() -> None:
    blob = file_of(packets(0, encoded(speech(60, 31), "PCMU")), 60)
    player = Player(Reader(KEY, WHO), AudioFormat.OGG)
    read = 0
    while not player.feed(blob[read : read + 16_384]):
        read += 16_384
    assert read < len(blob) / 3


def test_an_hour_starts_within_300_ms_and_a_long_pause_takes_no_memory() -> None:
    minute = packets(0, encoded(speech(15, 32), "PCMU")) + packets(1, encoded(speech(15, 33), "PCMU"), ssrc=5)
    content = [*minute, entries.pause(150000), entries.resume(36000000)]
    content += packets(0, encoded(AGENT, "PCMU"), start_s=3600, sequence=1, ssrc=8)
    blob = file_of(content, 3604)
    player = Player(Reader(KEY, WHO), AudioFormat.OGG)
    started = time.process_time()
    first = b""
    for start in range(0, len(blob), 65_536):
        first = player.feed(blob[start : start + 65_536])
        if first:
            break
    assert time.process_time() - started < 0.3
    assert first.startswith(b"OggS")
    assert all(len(leg._samples) < 16_000 * 90 for leg in player._renderer.legs or ())
