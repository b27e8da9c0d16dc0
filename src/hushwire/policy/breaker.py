"""The fraud breaker's decision: what an attempt to leave the house is held against, and what follows. Pure.

Counters (`breaker_counters`) say what was done; a `LimitBook` says how much of it is normal, at three levels: the agent, its team, its
organisation. `judge` compares them for one attempt and gives the findings; the heaviest of them decides what becomes of it. Nothing
here is ever asked about an emergency call.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.policy.breaker_counters import AgentCounters, Usage


class Level(StrEnum):
    """Whose counters they are."""

    AGENT = "agent"
    TEAM = "team"
    ORGANISATION = "organisation"


class Signal(StrEnum):
    """What can be too much, or unlike the agent; stable, since alarms and settings carry it."""

    CONCURRENT = "concurrent-calls"  # calls out at once
    ATTEMPTS = "attempts-per-minute"  # by GCRA: an even rate, with a burst of a third of a minute's
    MINUTES = "minutes-per-day"
    SPEND = "spend-per-day"  # as the trunks' rate tables estimate it, of each currency by itself
    DESTINATIONS = "destinations-per-hour"  # distinct numbers
    CYCLING = "prefix-cycling"  # spellings of one number within a minute
    PROBING = "refused-destinations"  # distinct destinations that the rules refused within a minute
    SHORT_CALLS = "short-calls"  # answered calls of a few seconds within ten minutes
    COUNTRY = "unusual-country"  # one that the agent never calls
    HOURS = "unusual-hours"  # at which the agent never calls
    NETWORKS = "two-networks"  # one credential at work in two places
    TEXTS = "texts-per-minute"  # parts of messages
    TEXTS_A_DAY = "texts-per-day"
    TEXT_SPEND = "text-spend-per-day"  # as the organisation states its prices
    SUSPICION = "suspicion"  # several of these together, each with its weight


class Action(StrEnum):
    """What is done, from nothing to the most."""

    OFF = "off"
    WARN = "warn"  # admins are told
    REFUSE = "refuse"  # and the attempt is refused, as each one as long as it is too much
    CUT = "cut"  # and the calls that are out end
    LOCK = "lock"  # and the credential opens nothing until an admin has looked
    REPLACE = "replace"  # and another one is minted in the same step, which waits to be fetched


_WEIGHT: Final = {action: weight for weight, action in enumerate(Action)}


@dataclass(frozen=True, slots=True)
class Bound:
    """How much is still normal (None: anything is), and what happens beyond it."""

    most: float | None
    action: Action


Bounds = Mapping[Signal, Bound]

COUNTED: Final = frozenset({Signal.CONCURRENT, Signal.ATTEMPTS, Signal.MINUTES, Signal.SPEND})
"""What teams and organisations are held to as well as agents."""
OF_TEXTS: Final = frozenset({Signal.TEXTS, Signal.TEXTS_A_DAY, Signal.TEXT_SPEND})
"""What is counted where texts are accepted (services/fraud_texts.py), of agents and organisations: it warns or refuses."""
STANDING: Final = frozenset({Signal.COUNTRY, Signal.HOURS, Signal.NETWORKS})
"""What is so or is not: its bound is no number."""

EACH_AGENT: Final[Bounds] = {
    Signal.CONCURRENT: Bound(20, Action.REFUSE),
    Signal.ATTEMPTS: Bound(60, Action.REFUSE),
    Signal.MINUTES: Bound(1_200, Action.REFUSE),
    Signal.SPEND: Bound(100, Action.CUT),
    Signal.DESTINATIONS: Bound(200, Action.REFUSE),
    Signal.CYCLING: Bound(5, Action.LOCK),
    Signal.PROBING: Bound(12, Action.LOCK),
    Signal.SHORT_CALLS: Bound(30, Action.LOCK),
    Signal.COUNTRY: Bound(None, Action.WARN),
    Signal.HOURS: Bound(None, Action.WARN),
    Signal.NETWORKS: Bound(None, Action.WARN),
    Signal.TEXTS: Bound(300, Action.REFUSE),
    Signal.TEXTS_A_DAY: Bound(5_000, Action.REFUSE),
    Signal.TEXT_SPEND: Bound(100, Action.REFUSE),
    Signal.SUSPICION: Bound(1, Action.LOCK),
}
EACH_TEAM: Final[Bounds] = {
    Signal.CONCURRENT: Bound(None, Action.REFUSE),
    Signal.ATTEMPTS: Bound(None, Action.REFUSE),
    Signal.MINUTES: Bound(None, Action.REFUSE),
    Signal.SPEND: Bound(None, Action.CUT),
}
ORGANISATION: Final[Bounds] = {
    Signal.CONCURRENT: Bound(1_000, Action.REFUSE),
    Signal.ATTEMPTS: Bound(6_000, Action.REFUSE),
    Signal.MINUTES: Bound(100_000, Action.REFUSE),
    Signal.SPEND: Bound(2_000, Action.CUT),
    Signal.TEXTS: Bound(None, Action.REFUSE),
    Signal.TEXTS_A_DAY: Bound(None, Action.REFUSE),
    Signal.TEXT_SPEND: Bound(None, Action.REFUSE),
}

WEIGHTS: Final[Mapping[Signal, float]] = {
    Signal.CONCURRENT: 0.3,
    Signal.ATTEMPTS: 0.5,
    Signal.MINUTES: 0.2,
    Signal.SPEND: 0.5,
    Signal.DESTINATIONS: 0.5,
    Signal.CYCLING: 1.0,
    Signal.PROBING: 0.7,
    Signal.SHORT_CALLS: 0.6,
    Signal.COUNTRY: 0.4,
    Signal.HOURS: 0.3,
    Signal.NETWORKS: 0.6,
}
"""How much each says that it is not the agent who calls. An agent who works late in a hotel makes 0.9 of 1."""
REMEMBERED_S: Final = 3600.0
"""So long a signal weighs."""


@dataclass(frozen=True, slots=True)
class LimitBook:
    """One organisation's limits: the defaults, with what it has set over them."""

    organisation: Bounds = field(default_factory=lambda: ORGANISATION)
    each_team: Bounds = field(default_factory=lambda: EACH_TEAM)
    each_agent: Bounds = field(default_factory=lambda: EACH_AGENT)
    teams: Mapping[UUID, Bounds] = field(default_factory=dict)
    agents: Mapping[UUID, Bounds] = field(default_factory=dict)

    @property
    def active(self) -> "LimitBook":
        """The same without the bounds that are off, which nothing is ever held against: for whoever judges by it many times."""

        def of(bounds: Bounds) -> Bounds:
            return {signal: bound for signal, bound in bounds.items() if bound.action is not Action.OFF}

        teams, agents = ({one: of(bounds) for one, bounds in own.items()} for own in (self.teams, self.agents))
        return LimitBook(of(self.organisation), of(self.each_team), of(self.each_agent), teams, agents)

    def of_agent(self, agent_id: UUID) -> Bounds:
        """An agent's own limits, else those of each agent."""
        return self.agents.get(agent_id, self.each_agent)

    def of_team(self, team_id: UUID) -> Bounds:
        """A team's own limits, else those of each team."""
        return self.teams.get(team_id, self.each_team)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something is too much: at which level, what, how much of how much, and what is to be done."""

    level: Level
    signal: Signal
    seen: float
    bound: Bound

    @property
    def action(self) -> Action:
        """What its bound asks for."""
        return self.bound.action


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one attempt besides the counters.

    `is_going_out`: the rules allow it, so it would be one more call. `country`, `hour` (UTC): of a call that would be made.
    """

    now: float
    is_going_out: bool
    country: str | None = None
    hour: int | None = None
    is_in_two_networks: bool = False
    tail: bytes = b""
    """The mark of the last digits that were dialled."""


