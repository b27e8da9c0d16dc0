"""Packs of high-risk ranges: text -> prefixes, and which of them a number lies in. Pure; who signed a pack is told elsewhere.

A pack is a text file, one range a line, made to be read and compared (docs/voice-security.md has the format):

    hushwire-risk-pack 1
    name: public-ranges
    version: 3
    issued: 2026-11-26
    source: fcc-19-79 | FCC 19-79, Updating the Intercarrier Compensation Regime
    +1712432 | traffic-pumping | fcc-19-79 | Iowa, conference numbers
    signature: <key id> <Ed25519 in base64 of every byte before this line>
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from hushwire.core.errors import ConfigError

HEADER: Final = "hushwire-risk-pack 1"
SIGNATURE: Final = "signature: "
MOST_RANGES: Final = 200_000
LONGEST_BYTES: Final = 32 * 1024 * 1024

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_PREFIX: Final = re.compile(r"\+[1-9][0-9]{1,14}", re.ASCII)
_VERSION: Final = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class RiskKind(StrEnum):
    """Why a range is one of high risk."""

    REVENUE_SHARE = "revenue-share"
    TRAFFIC_PUMPING = "traffic-pumping"
    UNALLOCATED = "unallocated"
    MISUSE = "misuse"
    SATELLITE = "satellite"


WORDS: Final[Mapping[RiskKind, str]] = {
    RiskKind.REVENUE_SHARE: "who is called shares the revenue",
    RiskKind.TRAFFIC_PUMPING: "who is called shares the revenue of the access fees",
    RiskKind.UNALLOCATED: "nobody has been given it",
    RiskKind.MISUSE: "its misuse was reported",
    RiskKind.SATELLITE: "satellite phones answer there",
}


class RiskPackError(ConfigError):
    """The text is no risk pack. The message names the line and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Risk:
    """One range. `source` is the id of one of the pack's sources."""

    prefix: str
    kind: RiskKind
    source: str
    note: str


@dataclass(frozen=True, slots=True)
class RiskPack:
    """One version of one pack. Two are the same if they are the same bytes (`digest`)."""

    name: str
    version: int
    digest: bytes = field(repr=False)
    issued: date = field(compare=False)
    sources: Mapping[str, str] = field(compare=False, repr=False)
    risks: Mapping[str, Risk] = field(compare=False, repr=False)
    _lengths: tuple[int, ...] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_lengths", tuple(sorted({len(prefix) for prefix in self.risks}, reverse=True)))

    def find(self, number: str) -> Risk | None:
        """The narrowest range that a canonical number lies in."""
        for length in self._lengths:
            if (risk := self.risks.get(number[:length])) is not None:
                return risk
        return None

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass(frozen=True, slots=True)
class RiskDifference:
    """What one version of a pack has beside another."""

    added: tuple[Risk, ...]
    removed: tuple[Risk, ...]
    changed: tuple[tuple[Risk, Risk], ...]


def read_pack(text: str, digest: bytes) -> RiskPack:
    """The pack that a text is, its signature line left out. Raises RiskPackError with the line at fault."""
    lines = text.splitlines()
    if not lines or lines[0] != HEADER:
        raise RiskPackError(f'line 1: must be "{HEADER}"')
    said: dict[str, str] = {}
    sources: dict[str, str] = {}
    risks: dict[str, Risk] = {}
    for position, line in enumerate(lines[1:], 2):
        if not line.strip() or line.startswith("#") or line.startswith(SIGNATURE):
            continue
        if line.startswith("+"):
            risk = _risk(line, sources, position)
            if risk.prefix in risks:
                raise RiskPackError(f"line {position}: {risk.prefix} stands twice")
            risks[risk.prefix] = risk
            if len(risks) > MOST_RANGES:
                raise RiskPackError(f"line {position}: more than {MOST_RANGES} ranges")
            continue
        name, colon, value = line.partition(": ")
        if colon and name == "source":
            source, bar, title = value.partition(" | ")
            if not _NAME.fullmatch(source) or not bar or not title.strip() or source in sources:
                raise RiskPackError(f'line {position}: must be "source: ID | TITLE", each id once')
            sources[source] = title.strip()
        elif colon and name in ("name", "version", "issued") and name not in said:
            said[name] = value.strip()
        else:
            raise RiskPackError(f"line {position}: is neither a range, nor a source, nor name, version or issued")
    name, version = _head(said)
    return RiskPack(name, version, digest, _issued(said), sources, risks)


def difference(old: RiskPack, new: RiskPack) -> RiskDifference:
    """What `new` has beside `old`, by prefix."""
    both = sorted(old.risks.keys() & new.risks.keys())
    return RiskDifference(
        tuple(new.risks[prefix] for prefix in sorted(new.risks.keys() - old.risks.keys())),
        tuple(old.risks[prefix] for prefix in sorted(old.risks.keys() - new.risks.keys())),
        tuple((old.risks[prefix], new.risks[prefix]) for prefix in both if old.risks[prefix] != new.risks[prefix]),
    )


def _risk(line: str, sources: Mapping[str, str], position: int) -> Risk:
    parts = [part.strip() for part in line.split(" | ", 3)]
    if len(parts) != 4 or not _PREFIX.fullmatch(parts[0]):
        raise RiskPackError(f'line {position}: must be "+PREFIX | KIND | SOURCE | NOTE"')
    prefix, kind, source, note = parts
    if kind not in set(RiskKind):
        raise RiskPackError(f"line {position}: the kind must be one of {', '.join(RiskKind)}")
    if source not in sources:
        raise RiskPackError(f'line {position}: there is no source "{source[:64]}" above it')
    return Risk(prefix, RiskKind(kind), source, note)


def _head(said: Mapping[str, str]) -> tuple[str, int]:
    name, version = said.get("name", ""), said.get("version", "")
    if not _NAME.fullmatch(name):
        raise RiskPackError('there must be a line "name: " with lower-case letters, digits and hyphens')
    if not _VERSION.fullmatch(version):
        raise RiskPackError('there must be a line "version: " with a number from 1 on')
    return name, int(version)


def _issued(said: Mapping[str, str]) -> date:
    try:
        return date.fromisoformat(said.get("issued", ""))
    except ValueError:
        raise RiskPackError('there must be a line "issued: " with a day such as 2026-11-26') from None
