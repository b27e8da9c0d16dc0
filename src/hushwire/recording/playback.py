"""A sealed recording as a stereo file: agent left, other party right, streamed from sealed bytes to sounding ones.

Sans-I/O: `Player.feed` takes sealed bytes and returns bytes of the file, so whoever moves them decides where they come from
and how fast. It computes (decrypting, decoding, encoding): call it in a thread, never on an event loop. Plaintext stays in memory.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from hushwire.recording.containers import AudioFormat, Container, Stereo, container
from hushwire.recording.entries import TICKS_PER_S, EntryKind, leg_formats
from hushwire.recording.hwr import Ending, Identity, Reader
from hushwire.recording.rendering import Gap, Renderer, rate_of
from hushwire.recording.timeline import Counts


@dataclass(frozen=True, slots=True)
class Summary:
    """What a playback found."""

    duration_ms: int
    ending: Ending
    gaps: tuple[Gap, ...]
    agent: Counts
    other: Counts
    further: tuple[Counts, ...] = ()
    """Of legs 2 and above."""


class Player:
    """Turns one sealed file into one audio file. `length_ms`, where known, is the exact length of the result."""

    def __init__(self, reader: Reader, audio_format: AudioFormat, *, length_ms: int | None = None) -> None:
        self._reader = reader
        self._renderer = Renderer(length_ms=length_ms)
        self._format = audio_format
        self._length_ms = length_ms
        self._container: Container | None = None
        self.summary: Summary | None = None

    def feed(self, sealed: bytes) -> bytes:
        """The audio bytes that these sealed bytes make certain (often none). Raises RecordingError."""
        return b"".join(self._contained(self._renderer.frame(frame)) for frame in self._reader.frames(sealed))

    def finish(self) -> bytes:
        """The rest of the audio; `summary` is there afterwards. Raises RecordingError for a closed file that isn't whole."""
        ending = self._reader.finish()
        out = self._contained(self._renderer.finish()) + self._opened().close()
        assert self._renderer.legs is not None
        agent, other, *further = (leg.counts for leg in self._renderer.legs)
        self.summary = Summary(self._renderer.found_ms, ending, tuple(self._renderer.gaps), agent, other, tuple(further))
        return out

    def _contained(self, blocks: list[Stereo]) -> bytes:
        return b"".join(self._opened().add(block) for block in blocks)

    def _opened(self) -> Container:
        if self._container is None:
            rate = self._renderer.rate
            frames = None if self._length_ms is None else self._length_ms * rate // 1000
            self._container = container(self._format, rate, frames)
        return self._container


def measure(chunks: Iterable[bytes], reader: Reader) -> int:
    """The length in ms of a file whose row doesn't tell it (crashed, or still live): one pass without decoding."""
    ticks = 0
    for chunk in chunks:
        for frame in reader.frames(chunk):
            for entry in frame.entries():
                ticks = max(ticks, entry.time)
    return ticks * 1000 // TICKS_PER_S


def rate_in(reader: Reader, sealed: bytes) -> int | None:
    """Samples a second of what is played from a file, once its first frame was fed. Raises RecordingError."""
    for frame in reader.frames(sealed):
        for entry in frame.entries():
            if entry.kind is EntryKind.FORMAT:
                return rate_of(leg_formats(entry))
    return None


def play(
    chunks: Iterable[bytes], key: bytes, identity: Identity, audio_format: AudioFormat, *, crashed: bool = False
) -> tuple[bytes, Summary]:
    """A whole recording at once, for small ones and for tests."""
    player = Player(Reader(key, identity, crashed=crashed), audio_format)
    audio = b"".join([*(player.feed(chunk) for chunk in chunks), player.finish()])
    assert player.summary is not None
    return audio, player.summary
