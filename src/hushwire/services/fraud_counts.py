"""The counters of the fraud breaker in a gateway's memory: agents', and with them their teams' and organisations'.

They follow from facts: attempts and short calls of this gateway and of the others, talking time, habits. The same facts make the same
counters, whoever they are told by and in whatever order; so a gateway that starts is handed the rows and knows what the others know.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final, Literal
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.core.values import frozen
from hushwire.policy.breaker_counters import DAY_S, AgentCounters, Habits, Usage

KEPT_S: Final = 3600.0
"""Facts older than that say nothing any more."""
_EPOCH: Final = date(1970, 1, 1)
Kind = Literal["out", "refused", "short"]
TeamOf = Callable[[AgentId], UUID | None]


@frozen
class Fact:
    """One thing that an agent did. `at` is wall-clock seconds; the marks are keyed, and say nothing but equality."""

    id: UUID
    agent_id: AgentId
    at: float
    kind: Kind
    destination: bytes | None = field(default=None, repr=False)
    tail: bytes | None = field(default=None, repr=False)
    head: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class DayUse:
    """Talking time of one agent, on one day, by trunks of one currency (empty: without rates)."""

    agent_id: AgentId
    day: date
    currency: str
    talk_ms: int
    spent_micros: int


@dataclass(slots=True)
class OrgCounts:
    """One organisation's."""

    usage: Usage = field(default_factory=Usage)
    agents: dict[AgentId, AgentCounters] = field(default_factory=dict)
    teams: dict[UUID, Usage] = field(default_factory=dict)
    known: dict[UUID, float] = field(default_factory=dict)
    """Ids of facts that are counted already."""
    undone: dict[AgentId, float] = field(default_factory=dict)
    """Until when what an agent did is not held against it."""

    def agent(self, agent_id: AgentId) -> AgentCounters:
        """An agent's counters, fresh ones at first."""
        known = self.agents.get(agent_id)
        if known is None:
            known = self.agents[agent_id] = AgentCounters()
        return known

    def team(self, team_id: UUID | None) -> Usage | None:
        """A team's; None for nobody's."""
        return None if team_id is None else self.teams.setdefault(team_id, Usage())

    def usages(self, agent_id: AgentId, team_id: UUID | None) -> list[Usage]:
        """All that an agent's doing counts for."""
        team = self.team(team_id)
        usage = self.agent(agent_id).usage
        return [self.usage, usage] if team is None else [self.usage, usage, team]

    def take(self, fact: Fact, team_id: UUID | None) -> bool:
        """Count a fact; one that is known already, not again."""
        if fact.id in self.known or fact.at <= self.undone.get(fact.agent_id, 0.0):
            return False
        self.known[fact.id] = fact.at
        agent = self.agent(fact.agent_id)
        if fact.kind == "short":
            agent.hung_up_soon(fact.at)
            return True
        for usage in self.usages(fact.agent_id, team_id):
            usage.attempt(fact.at)
        if fact.tail is not None and fact.head is not None:
            agent.spelled(fact.at, fact.tail, fact.head)
        if fact.destination is not None:
            (agent.called if fact.kind == "out" else agent.refused)(fact.at, fact.destination)
        return True

    def forget(self, now: float) -> None:
        """Let go of what fades."""
        while self.known and self.known[oldest := next(iter(self.known))] <= now - KEPT_S:
            del self.known[oldest]

    def use_days(self, days: Iterable[DayUse], team_of: TeamOf) -> None:
        """Put what the rows say of a day, ours of now included, in place of what was known of it."""
        summed = list(days)
        for usage in (self.usage, *self.teams.values(), *(agent.usage for agent in self.agents.values())):
            usage.day = 0
        for one in summed:
            at = (one.day - _EPOCH).days * DAY_S
            for usage in self.usages(one.agent_id, team_of(one.agent_id)):
                usage.use(at, one.talk_ms / 1000, one.currency, one.spent_micros)

    def learn(self, habits: dict[AgentId, Habits]) -> None:
        """Put what the rows say of habits in place of what was known."""
        for agent_id, known in habits.items():
            self.agent(agent_id).habits = known


def day_of(at: float) -> date:
    """The day (UTC) of wall-clock seconds."""
    return _EPOCH + timedelta(days=int(at // DAY_S))


class FraudCounts:
    """Every organisation's."""

    def __init__(self) -> None:
        self._orgs: dict[OrgId, OrgCounts] = {}

    def of(self, org_id: OrgId) -> OrgCounts:
        """One organisation's, fresh ones at first."""
        known = self._orgs.get(org_id)
        return self.reset(org_id) if known is None else known

    def known(self) -> Iterable[tuple[OrgId, OrgCounts]]:
        """Those that were asked for."""
        return list(self._orgs.items())

    def reset(self, org_id: OrgId) -> OrgCounts:
        """Forget an organisation's: what follows are its rows."""
        fresh = self._orgs[org_id] = OrgCounts()
        return fresh

    def drop(self, org_id: OrgId) -> None:
        """An organisation is gone."""
        self._orgs.pop(org_id, None)
