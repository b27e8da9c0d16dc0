"""Why a call to somebody goes on to somebody else. Words are those of RFC 5806, numbers those of RFC 4458 (History-Info's `cause`)."""

from enum import StrEnum
from typing import Final


class DiversionReason(StrEnum):
    """What made the call go on. Rows, the API and Diversion headers carry the word."""

    UNCONDITIONAL = "unconditional"
    DO_NOT_DISTURB = "do-not-disturb"
    USER_BUSY = "user-busy"
    NO_ANSWER = "no-answer"
    UNAVAILABLE = "unavailable"
    DEFLECTION = "deflection"  # a phone said where the call is to go instead (3xx)

    @property
    def cause(self) -> int:
        """The `cause` of a History-Info entry (RFC 4458 section 2; RFC 7044 section 10.2)."""
        return _CAUSES[self]


_CAUSES: Final = {
    DiversionReason.UNCONDITIONAL: 302,
    DiversionReason.DO_NOT_DISTURB: 480,
    DiversionReason.USER_BUSY: 486,
    DiversionReason.NO_ANSWER: 408,
    DiversionReason.UNAVAILABLE: 503,
    DiversionReason.DEFLECTION: 480,
}