def judge(
    book: LimitBook, agent_id: UUID, team_id: UUID | None, agent: AgentCounters, team: Usage | None, org: Usage, facts: Facts
) -> list[Finding]:
    """What is too much now that this attempt was counted, the heaviest first; empty where all is as usual.

    The attempt itself is in the counters already. Limits of calls hold only for what would be a call.
    """
    found = _counted(Level.ORGANISATION, book.organisation, org, facts)
    if team is not None and team_id is not None:
        found += _counted(Level.TEAM, book.of_team(team_id), team, facts)
    bounds = book.of_agent(agent_id)
    found += _counted(Level.AGENT, bounds, agent.usage, facts)
    found += _detected(bounds, agent, facts)
    if not found and not bounds:
        return found
    for finding in found:
        if finding.level is Level.AGENT:
            agent.suspected[finding.signal] = facts.now
    score = suspicion(agent.suspected, facts.now)
    bound = _active(bounds, Signal.SUSPICION)
    is_locked_anyway = any(locks(one.action) for one in found)
    if bound is not None and bound.most is not None and score >= bound.most and not is_locked_anyway:
        found.append(Finding(Level.AGENT, Signal.SUSPICION, score, bound))
    return sorted(found, key=lambda one: -_WEIGHT[one.action])


def refuses(action: Action) -> bool:
    """Whether the attempt itself is refused."""
    return _WEIGHT[action] >= _WEIGHT[Action.REFUSE]


