"""What the SIP grammar raises: one error, with the status that an answer would carry."""

from hushwire.core.errors import MalformedError


class ParseError(MalformedError):
    """Bytes that are no SIP message, or a header that does not follow its grammar.

    `status` is what a request would be answered with where it can be answered at all (RFC 3261 section 16.3 and 21.4);
    None means silence. The words name the header, never its value.
    """

    def __init__(self, words: str, *, status: int | None = 400, reason: str | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.reason = reason
