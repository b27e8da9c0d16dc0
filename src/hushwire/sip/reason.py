"""Reason (RFC 3326): why a request or response says what it says, in the words of SIP or of the telephone network (Q.850)."""

from dataclasses import dataclass

from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request, Response
from hushwire.sip.uri import parse_params, quote


@dataclass(frozen=True, slots=True)
class Reason:
    """One value: `protocol` is `SIP` or `Q.850`, `cause` a status or cause value, `text` words for people (a peer's: never logged)."""

    protocol: str
    cause: int | None
    text: str | None = None

    def __str__(self) -> str:
        cause = "" if self.cause is None else f";cause={self.cause}"
        words = "" if self.text is None else f";text={quote(self.text)}"
        return f"{self.protocol}{cause}{words}"


def reasons(message: Request | Response) -> tuple[Reason, ...]:
    """The readable Reason values of a message in order; others are passed over, since they only explain."""
    found = []
    try:
        values = message.headers.listed("Reason")
    except ParseError:
        return ()
    for value in values:
        protocol, semicolon, tail = value.partition(";")
        try:
            params = dict(parse_params(tail)) if semicolon else {}
        except ParseError:
            continue
        cause = params.get("cause")
        is_number = cause is not None and cause.isascii() and cause.isdigit() and len(cause) <= 3
        if protocol.strip(" \t"):
            found.append(Reason(protocol.strip(" \t"), int(cause) if cause is not None and is_number else None, params.get("text")))
    return tuple(found)


def is_answered_elsewhere(message: Request | Response) -> bool:
    """Whether a CANCEL says that another device took the call (RFC 3326 section 3.1): no missed call then."""
    return any(reason.protocol.upper() == "SIP" and reason.cause == 200 for reason in reasons(message))
