"""The sealed format against an adversary with a hex editor."""

import hashlib
from dataclasses import replace
from uuid import UUID

import pytest

from hushwire.recording import entries
from hushwire.recording.entries import Entry
from hushwire.recording.failures import Failure, RecordingError
from hushwire.recording.hwr import HEADER_LENGTH, Closed, Ending, Frame, Identity, Reader, Writer, read

KEY = bytes(range(32))
WHO = Identity(UUID(int=0xA1), UUID(int=0xB2), 3)


class Counting:
    """Nonces that count: files come out the same every time."""

    def __init__(self) -> None:
        self._count = 0

    def token_bytes(self, count: int, /) -> bytes:
        self._count += 1
        return self._count.to_bytes(count, "big")


def frames_of(count: int = 4) -> list[list[Entry]]:
    """Entries of a small recording: one packet a frame, then the final frame."""
    opening = [entries.anchor(1_700_000_000_000_000), entries.formats([{0: "PCMU/8000"}, {0: "PCMU/8000"}])]
    packets = [[entries.rtp(n % 2, 200 * n, bytes([n]) * 5)] for n in range(count - 1)]
    return [opening + packets[0], *packets[1:], [entries.end(200 * count)]]


def parts(key: bytes = KEY, who: Identity = WHO, count: int = 4) -> list[bytes]:
    """Header and frames of a small closed recording."""
    writer = Writer(key, who, Counting())
    content = frames_of(count)
    return [writer.header, *(writer.frame(frame, is_final=frame is content[-1]) for frame in content)]


def closed(blob: bytes, frames: int = 4) -> Closed:
    return Closed(frames, hashlib.sha256(blob).digest())


def opened(
    blob: bytes, *, key: bytes = KEY, who: Identity = WHO, crashed: bool = False, note: Closed | None = None
) -> tuple[list[Frame], Ending]:
    reader = Reader(key, who, closed=note, crashed=crashed)
    frames = reader.feed(blob)
    return frames, reader.finish()


def failure_of(blob: bytes, *, key: bytes = KEY, who: Identity = WHO, crashed: bool = False, note: Closed | None = None) -> Failure:
    with pytest.raises(RecordingError) as caught:
        opened(blob, key=key, who=who, crashed=crashed, note=note)
    return caught.value.failure


def test_what_was_written_is_read_back() -> None:
    blob = b"".join(parts())
    found = list(read([blob], KEY, WHO, closed=closed(blob)))
    assert found == [entry for frame in frames_of() for entry in frame]
    assert found[0].unix_us == 1_700_000_000_000_000


def test_a_file_fed_byte_by_byte_or_split_anywhere_reads_the_same() -> None:
    blob = b"".join(parts())
    whole = list(read([blob], KEY, WHO))
    assert list(read((bytes([byte]) for byte in blob), KEY, WHO, closed=closed(blob))) == whole
    for split in range(len(blob)):
        assert list(read([blob[:split], blob[split:]], KEY, WHO)) == whole


def test_a_closed_file_that_is_truncated_anywhere_is_an_error() -> None:
    blob = b"".join(parts())
    for length in range(len(blob)):
        assert failure_of(blob[:length]) is Failure.TRUNCATED
        assert failure_of(blob[:length], note=closed(blob)) is Failure.TRUNCATED


def test_a_crashed_file_that_is_truncated_anywhere_gives_its_clean_prefix() -> None:
    pieces = parts()
    blob = b"".join(pieces)
    whole, _ = opened(blob)
    for length in range(len(blob)):
        frames, ending = opened(blob[:length], crashed=True)
        complete = sum(len(b"".join(pieces[: n + 1])) <= length for n in range(1, len(pieces)))
        assert frames == whole[:complete]
        assert ending is Ending.CUT


def test_a_crashed_file_that_has_its_final_frame_is_whole() -> None:
    assert opened(b"".join(parts()), crashed=True)[1] is Ending.FINAL


def test_zeros_that_a_file_system_left_after_a_crash_are_a_missing_tail() -> None:
    pieces = parts()
    blob = b"".join(pieces[:3]) + bytes(500)
    assert len(opened(blob, crashed=True)[0]) == 2
    assert failure_of(blob) is Failure.DAMAGED
    assert failure_of(blob + b"\x01", crashed=True) is Failure.DAMAGED
    reader = Reader(KEY, WHO, crashed=True)
    reader.feed(blob)
    with pytest.raises(RecordingError):
        reader.feed(b"\x00\x01")


def test_a_torn_last_frame_of_a_crashed_file_is_left_out() -> None:
    pieces = parts()
    torn = pieces[2][:-10] + bytes(10)
    assert len(opened(b"".join(pieces[:2]) + torn, crashed=True)[0]) == 1
    assert failure_of(b"".join(pieces[:2]) + torn + pieces[3], crashed=True) is Failure.DAMAGED
    reader = Reader(KEY, WHO, crashed=True)
    assert len(reader.feed(b"".join(pieces[:2]) + torn)) == 1
    with pytest.raises(RecordingError):
        reader.feed(pieces[3])


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flip_at_every_byte_is_an_error_and_never_another_content(flip: int) -> None:
    blob = b"".join(parts())
    whole, _ = opened(blob)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= flip
        reader = Reader(KEY, WHO, closed=closed(blob))
        seen: list[Frame] = []
        with pytest.raises(RecordingError):
            _collect(reader, bytes(changed), seen)
        assert seen == whole[: len(seen)]
        assert len(seen) < len(whole)


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_a_flip_at_every_byte_of_a_crashed_file_is_an_error_or_the_clean_prefix(flip: int) -> None:
    blob = b"".join(parts()[:-1])
    whole, _ = opened(blob, crashed=True)
    for position in range(len(blob)):
        changed = bytearray(blob)
        changed[position] ^= flip
        try:
            frames, ending = opened(bytes(changed), crashed=True)
        except RecordingError:
            continue
        assert ending is Ending.CUT
        assert frames == whole[: len(frames)]
        assert len(frames) < len(whole)


def _collect(reader: Reader, blob: bytes, seen: list[Frame]) -> None:
    for frame in reader.frames(blob):
        seen.append(frame)
    reader.finish()


def test_frames_that_are_reordered_repeated_or_left_out_are_named_so() -> None:
    header, first, second, third, last = parts()
    for order in (
        [second, first, third, last],
        [first, first, second, third, last],
        [first, third, last],
        [first, third, second, last],
        [last],
    ):
        assert failure_of(header + b"".join(order)) is Failure.REORDERED
    assert failure_of(header + first + third, crashed=True) is Failure.REORDERED


def test_a_frame_or_header_of_another_recording_is_refused() -> None:
    mine, other_key = parts(), parts(key=bytes(32))
    other_id = parts(who=replace(WHO, recording_id=UUID(int=0xC3)))
    other_segment = parts(who=replace(WHO, segment=4))
    for foreign in (other_key, other_id, other_segment):
        assert failure_of(mine[0] + mine[1] + foreign[2] + b"".join(mine[3:])) is Failure.DAMAGED
    assert failure_of(b"".join(other_id)) is Failure.FOREIGN
    assert failure_of(b"".join(other_segment)) is Failure.FOREIGN
    assert failure_of(b"".join(parts(who=replace(WHO, org_id=UUID(int=9))))) is Failure.FOREIGN
    assert failure_of(b"".join(other_key)) is Failure.WRONG_KEY
    assert failure_of(other_key[0] + b"".join(mine[1:])) is Failure.WRONG_KEY
    assert failure_of(other_id[0] + b"".join(mine[1:]), who=replace(WHO, recording_id=UUID(int=0xC3))) is Failure.DAMAGED


def test_a_wrong_key_is_noticed_before_any_frame() -> None:
    assert failure_of(b"".join(parts()), key=bytes(32)) is Failure.WRONG_KEY
    assert failure_of(b"".join(parts())[:HEADER_LENGTH], key=bytes(32)) is Failure.WRONG_KEY


def test_other_magic_version_suite_or_header_length_is_refused() -> None:
    blob = b"".join(parts())
    assert failure_of(b"RIFF" + blob[4:]) is Failure.NOT_A_RECORDING
    assert failure_of(b"RI") is Failure.NOT_A_RECORDING
    for position in (4, 5, 6, 7):
        changed = bytearray(blob)
        changed[position] ^= 1
        assert failure_of(bytes(changed)) is Failure.UNSUPPORTED


def test_bytes_after_the_final_frame_are_an_error() -> None:
    pieces = parts()
    assert failure_of(b"".join(pieces) + b"\x00") is Failure.TRAILING
    assert failure_of(b"".join(pieces) + pieces[1], crashed=True) is Failure.TRAILING
    reader = Reader(KEY, WHO)
    reader.feed(b"".join(pieces))
    with pytest.raises(RecordingError):
        reader.feed(b"x")


def test_an_older_whole_file_under_the_same_key_fails_the_digest_noted_at_closing() -> None:
    blob, shorter = b"".join(parts()), b"".join(parts(count=3))
    assert failure_of(shorter, note=closed(blob)) is Failure.DIGEST_MISMATCH
    assert failure_of(blob, note=Closed(4, bytes(32))) is Failure.DIGEST_MISMATCH


def test_a_crashed_file_that_lost_more_after_it_was_measured_fails_its_digest() -> None:
    blob = b"".join(parts()[:-1])
    note = Closed(None, hashlib.sha256(blob).digest())
    assert opened(blob, crashed=True, note=note)[1] is Ending.CUT
    assert failure_of(blob[:-40], crashed=True, note=note) is Failure.DIGEST_MISMATCH


def test_the_final_flag_is_authenticated() -> None:
    pieces = parts()
    cleared = bytes([pieces[-1][0] & 0x7F]) + pieces[-1][1:]
    assert failure_of(b"".join(pieces[:-1]) + cleared) is Failure.DAMAGED
    raised = bytes([pieces[2][0] | 0x80]) + pieces[2][1:]
    assert failure_of(b"".join(pieces[:2]) + raised) is Failure.DAMAGED


