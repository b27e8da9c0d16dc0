"""Session descriptions (RFC 8866): parsed and formatted, unknown lines kept where they belong.

Lines end in CRLF; a bare LF is tolerated, since phones send it and the body's length is known. Order is checked only as far as it
carries meaning: what stands before the first m= belongs to the session.
"""

import re
from itertools import pairwise
from typing import Final

from hushwire.core.errors import MalformedError
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen

MAX_BYTES: Final = 16384
MAX_LINES: Final = 400
MAX_MEDIA: Final = 16

Attribute = tuple[str, str | None]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+")
_ADDRESS: Final = re.compile(r"[0-9A-Za-z.:\-_]{1,255}")
_NUMBER: Final = re.compile(r"[0-9]{1,20}")


class SdpError(MalformedError):
    """Bytes that are no session description."""


# Loops, since these are asked a hundred times a call, and a generator costs five times as much.
def _first(attributes: tuple[Attribute, ...], name: str) -> str | None:
    for key, value in attributes:
        if key == name:
            return value
    return None


def _has(attributes: tuple[Attribute, ...], name: str) -> bool:
    for key, _ in attributes:  # noqa: SIM110
        if key == name:
            return True
    return False


@frozen(repr=False)
class Media:
    """One m= section. `formats` are payload types as text; `connection` is its own c= address, else None.

    `port` 0 refuses or disables it (RFC 3264 section 6). Attributes keep their order; `a=name` has the value None.
    """

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    connection: str | None = None
    attributes: tuple[Attribute, ...] = ()
    bandwidths: tuple[str, ...] = ()

    def first(self, name: str) -> str | None:
        """The value of the first such attribute; None where it is absent or has no value."""
        return _first(self.attributes, name)

    def all(self, name: str) -> list[str]:
        """The values of all such attributes."""
        return [value for key, value in self.attributes if key == name and value is not None]

    def has(self, name: str) -> bool:
        """Whether the attribute stands there."""
        return _has(self.attributes, name)

    def __repr__(self) -> str:
        return f"Media({SHOWN})"


@frozen(repr=False)
class Session:
    """A session description. `address` is the session's own c= address, or None; `origin_address` that of o=."""

    session_id: int
    version: int
    origin_address: str
    media: tuple[Media, ...]
    address: str | None = None
    username: str = "-"
    name: str = "-"
    attributes: tuple[Attribute, ...] = ()
    bandwidths: tuple[str, ...] = ()

    def address_of(self, media: Media) -> str | None:
        """Where a section's media goes: its own c= line, else the session's (RFC 8866 section 5.7)."""
        return media.connection or self.address

    def first(self, name: str) -> str | None:
        """The value of the first such session attribute."""
        return _first(self.attributes, name)

    def has(self, name: str) -> bool:
        """Whether the session attribute stands there."""
        return _has(self.attributes, name)

    def to_bytes(self) -> bytes:
        """The description as sent."""
        family = _family(self.origin_address)
        lines = [
            "v=0",
            f"o={self.username} {self.session_id} {self.version} IN {family} {self.origin_address}",
            f"s={self.name}",
        ]
        if self.address is not None:
            lines.append(f"c=IN {_family(self.address)} {self.address}")
        lines += [f"b={value}" for value in self.bandwidths]
        lines.append("t=0 0")
        lines += [f"a={name}" if value is None else f"a={name}:{value}" for name, value in self.attributes]
        for media in self.media:
            lines.append(f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}")
            if media.connection is not None:
                lines.append(f"c=IN {_family(media.connection)} {media.connection}")
            lines += [f"b={value}" for value in media.bandwidths]
            lines += [f"a={name}" if value is None else f"a={name}:{value}" for name, value in media.attributes]
        text = "\r\n".join(lines) + "\r\n"
        if text.count("\n") != len(lines) or text.count("\r") != len(lines):
            raise ValueError("a session description's value holds a line break")
        return text.encode("utf-8", "surrogateescape")

    def __repr__(self) -> str:
        return f"Session({SHOWN})"


