"""Who a caller is, as a trusted peer says it, and what it wants hidden (RFC 3325, RFC 3323): pure, the caller knows whom it trusts.

From a peer outside the trust domain nothing of this is believed, and to such a peer nothing of it is told (RFC 3325 sections 5 and 7).
"""

from typing import Final

from hushwire.core.values import frozen
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri, TelUri, parse_name_addr

ANONYMOUS: Final = NameAddr(SipUri("anonymous.invalid", "anonymous"), "Anonymous")
"""From of a caller who hides (RFC 3323 section 4.1.1.3)."""
_MOST: Final = 2  # one sip or sips URI and one tel URI (RFC 3325 section 9.1)


@frozen
class Caller:
    """`identities` are the asserted ones, empty where none is believed; `is_hidden`: they are for the network alone."""

    identities: tuple[NameAddr, ...] = ()
    is_hidden: bool = False


def privacy(request: Request) -> frozenset[str]:
    """The priv-values of Privacy in lower case (RFC 3323 section 4.2: they are separated by semicolons)."""
    return frozenset(
        value.strip(" \t").lower()
        for line in request.headers.all("Privacy")
        for value in line.replace(",", ";").split(";")
        if value.strip(" \t")
    )


def caller_of(request: Request, *, is_trusted: bool) -> Caller:
    """Who the request says that its caller is: believed from a trusted peer alone. What can't be read asserts nothing."""
    wanted = privacy(request)
    hides = bool(wanted & {"id", "user", "header", "session", "critical"}) and "none" not in wanted
    if not is_trusted:
        return Caller((), hides)
    found: list[NameAddr] = []
    try:
        for value in request.headers.listed("P-Asserted-Identity"):
            found.append(_identity(value))
    except ParseError:
        return Caller((), hides)
    kinds = [type(name.uri) for name in found]
    if len(found) > _MOST or len(set(kinds)) != len(kinds):
        return Caller((), hides)
    return Caller(tuple(found), hides)


def lines_for(caller: Caller, *, is_trusted: bool) -> list[Line]:
    """The headers that carry the caller's identity to the next peer: a trusted one learns it, hidden or not; others nothing."""
    if not is_trusted:
        # RFC 3323 section 5.2: "id" still tells what the caller asked for, without naming anybody.
        return [("Privacy", "id")] if caller.is_hidden else []
    lines: list[Line] = [("P-Asserted-Identity", str(name)) for name in caller.identities]
    if caller.is_hidden:
        lines.append(("Privacy", "id"))
    return lines


def from_for(shown: NameAddr, caller: Caller) -> NameAddr:
    """The From to send: anonymous where the caller hides, whomever it goes to (a trusted peer reads the asserted identity)."""
    return ANONYMOUS if caller.is_hidden else shown


def _identity(text: str) -> NameAddr:
    name = parse_name_addr(text)
    if not isinstance(name.uri, SipUri | TelUri):
        raise ParseError("an asserted identity is neither a SIP nor a tel URI")
    return name
