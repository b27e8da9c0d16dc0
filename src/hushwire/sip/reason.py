"""Reason (RFC 3326): why a request or response says what it says, in the words of SIP or of the telephone network (Q.850)."""

from collections.abc import Iterable
from typing import Final

from hushwire.core.values import frozen
from hushwire.sip import q850
from hushwire.sip.errors import ParseError
from hushwire.sip.message import REASONS, Request, Response
from hushwire.sip.uri import parse_params, quote


@frozen
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


ELSEWHERE: Final = Reason("SIP", 200, "Call completed elsewhere")
"""RFC 3326 section 3.1: what a CANCEL says to the devices that did not take the call."""


def carried(message: Request | Response) -> tuple[Reason, ...]:
    """What of a peer's reasons may travel on: one of SIP and one of Q.850, with a cause that is known, and in our own words.

    Everything else is left behind: other protocols, causes that no standard gives, every text.
    """
    found: dict[str, Reason] = {}
    for reason in reasons(message):
        known = _known(reason)
        if known is not None:
            found.setdefault(known.protocol, known)
    if isinstance(message, Request) and message.method == "CANCEL" and "SIP" not in found and is_answered_elsewhere(found.values()):
        # Phones know it in the words of SIP.
        return (ELSEWHERE, *found.values())
    return tuple(found.values())


def _known(reason: Reason) -> Reason | None:
    cause = reason.cause
    if cause is None:
        return None
    match reason.protocol.upper():
        case "SIP" if cause == ELSEWHERE.cause:
            return ELSEWHERE
        case "SIP" if cause >= 300 and cause in REASONS:
            return Reason("SIP", cause, REASONS[cause])
        case "Q.850" if cause in q850.CAUSES:
            return Reason("Q.850", cause, q850.CAUSES[cause])
    return None


def is_answered_elsewhere(said: Iterable[Reason]) -> bool:
    """Whether a CANCEL with these reasons says that another device took the call: nobody missed it then."""
    return any((reason.protocol.upper(), reason.cause) in (("SIP", ELSEWHERE.cause), ("Q.850", q850.ANSWERED_ELSEWHERE)) for reason in said)


def value(said: Iterable[Reason]) -> str | None:
    """A Reason header's value; None where there is nothing to say."""
    return ", ".join(str(reason) for reason in said) or None
