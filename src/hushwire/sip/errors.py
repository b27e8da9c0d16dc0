"""What the SIP grammar raises: one error, with the status that an answer would carry."""

from typing import TYPE_CHECKING

from hushwire.core.errors import MalformedError

if TYPE_CHECKING:
    from hushwire.sip.message import Request


class ParseError(MalformedError):
    """Bytes that are no SIP message, or a header that does not follow its grammar.

    `status` is what a request would be answered with where it can be answered at all (RFC 3261 section 16.3 and 21.4);
    None means silence. `request` is what could be read of a malformed request, enough to answer it. `is_fatal` tells that the
    stream it came by has lost its framing. The words name the header, never its value.
    """

    def __init__(self, words: str, *, status: int | None = 400, request: "Request | None" = None, is_fatal: bool = False) -> None:
        super().__init__(words)
        self.words = words
        self.status = status
        self.request = request
        self.is_fatal = is_fatal