def parse_session(data: bytes) -> Session:
    """A session description. Raises SdpError and nothing else."""
    if len(data) > MAX_BYTES:
        raise SdpError("the session description is too long")
    text = data.decode("utf-8", "surrogateescape").replace("\r\n", "\n").removesuffix("\r")
    if "\r" in text or "\0" in text:
        raise SdpError("a line holds a control character")
    lines = text.split("\n")
    while lines and not lines[-1]:
        lines.pop()
    if len(lines) > MAX_LINES:
        raise SdpError("the session description has too many lines")
    if not lines or lines[0] != "v=0":
        raise SdpError("the session description does not begin with v=0")
    starts = [index for index, line in enumerate(lines) if line.startswith("m=")]
    if len(starts) > MAX_MEDIA:
        raise SdpError("the session description has too many media sections")
    head = lines[1 : starts[0]] if starts else lines[1:]
    origin: tuple[str, int, int, str] | None = None
    address: str | None = None
    name = "-"
    attributes: list[Attribute] = []
    bandwidths: list[str] = []
    for line in head:
        kind, value = line[:2], line[2:]
        if kind == "a=":
            attributes.append(_parse_attribute(value))
        elif kind == "o=":
            if origin is not None:
                raise SdpError("o= stands twice")
            origin = _origin(value)
        elif kind == "c=":
            address = _connection(value)
        elif kind == "s=":
            name = value
        elif kind == "b=":
            bandwidths.append(value)
        else:
            _check_other(line)
    if origin is None:
        raise SdpError("o= is missing")
    username, session_id, version, origin_address = origin
    sections = tuple(_media(lines[start:end]) for start, end in pairwise([*starts, len(lines)]))
    return Session(session_id, version, origin_address, sections, address, username, name, tuple(attributes), tuple(bandwidths))


def _check_other(line: str) -> None:
    if len(line) < 2 or line[1] != "=" or not line[0].isascii() or not line[0].isalpha():
        raise SdpError("a line is not of the form x=value")


def _origin(value: str) -> tuple[str, int, int, str]:
    parts = value.split()
    if len(parts) != 6 or parts[3] != "IN" or parts[4] not in ("IP4", "IP6") or not _ADDRESS.fullmatch(parts[5]):
        raise SdpError("o= does not follow its grammar")
    # Some gateways write negative or very long numbers; they are only compared, so what is no number counts as 0.
    session_id, version = [int(part) if _NUMBER.fullmatch(part) else 0 for part in parts[1:3]]
    return parts[0], session_id, version, parts[5]


def _connection(value: str) -> str:
    parts = value.split()
    if len(parts) != 3 or parts[0] != "IN" or parts[1] not in ("IP4", "IP6"):
        raise SdpError("c= does not follow its grammar")
    # Multicast's "/ttl" is cut off; such an address is refused later.
    address = parts[2].partition("/")[0]
    if not _ADDRESS.fullmatch(address):
        raise SdpError("c= does not follow its grammar")
    return address


def _media(lines: list[str]) -> Media:
    parts = lines[0][2:].split()
    if len(parts) < 4:
        raise SdpError("m= does not follow its grammar")
    kind, ports, protocol, *formats = parts
    port, slash, count = ports.partition("/")
    if not (_NUMBER.fullmatch(port) and len(port) <= 5 and int(port) < 65536) or (slash and not _NUMBER.fullmatch(count)):
        raise SdpError("m= has no port from 0 to 65535")
    if not _TOKEN.fullmatch(kind) or None in map(_TOKEN.fullmatch, protocol.split("/")):
        raise SdpError("m= does not follow its grammar")
    if None in map(_TOKEN.fullmatch, formats):
        raise SdpError("m= has a format that is no token")
    connection: str | None = None
    attributes: list[Attribute] = []
    bandwidths: list[str] = []
    for line in lines[1:]:
        letter, value = line[:2], line[2:]
        if letter == "a=":
            attributes.append(_parse_attribute(value))
        elif letter == "c=":
            connection = connection or _connection(value)
        elif letter == "b=":
            bandwidths.append(value)
        else:
            _check_other(line)
    return Media(kind.lower(), int(port), protocol.upper(), tuple(formats), connection, tuple(attributes), tuple(bandwidths))


def _parse_attribute(value: str) -> Attribute:
    name, colon, rest = value.partition(":")
    return name.strip(), rest.strip(" ") if colon else None


def _family(address: str) -> str:
    return "IP6" if ":" in address else "IP4"
