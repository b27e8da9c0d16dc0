"""BUNDLE, as far as one audio section needs it (RFC 9143, RFC 5888): groups, `mid`, and where a bundled section's transport stands."""

import re
from typing import Final

from hushwire.core.values import frozen
from hushwire.sdp.session import Attribute, Media, SdpError, Session

# RFC 8839 calls for a token; RFC 9143 section 7 advises three bytes at most, but nobody is held to it.
_MID: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,32}")
OUR_MID: Final = "0"


@frozen(repr=False)
class Transport:
    """Where to look for what a section says of its transport, most specific first.

    `sections` holds the section itself and, where it is bundled and says nothing, the one that speaks for the bundle.
    """

    session: Session
    sections: tuple[Media, ...]

    def values(self, name: str) -> list[str | None]:
        """All values of the attribute at the first place that has it."""
        for place in self._places:
            found = [value for key, value in place.attributes if key == name]
            if found:
                return found
        return []

    def has(self, name: str) -> bool:
        """Whether the attribute stands at any of these places."""
        for place in self._places:  # noqa: SIM110 - several times a call: a generator costs five times as much
            if place.has(name):
                return True
        return False

    @property
    def _places(self) -> tuple[Media | Session, ...]:
        return (*self.sections, self.session)


def mid_of(media: Media) -> str | None:
    """The section's `mid`. Raises SdpError where it stands twice or is no token."""
    values = [value for key, value in media.attributes if key == "mid"]
    if not values:
        return None
    if len(values) > 1 or values[0] is None or not _MID.fullmatch(values[0]):
        raise SdpError("a=mid does not follow its grammar")
    return values[0]


def bundle_of(session: Session, media: Media) -> tuple[str, ...]:
    """The mids of the BUNDLE group that a section is in; empty where it is in none. Raises SdpError."""
    mid = mid_of(media)
    if mid is None:
        return ()
    for key, value in session.attributes:
        words = (value or "").split()[:64] if key == "group" else []
        if words[:1] == ["BUNDLE"] and mid in words[1:]:
            return tuple(words[1:])
    return ()


def transport_of(session: Session, media: Media) -> Transport:
    """Where a section's transport is described. Raises SdpError.

    RFC 9143 section 7.1.3: a `bundle-only` section leaves that to the first section of its group.
    """
    group = bundle_of(session, media)
    if media.has("bundle-only") and group:
        tagged = next((section for section in session.media if mid_of(section) == group[0]), None)
        if tagged is not None and tagged is not media:
            return Transport(session, (media, tagged))
    return Transport(session, (media,))


def is_open(session: Session, media: Media) -> bool:
    """Whether an offered section is there to be taken: port 0 refuses it, unless the bundle carries it (RFC 9143 section 6)."""
    return media.port != 0 or (media.has("bundle-only") and bool(bundle_of(session, media)))


def refused(media: Media) -> Media:
    """A section that we don't take (RFC 3264 section 6): port 0, the offer's protocol, formats and name."""
    mid = mid_of(media)
    lines: tuple[Attribute, ...] = () if mid is None else (("mid", mid),)
    return Media(media.kind, 0, media.protocol, media.formats, None, lines)
