"""What is wrong with a PDU, and what its sender is told (SMPP 3.4 section 5.1.3)."""

from hushwire.core.errors import MalformedError


class PduError(MalformedError):
    """A PDU that does not follow its grammar. The message never holds its bytes.

    `status` is what an answer carries. `command` and `sequence` are those of its header, 0 where there is none; `is_fatal` says that the
    stream can't be read any further, since nobody knows where the next PDU begins.
    """

    def __init__(self, words: str, status: int, command: int = 0, sequence: int = 0, *, is_fatal: bool = False) -> None:
        super().__init__(words)
        self.status = status
        self.command = command
        self.sequence = sequence
        self.is_fatal = is_fatal
