"""What a sealed file holds and how it ends, found in one pass without decoding: for whoever writes sound only if it is whole."""

from collections.abc import Iterable
from dataclasses import dataclass

from hushwire.recording.entries import TICKS_PER_S
from hushwire.recording.failures import Failure, RecordingError
from hushwire.recording.hwr import HEADER_LENGTH, Closed, Ending, Identity, Order, Reader

_FRAME_OVERHEAD = 4 + 12 + 16


@dataclass(frozen=True, slots=True)
class Inspection:
    """`frames` are authentic and in their place; they end `good_bytes` into the file. `failure`: what is wrong after them."""

    frames: int
    good_bytes: int
    duration_ms: int
    ending: Ending | None
    failure: Failure | None
    explanation: str

    @property
    def is_whole(self) -> bool:
        """Closed properly, and nothing is wrong with it."""
        return self.ending is Ending.FINAL


def inspect(chunks: Iterable[bytes], key: bytes, identity: Identity, *, closed: Closed | None = None, crashed: bool = False) -> Inspection:
    """Reads the file to its end or to its first fault; computes, so call it in a thread where a loop runs."""
    reader, order = Reader(key, identity, closed=closed, crashed=crashed), Order()
    frames, good_bytes, ticks = 0, 0, 0
    try:
        for chunk in chunks:
            for frame in reader.frames(chunk):
                ticks = max([ticks, *(entry.time for entry in order.checked(frame))])
                frames += 1
                good_bytes += _FRAME_OVERHEAD + len(frame.plaintext)
        ending = reader.finish()
    except RecordingError as error:
        return Inspection(frames, HEADER_LENGTH + good_bytes, _ms(ticks), None, error.failure, str(error))
    explanation = "whole, from its first frame to its last" if ending is Ending.FINAL else "its writer died: this is what it had written"
    return Inspection(frames, HEADER_LENGTH + good_bytes, _ms(ticks), ending, None, explanation)


def _ms(ticks: int) -> int:
    return ticks * 1000 // TICKS_PER_S
