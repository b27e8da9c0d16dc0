"""Terms and hours as rows, files and the API spell them, and back: one spelling for each value, so that texts can be compared.

    terms   {"AT": {"ways": "calls", "until": "2026-12-31T00:00:00Z", "windows": [{"days": [1, 2], "from": "08:00", "to": "18:00"}]}}
    hours   [{"days": [1, 2, 3, 4, 5], "from": "22:00", "to": "06:00"}]

A subject is a country or a class. Days are ISO 8601 weekdays, 1 is Monday; what closes at or before it opens does so the day after.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from hushwire.policy.model import PERMITTED_CLASSES
from hushwire.policy.rules import Term, Terms, Ways, Window
from hushwire.policy.territories import TERRITORIES

MOST_WINDOWS: Final = 32
EVERY_DAY: Final = frozenset(range(1, 8))

_CLOCK: Final = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])", re.ASCII)
_DAY_MIN: Final = 24 * 60
_EARLIEST, _LATEST = 1970, 9000
_SUBJECTS: Final = TERRITORIES.keys() | {number_class.value for number_class in PERMITTED_CLASSES}


def window(days: Iterable[int], opens: str, closes: str) -> Window:
    """The hours between two times of day, HH:MM. Raises ValueError with the mend."""
    found = frozenset(days)
    if not found or not found <= EVERY_DAY:
        raise ValueError("days must be ISO 8601 weekdays: 1 (Monday) to 7 (Sunday), one at least")
    opens_min = _minute(opens)
    if opens_min == _DAY_MIN:
        raise ValueError("from must be a time of day, 00:00 to 23:59: what opens at 24:00 opens at 00:00 of the day after")
    return Window(found, opens_min, _minute(closes) or _DAY_MIN)


def terms_of(said: Mapping[str, Any]) -> Terms:
    """The terms that an object says, by subject in order. Raises ValueError with the mend."""
    return tuple((subject, term) for subject in sorted(said) if (term := _term(subject, said[subject])) != Term())


def hours_of(said: Any) -> tuple[Window, ...]:
    """The windows that a list says. Raises ValueError with the mend."""
    if not isinstance(said, Sequence) or isinstance(said, str) or len(said) > MOST_WINDOWS:
        raise ValueError(f"hours must be a list of at most {MOST_WINDOWS} windows")
    return tuple(sorted({_window(one) for one in said}, key=_order))


def read_terms(text: str) -> Terms:
    """The terms of a row."""
    return terms_of(json.loads(text))


def read_hours(text: str) -> tuple[Window, ...]:
    """The hours of a row."""
    return hours_of(json.loads(text))


def said_terms(terms: Terms) -> dict[str, dict[str, Any]]:
    """What `terms_of` reads; what is as it is without saying so is left out."""
    return {subject: _said(term) for subject, term in terms}


def said_hours(hours: Iterable[Window]) -> list[dict[str, Any]]:
    """What `hours_of` reads."""
    return [_said_window(one) for one in sorted(hours, key=_order)]


def written_terms(terms: Terms) -> str:
    """The terms as a row has them."""
    return json.dumps(said_terms(terms), separators=(",", ":"), sort_keys=True)


def written_hours(hours: Iterable[Window]) -> str:
    """The hours as a row has them."""
    return json.dumps(said_hours(hours), separators=(",", ":"), sort_keys=True)


def _term(subject: str, said: Any) -> Term:
    if subject not in _SUBJECTS:
        raise ValueError("terms are for countries such as DE, and for classes that can be permitted: one of these is neither")
    if not isinstance(said, Mapping) or not said.keys() <= {"ways", "until", "windows"}:
        raise ValueError(f"the terms of {subject} must be an object with ways, until and windows")
    ways, until = said.get("ways", Ways.BOTH), said.get("until")
    if not isinstance(ways, str) or ways not in set(Ways):
        raise ValueError(f"the ways of {subject} must be calls, sms or both")
    return Term(Ways(ways), None if until is None else _moment(subject, until), hours_of(said.get("windows", ())))


def _moment(subject: str, said: Any) -> datetime:
    try:
        found = said if isinstance(said, datetime) else datetime.fromisoformat(said)
    except (TypeError, ValueError):
        found = None
    if found is None or found.tzinfo is None or not _EARLIEST < found.year < _LATEST:
        raise ValueError(f"until of {subject} must be a time with its offset, such as 2026-12-31T00:00:00Z, in years that people live in")
    return found.astimezone(UTC).replace(microsecond=0)


def _window(said: Any) -> Window:
    if isinstance(said, Window):
        return said
    if not isinstance(said, Mapping) or not said.keys() <= {"days", "from", "to"} or not {"from", "to"} <= said.keys():
        raise ValueError('a window must be an object with days, from and to, such as {"days": [1, 2], "from": "08:00", "to": "18:00"}')
    days = said.get("days", tuple(EVERY_DAY))
    if not isinstance(days, Sequence) or isinstance(days, str) or not all(type(day) is int for day in days):
        raise ValueError("days must be a list of ISO 8601 weekdays: 1 (Monday) to 7 (Sunday)")
    return window(days, said["from"], said["to"])


def _minute(text: Any) -> int:
    match = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    minute = _DAY_MIN + 1 if match is None else int(match[1]) * 60 + int(match[2])
    if minute > _DAY_MIN:
        raise ValueError("from and to must be times of day, 00:00 to 24:00")
    return minute


def _said(term: Term) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if term.ways is not Ways.BOTH:
        said["ways"] = term.ways.value
    if term.until is not None:
        said["until"] = f"{term.until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if term.windows:
        said["windows"] = said_hours(term.windows)
    return said


def _said_window(one: Window) -> dict[str, Any]:
    return {"days": sorted(one.days), "from": _clock(one.opens_min), "to": _clock(one.closes_min)}


def _clock(minute: int) -> str:
    return f"{minute // 60:02d}:{minute % 60:02d}"


def _order(one: Window) -> tuple[list[int], int, int]:
    return sorted(one.days), one.opens_min, one.closes_min
