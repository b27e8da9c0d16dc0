"""Whatever happens to a file or arrives in it: never another content, never a crash, always the right length."""

import struct

from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.recording import entries
from hushwire.recording.containers import AudioFormat
from hushwire.recording.entries import Entry
from hushwire.recording.failures import RecordingError
from hushwire.recording.hwr import Frame, Reader
from hushwire.recording.playback import play
from tests.recording.test_hwr import KEY, WHO, parts
from tests.recording.test_playback import KEY as SOUND_KEY
from tests.recording.test_playback import WHO as SOUND_WHO
from tests.recording.test_playback import file_of

PIECES = parts(count=6)
WHOLE = Reader(KEY, WHO).feed(b"".join(PIECES))


def read_as_far_as_possible(blob: bytes, *, crashed: bool) -> tuple[list[Frame], bool]:
    frames: list[Frame] = []
    reader = Reader(KEY, WHO, crashed=crashed)
    try:
        for frame in reader.frames(blob):
            frames.append(frame)
        reader.finish()
    except RecordingError:
        return frames, False
    return frames, True


@given(order=st.lists(st.integers(0, len(PIECES) - 1), max_size=9), crashed=st.booleans())
def test_any_arrangement_of_frames_gives_a_prefix_of_the_original_or_less(order: list[int], crashed: bool) -> None:
    blob = PIECES[0] + b"".join(PIECES[number] for number in order)
    frames, is_fine = read_as_far_as_possible(blob, crashed=crashed)
    assert frames == WHOLE[: len(frames)]
    if is_fine:
        assert order == list(range(1, len(order) + 1))
        assert crashed or len(frames) == len(WHOLE)


@given(
    start=st.integers(0, sum(map(len, PIECES))),
    length=st.integers(0, 200),
    put=st.binary(max_size=200),
    crashed=st.booleans(),
)
def test_any_cut_and_paste_gives_a_prefix_of_the_original_or_less(start: int, length: int, put: bytes, crashed: bool) -> None:
    original = b"".join(PIECES)
    blob = original[:start] + put + original[start + length :]
    frames, is_fine = read_as_far_as_possible(blob, crashed=crashed)
    assert frames == WHOLE[: len(frames)]
    if is_fine and not crashed:
        assert blob == original


@given(plaintext=st.binary(max_size=400))
def test_any_plaintext_is_entries_or_an_error(plaintext: bytes) -> None:
    try:
        found = list(entries.unpack(plaintext))
    except RecordingError:
        return
    assert entries.pack(found) == plaintext


packet = st.builds(
    lambda number, sequence, timestamp, ssrc, payload, first: struct.pack(">BBHII", first, number, sequence, timestamp, ssrc) + payload,
    st.sampled_from([0, 8, 9, 13, 101, 128, 137]),
    st.integers(0, 0xFFFF),
    st.integers(0, 0xFFFFFFFF),
    st.integers(0, 12),
    st.binary(max_size=400),
    st.sampled_from([0x80, 0x80, 0x80, 0x90, 0xA0, 0x8F, 0x00]),
)
entry = st.one_of(
    st.builds(entries.rtp, st.integers(0, 1), st.integers(0, 100_000), st.one_of(packet, packet, packet, st.binary(max_size=50))),
    st.builds(entries.pause, st.integers(0, 100_000)),
    st.builds(entries.resume, st.integers(0, 100_000)),
)
meanings = st.sampled_from(
    ["PCMU/8000", "PCMA/8000", "G722/8000", "G722/16000", "PCMU/0", "PCMU/x", "opus/48000/2", "", "telephone-event/8000"]
)


@settings(max_examples=60, deadline=None)
@given(content=st.lists(entry, max_size=60), meaning=st.dictionaries(st.sampled_from([0, 8, 9, 13, 101]), meanings, max_size=5))
def test_any_packets_play_at_the_recordings_length(content: list[Entry], meaning: dict[int, str]) -> None:
    blob = file_of(content, 10, formats=entries.formats([meaning, {}]))
    audio, summary = play([blob], SOUND_KEY, SOUND_WHO, AudioFormat.WAV)
    rate = struct.unpack_from("<I", audio, 24)[0]
    assert len(audio) == 44 + 10 * rate * 4
    assert summary.duration_ms == 10_000
    assert sum(counts.packets for counts in (summary.agent, summary.other)) == sum(one.kind is entries.EntryKind.RTP for one in content)
