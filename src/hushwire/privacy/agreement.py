"""Where an organisation's data may go, and when an answer about it may be given: the agreement's clauses as decisions. Pure.

A sub-processor may be used for a customer once the customer was told, the time to object is over, nothing of an objection stands,
and a transfer out of the customer's region has its safeguard on file (clauses 4, 4.1, 4.2, 5.1).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID


class Bar(StrEnum):
    """Why a sub-processor is not used for an organisation now."""

    UNKNOWN = "unknown"  # on nobody's list
    WITHDRAWN = "withdrawn"
    NOT_TOLD = "not-told"  # the customer has not been told yet
    TOO_EARLY = "too-early"  # the time to object is running
    OBJECTED = "objected"  # an objection stands, in its 18 days or unresolved after them
    NO_SAFEGUARD = "no-safeguard"  # a transfer out of the region with nothing on file


@dataclass(frozen=True, slots=True)
class Subprocessor:
    """One entry of the operator's list."""

    id: UUID
    name: str
    country: str
    safeguard: str | None
    is_withdrawn: bool


@dataclass(frozen=True, slots=True)
class Standing:
    """How it stands with one customer."""

    active_from: datetime | None
    has_objection: bool = False


# Regions are residencies of organisations; where none is listed here, its own name is read as a country.
_EEA: Final = frozenset(
    "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK".split()  # noqa: SIM905
)
REGIONS: Final[Mapping[str, frozenset[str]]] = {
    "eu": _EEA,
    "uk": frozenset({"GB", "JE", "GG", "IM"}),
    "ch": frozenset({"CH"}),
    "us": frozenset({"US", "PR", "GU", "VI", "AS", "MP"}),
    "sg": frozenset({"SG"}),
    "au": frozenset({"AU"}),
    "ca": frozenset({"CA"}),
}


def is_inside(residency: str, country: str) -> bool:
    """Whether a country lies in an organisation's region; `eu-central` is read as `eu`."""
    region = residency.partition("-")[0]
    return country in REGIONS.get(region, frozenset({region.upper()}))


def barred(entry: Subprocessor | None, standing: Standing | None, residency: str, safeguarded: Iterable[str], now: datetime) -> Bar | None:
    """Why an organisation's data does not go to this sub-processor at `now`; None where it may.

    `safeguarded`: countries for which the organisation has a safeguard on file that has neither expired nor been withdrawn.
    """
    if entry is None:
        return Bar.UNKNOWN
    if entry.is_withdrawn:
        return Bar.WITHDRAWN
    if standing is None or standing.active_from is None:
        return Bar.NOT_TOLD
    if standing.has_objection:
        return Bar.OBJECTED
    if now < standing.active_from:
        return Bar.TOO_EARLY
    if not is_inside(residency, entry.country) and entry.safeguard is None and entry.country not in set(safeguarded):
        return Bar.NO_SAFEGUARD
    return None


class Answering(StrEnum):
    """Whether a regulator, complainant or opponent may be answered."""

    ALLOWED = "allowed"
    NOT_RELEASED = "not-released"  # neither the customer's word nor a legal compulsion
    ANSWERED = "answered"
    CLOSED = "closed"


def may_answer(state: str) -> Answering:
    """An answer takes the customer's authorisation, or a legal compulsion whose reason is on file (clauses 3.4, 3.6)."""
    return {"open": Answering.NOT_RELEASED, "answered": Answering.ANSWERED, "closed": Answering.CLOSED}.get(state, Answering.ALLOWED)


class Ending(StrEnum):
    """What the end of an agreement waits for."""

    NOTICE = "notice"  # announced, and not effective yet
    SUSPEND = "suspend"  # effective: calls end, data is kept for its return
    RETURN = "return"  # the customer may still export
    ERASE_CONTENT = "erase-content"
    NUMBER_DATA = "number-data"  # content is gone; number data is restricted until its own day
    ERASE_ALL = "erase-all"
    DONE = "done"


def ending(
    now: datetime,
    *,
    effective_at: datetime,
    suspended: bool,
    content_due: datetime | None,
    content_erased: bool,
    all_due: datetime | None,
    erased: bool,
) -> Ending:
    """The step that a termination stands at (appendix A, retention): content goes by day 15, number data by day 20."""
    if erased:
        return Ending.DONE
    if now < effective_at:
        return Ending.NOTICE
    if not suspended:
        return Ending.SUSPEND
    if all_due is not None and now >= all_due:
        return Ending.ERASE_ALL
    if not content_erased:
        return Ending.ERASE_CONTENT if content_due is not None and now >= content_due else Ending.RETURN
    return Ending.NUMBER_DATA
