"""What the judge knows: the lists of one organisation as one agent meets them, a frozen snapshot.

Three levels narrow one another: organisation, team, agent. Each may name countries, classes and short codes; what a level does not name
stays as the levels above it have it. A named country or class may have a `Term`: calls or messages only, an end, hours of the week.

Windows open and close at whole minutes only, and ends are known: so an answer stays right until the next minute or end (`settled`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Final

from hushwire.core.ids import OrgId
from hushwire.policy.model import NumberClass, OwnHosts, Way
from hushwire.policy.risk import RiskPack

ORGANISATION: Final = "organisation"
TEAM: Final = "team"
AGENT: Final = "agent"

_MINUTE: Final = timedelta(minutes=1)


class Ways(StrEnum):
    """What a permission is for."""

    CALLS = "calls"
    SMS = "sms"
    BOTH = "both"

    def includes(self, way: Way) -> bool:
        """Whether it is for this way too."""
        return self is Ways.BOTH or self.value == way.value


@dataclass(frozen=True, slots=True)
class Window:
    """Hours of the week in local time. `days` are ISO 8601 weekdays (1 is Monday) on which it opens.

    `opens_min` and `closes_min` are minutes of the day, 0-1439 and 1-1440; one that closes at or before it opens does so the day after.
    """

    days: frozenset[int]
    opens_min: int
    closes_min: int

    def holds(self, local: datetime) -> bool:
        """Whether it is open at this local time."""
        day, minute = local.isoweekday(), local.hour * 60 + local.minute
        if self.opens_min < self.closes_min:
            return day in self.days and self.opens_min <= minute < self.closes_min
        before = 7 if day == 1 else day - 1
        return (day in self.days and minute >= self.opens_min) or (before in self.days and minute < self.closes_min)


@dataclass(frozen=True, slots=True)
class Term:
    """On which terms a country or class is named. `until` is the first moment at which it is not any more; no windows: always."""

    ways: Ways = Ways.BOTH
    until: datetime | None = None
    windows: tuple[Window, ...] = ()


Terms = tuple[tuple[str, Term], ...]
"""By country code or class."""


@dataclass(frozen=True, slots=True)
class Level:
    """What one level lets through. None: what the levels above it do. `hours`: when it lets anything through at all; none: always."""

    name: str
    countries: frozenset[str] | None = None
    classes: frozenset[NumberClass] | None = None
    short_codes: frozenset[str] | None = None
    terms: Terms = ()
    hours: tuple[Window, ...] = ()
    term: Mapping[str, Term] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "term", dict(self.terms))


class ExceptionKind(StrEnum):
    """Which rule a number is excepted from."""

    UNASSIGNED = "unassigned"
    """No numbering plan knows it, and it is reached all the same."""
    RISK = "risk"
    """It lies in a range of a risk pack."""


@dataclass(frozen=True, slots=True)
class NumberException:
    """A number (+E.164), or all that begin so, for which one rule does not hold. Its country must be allowed like any other's.

    `country` is where an unassigned number counts as lying: no plan says it.
    """

    kind: ExceptionKind
    number: str = field(repr=False)
    is_prefix: bool
    country: str
    until: datetime | None = None

    def covers(self, number: str, now: datetime) -> bool:
        """Whether it holds for this number now."""
        if self.until is not None and now >= self.until:
            return False
        return number.startswith(self.number) if self.is_prefix else number == self.number


@dataclass(frozen=True, slots=True)
class Rules:
    """One organisation's rules as one agent meets them. Countries are ISO 3166-1 alpha-2 codes (and XK, AC, TA)."""

    version: int
    home_country: str
    allowed_countries: frozenset[str]
    classes: frozenset[NumberClass] = frozenset()
    outside_prefix: str | None = None
    own_hosts: OwnHosts = field(default_factory=OwnHosts)
    terms: Terms = ()
    hours: tuple[Window, ...] = ()
    short_codes: frozenset[str] = frozenset()
    narrower: tuple[Level, ...] = ()
    zone: tzinfo = UTC
    """In which the windows are meant."""
    exceptions: tuple[NumberException, ...] = ()
    packs: tuple[RiskPack, ...] = ()
    org_id: OrgId | None = None
    """Whose they are: by this it is known how old they are."""
    levels: tuple[Level, ...] = field(init=False, compare=False, repr=False)
    """From the organisation down."""
    countries: frozenset[str] = field(init=False, compare=False)
    """Where this agent may call or write at some time or other."""
    is_timed: bool = field(init=False, compare=False)
    """Whether an answer may be another one later under the same rules."""
    _ends: tuple[datetime, ...] = field(init=False, compare=False, repr=False)
    _hash: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        top = Level(ORGANISATION, self.allowed_countries, self.classes, self.short_codes, self.terms, self.hours)
        levels = (top, *self.narrower)
        countries = self.allowed_countries
        for level in self.narrower:
            if level.countries is not None:
                countries &= level.countries
        ends = {*_ends(levels), *(one.until for one in self.exceptions if one.until is not None)}
        has_windows = any(level.hours or any(term.windows for _, term in level.terms) for level in levels)
        parts = (self.version, self.home_country, countries, self.classes, self.outside_prefix, self.own_hosts, self.narrower, self.terms)
        for name, value in (
            ("levels", levels),
            ("countries", countries),
            ("is_timed", bool(ends) or has_windows),
            ("_ends", tuple(sorted(ends))),
            ("_hash", hash(parts)),
        ):
            object.__setattr__(self, name, value)

    def __hash__(self) -> int:
        return self._hash

    def settled(self, now: datetime) -> tuple[datetime, datetime]:
        """From when and until when what is decided at `now` is decided so: a minute at most, in which no permission ends."""
        begin = now.replace(second=0, microsecond=0)
        end = begin + _MINUTE
        for moment in self._ends:
            if moment <= now:
                begin = max(begin, moment)
            else:
                end = min(end, moment)
        return begin, end


def _ends(levels: Iterable[Level]) -> Iterable[datetime]:
    return (term.until for level in levels for _, term in level.terms if term.until is not None)
