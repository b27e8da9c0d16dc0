"""The middle of a recording, rendered from its middle: the same samples as on the way from the start, whatever the network did."""

import hashlib
import random

import numpy as np
import pytest

from hushwire.core.errors import MalformedError
from hushwire.recording import entries, rendering
from hushwire.recording.containers import AudioFormat
from hushwire.recording.failures import Failure, RecordingError
from hushwire.recording.hwr import HEADER_LENGTH, Closed, Identity, Place, Reader
from hushwire.recording.playback import Player, measure
from hushwire.recording.seeking import Excerpt, Index
from hushwire.recording.survey import Survey, Surveyed
from tests.recording.chaos import recording, samples
from tests.recording.test_playback import KEY, WHO, encoded, file_of, packets, speech

CODECS = [(0,), (8,), (9,), (0, 9), (9, 8, 0)]


def surveyed(blob: bytes, length_ms: int, *, crashed: bool = False) -> Surveyed:
    digest = hashlib.sha256(blob).digest()
    made = Survey(Reader(KEY, WHO, crashed=crashed, closed=Closed(None, digest)), length_ms, digest)
    for at in range(0, len(blob), 50_000):
        made.feed(blob[at : at + 50_000])
    return made.finish()


def whole(blob: bytes, length_ms: int, *, crashed: bool = False) -> "np.ndarray[tuple[int, int], np.dtype[np.int16]]":
    player = Player(Reader(KEY, WHO, crashed=crashed), AudioFormat.WAV, length_ms=length_ms)
    return samples(player.feed(blob) + player.finish())


def excerpt(
    blob: bytes, index: Index, start: int, stop: int, *, step: int = 65_536, crashed: bool = False
) -> tuple["np.ndarray[tuple[int, int], np.dtype[np.int16]]", int]:
    """The samples, and how many bytes of the file were read for them."""
    made = Excerpt(KEY, WHO, index, start, stop, crashed=crashed)
    at, out = made.offset, []
    while not made.is_done and at < len(blob):
        out += made.feed(blob[at : at + step])
        at += step
    out += made.finish()
    return np.concatenate(out) if out else np.zeros((0, 2), np.int16), at - made.offset


@pytest.mark.parametrize("codecs", CODECS)
@pytest.mark.parametrize("seed", range(2))
def test_any_excerpt_is_the_same_samples_as_a_whole_playback(codecs: tuple[int, ...], seed: int) -> None:
    content, length = recording(seed * 31 + sum(codecs), 100, codecs)
    length_ms = round(length * 1000)
    blob = file_of(content, length)
    index = Index.unpack(surveyed(blob, length_ms).index.pack())
    wanted = whole(blob, length_ms)
    assert len(wanted) == index.samples
    assert len(index.checkpoints) >= 3
    chance = random.Random(seed)
    edges = [kept.clean_from + n for kept in index.checkpoints for n in (-1, 0, 1)]
    for _ in range(25):
        start = chance.choice([chance.randrange(index.samples), *edges, 0, index.samples])
        start = max(0, min(start, index.samples))
        stop = min(index.samples, start + chance.choice([0, 1, 160, 8000, 100_000, index.samples]))
        found, _ = excerpt(blob, index, start, stop, step=chance.choice([999, 65_536, 1 << 20]))
        assert np.array_equal(found, wanted[start:stop]), (start, stop)


def test_an_excerpt_is_the_same_where_a_third_party_joined_late_and_left() -> None:
    content, length = recording(5, 100, CODECS[0])
    content += packets(2, encoded(speech(30, 4), "PCMU"), start_s=37.3, ssrc=77)
    length_ms = round(length * 1000)
    blob = file_of(content, length)
    found = surveyed(blob, length_ms)
    assert [leg["leg"] for leg in found.timeline["legs"]] == ["agent", "other", "leg-2"]
    assert found.timeline["legs"][2]["packets"] == 1500
    index, wanted = Index.unpack(found.index.pack()), whole(blob, length_ms)
    assert [len(kept.legs) for kept in index.checkpoints][:3] == [2, 3, 3]
    for start_s in (20, 36, 37, 38, 45, 60, 66, 70):
        start = start_s * index.rate
        assert np.array_equal(excerpt(blob, index, start, start + index.rate)[0], wanted[start : start + index.rate])