def locks(action: Action) -> bool:
    """Whether the credential is locked."""
    return _WEIGHT[action] >= _WEIGHT[Action.LOCK]


def suspicion(suspected: Mapping[str, float], now: float) -> float:
    """How much the signals of the last hour weigh together; each counts once, however often it was seen."""
    return round(sum(WEIGHTS.get(Signal(name), 0.0) for name, at in suspected.items() if 0 <= now - at < REMEMBERED_S), 3)


def _counted(level: Level, bounds: Bounds, usage: Usage, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    if not bounds:
        return found
    if (bound := _active(bounds, Signal.ATTEMPTS)) is not None and bound.most is not None:
        rate = usage.rate(bound.most, facts.now)
        if rate > bound.most:
            found.append(Finding(level, Signal.ATTEMPTS, rate, bound))
    if not facts.is_going_out:
        return found
    for signal, seen in (
        # Of calls this one would be one more; what a day has used is compared as it stands.
        (Signal.CONCURRENT, usage.calls_out + 1.0),
        (Signal.MINUTES, usage.seconds(facts.now) / 60),
        (Signal.SPEND, usage.spent(facts.now)),
    ):
        bound = _active(bounds, signal)
        if bound is not None and bound.most is not None and _is_beyond(signal, seen, bound.most):
            found.append(Finding(level, signal, seen, bound))
    return found


def _is_beyond(signal: Signal, seen: float, most: float) -> bool:
    return seen > most if signal is Signal.CONCURRENT else seen >= most


def used_up(level: Level, bounds: Bounds, usage: Usage, now: float) -> list[Finding]:
    """Which day's budgets are used up, asked while calls are out: those whose action is to cut end them."""
    found: list[Finding] = []
    if not bounds:
        return found
    for signal, seen in ((Signal.MINUTES, usage.seconds(now) / 60), (Signal.SPEND, usage.spent(now))):
        bound = _active(bounds, signal)
        if bound is not None and bound.most is not None and seen >= bound.most:
            found.append(Finding(level, signal, seen, bound))
    return found


def _detected(bounds: Bounds, agent: AgentCounters, facts: Facts) -> list[Finding]:
    found: list[Finding] = []
    if not bounds:
        return found
    for signal, seen in (
        (Signal.CYCLING, float(agent.spellings(facts.tail, facts.now))),
        (Signal.PROBING, float(agent.refused_destinations(facts.now))),
        (Signal.SHORT_CALLS, float(agent.short_calls(facts.now))),
        (Signal.DESTINATIONS, float(agent.destinations(facts.now)) if facts.is_going_out else 0.0),
    ):
        bound = _active(bounds, signal)
        if bound is not None and bound.most is not None and seen > bound.most:
            found.append(Finding(Level.AGENT, signal, seen, bound))
    for signal, is_so in (
        (Signal.COUNTRY, facts.is_going_out and agent.habits.is_new_country(facts.country)),
        (Signal.HOURS, facts.is_going_out and agent.habits.is_new_hour(facts.hour)),
        (Signal.NETWORKS, facts.is_in_two_networks),
    ):
        bound = _active(bounds, signal)
        if bound is not None and is_so:
            found.append(Finding(Level.AGENT, signal, 1.0, bound))
    return found


def _active(bounds: Bounds, signal: Signal) -> Bound | None:
    bound = bounds.get(signal)
    return None if bound is None or bound.action is Action.OFF else bound
