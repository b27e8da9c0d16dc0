"""Transfer on the wire: Refer-To (RFC 3515), Replaces (RFC 3891) and the sipfrag that tells how it goes (RFC 3420).

What a Refer-To names is a way out: its reader asks the verdict about it, as about every other.
"""

import re
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip.effects import DialogKey
from hushwire.sip.errors import ParseError
from hushwire.sip.message import REASONS, Request
from hushwire.sip.uri import SipUri, Uri, parse_name_addr, parse_params

SIPFRAG: Final = "message/sipfrag;version=2.0"
_STATUS_LINE: Final = re.compile(rb"SIP/2\.0 ([1-6][0-9]{2})(?: |\r|\n|$)")
# hvalue of RFC 3261 section 25.1: what needs no escape in a URI's headers.
_PLAIN: Final = "-_.!~*'()[]/?:+$"


@frozen(repr=False)
class Replaces:
    """The dialog that a new one takes the place of, as its other end names it: `to_tag` is the reader's own."""

    call_id: str
    to_tag: str
    from_tag: str
    is_early_only: bool = False

    @property
    def dialog(self) -> DialogKey:
        """The key under which the reader knows it (RFC 3891 section 3): all three, always."""
        return DialogKey(self.call_id, self.to_tag, self.from_tag)

    def __str__(self) -> str:
        return f"{self.call_id};to-tag={self.to_tag};from-tag={self.from_tag}{';early-only' if self.is_early_only else ''}"

    def __repr__(self) -> str:
        return f"Replaces({SHOWN})"


@frozen(repr=False)
class ReferTo:
    """Whom a REFER asks us to call: `uri` without its headers, and of those the only one that is read."""

    uri: Uri
    replaces: Replaces | None = None

    def __repr__(self) -> str:
        return f"ReferTo({SHOWN})"


def parse_replaces(text: str) -> Replaces:
    """A Replaces value. Raises ParseError; also where a tag is missing, since no dialog of ours has none (RFC 3891 section 6.1)."""
    call_id, semicolon, tail = text.strip(" \t").partition(";")
    params = dict(parse_params(tail)) if semicolon else {}
    to_tag, from_tag = params.get("to-tag"), params.get("from-tag")
    if not call_id.strip(" \t") or not to_tag or not from_tag:
        raise ParseError("Replaces lacks a tag or its Call-ID")
    return Replaces(call_id.strip(" \t"), to_tag, from_tag, "early-only" in params)


def replaces_of(request: Request) -> Replaces | None:
    """The Replaces of an INVITE, or None. Raises ParseError: one at most, and never beside Join (RFC 3891 section 3)."""
    values = request.headers.all("Replaces")
    if not values:
        return None
    if len(values) > 1 or "Join" in request.headers:
        raise ParseError("Replaces stands twice or beside Join")
    return parse_replaces(values[0])


def refer_to(request: Request) -> ReferTo:
    """What a REFER asks for. Raises ParseError: exactly one Refer-To (RFC 3515 section 2.4.2), and another method than INVITE is none."""
    values = request.headers.listed("Refer-To")
    if len(values) != 1:
        raise ParseError("a REFER needs exactly one Refer-To")
    return parse_refer_to(values[0])


def parse_refer_to(text: str) -> ReferTo:
    """A Refer-To value. Raises ParseError."""
    uri = parse_name_addr(text).uri
    if not isinstance(uri, SipUri):
        return ReferTo(uri)
    if (uri.param("method") or "INVITE").upper() != "INVITE":
        raise ParseError("a Refer-To asks for another method than INVITE")
    replaces = None
    for field in (uri.headers or "").split("&"):
        name, equals, value = field.partition("=")
        if equals and name.lower() == "replaces":
            if replaces is not None:
                raise ParseError("Replaces stands twice")
            try:
                replaces = parse_replaces(unquote_to_bytes(value).decode())
            except UnicodeDecodeError:
                raise ParseError("Replaces is not UTF-8") from None
    params = tuple(pair for pair in uri.params if pair[0] != "method")
    return ReferTo(replace(uri, headers=None, params=params), replaces)


def refer_to_line(uri: SipUri, replaces: Replaces | None = None) -> tuple[str, str]:
    """The Refer-To header of a REFER of ours."""
    if replaces is not None:
        uri = replace(uri, headers=f"Replaces={quote_from_bytes(str(replaces).encode(), safe=_PLAIN)}")
    return ("Refer-To", f"<{uri}>")


def sipfrag(status: int, reason: str | None = None) -> bytes:
    """How the referred call goes, as a NOTIFY's body (RFC 3515 section 2.4.5)."""
    return f"SIP/2.0 {status} {REASONS.get(status, 'Unknown') if reason is None else reason}\r\n".encode()


def parse_sipfrag(body: bytes) -> int | None:
    """The status that a NOTIFY tells of, or None."""
    match = _STATUS_LINE.match(body.lstrip(b"\r\n \t"))
    return None if match is None else int(match.group(1))
