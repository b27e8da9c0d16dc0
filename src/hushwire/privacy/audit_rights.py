"""Audits by the customer: when one may begin, how often, and for how long an auditor may look. Pure (agreement, section B)."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

ACCESS_DAYS: Final = 30
ACCESS_MOST_DAYS: Final = 90


class Basis(StrEnum):
    """Why an audit is asked for."""

    AGREEMENT = "agreement"  # once in twelve months, with 30 days' notice
    LAW = "law"
    REGULATOR = "regulator"
    SUSPECTED_BREACH = "suspected-breach"

    @property
    def is_bound(self) -> bool:
        """Whether notice and yearly limit hold: law, a regulator or a suspected breach ask for more."""
        return self is Basis.AGREEMENT


class Refusal(StrEnum):
    """Why a request is not taken."""

    NOT_INDEPENDENT = "not-independent"
    NO_REASON = "no-reason"
    TOO_SOON = "too-soon"


@dataclass(frozen=True, slots=True)
class TooSoon:
    """The last audit was less than twelve months ago; the next may be asked for at `free_at`."""

    free_at: datetime


def refused(basis: Basis, is_independent: bool, reason: str | None, earlier: Iterable[datetime], now: datetime) -> Refusal | TooSoon | None:
    """Why a request is not taken now. `earlier`: when audits on the agreement's own basis were asked for."""
    if not is_independent:
        return Refusal.NOT_INDEPENDENT
    if not basis.is_bound:
        return None if (reason or "").strip() else Refusal.NO_REASON
    free_at = max((_a_year_later(at) for at in earlier), default=now)
    return TooSoon(free_at) if free_at > now else None


def access_until(now: datetime, days: int) -> datetime:
    """When an auditor's key ends."""
    return now + timedelta(days=min(max(days, 1), ACCESS_MOST_DAYS))


def _a_year_later(at: datetime) -> datetime:
    # Twelve months by the calendar; from the 29th of February to the 1st of March, the later reading.
    try:
        return at.replace(year=at.year + 1)
    except ValueError:
        return at.replace(year=at.year + 1, month=3, day=1)
