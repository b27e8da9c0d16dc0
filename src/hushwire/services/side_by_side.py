"""Which bridges lie side by side, on one worker of the media process: a leg can only go over between those (MOVE_LEG, docs/adr/0045).

Calls of one agent do, so that it can transfer from one to the other. So do the calls of an organisation while there are not too many for
one worker, since it is not known beforehand who will talk with whom: an agent's two calls may have come about in each other's absence.
"""

from typing import Final, TypeVar

from hushwire.core.ids import AgentId, CallId, OrgId
from hushwire.services.live import LiveCall

MOST_TOGETHER: Final = 200
"""Calls of an organisation that lie together for its sake alone: a tenth to a sixth of what one worker carries."""

K = TypeVar("K")


class SideBySide:
    """The open bridges of this gateway."""

    def __init__(self, most_together: int = MOST_TOGETHER) -> None:
        self._most_together = most_together
        self._of_agent: dict[AgentId, dict[CallId, None]] = {}
        self._agents: dict[CallId, tuple[AgentId, ...]] = {}
        self._of_org: dict[OrgId, dict[CallId, None]] = {}
        """Those that lie together, in the order in which they were opened."""

    def place(self, live: LiveCall) -> CallId | None:
        """The bridge that the call's own is to be opened beside; None: wherever there is least to do."""
        self.forget(live)  # it may have had one in a media process before
        together = self._of_org.setdefault(live.route.org.id, {})
        found = next((newest for agent_id in _agents(live) if (newest := self._newest(agent_id)) is not None), None)
        if found is None and together and len(together) < self._most_together:
            found = next(reversed(together))
        if not together or found in together:
            together[live.id] = None
        self.note(live)
        return found

    def note(self, live: LiveCall) -> None:
        """Others may be in the call now."""
        self._forget_agents(live.id)
        self._agents[live.id] = agents = _agents(live)
        for agent_id in agents:
            self._of_agent.setdefault(agent_id, {})[live.id] = None

    def forget(self, live: LiveCall) -> None:
        """The bridge is closed."""
        self._forget_agents(live.id)
        _drop(self._of_org, live.route.org.id, live.id)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not self._agents and not self._of_agent and not self._of_org

    def _newest(self, agent_id: AgentId) -> CallId | None:
        return next(reversed(self._of_agent.get(agent_id, {})), None)

    def _forget_agents(self, call_id: CallId) -> None:
        for agent_id in self._agents.pop(call_id, ()):
            _drop(self._of_agent, agent_id, call_id)


def _agents(live: LiveCall) -> tuple[AgentId, ...]:
    return tuple([agent.id for agent in (live.route.agent_at(0), live.route.agent_at(1)) if agent is not None])


def _drop(table: dict[K, dict[CallId, None]], key: K, call_id: CallId) -> None:
    calls = table.get(key)
    if calls is not None:
        calls.pop(call_id, None)
        if not calls:
            del table[key]
