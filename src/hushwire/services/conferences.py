"""Conferences: agents of an organisation dial a room's number, and all who are in the room hear each other.

A room is there as long as an agent is in it, at the gateway that opened it: who dials it at another one is handed over there
(services/handing_over.py). It is a call of its own (a row, a bridge, a recording where calls are recorded), and so is
each member's; a member is a leg of the room's bridge. An agent who is in it may have somebody called into it: that is one more way out,
judged as that agent's own call, which pays for it. Who was called from outside stays no longer than agents do, so that no two parties
outside are left to talk at the organisation's cost.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID, uuid4

import structlog

from hushwire.calls import events
from hushwire.calls.call import State
from hushwire.calls.model import CallDirection, EndReason, JoinedAs
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import Allow, Emergency
from hushwire.services.call_starts import CallStarts
from hushwire.services.call_tasks import CallTasks
from hushwire.services.elsewhere import Elsewhere
from hushwire.services.handing_over import HandingOver
from hushwire.services.live import Joining, LiveCall
from hushwire.services.recorder import Recorder
from hushwire.services.route import Refused, Route
from hushwire.services.routing import Router
from hushwire.sip.effects import TxId
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request

MOST_MEMBERS: Final = 16
SILENT_S: Final = 3.0
"""So long the gateway that has a room may say nothing before it loses it: whoever is in it there would talk to half of the room."""
_Name = tuple[OrgId, str]
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Room:
    """One of this gateway's; `opening` is what its row knows it by."""

    live: LiveCall
    opening: UUID


@dataclass(slots=True)
class _Coming:
    """Who dialled a room."""

    tx: TxId
    request: Request
    flow: Flow
    route: Route

    @property
    def name(self) -> _Name:
        return self.route.org.id, self.route.room or ""


