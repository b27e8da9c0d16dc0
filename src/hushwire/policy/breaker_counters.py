"""What the fraud breaker counts, of agents, teams and organisations. Pure: wall-clock seconds are an argument, and nobody is named.

Destinations are keyed blind indexes, spellings are keyed marks of what was dialled: equality is all that is asked of them. Each store is
bounded, so that no flood makes it grow.
"""

import re
from bisect import insort
from collections import deque
from dataclasses import dataclass, field
from typing import Final

DAY_S: Final = 86_400.0
DESTINATIONS_S: Final = 3600.0
SPELLINGS_S: Final = 60.0
SHORT_CALLS_S: Final = 600.0
SHORT_S: Final = 6.0
"""An answered call that is over sooner is a short one."""
BURST_S: Final = 20.0
"""Attempts may come this much earlier than at an even rate: a third of a minute's at once."""
AHEAD_S: Final = 60.0
"""What lies further ahead than clocks of gateways may differ was seen before the clock was put back, and says nothing any more."""
_NOT_DIALLED: Final = re.compile(r"[^0-9+*#]+")
_MOST: Final = 1024
_MOST_TAILS: Final = 256
_MOST_HEADS: Final = 64
_MOST_ARRIVALS: Final = 20_000
_MOST_PACES: Final = 4
_NO_PACE: Final = (0.0, False)
LEARNED_CALLS: Final = 20
LEARNED_DAYS: Final = 5
"""Of so many answered calls on so many days an agent's habits are known; before that nothing is unusual."""


def conforms(tat: float, now: float, interval_s: float, tolerance_s: float) -> float | None:
    """The generic cell rate algorithm: the next theoretical arrival time, or None where this arrival comes too early.

    `tat` is the time before; `interval_s` lies between two arrivals at an even rate (ITU-T I.371, as virtual scheduling).
    """
    if now < tat - tolerance_s:
        return None
    return max(tat, now) + interval_s


def _paced(pace: tuple[float, bool], at: float, per_minute: float) -> tuple[float, bool]:
    following = conforms(pace[0], at, 60.0 / per_minute, BURST_S)
    return (pace[0], True) if following is None else (following, False)


