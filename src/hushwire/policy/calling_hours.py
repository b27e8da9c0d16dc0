"""When people may be called who did not ask for it: hours of the day where they are, by the time zones of their number. Pure.

One entry reads `<country or *> <days> <from>-<to>`, such as `FR mon-fri 10:00-13:00` or `* mon-sat 08:00-20:00`. A country with entries of
its own is called within those alone, every other one within those of `*`; where nothing is said of a country, any hour is right. A
number that may be in several time zones is called only while all of them are inside; one of which no zone is known is not called at all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import phonenumbers
from phonenumbers import timezone

from hushwire.policy.territories import TERRITORIES

EVERYWHERE: Final = "*"
MOST: Final = 400
"""Entries of one organisation."""

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY: Final = "|".join(_DAYS)
_ENTRY: Final = re.compile(rf"(\*|[A-Z]{{2}}) ({_DAY})(?:-({_DAY}))? ([0-2][0-9]):([0-5][0-9])-([0-2][0-9]):([0-5][0-9])", re.ASCII)
_MINUTES_OF_A_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True)
class CallingHours:
    """One entry. `country` is a territory's code or `*`; days 0 (Monday) to 6; minutes of the local day, `begins` <= t < `ends`."""

    country: str
    days: frozenset[int]
    begins: int
    ends: int

    def holds(self, local: datetime) -> bool:
        """Whether a local time lies inside."""
        return local.weekday() in self.days and self.begins <= 60 * local.hour + local.minute < self.ends


@lru_cache(maxsize=4096)
def parse(text: str) -> CallingHours:
    """One entry as it is written. Raises ValueError, in words that repeat nothing of it."""
    match = _ENTRY.fullmatch(text)
    if match is None:
        raise ValueError('must read as in "FR mon-fri 10:00-13:00" or "* mon-sat 08:00-20:00"')
    country, first, last, *clock = match.groups()
    if country != EVERYWHERE and country not in TERRITORIES:
        raise ValueError("begins with no ISO 3166-1 code of a country, and not with *")
    begins, ends = (60 * int(hour) + int(minute) for hour, minute in (clock[:2], clock[2:]))
    if not begins < ends <= _MINUTES_OF_A_DAY:
        raise ValueError("must begin before it ends, and within one day (24:00 at the latest)")
    start = _DAYS.index(first)
    count = (_DAYS.index(last or first) - start) % len(_DAYS) + 1
    return CallingHours(country, frozenset((start + day) % len(_DAYS) for day in range(count)), begins, ends)


@lru_cache(maxsize=4096)
def zones(number: str) -> tuple[str, ...]:
    """The time zones in which a canonical number (+E.164) may be; empty where none is known (satellite, global).

    A geographic number has those of its area, any other one all of its country's.
    """
    try:
        found = timezone.time_zones_for_number(phonenumbers.parse(number))
    except phonenumbers.NumberParseException:
        return ()
    return () if timezone.UNKNOWN_TIMEZONE in found else tuple(found)


def closed_where(number: str, country: str | None, hours: Sequence[CallingHours], now: datetime) -> str | None:
    """The first time zone in which the number must not be called now, empty where its zones are not known; None where it may be called."""
    its = [one for one in hours if one.country == country] or [one for one in hours if one.country == EVERYWHERE]
    if not its:
        return None
    found = zones(number)
    if not found:
        return ""
    return next((name for name in found if not _is_open(its, name, now)), None)


def local_time(zone: str, now: datetime) -> str:
    """`14:05`, as clocks show it there."""
    found = _zone(zone)
    return f"{now.astimezone(found):%H:%M}" if found is not None else ""


def _is_open(hours: Sequence[CallingHours], zone: str, now: datetime) -> bool:
    found = _zone(zone)
    return found is not None and any(one.holds(now.astimezone(found)) for one in hours)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    """None where the system's time zones don't have it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        return None
