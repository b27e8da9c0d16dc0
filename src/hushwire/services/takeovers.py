"""Calls that are not to anybody but take the place of somebody: a parked call's slot is dialled, a ringing colleague's call is picked up,
or an INVITE names the dialog that it replaces (RFC 3891).

All of them stay within the organisation, and none leads to a trunk. Whatever is wrong with what is named is answered alike.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

import structlog

from hushwire.calls.call import State
from hushwire.calls.model import JoinedAs, Side
from hushwire.calls.transfer import TransferKind
from hushwire.core.ids import AgentId, NodeId
from hushwire.services.call_starts import SDP_TYPE, CallStarts
from hushwire.services.call_table import CallTable
from hushwire.services.call_tasks import CallTasks
from hushwire.services.elsewhere import Elsewhere
from hushwire.services.features import Dialled, Feature
from hushwire.services.handing_over import Bearer, HandingOver
from hushwire.services.identity import Authenticator, Unknown
from hushwire.services.live import Joining, LiveCall, Transfer
from hushwire.services.park import Park
from hushwire.services.route import Route
from hushwire.services.routing import Router
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.transfers import KINDS, free_leg, is_transferable
from hushwire.sip import effects as sip
from hushwire.sip.effects import DialogKey, TxId
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request
from hushwire.sip.refusals import REFUSALS, header
from hushwire.transport.endpoint import SipEndpoint

_RINGING: Final = frozenset({State.RINGING})
_log = structlog.get_logger(__name__)


class Takeovers:
    """What agents take. `is_on` says whether a feature is switched on here."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        authenticator: Authenticator,
        router: Router,
        starts: CallStarts,
        table: CallTable,
        park: Park,
        is_on: Callable[[Feature], bool],
        tasks: CallTasks,
        elsewhere: Elsewhere | None = None,
        handing: HandingOver | None = None,
    ) -> None:
        self._tasks = tasks
        self._elsewhere = elsewhere
        self._handing = handing
        self._endpoint = endpoint
        self._authenticator = authenticator
        self._router = router
        self._starts = starts
        self._table = table
        self._park = park
        self._is_on = is_on

    def dialled(self, tx: TxId, request: Request, flow: Flow, route: Route, place: Dialled) -> None:
        """An agent dialled a slot, or the pickup code and a colleague's extension."""
        if place.feature is Feature.PARK_SLOT:
            host = self._park.find(route.org.id, place.argument)
            if host is None:
                self._look(tx, flow, route, lambda other: other.parked(route.org.id, place.argument), "nobody-parked")
            elif host.transfer is None or host.call.state is not State.WAITING:
                self._refuse(tx, "nobody-parked")
            else:
                self._come(tx, request, flow, route, host, host.transfer.side, TransferKind.RETRIEVE)
            return
        colleague = route.org.agent_named(place.argument)
        group = route.org.groups.get(place.argument)
        line = AgentId(group.id) if group is not None else None if colleague is None else colleague.id
        ringing = None if line is None else self._ringing(route.org, line)
        if line is None:
            self._refuse(tx, "nobody-rings")
            return
        if ringing is None:
            self._look(tx, flow, route, lambda other: other.ringing(route.org.id, line), "nobody-rings")
            return
        self._come(tx, request, flow, route, ringing, Side.CALLEE, TransferKind.PICKUP)

    def replacing(self, event: sip.RequestReceived, named: DialogKey) -> None:
        """An INVITE with Replaces: from an agent, of a call of its own, or of one that rings at a colleague's where pickup is on."""
        tx, request, flow = event.tx, event.request, event.flow
        bearer = self.bearer(request, flow)
        if bearer is None and self._router.inbound.trunk_of(flow) is not None:
            self._refuse(tx, "transfer-by-carrier")
            return
        identity = self._authenticator.identify(request, flow) if bearer is None else bearer.known
        if isinstance(identity, Unknown):
            self._endpoint.respond(tx, identity.status, headers=identity.headers)
            return
        if identity.credential.is_locked:
            self._refuse(tx, "credential-locked")
            return
        if request.body and request.content_type != SDP_TYPE:
            self._endpoint.respond(tx, 415, headers=[("Accept", SDP_TYPE)])
            return
        if self._table.is_closing or self._table.is_full:
            self._refuse(tx, "closing")
            return
        found = self._named(identity.org, identity.agent, named)
        route = self._router.successors.to_place(identity.org, identity.agent, flow if bearer is None else bearer.seen)
        route = replace(route, device_id=identity.credential.id, through=None if bearer is None else bearer.through)
        if found is None:
            _log.info("takeover.refused", why="no such dialog for this agent")
            picks_up, org_id, agent_id = self._is_on(Feature.PICKUP), identity.org.id, identity.agent.id
            if self._table.by_dialog.get(named) is None:
                self._look(tx, flow, route, lambda other: other.named(org_id, agent_id, named, picks_up=picks_up), "no-such-dialog")
            else:
                self._refuse(tx, "no-such-dialog")
            return
        self._come(tx, request, flow, route, *found)

    def bearer(self, request: Request, flow: Flow) -> Bearer | None:
        """Who another gateway says that it is; None for everybody who comes without its word."""
        return None if self._handing is None else self._handing.bearer(request, flow)

    # On other gateways.

    def _look(self, tx: TxId, flow: Flow, route: Route, where: Callable[[Elsewhere], Awaitable[NodeId | None]], code: str) -> None:
        """Hand it over to the gateway that holds the call, if one does; who comes by way of another one goes no further."""
        elsewhere, handing = self._elsewhere, self._handing
        if elsewhere is None or handing is None or route.through is not None:
            self._refuse(tx, code)
            return
        self._tasks.spawn(self._hand_over(handing, tx, flow, route, where(elsewhere), code), "call-takeover")

    async def _hand_over(
        self, handing: HandingOver, tx: TxId, flow: Flow, route: Route, looking: Awaitable[NodeId | None], code: str
    ) -> None:
        node_id = await looking
        credential = route.device_id or route.agent.id
        if node_id is None or not handing.over(tx, flow, route.agent.id, credential, node_id, lambda: self._refuse(tx, code)):
            self._refuse(tx, code)

    def _named(self, org: Organisation, agent: Agent, named: DialogKey) -> tuple[LiveCall, Side, TransferKind] | None:
        host = self._table.by_dialog.get(named)
        side = None if host is None else host.side_of(named)
        if host is not None and side is not None:
            party = host.party(side)
            is_own = host.route.org.id == org.id and party.agent is not None and party.agent.id == agent.id
            return (host, side, TransferKind.MOVE) if is_own and is_transferable(host) and host.transfer is None else None
        if not self._is_on(Feature.PICKUP):
            return None
        for live in self._table.calls.values():
            is_named = named in live.early.values() or (self._elsewhere is not None and self._elsewhere.is_name(named, live.id))
            if is_named and live.route.org.id == org.id and _may_be_picked_up(live):
                return live, Side.CALLEE, TransferKind.PICKUP
        return None

    def _ringing(self, org: Organisation, line: AgentId) -> LiveCall | None:
        """The oldest call that rings at a colleague's phones, or at a group's, now."""
        calls = (live for live in self._table.calls.values() if live.route.org.id == org.id and _may_be_picked_up(live))
        return next((live for live in calls if line in _rung(live)), None)

    def _come(self, tx: TxId, request: Request, flow: Flow, route: Route, host: LiveCall, side: Side, kind: TransferKind) -> None:
        leg = free_leg(host)
        if leg is None:
            self._refuse(tx, "too-many-parties")
            return
        plan = replace(route.plan, caller=replace(route.plan.caller, leg=leg), joins=leg)
        waiting = host.transfer
        if waiting is not None and waiting.successor is not None:
            self._refuse(tx, "being-transferred")  # who parked it is being rung
            return
        slot = None if waiting is None else waiting.slot
        transfer = host.transfer = Transfer(kind, side, route.agent, slot=slot)
        _log.info("takeover.begun", call_id=str(host.id), kind=kind.value)
        transfer.before = waiting
        successor = self._starts.take_place(tx, request, flow, replace(route, plan=plan), Joining(host, leg, JoinedAs.SUCCESSOR))
        if successor.is_ended:
            host.transfer = waiting  # it was refused before anybody could know whose place it was to take
        else:
            transfer.successor = successor

    def _refuse(self, tx: TxId, code: str) -> None:
        self._endpoint.respond(tx, REFUSALS[code].status or 500, headers=[("Reason", header(code))])


def _rung(live: LiveCall) -> set[AgentId]:
    """Whose phones ring: of a group its own line, and those of its members that are rung now."""
    route, call = live.route, live.call
    if route.group is None:
        return set() if route.called is None else {route.called.id}
    branches = range(min(len(route.callees), call.tried))
    return {AgentId(route.group.id)} | {
        member.id for branch in branches if (member := route.callees[branch]) is not None and call.awaits(branch)
    }


def _may_be_picked_up(live: LiveCall) -> bool:
    is_rung = live.call.state in _RINGING and live.joining is None and live.route.plan.direction in KINDS and not live.route.leads_out
    return is_rung and live.route.called is not None and live.transfer is None and not live.is_ended