@dataclass(slots=True)
class Usage:
    """What is counted of an agent, a team or an organisation alike."""

    calls_out: int = 0
    """Outside calls of now, on all nodes."""
    arrivals: deque[float] = field(default_factory=deque)
    """Attempts of the last minute."""
    day: int = 0
    """Days since 1970 (UTC) that the sums below are of."""
    _seconds: float = 0.0
    _spent: dict[str, int] = field(default_factory=dict)
    _paces: dict[float, tuple[float, bool]] = field(default_factory=dict)
    """For each rate that was asked about: the theoretical arrival time, and whether the newest attempt was too early."""

    def attempt(self, at: float) -> None:
        """One more attempt to leave the house. One that is told late, or by a gateway whose clock is behind, takes its place among them."""
        if self.arrivals and at < self.arrivals[-1]:
            insort(self.arrivals, at)
            self._paces.clear()
        else:
            self.arrivals.append(at)
            for per_minute, pace in self._paces.items():
                self._paces[per_minute] = _paced(pace, at, per_minute)
        while self.arrivals[0] <= self.arrivals[-1] - 60.0 or len(self.arrivals) > _MOST_ARRIVALS:
            self.arrivals.popleft()

    def rate(self, per_minute: float, now: float) -> float:
        """Attempts of the last minute where the newest came too early for this rate by GCRA; else no more than it allows.

        Told from the attempts themselves, so that it is the same on each node, after a restart, and under a changed limit.
        """
        while self.arrivals and self.arrivals[0] <= now - 60.0:
            self.arrivals.popleft()
        if self.arrivals and self.arrivals[0] > now + AHEAD_S:
            self.arrivals = deque(at for at in self.arrivals if at <= now)
            self._paces.clear()
        count = float(len(self.arrivals))
        if per_minute <= 0:
            return count
        pace = self._paces.get(per_minute)
        if pace is None:
            pace = _NO_PACE
            for at in self.arrivals:
                pace = _paced(pace, at, per_minute)
            if len(self._paces) >= _MOST_PACES:
                self._paces.clear()
            self._paces[per_minute] = pace
        return max(count, per_minute + 1) if pace[1] and count else min(count, per_minute)

    def use(self, at: float, seconds: float, currency: str, micros: int) -> None:
        """Talking time and its estimated price, in millionths of a currency."""
        self._turn(at)
        self._seconds += seconds
        if currency:
            self._spent[currency] = self._spent.get(currency, 0) + micros

    def seconds(self, now: float) -> float:
        """Talking time of this day (UTC)."""
        self._turn(now)
        return self._seconds

    def spent(self, now: float) -> float:
        """What was spent today, in the currency of which it is most."""
        self._turn(now)
        return max(self._spent.values(), default=0) / 1_000_000

    def _turn(self, at: float) -> None:
        today = int(at // DAY_S)
        if today != self.day:
            self.day, self._seconds, self._spent = today, 0.0, {}


@dataclass(slots=True)
class Habits:
    """Where and when an agent calls, as sums over its answered calls: `countries` and `hours` (UTC) with how many calls they had."""

    calls: int = 0
    days: int = 0
    countries: dict[str, int] = field(default_factory=dict)
    hours: dict[int, int] = field(default_factory=dict)

    @property
    def are_known(self) -> bool:
        """Whether there is enough to tell what is unusual."""
        return self.calls >= LEARNED_CALLS and self.days >= LEARNED_DAYS

    def is_new_country(self, country: str | None) -> bool:
        """Whether the agent, whose habits are known, never called there."""
        return self.are_known and country is not None and country not in self.countries

    def is_new_hour(self, hour: int | None) -> bool:
        """Whether the agent never called at this hour, nor at one beside it: clocks are moved by one."""
        return self.are_known and hour is not None and not any((hour + by) % 24 in self.hours for by in (-1, 0, 1))

    def learn(self, country: str | None, hour: int) -> None:
        """One more answered call."""
        self.calls += 1
        self.hours[hour] = self.hours.get(hour, 0) + 1
        if country is not None:
            self.countries[country] = self.countries.get(country, 0) + 1


@dataclass(slots=True)
class AgentCounters:
    """All that is counted of one agent."""

    usage: Usage = field(default_factory=Usage)
    habits: Habits = field(default_factory=Habits)
    suspected: dict[str, float] = field(default_factory=dict)
    """When each signal was seen last."""
    _destinations: dict[bytes, float] = field(default_factory=dict)
    _refused: dict[bytes, float] = field(default_factory=dict)
    _tails: dict[bytes, dict[bytes, float]] = field(default_factory=dict)
    _short: deque[float] = field(default_factory=deque)

    def called(self, at: float, destination: bytes) -> None:
        """It calls this one."""
        _remember(self._destinations, destination, at)

    def refused(self, at: float, destination: bytes) -> None:
        """The rules refused this one."""
        _remember(self._refused, destination, at)

    def spelled(self, at: float, tail: bytes, head: bytes) -> None:
        """It dialled these last digits behind those first ones."""
        heads = self._tails.pop(tail, {})
        _remember(heads, head, at, _MOST_HEADS)
        self._tails[tail] = heads
        if len(self._tails) > _MOST_TAILS:
            del self._tails[next(iter(self._tails))]

    def hung_up_soon(self, at: float) -> None:
        """An answered call of it was over within seconds."""
        self._short.append(at)
        if len(self._short) > _MOST:
            self._short.popleft()

    def destinations(self, now: float) -> int:
        """Distinct numbers that it called within the hour."""
        return _count(self._destinations, now, DESTINATIONS_S)

    def refused_destinations(self, now: float) -> int:
        """Distinct destinations that the rules refused within the minute."""
        return _count(self._refused, now, SPELLINGS_S)

    def spellings(self, tail: bytes, now: float) -> int:
        """The ways in which one number was dialled within the minute."""
        return _count(self._tails.get(tail, {}), now, SPELLINGS_S)

    def short_calls(self, now: float) -> int:
        """Short calls of the last ten minutes."""
        while self._short and not now - SHORT_CALLS_S < self._short[0] <= now + AHEAD_S:
            self._short.popleft()
        return len(self._short)

    def is_idle(self, now: float) -> bool:
        """Whether nothing that fades is left of it; what a day has used and habits stay."""
        self._tails = {tail: heads for tail, heads in self._tails.items() if _count(heads, now, SPELLINGS_S)}
        fading = (self.destinations(now), self.refused_destinations(now), self.short_calls(now), len(self._tails), self.usage.calls_out)
        return not any(fading) and not self.usage.arrivals


def tail_and_head(dialled: str) -> tuple[str, str] | None:
    """The last seven digits of what was dialled, and all before them; None where there are fewer.

    Access prefixes and the spellings of one number differ in the head only: 00, 011, +, a trunk prefix, an outside line's digit.
    """
    plain = _NOT_DIALLED.sub("", dialled)
    return (plain[-7:], plain[:-7]) if len(plain) > 7 else None


def _remember(where: dict[bytes, float], what: bytes, at: float, most: int = _MOST) -> None:
    where[what] = max(at, where.pop(what, at))
    if len(where) > most:
        del where[next(iter(where))]


def _count(seen: dict[bytes, float], now: float, window_s: float) -> int:
    """How many were seen within so long; the older ones, which stand first, are forgotten."""
    while seen and not now - window_s < seen[oldest := next(iter(seen))] <= now + AHEAD_S:
        del seen[oldest]
    return len(seen)
