"""Which calls agents are in: of this gateway as they happen, of the others as rows of `calls` tell within a second.

Only what somebody watches is asked of the database, and only while other gateways live. A supervisor's own legs are nobody's to see,
neither is a conference's room; who dialled into it is in a call.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.call import State
from hushwire.calls.model import SUPERVISING, CallDirection, JoinedAs, Side
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import Emergency
from hushwire.services.lines import slot_id
from hushwire.services.live import LiveCall
from hushwire.services.neighbours import Neighbours
from hushwire.services.pickup_names import PickupNames, pickup_name
from hushwire.services.snapshot import Agent
from hushwire.sip.dialog_info import DialogState
from hushwire.sip.effects import DialogKey
from hushwire.store import calls as rows
from hushwire.store import parked
from hushwire.store.database import STORE_FAILED, Database

LOOK_S: Final = 1.0
_TALKING: Final = frozenset({State.ACTIVE, State.RENEWING, State.OFFERING, State.WAITING})
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Engaged:
    """An agent's part in a call. `remote` is who is at the other end: None where that is not known here, or nobody's business."""

    id: str
    state: DialogState
    is_initiator: bool
    remote: Personal[str] | None = None
    named: DialogKey | None = None
    """How a colleague may pick it up."""


class Colleagues:
    """The agents of all organisations. `on_change` is told of whom something changed. While nobody watches, a call costs one look."""

    def __init__(
        self, db: Database, neighbours: Neighbours, node_id: NodeId, calls: Callable[[], Iterable[LiveCall]], names: PickupNames | None
    ) -> None:
        self._names = names
        self._db = db
        self._neighbours = neighbours
        self._node_id = node_id
        self._calls = calls
        self._here: dict[AgentId, dict[CallId, Engaged]] = defaultdict(dict)
        self._parties: dict[CallId, tuple[AgentId, ...]] = {}
        self._is_looking = False
        self._elsewhere: Mapping[AgentId, tuple[Engaged, ...]] = {}
        self.on_change: Callable[[AgentId], None] = lambda _agent: None
        self.watched: Callable[[], Mapping[AgentId, OrgId]] = dict
        """Whom somebody watches."""

    def changed(self, live: LiveCall) -> None:
        """Something happened to a call of this gateway."""
        if self._is_looking:
            for agent_id in self._learn(live):
                self.on_change(agent_id)

    def engaged(self, agent_id: AgentId) -> tuple[Engaged, ...]:
        """The calls that an agent is in now, or is being rung for."""
        if not self._is_looking:
            self._is_looking = True
            for live in self._calls():
                self._learn(live)
        here = self._here.get(agent_id)
        return (*(() if here is None else here.values()), *self._elsewhere.get(agent_id, ()))

    def _learn(self, live: LiveCall) -> set[AgentId]:
        """Take up how a call is now; whom that changes something of."""
        parts = {} if live.is_ended or live.call.state is State.ENDED else _parts(live)
        self._offer(live, parts)
        touched = set()
        for agent_id in {*self._parties.get(live.id, ()), *parts}:
            calls, part = self._here[agent_id], parts.get(agent_id)
            if calls.get(live.id) != part:
                touched.add(agent_id)
            if part is not None:
                calls[live.id] = part
            else:
                calls.pop(live.id, None)
            if not calls:
                del self._here[agent_id]
        if parts:
            self._parties[live.id] = tuple(parts)
        else:
            self._parties.pop(live.id, None)
        return touched

    def _offer(self, live: LiveCall, parts: dict[AgentId, Engaged]) -> None:
        """Whom it rings at shows by what a colleague may pick it up; `names` is None where nobody may."""
        if self._names is None:
            return
        rung = [agent_id for agent_id, part in parts.items() if not part.is_initiator and part.state is DialogState.EARLY]
        if not rung or not live.early or live.joining is not None or live.route.leads_out:
            self._names.forget(live.id)
            return
        name = self._names.of(live.id, live.early[min(live.early)])
        for agent_id in rung:
            parts[agent_id] = replace(parts[agent_id], named=name)

    def _rest(self) -> None:
        """Nobody watches any more."""
        self._is_looking = False
        for call_id in self._parties:
            if self._names is not None:
                self._names.forget(call_id)
        self._here.clear()
        self._parties.clear()

    # Other gateways.

    async def run(self) -> None:
        """Look at other gateways' calls each second, until cancelled."""
        while True:
            try:
                await self.look()
            except STORE_FAILED as error:
                _log.warning("colleagues.unread", error=type(error).__name__)
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """Learn which calls of whom is watched other living gateways have."""
        nodes, watched = self._neighbours.nodes, self.watched()
        if not watched:
            self._rest()
        by_org: dict[OrgId, list[AgentId]] = defaultdict(list)
        if nodes:
            for agent_id, org_id in watched.items():
                by_org[org_id].append(agent_id)
        found: dict[AgentId, list[Engaged]] = defaultdict(list)
        for org_id, agent_ids in by_org.items():
            async with self._db.organisation(org_id) as connection:
                engagements = await rows.engagements(connection, agent_ids, nodes)
                slots = {slot_id(org_id, one.slot): one for one in await parked.elsewhere(connection, nodes)}
            for row in engagements:
                state = DialogState.CONFIRMED if row.state == "active" else DialogState.EARLY
                is_rung = state is DialogState.EARLY and not row.is_initiator and self._names is not None
                named = pickup_name(row.call_id, self._neighbours.tag) if is_rung else None
                found[row.agent_id].append(Engaged(_name(row.call_id, row.agent_id), state, row.is_initiator, named=named))
            for line in slots.keys() & set(agent_ids):
                found[line].append(Engaged(_name(slots[line].call_id, line), DialogState.CONFIRMED, is_initiator=False))
        before, self._elsewhere = self._elsewhere, {agent_id: tuple(parts) for agent_id, parts in found.items()}
        for agent_id in before.keys() | found.keys():
            if before.get(agent_id) != self._elsewhere.get(agent_id):
                self.on_change(agent_id)


