"""Which bytes of a representation a request asks for: conditions and ranges of RFC 9110, sections 13 and 14. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SPEC: Final = re.compile(r"(\d{1,18})-(\d{0,18})|-(\d{1,18})", re.ASCII)
_TAG: Final = re.compile(r'(?:W/)?"[\x21\x23-\x7e\x80-\xff]*"')
_MOST_HEADER: Final = 1000


@dataclass(frozen=True, slots=True)
class Whole:
    """200."""


@dataclass(frozen=True, slots=True)
class Part:
    """206: bytes `first` to `last`, both included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Unsatisfiable:
    """416."""


@dataclass(frozen=True, slots=True)
class NotModified:
    """304."""


@dataclass(frozen=True, slots=True)
class PreconditionFailed:
    """412."""


Choice = Whole | Part | Unsatisfiable | NotModified | PreconditionFailed


def chosen(method: str, headers: Mapping[str, str], etag: str, size: int) -> Choice:
    """What to answer where the representation has this strong entity tag and size; the order is that of section 13.2.2.

    Several ranges, and a Range that can't be read, are answered with the whole (section 14.2 lets a server do so).
    """
    if (wanted := headers.get("if-match")) is not None and not _names(wanted, etag, is_weak=False):
        return PreconditionFailed()
    if (known := headers.get("if-none-match")) is not None and _names(known, etag, is_weak=True):
        return NotModified()
    # Range is defined for GET alone (section 14.2).
    if method != "GET" or (asked := headers.get("range")) is None:
        return Whole()
    # Section 13.1.5: compared strongly; a date matches nothing here, since there is no Last-Modified.
    if (condition := headers.get("if-range")) is not None and condition.strip() != etag:
        return Whole()
    return _range(asked, size)


def _range(asked: str, size: int) -> Whole | Part | Unsatisfiable:
    unit, _, specs = asked.partition("=")
    if unit.strip().lower() != "bytes" or len(asked) > _MOST_HEADER:
        return Whole()
    listed = [spec.strip(" \t") for spec in specs.split(",")]
    listed = [spec for spec in listed if spec]  # section 5.6.1.2: empty elements of a list are nothing
    if len(listed) != 1 or (found := _SPEC.fullmatch(listed[0])) is None:
        return Whole()
    first, last, suffix = found.groups()
    if suffix is not None:
        count = min(int(suffix), size)
        return Part(size - count, size - 1) if count else Unsatisfiable()
    if last and int(last) < int(first):
        return Whole()
    if int(first) >= size:
        return Unsatisfiable()
    return Part(int(first), min(int(last), size - 1) if last else size - 1)


def _names(listed: str, etag: str, *, is_weak: bool) -> bool:
    if listed.strip() == "*":
        return True
    tags = _TAG.findall(listed[:_MOST_HEADER])
    return any((tag.removeprefix("W/") if is_weak else tag) == etag for tag in tags)
