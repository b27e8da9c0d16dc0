"""A sealed recording as a stereo file: agent left, other party right, streamed from sealed bytes to sounding ones.

Sans-I/O: `Player.feed` takes sealed bytes and returns bytes of the file, so whoever moves them decides where they come from
and how fast. It computes (decrypting, decoding, encoding): call it in a thread, never on an event loop. Plaintext stays in memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from hushwire.recording.containers import AudioFormat, Container, container
from hushwire.recording.entries import TICKS_PER_S, Entry, EntryKind, leg_formats
from hushwire.recording.hwr import Ending, Identity, Order, Reader
from hushwire.recording.timeline import Counts, Timeline

LAG_S: Final = 10
"""How far sound may arrive after its time (a network that stalled) and still be put in its place."""

_BLOCK_S: Final = 1


@dataclass(frozen=True, slots=True)
class Gap:
    """A stretch that was left out on purpose: recording was paused. It plays as silence."""

    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True)
class Summary:
    """What a playback found."""

    duration_ms: int
    ending: Ending
    gaps: tuple[Gap, ...]
    agent: Counts
    other: Counts


class Player:
    """Turns one sealed file into one audio file. `length_ms`, where known, is the exact length of the result."""

    def __init__(self, reader: Reader, audio_format: AudioFormat, *, length_ms: int | None = None) -> None:
        self._reader = reader
        self._order = Order()
        self._format = audio_format
        self._length_ms = length_ms
        self._now = 0
        self._end: int | None = None
        self._written = 0
        self._rendered_at = 0
        self._rate = 0
        self._legs: tuple[Timeline, Timeline] | None = None
        self._container: Container | None = None
        self._gaps: list[Gap] = []
        self._paused_at: int | None = None
        self.summary: Summary | None = None

    def feed(self, sealed: bytes) -> bytes:
        """The audio bytes that these sealed bytes make certain (often none). Raises RecordingError."""
        out = []
        for frame in self._reader.frames(sealed):
            for entry in self._order.checked(frame):
                self._take(entry)
                if self._now >= self._rendered_at + TICKS_PER_S // 2:
                    self._rendered_at = self._now
                    out.append(self._render(self._now - LAG_S * TICKS_PER_S))
        return b"".join(out)

    def finish(self) -> bytes:
        """The rest of the audio; `summary` is there afterwards. Raises RecordingError for a closed file that isn't whole."""
        ending = self._reader.finish()
        if self._legs is None:
            self._open((8000, 8000))
        assert self._legs is not None
        assert self._container is not None
        end = self._now if self._end is None else self._end
        if self._paused_at is not None:
            self._gaps.append(Gap(_ms(self._paused_at), _ms(end)))
        for leg in self._legs:
            leg.flush()
        if self._length_ms is not None:
            end = self._length_ms * TICKS_PER_S // 1000
        out = self._render(end, to_the_end=True) + self._container.close()
        self.summary = Summary(_ms(end), ending, tuple(self._gaps), self._legs[0].counts, self._legs[1].counts)
        return out

    def _take(self, entry: Entry) -> None:
        self._now = max(self._now, entry.time)
        match entry.kind:
            case EntryKind.RTP:
                assert self._legs is not None
                self._legs[entry.leg].add(entry.time, entry.data)
            case EntryKind.FORMAT:
                formats = leg_formats(entry)
                if self._legs is None:
                    wide = any(name.upper().startswith("G722/") for leg in formats for name in leg.values())
                    self._open((16000 if wide else 8000,) * 2)
                assert self._legs is not None
                for leg, meaning in zip(self._legs, formats, strict=True):
                    leg.set_formats(meaning)
            case EntryKind.PAUSE:
                self._paused_at = entry.time if self._paused_at is None else self._paused_at
            case EntryKind.RESUME:
                if self._paused_at is not None:
                    self._gaps.append(Gap(_ms(self._paused_at), _ms(entry.time)))
                self._paused_at = None
            case EntryKind.END:
                self._end = entry.time
            case EntryKind.ANCHOR:
                pass

    def _open(self, rates: tuple[int, int]) -> None:
        self._rate = max(rates)
        frames = None if self._length_ms is None else self._length_ms * self._rate // 1000
        self._legs = (Timeline(self._rate), Timeline(self._rate))
        self._container = container(self._format, self._rate, frames)

    def _render(self, until: int, *, to_the_end: bool = False) -> bytes:
        if self._legs is None or self._container is None:
            return b""
        if not to_the_end:
            for leg in self._legs:
                leg.advance(self._now)
            if self._length_ms is not None:
                until = min(until, self._length_ms * TICKS_PER_S // 1000)
        block = _BLOCK_S * self._rate
        due = until * self._rate // TICKS_PER_S - self._written
        out = []
        while due >= block or (to_the_end and due > 0):
            count = min(due, block)
            out.append(self._container.add(np.stack([leg.take(count) for leg in self._legs], axis=1)))
            self._written += count
            due -= count
        return b"".join(out)


def measure(chunks: Iterable[bytes], reader: Reader) -> int:
    """The length in ms of a file whose row doesn't tell it (crashed, or still live): one pass without decoding."""
    ticks = 0
    for chunk in chunks:
        for frame in reader.frames(chunk):
            for entry in frame.entries():
                ticks = max(ticks, entry.time)
    return _ms(ticks)


def play(
    chunks: Iterable[bytes], key: bytes, identity: Identity, audio_format: AudioFormat, *, crashed: bool = False
) -> tuple[bytes, Summary]:
    """A whole recording at once, for small ones and for tests."""
    player = Player(Reader(key, identity, crashed=crashed), audio_format)
    audio = b"".join([*(player.feed(chunk) for chunk in chunks), player.finish()])
    assert player.summary is not None
    return audio, player.summary


def _ms(ticks: int) -> int:
    return ticks * 1000 // TICKS_PER_S