def _parts(live: LiveCall) -> dict[AgentId, Engaged]:
    """Each agent's part in a call of ours. Whom somebody called in need is between them, and masked parties never see one another."""
    route, state = live.route, live.call.state
    is_told = route.masking_id is None and not isinstance(route.verdict, Emergency)
    found: dict[AgentId, Engaged] = {}
    for side in _sides(live):
        said = _state(state, side)
        for agent in () if said is None else _at(live, side):
            if said is not None and agent.id not in found:
                remote = _shown(live, side.other) if is_told and live.joining is None else None
                found[agent.id] = Engaged(_name(live.id, agent.id), said, side is Side.CALLER, remote)
    for line, said, side in _lines(live):
        remote = _shown(live, side) if is_told else None
        found[line] = Engaged(_name(live.id, line), said, is_initiator=False, remote=remote)
    return found


def _lines(live: LiveCall) -> Iterable[tuple[AgentId, DialogState, Side]]:
    """The lines of several that the call is on, and who is there: a group that rings, a slot in which somebody waits."""
    route, transfer = live.route, live.transfer
    if route.group is not None and live.call.state is State.RINGING:
        yield AgentId(route.group.id), DialogState.EARLY, Side.CALLER
    if transfer is not None and transfer.slot is not None and live.call.state is State.WAITING:
        yield slot_id(route.org.id, transfer.slot), DialogState.CONFIRMED, transfer.side.other


def _shown(live: LiveCall, side: Side) -> Personal[str] | None:
    """What is shown of who is on a side: of a group its number, as long as nobody of it has answered."""
    return live.route.remote if live.route.group is not None and side is Side.CALLEE else live.party(side).shown


def _at(live: LiveCall, side: Side) -> list[Agent]:
    """Who is on a side, or is rung there: of a group the members whose phones ring now."""
    route, call = live.route, live.call
    if route.group is not None and side is Side.CALLEE:
        rung = range(min(len(route.callees), call.tried))
        return [agent for branch in rung if (agent := route.callees[branch]) is not None and call.awaits(branch)]
    agent = live.party(side).agent
    return [] if agent is None else [agent]


def _sides(live: LiveCall) -> tuple[Side, ...]:
    """Where somebody is, or is to come: no mailbox that answers, no supervisor, and of who joins another call its own side alone."""
    plan, joining = live.route.plan, live.joining
    if plan.is_room or plan.direction is CallDirection.SUPERVISION or (joining is not None and joining.role in SUPERVISING):
        return ()
    if joining is not None:
        return (Side.CALLEE,) if joining.role is JoinedAs.SUCCESSOR else (Side.CALLER,)
    is_alone = plan.answered_by is not None or live.answering is not None or not plan.targets
    return (Side.CALLER,) if is_alone else (Side.CALLER, Side.CALLEE)


def _state(state: State, side: Side) -> DialogState | None:
    """As dialog-info names it; None for who is not rung yet."""
    if state in _TALKING:
        return DialogState.CONFIRMED
    if state is State.RINGING or (side is Side.CALLER and state in (State.ANNOUNCING, State.DIVERTING)):
        return DialogState.EARLY
    return DialogState.TRYING if side is Side.CALLER else None


def _name(call_id: UUID, agent_id: AgentId) -> str:
    """A name for the call that says nothing of it and leads nowhere; the same on each gateway."""
    return hashlib.sha256(b"dialog-info" + call_id.bytes + agent_id.bytes).hexdigest()[:16]
