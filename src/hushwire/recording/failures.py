"""The named ways in which a sealed recording can be wrong; other implementations and the shared vectors use the same names."""

from enum import StrEnum

from hushwire.core.errors import MalformedError


class Failure(StrEnum):
    """What is wrong with a `.hwr` file (docs/hwr.md)."""

    NOT_A_RECORDING = "not-a-recording"  # the magic is missing
    UNSUPPORTED = "unsupported"  # a version, suite or header length that this reader doesn't know
    FOREIGN = "foreign"  # organisation, recording or segment are not the expected ones
    WRONG_KEY = "wrong-key"  # the key commitment doesn't match: another key, or a changed header
    TRUNCATED = "truncated"  # the file ends before its final frame, though it was closed
    REORDERED = "reordered"  # an authentic frame that stands at another place than it was written for
    DAMAGED = "damaged"  # a frame that doesn't authenticate: changed, or taken from another file
    TRAILING = "trailing"  # bytes after the final frame
    BAD_ENTRIES = "bad-entries"  # an authentic frame whose entries break the format: the writer's fault
    DIGEST_MISMATCH = "digest-mismatch"  # frames are fine, yet it isn't the file that was closed under this digest


class RecordingError(MalformedError):
    """A sealed recording that can't be read any further; `failure` says why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure
