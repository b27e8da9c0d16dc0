"""The named ways in which something sealed does not open; documents, vectors and other implementations use the same names."""

from enum import StrEnum

from hushwire.core.errors import KeyUnavailable, MalformedError


class Failure(StrEnum):
    """What is wrong with an envelope (docs/custody.md), or with a sealed value or key (docs/sealed-values.md)."""

    NOT_AN_ENVELOPE = "not-an-envelope"  # the magic is missing
    UNSUPPORTED = "unsupported"  # a version, suite or kind that this reader doesn't know
    FOREIGN = "foreign"  # sealed for another organisation, kind or object than the expected one
    WRONG_KEY = "wrong-key"  # sealed to another recipient's key
    TRUNCATED = "truncated"  # bytes are missing
    TRAILING = "trailing"  # bytes follow
    DAMAGED = "damaged"  # the right key, the right place, and yet it does not authenticate
    NOT_HERE = "not-here"  # altered, moved here from another place, or of another key: the seal can't tell which


class EnvelopeError(MalformedError):
    """An envelope that does not open; `failure` says why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure


class SealedError(MalformedError):
    """A sealed value that does not open in this place; `failure` says why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure


class DataKeyError(KeyUnavailable):
    """A data key that does not open under this bucket; `failure` says why."""

    def __init__(self, failure: Failure, detail: str) -> None:
        super().__init__(detail)
        self.failure = failure
