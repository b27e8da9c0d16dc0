"""What a frame holds once opened: entries, one per packet or mark (docs/hwr.md, "Entries")."""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from hushwire.recording.failures import Failure, RecordingError

TICKS_PER_S: Final = 10_000
"""Entry times count 100-microsecond ticks since the recording's start."""

NO_LEG: Final = 255
MOST_LEGS: Final = 16
"""Of a call: its two parties, and who listened in or conferred."""

_HEAD: Final = struct.Struct(">BBIH")
_ANCHOR: Final = struct.Struct(">Q")


class EntryKind(IntEnum):
    """The first byte of an entry."""

    ANCHOR = 1
    FORMAT = 2
    RTP = 3
    PAUSE = 4
    RESUME = 5
    END = 6


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: `time` in ticks since the start, `leg` 0 (agent), 1 (other party), 2 to 15 (further parties) or 255 (all)."""

    kind: EntryKind
    leg: int
    time: int
    data: bytes = b""

    @property
    def unix_us(self) -> int:
        """The wall-clock microsecond of tick 0, of an anchor entry."""
        return int(_ANCHOR.unpack(self.data)[0])


def anchor(unix_us: int) -> Entry:
    """The first entry of a file: ties tick 0 to the wall clock."""
    return Entry(EntryKind.ANCHOR, NO_LEG, 0, _ANCHOR.pack(unix_us))


def formats(legs: Sequence[Mapping[int, str]], time: int = 0) -> Entry:
    """A format entry: per leg, RTP payload type -> "NAME/clock rate"."""
    text = json.dumps({"legs": [{str(number): name for number, name in leg.items()} for leg in legs]}, separators=(",", ":"))
    return Entry(EntryKind.FORMAT, NO_LEG, time, text.encode())


def rtp(leg: int, time: int, packet: bytes) -> Entry:
    """One RTP packet after SRTP removal, as it arrived."""
    return Entry(EntryKind.RTP, leg, time, packet)


def pause(time: int) -> Entry:
    """From here on packets are left out on purpose."""
    return Entry(EntryKind.PAUSE, NO_LEG, time)


def resume(time: int) -> Entry:
    """Packets are recorded again."""
    return Entry(EntryKind.RESUME, NO_LEG, time)


def end(time: int) -> Entry:
    """The last entry of the final frame: the recording's length."""
    return Entry(EntryKind.END, NO_LEG, time)


def pack(entries: Iterable[Entry]) -> bytes:
    """Entries as a frame's plaintext."""
    return b"".join(_HEAD.pack(entry.kind, entry.leg, entry.time, len(entry.data)) + entry.data for entry in entries)


def unpack(plaintext: bytes, legs: int = MOST_LEGS) -> Iterator[Entry]:
    """The entries of a frame's plaintext; `legs` is how many the file may have.

    Raises RecordingError(BAD_ENTRIES) for an unknown kind or leg, or an entry that runs past the end.
    """
    position, size = 0, len(plaintext)
    while position < size:
        if size - position < _HEAD.size:
            raise RecordingError(Failure.BAD_ENTRIES, "an entry's head is cut")
        number, leg, time, length = _HEAD.unpack_from(plaintext, position)
        position += _HEAD.size
        if length > size - position:
            raise RecordingError(Failure.BAD_ENTRIES, "an entry's data is cut")
        yield _checked(number, leg, legs, time, plaintext[position : position + length])
        position += length


def leg_formats(entry: Entry) -> tuple[dict[int, str], ...]:
    """Of two to sixteen legs, payload type -> "NAME/clock rate" of a format entry. Raises RecordingError(BAD_ENTRIES)."""
    try:
        legs = json.loads(entry.data)["legs"]
        found = tuple({int(number): str(name) for number, name in leg.items()} for leg in legs)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:  # the last: brackets in brackets, thousands deep
        raise RecordingError(Failure.BAD_ENTRIES, "a format entry is not the JSON that it should be") from error
    if not 2 <= len(found) <= MOST_LEGS:
        raise RecordingError(Failure.BAD_ENTRIES, "a format entry of fewer than two legs or more than sixteen")
    return found


_KINDS: Final = {int(kind): kind for kind in EntryKind}
_LENGTHS: Final = {EntryKind.ANCHOR: _ANCHOR.size, EntryKind.PAUSE: 0, EntryKind.RESUME: 0, EntryKind.END: 0}


def _checked(number: int, leg: int, legs: int, time: int, data: bytes) -> Entry:
    kind = _KINDS.get(number)
    if kind is None:
        raise RecordingError(Failure.BAD_ENTRIES, "an entry of unknown kind")
    if (leg >= legs and leg != NO_LEG) or (kind is EntryKind.RTP and leg == NO_LEG):
        raise RecordingError(Failure.BAD_ENTRIES, "an entry of an unknown leg")
    if _LENGTHS.get(kind, len(data)) != len(data):
        raise RecordingError(Failure.BAD_ENTRIES, "an entry of a wrong length")
    return Entry(kind, leg, time, data)
