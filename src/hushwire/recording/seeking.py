"""From the middle of a recording: an index of checkpoints, and excerpts that are the same samples as those of a whole playback.

The index is made by one pass over the file (`survey`), and belongs to exactly that file: it holds its digest. It holds no sound, but
who spoke when can be read from it, so it is kept sealed like everything else that comes of a recording.
"""

import zlib
from bisect import bisect_right
from dataclasses import asdict, dataclass
from typing import Any, Final, Self

import orjson

from hushwire.core.errors import MalformedError
from hushwire.recording.containers import Stereo
from hushwire.recording.entries import EntryKind
from hushwire.recording.hwr import HEADER_LENGTH, Frame, Identity, Order, Place, Reader
from hushwire.recording.rendering import RENDERING, Checkpoint, Renderer, block_of
from hushwire.recording.timeline import needed

MOST_BYTES: Final = 16 << 20
"""An index that is longer (an hour has some 100 kB) is not kept: such a file plays as a whole only."""


@dataclass(frozen=True, slots=True)
class Index:
    """Where a file can be entered. `digest`: SHA-256 of the sealed file, `header` its first bytes; `length_ms` as its row says."""

    digest: bytes
    header: bytes
    rate: int
    length_ms: int
    checkpoints: tuple[Checkpoint, ...]

    @property
    def samples(self) -> int:
        """The length of the whole."""
        return self.length_ms * self.rate // 1000

    def pack(self) -> bytes:
        """As bytes, to be sealed."""
        found = {
            "rendering": RENDERING,
            "digest": self.digest.hex(),
            "header": self.header.hex(),
            "rate": self.rate,
            "length_ms": self.length_ms,
        }
        return zlib.compress(orjson.dumps(found | {"checkpoints": [asdict(kept) for kept in self.checkpoints]}))

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` gave. Raises MalformedError for what another rendering made."""
        found = orjson.loads(zlib.decompress(packed))
        if found["rendering"] != RENDERING:
            raise MalformedError("an index of another rendering")
        kept = tuple(_checkpoint(one) for one in found["checkpoints"])
        return cls(bytes.fromhex(found["digest"]), bytes.fromhex(found["header"]), int(found["rate"]), int(found["length_ms"]), kept)

    def before(self, sample: int) -> Checkpoint | None:
        """The last checkpoint from which that sample comes out right; None: only from the beginning."""
        at = bisect_right(self.checkpoints, sample, key=lambda kept: kept.clean_from)
        return self.checkpoints[at - 1] if at else None


class Excerpt:
    """Samples `start` up to (not including) `stop` of a recording. Feed it the file's bytes from `offset` on until it `is_done`.

    Every frame that is read is authentic and in its place; what is not read is not checked.
    """

    def __init__(self, key: bytes, identity: Identity, index: Index, start: int, stop: int, *, crashed: bool = False) -> None:
        if not 0 <= start <= stop <= index.samples:
            raise ValueError("an excerpt lies within its recording")
        self._index, self._start, self._stop = index, start, stop
        self._first = start - start % block_of(index.rate)
        self._kept = index.before(self._first)
        place = Place(0, HEADER_LENGTH) if self._kept is None else self._kept.replay
        self.offset = place.offset
        self._reader = Reader.within(key, identity, index.header, place, crashed=crashed)
        self._renderer = Renderer(length_ms=index.length_ms) if self._kept is None else None
        self._wanted = set() if self._kept is None else {ordinal for state in self._kept.legs for ordinal in needed(state)}
        self._replayed: dict[int, tuple[int, bytes]] = {}
        self._order = Order(0 if self._kept is None else self._kept.replay_ordinal)

    @property
    def is_done(self) -> bool:
        """Nothing more has to be fed."""
        return self._start == self._stop or (self._renderer is not None and self._renderer.position >= self._stop)

    def feed(self, sealed: bytes) -> list[Stereo]:
        """The samples that these bytes make certain. Raises RecordingError."""
        out: list[Stereo] = []
        for frame in self._reader.frames(sealed):
            out += self._frame(frame)
            if self.is_done:
                break
        return out

    def finish(self) -> list[Stereo]:
        """The rest, once the file has ended. Raises RecordingError if it ends too early."""
        if self.is_done:
            return []
        self._reader.finish()
        renderer = self._renderer or self._resumed()
        position = renderer.position
        return self._cut(position, renderer.finish())

    def _frame(self, frame: Frame) -> list[Stereo]:
        if self._renderer is None:
            assert self._kept is not None
            if frame.sequence < self._kept.sequence:
                for entry in self._order.checked(frame):
                    if entry.kind is EntryKind.RTP and self._order.count - 1 in self._wanted:
                        self._replayed[self._order.count - 1] = (entry.time, entry.data)
                return []
            self._renderer = self._resumed()
        position = self._renderer.position
        return self._cut(position, self._renderer.frame(frame))

    def _resumed(self) -> Renderer:
        assert self._kept is not None
        try:
            return Renderer.resumed(self._index.rate, self._index.length_ms, self._kept, self._replayed, self._first)
        except KeyError:
            raise MalformedError("an index names packets that its file does not have") from None

    def _cut(self, position: int, blocks: list[Stereo]) -> list[Stereo]:
        out = []
        for block in blocks:
            piece = block[max(0, self._start - position) : max(0, self._stop - position)]
            if len(piece):
                out.append(piece)
            position += len(block)
        return out


def _checkpoint(found: dict[str, Any]) -> Checkpoint:
    return Checkpoint(**{**found, "replay": Place(**found["replay"]), "legs": tuple(found["legs"])})
