"""Texts by MESSAGE (RFC 3428): what a request says, how one is written, and parts that fit a datagram. Pure."""

import unicodedata
from dataclasses import field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from hushwire.core.values import frozen
from hushwire.sip.headers import Line
from hushwire.sip.message import Request

CONTENT_TYPE: Final = "text/plain;charset=UTF-8"
ACCEPT: Final = "text/plain"
MOST_BYTES: Final = 8_192
"""Of one text, in UTF-8: more than the longest message of parts over the air."""
DATAGRAM_BYTES: Final = 1_300
""" "The size of MESSAGE requests outside of a media session MUST NOT exceed 1300 bytes" where the path may be UDP (section 8)."""
_LEAST_ROOM: Final = 240
_OVERHEAD: Final = 470
"""Of a MESSAGE of ours beside its URIs and body: request line, Via, tags, Call-ID, CSeq, Date, lengths."""
_CHARSETS: Final = frozenset(("utf-8", "us-ascii"))
_JOINED: Final = "\u200d"


@frozen
class Text:
    """What a MESSAGE says. `expires_s`: for how long it is worth delivering (RFC 3428 section 4), where it says so."""

    body: str = field(repr=False)
    expires_s: int | None = None


@frozen
class NoText:
    """Why it says nothing that is taken here: the answer, and a reason of `sip.refusals`."""

    status: int
    reason: str
    headers: tuple[Line, ...] = ()


def read_text(request: Request, most_bytes: int = MOST_BYTES) -> Text | NoText:
    """The text of a MESSAGE. Raises ParseError where Expires is no number."""
    if request.content_type != ACCEPT:
        return NoText(415, "text-type", (("Accept", ACCEPT),))
    charset = _charset(request.headers.get("Content-Type") or "")
    if charset not in _CHARSETS:
        return NoText(415, "text-charset", (("Accept", ACCEPT),))
    if len(request.body) > most_bytes:
        return NoText(413, "text-too-long")
    try:
        body = request.body.decode("ascii" if charset == "us-ascii" else "utf-8")
    except UnicodeDecodeError:
        return NoText(400, "text-unreadable")
    if "\x00" in body:
        return NoText(400, "text-unreadable")
    if not body.strip():
        return NoText(400, "text-empty")
    return Text(body, request.expires)


def date_line(at: datetime) -> Line:
    """When a text was said, for one that comes later (RFC 3261 section 20.17: in GMT always)."""
    return ("Date", format_datetime(at.astimezone(UTC), usegmt=True))


def room_of(*addresses: str) -> int:
    """How many bytes of text fit a datagram beside these URIs, names and routes."""
    return max(_LEAST_ROOM, DATAGRAM_BYTES - _OVERHEAD - sum(len(one.encode("utf-8", "surrogateescape")) for one in addresses))


def parts(text: str, room: int) -> list[str]:
    """The text cut so that each part has at most `room` bytes of UTF-8 (of 16 at least), nothing lost and no character torn.

    Cut behind white space where there is some in the last third of a part, else between characters as people see them.
    """
    found = []
    rest = text
    while len(rest.encode()) > room:
        end = len(rest.encode()[:room].decode(errors="ignore"))
        cut = next((at for at in range(end, end - end // 3, -1) if rest[at - 1].isspace()), None)
        if cut is None:
            cut = next((at for at in range(end, max(0, end - 32), -1) if not _is_joined(rest, at)), end)
        found.append(rest[:cut])
        rest = rest[cut:]
    return [*found, rest] if rest else found


def _is_joined(text: str, at: int) -> bool:
    """Whether the character at a place belongs to the one before it: a mark, a variation, or joined to it."""
    after = text[at]
    return bool(unicodedata.combining(after)) or unicodedata.category(after) in ("Mn", "Me") or _JOINED in (after, text[at - 1])


def _charset(value: str) -> str:
    """Of a Content-Type; without one it is UTF-8, as in all of SIP (RFC 3261 section 7.4.1)."""
    for item in value.split(";")[1:]:
        name, _, given = item.partition("=")
        if name.strip(" \t").lower() == "charset":
            return given.strip(' \t"').lower()
    return "utf-8"
