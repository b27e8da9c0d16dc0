"""The subscriptions that a gateway keeps, by who watches, who is watched, their organisation, and the connection that leads
to the watcher."""

from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.services.event_packages import AnyPackage
from hushwire.sip.effects import SubscriptionId
from hushwire.sip.flow import Hop


@dataclass(slots=True, eq=False)
class Watch:
    """One subscription. `told` is the state that its subscriber knows, once `is_busy` is over."""

    id: SubscriptionId
    package: AnyPackage
    org_id: OrgId
    watcher_id: AgentId
    agent_id: AgentId
    credential_id: UUID
    ends_at: datetime | None = None
    """The credential's own end."""
    binding_id: UUID | None = None
    """The device's binding; None where it was not registered."""
    told: Any = None
    version: int = 0
    is_busy: bool = False
    is_stale: bool = False
    is_full_due: bool = True
    is_last: bool = False
    """It asked for the state once, or is leaving: the next word is the last."""
    next_at: float = float("-inf")
    scheduled_at: float = float("-inf")
    flow: Hop | None = None
    is_away: bool = False
    """Its connection is gone: it is told again once its device is back on another."""
    name: UUID | None = None
    """In the journal."""
    patient_until: float = float("-inf")
    """So long a state that is not known yet is waited for."""


_Index = dict[Any, dict[SubscriptionId, Watch]]


class Watches:
    """All of them. Who asks by a name that nobody has pays one look-up."""

    def __init__(self) -> None:
        self._all: dict[SubscriptionId, Watch] = {}
        self._watched: _Index = defaultdict(dict)
        self._watchers: _Index = defaultdict(dict)
        self._flows: _Index = defaultdict(dict)
        self._orgs: _Index = defaultdict(dict)

    def __iter__(self) -> Iterator[Watch]:
        return iter(self._all.values())

    def __len__(self) -> int:
        return len(self._all)

    def __contains__(self, id_: SubscriptionId) -> bool:
        return id_ in self._all

    def get(self, id_: SubscriptionId) -> Watch | None:
        """The subscription of this id."""
        return self._all.get(id_)

    def of(self, agent_id: AgentId) -> Collection[Watch]:
        """Those to an agent."""
        return self._watched.get(agent_id, {}).values()

    def by(self, agent_id: AgentId) -> Collection[Watch]:
        """Those of an agent's own devices."""
        return self._watchers.get(agent_id, {}).values()

    def within(self, org_id: OrgId) -> Collection[Watch]:
        """Those of an organisation's agents."""
        return self._orgs.get(org_id, {}).values()

    def at(self, flow: Hop) -> Collection[Watch]:
        """Those that are told by this way."""
        return self._flows.get(flow, {}).values()

    def put(self, watch: Watch) -> None:
        """One more."""
        self._all[watch.id] = watch
        for index, key in self._places(watch):
            index[key][watch.id] = watch

    def place(self, watch: Watch, flow: Hop) -> None:
        """It is told by this way from now on."""
        if flow != watch.flow:
            self.drop(watch)
            watch.flow = flow
            self.put(watch)

    def drop(self, watch: Watch) -> None:
        """One less."""
        self._all.pop(watch.id, None)
        for index, key in self._places(watch):
            index[key].pop(watch.id, None)
            if not index[key]:
                del index[key]

    def _places(self, watch: Watch) -> tuple[tuple[_Index, Hashable], ...]:
        people = (self._watched, watch.agent_id), (self._watchers, watch.watcher_id)
        return *people, (self._flows, watch.flow), (self._orgs, watch.org_id)
