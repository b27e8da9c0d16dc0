"""One pass over a recording that finds what is asked of it later: where it can be entered, its peaks, and what happened to its packets."""

from dataclasses import dataclass
from typing import Any

from hushwire.recording.hwr import HEADER_LENGTH, Ending, Reader
from hushwire.recording.peaks import Measuring, Peaks
from hushwire.recording.rendering import Checkpoint, Renderer
from hushwire.recording.seeking import Index


def leg_name(leg: int) -> str:
    """As a timeline names a leg."""
    return {0: "agent", 1: "other"}.get(leg, f"leg-{leg}")


@dataclass(frozen=True, slots=True)
class Surveyed:
    """All three. `timeline` is plain values (docs/playback.md)."""

    index: Index
    peaks: Peaks
    timeline: dict[str, Any]


class Survey:
    """Feed it the whole file. `length_ms` and `digest` are those of the recording's row."""

    def __init__(self, reader: Reader, length_ms: int, digest: bytes) -> None:
        self._reader = reader
        self._length_ms = length_ms
        self._digest = digest
        self._header = b""
        self._checkpoints: list[Checkpoint] = []
        self._renderer = Renderer(length_ms=length_ms, on_checkpoint=self._checkpoints.append, with_history=True)
        self._peaks = Measuring()

    def feed(self, sealed: bytes) -> None:
        """The next bytes. Raises RecordingError."""
        if len(self._header) < HEADER_LENGTH:
            self._header += sealed[: HEADER_LENGTH - len(self._header)]
        for frame in self._reader.frames(sealed):
            for block in self._renderer.frame(frame):
                self._peaks.add(self._renderer.rate, block)

    def finish(self) -> Surveyed:
        """What was found. Raises RecordingError for a closed file that isn't whole."""
        ending = self._reader.finish()
        for block in self._renderer.finish():
            self._peaks.add(self._renderer.rate, block)
        rate = self._renderer.rate
        legs = []
        for number, (leg, history) in enumerate(zip(self._renderer.legs or (), self._renderer.histories, strict=True)):
            legs.append({"leg": leg_name(number)} | history.report(leg.counts, self._length_ms).as_json())
        timeline = {
            "length_ms": self._length_ms,
            "is_cut": ending is Ending.CUT,
            "pauses": [{"from_ms": gap.start_ms, "to_ms": min(gap.end_ms, self._length_ms)} for gap in self._renderer.gaps],
            "legs": legs,
        }
        return Surveyed(
            Index(self._digest, self._header, rate, self._length_ms, tuple(self._checkpoints)), self._peaks.done(rate), timeline
        )