def test_an_excerpt_reads_less_than_a_minute_of_the_file_wherever_it_lies() -> None:
    content = packets(0, encoded(speech(400, 1), "PCMU")) + packets(1, encoded(speech(400, 2), "PCMU"), ssrc=2)
    blob = file_of(content, 400)
    index = surveyed(blob, 400_000).index
    for second in range(0, 399, 13):
        _, read = excerpt(blob, index, second * 8000, second * 8000 + 8000, step=4096)
        assert read < len(blob) * 35 / 400


def test_an_excerpt_of_a_crashed_recording_reaches_to_its_torn_end() -> None:
    content, length = recording(5, 60, (0, 9))
    blob = file_of(content, length, crashed=True)[:-37]
    length_ms = length_of(blob)
    index = surveyed(blob, length_ms, crashed=True).index
    wanted = whole(blob, length_ms, crashed=True)
    found, _ = excerpt(blob, index, index.samples - 30_000, index.samples, crashed=True)
    assert np.array_equal(found, wanted[-30_000:])


def length_of(blob: bytes) -> int:
    return measure([blob], Reader(KEY, WHO, crashed=True))


def test_a_renewed_decoder_sounds_like_one_that_was_there_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    blob = file_of(packets(0, encoded(speech(70, 9, 16000), "G722"), number=9), 70)
    renewed = whole(blob, 70_000)[:, 0].astype(int)
    monkeypatch.setattr(rendering, "CHECKPOINT_S", 10_000)
    kept = whole(blob, 70_000)[:, 0].astype(int)
    assert np.abs(renewed - kept).max() <= 2


def test_frames_that_are_damaged_or_of_another_file_are_found_in_an_excerpt_too() -> None:
    content, length = recording(8, 60, (0,))
    blob = file_of(content, length)
    index = surveyed(blob, round(length * 1000)).index
    place = index.checkpoints[1].replay
    broken = bytearray(blob)
    broken[place.offset + 100] ^= 1
    with pytest.raises(RecordingError) as caught:
        excerpt(bytes(broken), index, index.checkpoints[1].clean_from, index.samples)
    assert caught.value.failure is Failure.DAMAGED
    with pytest.raises(RecordingError) as caught:
        excerpt(blob[:-1000], index, index.checkpoints[1].clean_from, index.samples)
    assert caught.value.failure is Failure.TRUNCATED
    with pytest.raises(RecordingError) as caught:
        Reader.within(KEY, Identity(WHO.org_id, WHO.org_id), blob[:HEADER_LENGTH], Place(0, HEADER_LENGTH))
    assert caught.value.failure is Failure.FOREIGN
    with pytest.raises(RecordingError) as caught:
        Reader.within(bytes([1]) * 32, WHO, blob[:HEADER_LENGTH], Place(0, HEADER_LENGTH))
    assert caught.value.failure is Failure.WRONG_KEY


def test_an_index_of_another_file_or_another_rendering_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    content, length = recording(9, 60, (0,))
    blob = file_of(content, length)
    index = surveyed(blob, round(length * 1000)).index
    other = file_of(packets(0, encoded(speech(60, 3), "PCMU")), 60)
    with pytest.raises((RecordingError, MalformedError)):
        excerpt(other, index, index.checkpoints[1].clean_from, index.checkpoints[1].clean_from + 8000)
    packed = index.pack()
    monkeypatch.setattr("hushwire.recording.seeking.RENDERING", rendering.RENDERING + 1)
    with pytest.raises(MalformedError):
        Index.unpack(packed)


def test_a_short_recording_has_no_checkpoint_and_plays_from_its_start() -> None:
    blob = file_of(packets(0, encoded(speech(4, 1), "PCMU")), 4)
    index = surveyed(blob, 4000).index
    assert index.checkpoints == ()
    assert np.array_equal(excerpt(blob, index, 12_345, 20_000)[0], whole(blob, 4000)[12_345:20_000])
    empty = file_of([entries.pause(100)], 2)
    assert np.array_equal(excerpt(empty, surveyed(empty, 2000).index, 8000, 16_000)[0], np.zeros((8000, 2)))
