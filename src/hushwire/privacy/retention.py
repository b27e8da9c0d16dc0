"""How long things are kept: which are due by the rules, in which batches, and whether the clock can be believed. Pure.

Days are UTC days. A thing that began on some day and is kept for n days is due from the midnight after its nth further day on, so it is
never younger than its rule when it goes: leap days and daylight-saving changes don't matter.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

BATCH: Final = 1000
MOST_AHEAD: Final = timedelta(days=1)
"""A clock that is further ahead of what was last seen jumped, or nobody looked for as long: either way a person has to say so."""

MOST_BACK: Final = timedelta(minutes=5)
FEW: Final = 100
"""So many at once need no second word, whatever share they are."""

_MARGIN: Final = 10


@dataclass(frozen=True, slots=True)
class Rule:
    """Things of a class are kept for so many days; `agent` None: of every agent that has no rule of its own."""

    kind: str
    keep_days: int
    agent: UUID | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """A thing that is held: its class, when it began, and the agents that it concerns."""

    kind: str
    id: UUID
    began_at: datetime
    agents: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class Batch:
    """Things of one class to be erased together, oldest first."""

    kind: str
    ids: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is due at `now`. `held`: due, but kept by a legal hold, by class."""

    now: datetime
    batches: tuple[Batch, ...]
    held: Mapping[str, int]

    @property
    def due(self) -> dict[str, int]:
        """How many of each class are to go."""
        counts: dict[str, int] = {}
        for batch in self.batches:
            counts[batch.kind] = counts.get(batch.kind, 0) + len(batch.ids)
        return counts


class Doubt(StrEnum):
    """Why nothing is erased before a person confirms it."""

    CLOCK_AHEAD = "clock-ahead"
    CLOCK_BACK = "clock-back"
    LARGE_SHARE = "large-share"


def plan(inventory: Iterable[Item], rules: Sequence[Rule], held: Collection[UUID], now: datetime, *, batch: int = BATCH) -> Plan:
    """What the rules say is to go at `now`, except what is held. The order of the inventory and of the rules makes no difference."""
    due: dict[str, set[tuple[datetime, UUID]]] = {}
    kept: dict[str, int] = {}
    for item in set(inventory):
        moment = due_at(item, rules)
        if moment is None or moment > now:
            continue
        if item.id in held:
            kept[item.kind] = kept.get(item.kind, 0) + 1
        else:
            due.setdefault(item.kind, set()).add((item.began_at, item.id))
    batches = []
    for kind in sorted(due):
        ids = [item_id for _, item_id in sorted(due[kind])]
        batches += [Batch(kind, tuple(ids[start : start + batch])) for start in range(0, len(ids), batch)]
    return Plan(now, tuple(batches), dict(sorted(kept.items())))


def due_at(item: Item, rules: Sequence[Rule]) -> datetime | None:
    """From when on a thing is to go; None where no rule says so. Of several agents' own rules the shortest holds."""
    own = [rule.keep_days for rule in rules if rule.kind == item.kind and rule.agent in item.agents and rule.agent is not None]
    general = [rule.keep_days for rule in rules if rule.kind == item.kind and rule.agent is None]
    days = min(own or general, default=None)
    return None if days is None else _after(item.began_at, days)


def cutoff(kind: str, rules: Sequence[Rule], now: datetime) -> datetime | None:
    """What began later is due under no rule of the class; None: nothing is."""
    days = min((rule.keep_days for rule in rules if rule.kind == kind), default=None)
    if days is None:
        return None
    today = now.astimezone(UTC).date()
    return datetime.combine(today - timedelta(days=min(days, (today - date.min).days)), time.min, UTC)


def doubt_of_clock(now: datetime, last_seen_at: datetime) -> Doubt | None:
    """Whether the clock can't be believed by itself."""
    if now > last_seen_at + MOST_AHEAD:
        return Doubt.CLOCK_AHEAD
    return Doubt.CLOCK_BACK if now < last_seen_at - MOST_BACK else None


def is_large(due: int, total: int, most_percent: int) -> bool:
    """Whether so many at once need a second word."""
    return due > FEW and due * 100 > total * most_percent


def is_confirmed(doubt: Doubt, confirmed: Doubt | None, found_at: datetime | None, found: int, now: datetime, due: int) -> bool:
    """Whether what a person confirmed is still what it is about: the same doubt, the same day, hardly more things."""
    if confirmed is not doubt or found_at is None or not found_at - MOST_BACK <= now <= found_at + MOST_AHEAD:
        return False
    return doubt is not Doubt.LARGE_SHARE or due <= found + max(FEW, found // _MARGIN)


def _after(began_at: datetime, days: int) -> datetime:
    began = began_at.astimezone(UTC).date()
    try:
        return datetime.combine(began + timedelta(days=days + 1), time.min, UTC)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)
