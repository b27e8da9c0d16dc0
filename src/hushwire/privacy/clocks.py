"""Clocks: how long each duty or period of the agreement runs, when to warn, and how a clock stands now.

How days are counted (docs/adr/0012): hours are absolute time. The day on which a clock starts does not count. A *duty* is owed by the
same local time on its last day; a *period* that must pass is over with the end of its last day. With several jurisdictions, time
zones or daylight-saving changes the stricter reading holds: the earliest end of a duty, the latest end of a period.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from hushwire.core.ids import OrgId
from hushwire.privacy.jurisdictions import Place, places


class ClockKind(StrEnum):
    """Names of clocks; stable, since rows carry them."""

    DATA_SUBJECT_NOTICE = "data-subject-notice"
    ACCOUNT_DELETION = "account-deletion"
    NUMBER_DATA = "number-data"
    SUB_PROCESSOR_CHANGE = "sub-processor-change"
    OBJECTION = "objection"
    BREACH_NOTICE = "breach-notice"
    AUDIT_NOTICE = "audit-notice"
    DISPUTE = "dispute"
    TERMINATION_CONTENT = "termination-content"


class Unit(StrEnum):
    """What a rule counts."""

    HOURS = "hours"
    DAYS = "calendar days"
    BUSINESS_DAYS = "business days"


class Sense(StrEnum):
    """Which reading of an end is the strict one."""

    DUTY = "duty"  # something has to be done by the end: the earliest one
    PERIOD = "period"  # something may not be done before the end: the latest one


class State(StrEnum):
    """How a clock stands."""

    RUNNING = "running"
    WARNED = "warned"  # a warning time has passed
    OVERDUE = "overdue"  # a duty whose end has passed, and which is not done
    ELAPSED = "elapsed"  # a period that is over: what waited for it may be done
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Rule:
    """How long one kind of clock runs. `warnings` count from its start in the rule's own unit.

    `act_before`: what hushwire does by itself at the end begins this much earlier, so that it is done by the end.
    """

    clause: str
    sense: Sense
    count: int
    unit: Unit
    warnings: tuple[int, ...]
    act_before: timedelta | None = None


_AHEAD: Final = timedelta(hours=12)

RULES: Final[Mapping[ClockKind, Rule]] = {
    ClockKind.DATA_SUBJECT_NOTICE: Rule("3", Sense.DUTY, 24, Unit.HOURS, (12, 20)),
    ClockKind.ACCOUNT_DELETION: Rule("3.5", Sense.DUTY, 15, Unit.DAYS, (10, 13)),
    ClockKind.NUMBER_DATA: Rule("A Retention", Sense.DUTY, 20, Unit.DAYS, (15, 18), _AHEAD),
    ClockKind.SUB_PROCESSOR_CHANGE: Rule("4.1, 5.2", Sense.PERIOD, 10, Unit.BUSINESS_DAYS, (8,)),
    # While it runs the customer's data stays with the old sub-processor, and after it until the customer decides: what its end brings
    # is the customer's right to terminate, so the earlier reading is the strict one.
    ClockKind.OBJECTION: Rule("4.2", Sense.DUTY, 18, Unit.DAYS, (12, 16)),
    # The first warning is the target: notices are out within the hour.
    ClockKind.BREACH_NOTICE: Rule("6", Sense.DUTY, 24, Unit.HOURS, (1, 12, 20)),
    # The customer gives at least so long a notice: an audit may not begin before.
    ClockKind.AUDIT_NOTICE: Rule("B Audit rights", Sense.PERIOD, 30, Unit.DAYS, (20, 27)),
    ClockKind.DISPUTE: Rule("5.8", Sense.DUTY, 30, Unit.DAYS, (20, 27)),
    ClockKind.TERMINATION_CONTENT: Rule("A Retention", Sense.DUTY, 15, Unit.DAYS, (10, 13), _AHEAD),
}

Evidence = Mapping[str, str | int | bool | None]
# Ids, digests and codes: nothing that could name a person fits.
_EVIDENCE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}", re.ASCII)
_EVIDENCE_VALUE: Final = re.compile(r"[a-z0-9][a-z0-9:.-]{0,127}", re.ASCII)
_OUTCOME: Final = re.compile(r"[a-z][a-z0-9-]{0,39}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Times:
    """When a clock ends, warns and acts, in UTC."""

    due_at: datetime
    warn_at: tuple[datetime, ...]
    act_at: datetime | None


@dataclass(frozen=True, slots=True)
class Clock:
    """One clock, as its row stands. `warned` counts the warnings that were given."""

    id: UUID
    org_id: OrgId
    kind: ClockKind
    subject_kind: str
    subject_id: UUID
    jurisdictions: tuple[str, ...]
    started_at: datetime
    due_at: datetime
    warn_at: tuple[datetime, ...]
    act_at: datetime | None
    warned: int = 0
    is_alarmed: bool = False
    ended_at: datetime | None = None
    outcome: str | None = None
    evidence: Evidence = field(default_factory=dict)

    @property
    def was_late(self) -> bool:
        """Ended, but after the end of a duty."""
        return self.ended_at is not None and RULES[self.kind].sense is Sense.DUTY and self.ended_at > self.due_at


@dataclass(frozen=True, slots=True)
class Step:
    """What is new about a clock at some moment, to be written in one transaction. `look_at`: when to look again."""

    warned: int
    is_due: bool
    acts: bool
    look_at: datetime | None


def due(kind: ClockKind, started_at: datetime, jurisdictions: Iterable[str]) -> datetime:
    """When a clock of this kind ends, in UTC; `jurisdictions` are tags (without any: the strictest place)."""
    rule = RULES[kind]
    return _after(rule, rule.count, started_at, places(jurisdictions))


def warnings(kind: ClockKind, started_at: datetime, jurisdictions: Iterable[str]) -> tuple[datetime, ...]:
    """When to warn, rising, all before the end."""
    return times(kind, started_at, jurisdictions).warn_at


def times(kind: ClockKind, started_at: datetime, jurisdictions: Iterable[str]) -> Times:
    """End, warnings and act of a clock."""
    rule, where = RULES[kind], places(jurisdictions)
    end = _after(rule, rule.count, started_at, where)
    return Times(
        due_at=end,
        warn_at=tuple(_after(rule, count, started_at, where) for count in rule.warnings),
        act_at=None if rule.act_before is None else end - rule.act_before,
    )


def state(row: Clock, now: datetime) -> State:
    """How the clock stands at `now`. What is owed by an instant and not done at it is overdue."""
    if row.ended_at is not None:
        return State.ENDED
    if now >= row.due_at:
        return State.OVERDUE if RULES[row.kind].sense is Sense.DUTY else State.ELAPSED
    return State.WARNED if any(moment <= now for moment in row.warn_at) else State.RUNNING


def step(row: Clock, now: datetime) -> Step | None:
    """What the worker has to do about a clock now; None about one that has ended."""
    if row.ended_at is not None:
        return None
    warned = sum(moment <= now for moment in row.warn_at)
    is_due = now >= row.due_at
    acts = row.act_at is not None and now >= row.act_at
    ahead = [moment for moment in (*row.warn_at, row.act_at, row.due_at) if moment is not None and moment > now]
    return Step(warned, is_due, acts, min(ahead, default=None))


def checked_evidence(evidence: Evidence) -> dict[str, str | int | bool | None]:
    """The evidence as it may stand in a row. Raises ValueError for anything but ids, digests, codes and counts."""
    for name, value in evidence.items():
        if not _EVIDENCE_NAME.fullmatch(name):
            raise ValueError("a name of evidence is a short lower-case word")
        if isinstance(value, str) and (not _EVIDENCE_VALUE.fullmatch(value) or (value.isdigit() and len(value) > 5)):
            raise ValueError(f"the evidence {name} is no id, digest or code")
    return dict(evidence)


def checked_outcome(outcome: str) -> str:
    """The outcome as it may stand in a row: a code. Raises ValueError."""
    if not _OUTCOME.fullmatch(outcome):
        raise ValueError("an outcome is a code such as notice-accepted")
    return outcome


def _after(rule: Rule, count: int, started_at: datetime, where: tuple[Place, ...]) -> datetime:
    if rule.unit is Unit.HOURS:
        return started_at.astimezone(UTC) + timedelta(hours=count)
    choose = min if rule.sense is Sense.DUTY else max
    return choose(end for place in where for zone in place.zones for end in _ends(rule, count, started_at, place, zone))


def _ends(rule: Rule, count: int, started_at: datetime, place: Place, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The instants that may be meant in one zone: two where the local time comes twice, or falls into a gap."""
    begun = started_at.astimezone(zone)
    in_business = rule.unit is Unit.BUSINESS_DAYS
    last = place.nth_business_day_after(begun.date(), count) if in_business else begun.date() + timedelta(days=count)
    if rule.sense is Sense.DUTY:
        return _instants(last, begun.time(), zone)
    return _instants(last + timedelta(days=1), time(), zone)


def _instants(day: date, at: time, zone: ZoneInfo) -> tuple[datetime, datetime]:
    # PEP 495: of a time in a gap, fold=0 gives the instant after it and fold=1 the one before; of a time that comes twice, the first
    # and the second.
    naive = datetime.combine(day, at, tzinfo=None)
    return tuple(naive.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))  # type: ignore[return-value]


__all__ = [
    "RULES",
    "Clock",
    "ClockKind",
    "Evidence",
    "Rule",
    "Sense",
    "State",
    "Step",
    "Times",
    "Unit",
    "checked_evidence",
    "checked_outcome",
    "due",
    "state",
    "step",
    "times",
    "warnings",
]