@pytest.mark.parametrize(
    "content",
    [
        [[entries.formats([{}, {}]), entries.anchor(1)], [entries.end(1)]],
        [[entries.anchor(1), entries.rtp(0, 1, b"")], [entries.end(1)]],
        [[entries.anchor(1), entries.formats([{}, {}]), entries.anchor(1)], [entries.end(1)]],
        [[entries.anchor(1), entries.formats([{}, {}]), entries.end(1)], [entries.end(1)]],
        [[entries.anchor(1), entries.formats([{}, {}])], [entries.rtp(0, 1, b"")]],
        [[entries.anchor(1), entries.formats([{}, {}])], []],
    ],
)
def test_entries_out_of_their_order_are_the_writers_fault_and_named_so(content: list[list[Entry]]) -> None:
    writer = Writer(KEY, WHO, Counting())
    blob = writer.header + b"".join(writer.frame(frame, is_final=frame is content[-1]) for frame in content)
    with pytest.raises(RecordingError) as caught:
        list(read([blob], KEY, WHO))
    assert caught.value.failure is Failure.BAD_ENTRIES


@pytest.mark.parametrize(
    "plaintext",
    [
        b"\x03",
        b"\x03\x00\x00\x00\x00\x00\x00\x05abcd",
        b"\x09\x00\x00\x00\x00\x00\x00\x00",
        b"\x00\x00\x00\x00\x00\x00\x00\x00",
        b"\x03\x10\x00\x00\x00\x00\x00\x00",
        b"\x03\xff\x00\x00\x00\x00\x00\x00",
        b"\x01\xff\x00\x00\x00\x00\x00\x01a",
        b"\x06\xff\x00\x00\x00\x00\x00\x01a",
    ],
)
def test_malformed_entries_are_named_so(plaintext: bytes) -> None:
    with pytest.raises(RecordingError) as caught:
        list(entries.unpack(plaintext))
    assert caught.value.failure is Failure.BAD_ENTRIES


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"legs":[]}', b'{"legs":[{}]}', b'{"legs":[{"x":"PCMU/8000"},{}]}', b'{"legs":[[],{}]}', b"\xff"]
)
def test_a_format_entry_that_is_not_its_json_is_named_so(text: bytes) -> None:
    with pytest.raises(RecordingError):
        entries.leg_formats(Entry(entries.EntryKind.FORMAT, 255, 0, text))


def test_the_writer_refuses_what_the_format_forbids() -> None:
    writer = Writer(KEY, WHO, Counting())
    with pytest.raises(ValueError, match="too much"):
        writer.frame([entries.rtp(0, 0, bytes(60_000))] * 20)
    writer.frame([entries.end(0)], is_final=True)
    with pytest.raises(ValueError, match="after the final"):
        writer.frame([])
    with pytest.raises(ValueError, match="32 bytes"):
        Reader(b"short", WHO)


def test_no_two_frames_share_a_key_and_nonce_and_headers_of_two_recordings_differ() -> None:
    one, two = parts(), parts(who=replace(WHO, recording_id=UUID(int=1)))
    assert len({frame[4:16] for frame in one[1:]}) == len(one) - 1
    assert one[0] != two[0]
    assert all(a != b for a, b in zip(one[1:], two[1:], strict=True))


@pytest.mark.parametrize("payload", [20, 172, 600])
def test_a_last_frame_torn_at_any_byte_loses_that_frame_and_nothing_else(payload: int) -> None:
    frames = [
        [entries.anchor(1), entries.formats([{0: "PCMU/8000"}] * 2)],
        [entries.rtp(0, 100, bytes(172))],
        [entries.rtp(1, 200, bytes(payload))],
    ]
    writer = Writer(KEY, WHO, Counting())
    *before, last = [writer.header, *(writer.frame(frame) for frame in frames)]
    kept = b"".join(before)
    for cut in range(len(last)):
        torn = kept + last[:cut]
        # Cut short, or grown already by a file system that then lost the bytes, up to the frame's end or a block's.
        for blob in (torn, torn + bytes(len(last) - cut), torn + bytes(-len(torn) % 4096)):
            for step in (len(blob), 100):
                pieces = [blob[at : at + step] for at in range(0, len(blob), step)]
                assert [entry.time for entry in read(pieces, KEY, WHO, crashed=True)] == [0, 0, 100], (cut, len(blob))
        with pytest.raises(RecordingError) as caught:
            list(read([torn], KEY, WHO))
        assert caught.value.failure is Failure.TRUNCATED
    assert [entry.time for entry in read([kept + last], KEY, WHO, crashed=True)] == [0, 0, 100, 200]
    with pytest.raises(RecordingError):
        list(read([kept + last[:-1] + b"\0" + bytes(50) + b"\1"], KEY, WHO, crashed=True))
