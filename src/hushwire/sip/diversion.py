"""Who diverted a call, why and how often: Diversion (RFC 5806) and History-Info (RFC 7044), read and written. Pure.

Both tell who was called first, which is a person's business: as an asserted identity, they go to and are believed from trusted peers alone.
How often a call was diverted is counted from anybody: it only bounds how often it goes on.
"""

from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip import asserted
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri, parse_name_addr

MOST: Final = 99
"""What can't be read, or counts further, was diverted so often."""
UNKNOWN: Final = "unknown"
_WORDS: Final = {
    "unconditional": 302,
    "do-not-disturb": 480,
    "user-busy": 486,
    "no-answer": 408,
    "unavailable": 503,
    "deflection": 480,
    "follow-me": 302,
    "time-of-day": 404,
    "out-of-service": 503,
    "away": 480,
    UNKNOWN: 404,
}
"""Reasons of RFC 5806, and what RFC 4458 calls them in a URI's `cause`."""
_OF_CAUSE: Final = {302: "unconditional", 408: "no-answer", 480: "deflection", 486: "user-busy", 487: "deflection", 503: "unavailable"}


@frozen(repr=False)
class Diverted:
    """The last diversion of a call. `by` is None where it is not to be told; `times` counts all of the call's."""

    by: NameAddr | None
    reason: str
    times: int = 1

    def __repr__(self) -> str:
        return f"Diverted({SHOWN})"


def times(request: Request) -> int:
    """How often the call was diverted before it came here, by whichever header tells more."""
    try:
        by_diversion = sum(_counter(parse_name_addr(value)) for value in request.headers.listed("Diversion"))
        by_history = max(0, len(request.headers.listed("History-Info")) - 1)
    except ParseError:
        return MOST
    return min(MOST, max(by_diversion, by_history))


def latest(request: Request) -> Diverted | None:
    """Who diverted the call last, as its sender says: for who trusts that one. None where it was not diverted, or can't be read."""
    try:
        diversions = request.headers.listed("Diversion")
        history = request.headers.listed("History-Info")
        if diversions:
            return _of_diversion(parse_name_addr(diversions[0]), times(request))
        if len(history) > 1:
            is_hidden = "history" in asserted.privacy(request)
            return _of_history(parse_name_addr(history[-2]), parse_name_addr(history[-1]), times(request), is_hidden=is_hidden)
    except ParseError:
        return None
    return None


def lines(diverted: Diverted, towards: SipUri) -> tuple[Line, ...]:
    """Both headers for a call that goes on to `towards`. Who is not to be told stands there as anonymous."""
    is_hidden = diverted.by is None
    by = asserted.ANONYMOUS if diverted.by is None else diverted.by
    reason = diverted.reason if diverted.reason in _WORDS else UNKNOWN
    params = (("reason", reason), ("counter", str(min(diverted.times, MOST))), ("privacy", "full" if is_hidden else "off"))
    first = NameAddr(replace(by.uri, headers="Privacy=history") if is_hidden and isinstance(by.uri, SipUri) else by.uri)
    kept = tuple(pair for pair in towards.params if pair[0] not in ("cause", "transport"))
    then = NameAddr(replace(towards, params=(*kept, ("cause", str(_WORDS[reason])))))
    return (
        ("Diversion", str(NameAddr(by.uri, None, params))),
        ("History-Info", f"{first.with_param('index', '1')}, {then.with_param('index', '1.1').with_param('mp', '1')}"),
    )


def _counter(name: NameAddr) -> int:
    value = name.param("counter")
    return int(value) if value is not None and value.isascii() and value.isdigit() and 0 < len(value) <= 2 and int(value) > 0 else 1


def _of_diversion(name: NameAddr, count: int) -> Diverted:
    privacy = (name.param("privacy") or "off").lower()
    reason = (name.param("reason") or UNKNOWN).lower()
    return Diverted(name if privacy == "off" else None, reason if reason in _WORDS else UNKNOWN, count)


def _of_history(by: NameAddr, then: NameAddr, count: int, *, is_hidden: bool) -> Diverted:
    """RFC 7044 section 10.3: the entry before the last was left for the last one, whose URI says why (RFC 4458)."""
    cause = then.uri.param("cause") if isinstance(then.uri, SipUri) else None
    reason = (
        _OF_CAUSE.get(int(cause), UNKNOWN) if cause is not None and cause.isascii() and cause.isdigit() and len(cause) == 3 else UNKNOWN
    )
    said = (by.uri.headers or "").lower() if isinstance(by.uri, SipUri) else ""
    return Diverted(None if is_hidden or "privacy=" in said else by, reason, count)
