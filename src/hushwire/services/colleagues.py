"""Which calls agents are in: of this gateway as they happen, of the others as rows of `calls` tell within a second.

Only what somebody watches is asked of the database, and only while other gateways live. A supervisor's own legs are nobody's to see,
neither is a conference's room; who dialled into it is in a call.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.calls.call import State
from hushwire.calls.model import CallDirection
from hushwire.core.errors import LocalError
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import Emergency
from hushwire.services.live import LiveCall
from hushwire.services.neighbours import Neighbours
from hushwire.sip.dialog_info import DialogState
from hushwire.store import calls as rows
from hushwire.store.database import Database

LOOK_S: Final = 1.0
AWAY: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, LocalError)
_TALKING: Final = frozenset({State.ACTIVE, State.RENEWING, State.OFFERING})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Engaged:
    """An agent's part in a call. `remote` is who is at the other end: None where that is not known here, or nobody's business."""

    id: str
    state: DialogState
    is_initiator: bool
    remote: Personal[str] | None = None


class Colleagues:
    """The agents of all organisations. `on_change` is told of whom something changed."""

    def __init__(self, db: Database, neighbours: Neighbours, node_id: NodeId) -> None:
        self._db = db
        self._neighbours = neighbours
        self._node_id = node_id
        self._here: dict[AgentId, dict[CallId, LiveCall]] = defaultdict(dict)
        self._parties: dict[CallId, tuple[AgentId, ...]] = {}
        self._elsewhere: Mapping[AgentId, tuple[Engaged, ...]] = {}
        self.on_change: Callable[[AgentId], None] = lambda _agent: None
        self.watched: Callable[[], Mapping[AgentId, OrgId]] = dict
        """Whom somebody watches."""

    def changed(self, live: LiveCall) -> None:
        """Something happened to a call of this gateway."""
        before = self._parties.get(live.id, ())
        now = () if live.is_ended or live.call.state is State.ENDED else _agents_of(live)
        if now != before:
            for agent_id in before:
                if agent_id not in now:
                    self._leave(agent_id, live.id)
            for agent_id in now:
                self._here[agent_id][live.id] = live
            if now:
                self._parties[live.id] = now
            else:
                self._parties.pop(live.id, None)
        for agent_id in {*before, *now}:
            self.on_change(agent_id)

    def engaged(self, agent_id: AgentId) -> tuple[Engaged, ...]:
        """The calls that an agent is in now, or is being rung for."""
        here = self._here.get(agent_id)
        found = () if here is None else tuple(part for live in here.values() if (part := _part(live, agent_id)) is not None)
        return (*found, *self._elsewhere.get(agent_id, ()))

    def _leave(self, agent_id: AgentId, call_id: CallId) -> None:
        calls = self._here.get(agent_id)
        if calls is not None:
            calls.pop(call_id, None)
            if not calls:
                del self._here[agent_id]

    # Other gateways.

    async def run(self) -> None:
        """Look at other gateways' calls each second, until cancelled."""
        while True:
            try:
                await self.look()
            except AWAY as error:
                _log.warning("colleagues.unread", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Learn which calls of whom is watched other living gateways have."""
        nodes, watched = self._neighbours.nodes, self.watched()
        by_org: dict[OrgId, list[AgentId]] = defaultdict(list)
        if nodes:
            for agent_id, org_id in watched.items():
                by_org[org_id].append(agent_id)
        found: dict[AgentId, list[Engaged]] = defaultdict(list)
        for org_id, agent_ids in by_org.items():
            async with self._db.organisation(org_id) as connection:
                engagements = await rows.engagements(connection, agent_ids, nodes)
            for row in engagements:
                state = DialogState.CONFIRMED if row.state == "active" else DialogState.EARLY
                found[row.agent_id].append(Engaged(_name(row.call_id, row.agent_id), state, row.is_initiator))
        before, self._elsewhere = self._elsewhere, {agent_id: tuple(parts) for agent_id, parts in found.items()}
        for agent_id in before.keys() | found.keys():
            if before.get(agent_id) != self._elsewhere.get(agent_id):
                self.on_change(agent_id)


def _agents_of(live: LiveCall) -> tuple[AgentId, ...]:
    plan, route = live.route.plan, live.route
    if plan.is_room or plan.direction is CallDirection.SUPERVISION:
        return ()
    peer = route.peer_agent
    return (route.agent.id,) if peer is None or peer.id == route.agent.id else (route.agent.id, peer.id)


def _part(live: LiveCall, agent_id: AgentId) -> Engaged | None:
    """An agent's part in a call of ours; None while nobody rings there yet."""
    route, state = live.route, live.call.state
    is_initiator = route.plan.direction is not CallDirection.INBOUND and agent_id == route.agent.id
    remote = None
    if is_initiator:
        # Whom somebody called in need is between them.
        remote = None if isinstance(route.verdict, Emergency) else route.remote
    elif not route.hides:
        remote = route.remote if route.plan.direction is CallDirection.INBOUND else route.agent.extension or route.agent.username
    if state in _TALKING:
        said = DialogState.CONFIRMED
    elif state is State.RINGING or (is_initiator and state is State.ANNOUNCING):
        said = DialogState.EARLY
    elif is_initiator:
        said = DialogState.TRYING
    else:
        return None
    return Engaged(_name(live.id, agent_id), said, is_initiator, remote)


def _name(call_id: UUID, agent_id: AgentId) -> str:
    """A name for the call that says nothing of it and leads nowhere; the same on each gateway."""
    return hashlib.sha256(b"dialog-info" + call_id.bytes + agent_id.bytes).hexdigest()[:16]