@dataclass(slots=True)
class _Door:
    """Held while it is asked which gateway has a room: who dials it meanwhile waits for the same answer."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Conferences:
    """This gateway's rooms. `feed` gives a call's machine an event; `is_unanswered` tells whether who dialled still waits."""

    def __init__(
        self,
        router: Router,
        starts: CallStarts,
        recorder: Recorder,
        feed: Callable[[LiveCall, events.Event], None],
        tasks: CallTasks,
        is_unanswered: Callable[[TxId], bool],
        elsewhere: Elsewhere | None = None,
        handing: HandingOver | None = None,
    ) -> None:
        self._router = router
        self._starts = starts
        self._recorder = recorder
        self._feed = feed
        self._tasks = tasks
        self._is_unanswered = is_unanswered
        self._elsewhere = elsewhere
        self._handing = handing
        self._rooms: dict[_Name, _Room] = {}
        self._doors: dict[_Name, _Door] = {}

    def enter(self, tx: TxId, request: Request, flow: Flow, route: Route) -> None:
        """An agent dialled a room: it is opened where nobody is in it yet, at no gateway."""
        coming = _Coming(tx, request, flow, route)
        room = self._open(coming.name)
        if room is not None:
            self._let_in(coming, room)
        elif self._elsewhere is None:
            self._begin(coming, uuid4())
        else:
            self._tasks.spawn(self._find(coming, self._elsewhere), "call-conference")

    def _open(self, name: _Name) -> LiveCall | None:
        room = self._rooms.get(name)
        return None if room is None or room.live.is_ended else room.live

    async def _find(self, coming: _Coming, elsewhere: Elsewhere, silent: NodeId | None = None) -> None:
        """Into the room wherever it is, by another gateway where that one has it."""
        name = coming.name
        door = self._doors.setdefault(name, _Door())
        door.waiting += 1
        try:
            async with door.lock:
                room, opening = self._open(name), uuid4()
                node_id = None if room is not None else await elsewhere.room(*name, opening, silent)
                if not self._is_unanswered(coming.tx):
                    if room is None and node_id is None:
                        elsewhere.close_room(name[0], opening)
                elif room is not None:
                    self._let_in(coming, room)
                elif node_id is None:
                    self._begin(coming, opening)
                else:
                    self._hand_over(coming, node_id, elsewhere)
        finally:
            door.waiting -= 1
            if not door.waiting:
                self._doors.pop(name, None)

    def _hand_over(self, coming: _Coming, node_id: NodeId, elsewhere: Elsewhere) -> None:
        handing, route = self._handing, coming.route
        if handing is None or route.through is not None:
            self._starts.decline(coming.tx, "conference-failed")  # whoever sent it here knew less than the rows say now
            return

        def otherwise() -> None:
            _log.warning("conference.taken_over", node=str(node_id))
            self._tasks.spawn(self._find(coming, elsewhere, node_id), "call-conference")

        credential_id = route.device_id or route.agent.id
        if not handing.over(coming.tx, coming.flow, route.agent.id, credential_id, node_id, otherwise, silent_s=SILENT_S):
            self._starts.decline(coming.tx, "conference-elsewhere")

    def _begin(self, coming: _Coming, opening: UUID) -> None:
        room = self._starts.room(coming.route)
        self._rooms[coming.name] = _Room(room, opening)
        self._let_in(coming, room)

    def _let_in(self, coming: _Coming, room: LiveCall) -> None:
        tx, request, flow, route = coming.tx, coming.request, coming.flow, coming.route
        leg = _free(room)
        if leg is None:
            self._starts.decline(tx, "conference-full")
            return
        plan = replace(route.plan, caller=replace(route.plan.caller, leg=leg), is_recorded=False, joins=leg)
        self._starts.member(tx, request, flow, replace(route, plan=plan), Joining(room, leg, JoinedAs.MEMBER))

    async def call_in(self, org_id: OrgId, room_id: CallId, agent_id: AgentId, to: Personal[str]) -> LiveCall | Refused | str | None:
        """Call somebody into a room in the name of an agent who is in it.

        A refusal of the rules has its row already; a word is one of the catalogue of refusals. None: the gateway takes no calls now.
        """
        room = next((room.live for room in self._rooms.values() if room.live.id == room_id and not room.live.is_ended), None)
        if room is None or room.route.org.id != org_id:
            return "no-conference"
        is_in = any(_is_agents(one) and _agent_of(one) == agent_id for one in room.guests.values())
        agent = self._router.directory.agent(agent_id)
        if not is_in or agent is None or agent.is_suspended:
            return "not-in-conference"
        leg = _free(room)
        if leg is None:
            return "conference-full"
        route = self._router.successors.invited(room.route.org, agent, to.reveal(), leg)
        if isinstance(route, Refused):
            self._starts.note_refusal(route)
            return route
        return await self._starts.call_in(route, Joining(room, leg, JoinedAs.MEMBER))

    async def lets_in(self, member: LiveCall, room: LiveCall) -> bool:
        """Somebody has answered and is about to hear and be heard: what is recorded of the room is found by a number from outside from
        now on, or ends where the law, or who it is, does not let it go on. False where it could not be written."""
        verdict = member.route.verdict
        number = member.route.diverted_to or (member.route.remote if isinstance(verdict, Allow | Emergency) else None)
        if number is None or not room.route.plan.is_room:
            return True
        places = (*room.route.places, *(place for place in member.route.places if place not in room.route.places))
        room.route = replace(room.route, others=(*room.route.others, number), places=places)
        if not self._router.rights.may_record(room.route):
            if room.recording is not None:
                await self._recorder.objected(room)
            return True
        return await self._recorder.take_in(room, number)

    def left(self, room: LiveCall) -> None:
        """A member's leg is closed: the last agent's ends the room."""
        if room.route.plan.is_room and not room.is_ended and not any(_is_agents(one) for one in room.guests.values()):
            self._feed(room, events.Stopped(EndReason.EVERYBODY_LEFT))
        for name in [name for name, known in self._rooms.items() if known.live.is_ended]:
            gone = self._rooms.pop(name)
            if self._elsewhere is not None:
                self._elsewhere.close_room(name[0], gone.opening)

    def has(self, opening: UUID) -> bool:
        """Whether a row is that of a room that stands."""
        return any(room.opening == opening for room in self._rooms.values())


def _free(room: LiveCall) -> int | None:
    """The number of a leg that nobody has."""
    return next((leg for leg in range(MOST_MEMBERS) if leg not in room.guests), None)


def _is_agents(member: LiveCall) -> bool:
    """Whether it is an agent who is in the room: one who dialled it, or a colleague who was called into it and answered."""
    if member.is_ended:
        return False
    if member.route.plan.direction is CallDirection.CONFERENCE:
        return True
    return member.route.plan.direction is CallDirection.INTERNAL and not member.route.leads_out and member.call.state is State.ACTIVE


def _agent_of(member: LiveCall) -> AgentId | None:
    """Which agent is in the room by this call: of one that was called into it not who called."""
    route = member.route
    agent = route.agent if route.plan.direction is CallDirection.CONFERENCE else route.peer_agent
    return None if agent is None else agent.id
