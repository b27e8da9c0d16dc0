"""Jurisdiction tags: which laws' clocks, calendars and consent rules apply. The strictest wins where several do.

A tag names a country (`DE`, `UK`, `SG`), a part of one whose law differs (`US-CA`, `AU-NSW`), or the Union (`EU`; a member state
brings its law along). What each tag stands for is data in `privacy/laws.py`, with its sources. It is configuration that counsel
reviews, not legal advice. A place that the data does not know counts as the strictest of all (`ELSEWHERE`).
"""

import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays

from hushwire.privacy.laws import ELSEWHERE, EUROPEAN, LAWS, UNION, Consent, Law

_TAG: Final = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", re.ASCII)
_SPELLED_OTHERWISE: Final = {"GB": "UK", "EEA": "EU"}
_LAST_YEAR: Final = 9998


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for somebody to whom all of `tags` apply: of each rule the strictest."""

    tags: tuple[str, ...]
    consent: Consent
    must_announce: bool
    regulator_hours: int
    is_european: bool
    regulators: tuple[str, ...]


def tag_of(text: str) -> str:
    """The tag in its one spelling: `gb`, `EU/DE` and `us-ca` are UK, DE and US-CA. Raises ValueError for what `laws` does not know."""
    spelled = text.strip().upper().removeprefix("EU/")
    country, dash, part = spelled.partition("-")
    tag = _SPELLED_OTHERWISE.get(country, country) + dash + part
    if not text.isascii() or not _TAG.fullmatch(tag) or tag not in LAWS:
        raise ValueError(f"must be one of {', '.join(sorted(LAWS))}")
    return tag


def tags_for_country(country: str) -> tuple[str, ...]:
    """What holds for an organisation of this ISO 3166-1 country where nobody named any tags."""
    return (_SPELLED_OTHERWISE.get(country, country),)


def law_of(tag: str) -> Law:
    """What a tag or an ISO 3166-1 code stands for; `ELSEWHERE`, the strictest, for what is unknown, with the country's own holidays."""
    if (known := LAWS.get(_SPELLED_OTHERWISE.get(tag, tag))) is not None:
        return known
    return replace(ELSEWHERE, tag=tag, calendar=tag) if tag in _calendars() else ELSEWHERE


def strictest(tags: Iterable[str]) -> Rules:
    """The rules for who is under all of these; without any, those of `ELSEWHERE`."""
    given = tuple(dict.fromkeys(tags))
    laws = [law_of(tag) for tag in given] or [ELSEWHERE]
    return Rules(
        tags=given,
        consent=Consent.ALL_PARTY if any(law.consent is Consent.ALL_PARTY for law in laws) else Consent.ONE_PARTY,
        must_announce=any(law.must_announce for law in laws),
        regulator_hours=min(law.regulator_hours for law in laws),
        is_european=any(law.tag in EUROPEAN or law.tag not in LAWS for law in laws),
        regulators=tuple(dict.fromkeys(law.regulator for law in laws if law.regulator)),
    )


@dataclass(frozen=True)
class Place:
    """A tag's calendar and its time zones, from east to west: a country may have several."""

    law: Law

    @cached_property
    def zones(self) -> tuple[ZoneInfo, ...]:
        """All zones of the place that differ in their days."""
        return tuple(ZoneInfo(name) for name in self.law.zones)

    def is_business_day(self, day: date) -> bool:
        """Neither weekend nor public holiday; days that make up for a holiday by work at a weekend don't count as business days."""
        free, weekend = _free_days(self.law.calendar, self.law.subdivision, day.year)
        return day.weekday() not in weekend and day not in free

    def nth_business_day_after(self, day: date, count: int) -> date:
        """The `count`-th business day after `day`, which itself does not count."""
        while count:
            day += timedelta(days=1)
            if day.year > _LAST_YEAR:
                raise ValueError("a date beyond the calendar")
            count -= self.is_business_day(day)
        return day


def places(tags: Iterable[str]) -> tuple[Place, ...]:
    """Calendars and zones of these tags; of `ELSEWHERE` where there is none."""
    return tuple(_place(law_of(tag)) for tag in dict.fromkeys(tags)) or (_place(ELSEWHERE),)


@lru_cache(maxsize=1)
def _calendars() -> frozenset[str]:
    return frozenset(holidays.list_supported_countries(include_aliases=False))


@lru_cache(maxsize=256)
def _place(law: Law) -> Place:
    return Place(law)


@lru_cache(maxsize=2048)
def _free_days(calendar: str | None, subdivision: str | None, year: int) -> tuple[frozenset[date], frozenset[int]]:
    """Public holidays of one year, and which weekdays (0 = Monday) are the weekend."""
    if calendar is None:
        return frozenset(), frozenset({4, 5, 6})  # Friday and Saturday, or Saturday and Sunday
    with warnings.catch_warnings():
        # Lunar holidays are known for some decades only; the library warns beyond, and gives the fixed ones.
        warnings.simplefilter("ignore")
        if calendar == UNION:
            found = holidays.financial_holidays("XECB", years=year)
        else:
            found = holidays.country_holidays(calendar, subdiv=subdivision, years=year)
    return frozenset(found), frozenset(found.weekend)


__all__ = ["ELSEWHERE", "Consent", "Law", "Place", "Rules", "law_of", "places", "strictest", "tag_of", "tags_for_country"]
