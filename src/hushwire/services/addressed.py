"""Whom a request names: an own user part, what was dialled, the number that a carrier calls."""

from hushwire.policy import hosts
from hushwire.services.caller_id import e164
from hushwire.services.snapshot import Organisation
from hushwire.sip.errors import ParseError
from hushwire.sip.message import Request
from hushwire.sip.uri import SipUri, TelUri, parse_name_addr


def own_user(request: Request, org: Organisation) -> str | None:
    """The dial string of a Request-URI that names this gateway; None for other hosts and forms."""
    try:
        return own_user_of(request.request_uri, org)
    except ParseError:
        return None


def own_user_of(uri: object, org: Organisation) -> str | None:
    """The user part of a URI that names this gateway; None for other URIs."""
    try:
        if not isinstance(uri, SipUri) or uri.password is not None or uri.headers is not None:
            return None
        if not hosts.is_own(uri.host, uri.port, org.rules.own_hosts):
            return None
        return uri.user_unescaped
    except ParseError:
        return None


def own_name(header: str, org: Organisation) -> str | None:
    """The user part of a header's URI that names this gateway; None where it names something else, or can't be read."""
    try:
        return own_user_of(parse_name_addr(header).uri, org)
    except ParseError:
        return None


def dialled(request: Request) -> str:
    """What the row of a refusal shows: the user part as dialled, else the whole URI."""
    try:
        uri = request.request_uri
    except ParseError:
        return request.uri[:256]
    if isinstance(uri, SipUri):
        return (uri.user or uri.host)[:256]
    return uri.number[:256] if isinstance(uri, TelUri) else str(uri)[:256]


def called(request: Request, registered_as: str | None) -> str | None:
    """The called number as +E.164: carriers write it with +, with 00, or bare.

    Where we are registered, the Request-URI may be our Contact and say no more than that: then the number stands in P-Called-Party-ID
    (RFC 7315 section 4.2), else in To.
    """
    try:
        text = _user(request.request_uri)
        if registered_as is None or text != registered_as:
            return e164(text)
        named = request.headers.get("P-Called-Party-ID")
        return e164(_user(request.to.uri if named is None else parse_name_addr(named).uri)) or e164(text)
    except ParseError:
        return None


def _user(uri: SipUri | TelUri | object) -> str | None:
    return uri.user_unescaped if isinstance(uri, SipUri) else uri.digits if isinstance(uri, TelUri) else None
