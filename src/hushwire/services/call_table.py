"""The calls of this gateway, by every name that leads to one: its own, and those that the SIP engine gave its parties."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from hushwire.calls.call import State
from hushwire.calls.model import AnsweredBy, Side
from hushwire.core.ids import AgentId, CallId, TrunkId
from hushwire.services.live import LiveCall
from hushwire.services.shared_counts import Count, Counted
from hushwire.services.snapshot import Agent
from hushwire.sip.effects import DialogKey, InviteId, RequestId, TxId

_VISITS: Final = (AnsweredBy.MAILBOX, AnsweredBy.GREETING)


@dataclass(slots=True, eq=False)
class CallTable:
    """Calls that are not wholly closed yet."""

    max_calls: int
    is_closing: bool = False
    """The gateway is about to end: there are no new calls."""
    is_draining: bool = False
    """The gateway ends when its calls have: there are no new ones but emergency calls."""
    calls: dict[CallId, LiveCall] = field(default_factory=dict)
    by_tx: dict[TxId, LiveCall] = field(default_factory=dict)
    """Calls whose caller waits for a final response."""
    by_invite: dict[InviteId, tuple[LiveCall, int]] = field(default_factory=dict)
    """Branches that have not been answered yet."""
    by_dialog: dict[DialogKey, LiveCall] = field(default_factory=dict)
    by_request: dict[RequestId, tuple[LiveCall, Side]] = field(default_factory=dict)
    """Requests within a dialog, to whom they were sent."""

    @property
    def is_full(self) -> bool:
        """Whether there are as many calls as there may be."""
        return len(self.calls) >= self.max_calls

    def on_trunk(self, trunk_id: TrunkId) -> int:
        """How many calls are with a carrier, both ways; one that looks for its way is with the one that it tries now.

        A call that came from it and was diverted to it counts twice, and so does one whose parties are both with it.
        """
        return self.on_trunks()[trunk_id]

    def on_trunks(self) -> Counter[TrunkId]:
        """That of every carrier."""
        routes = (live.route for live in self.calls.values() if not live.is_ended)
        carriers = (trunk for route in routes for trunk in (route.trunk, route.out_trunk, *route.further_trunks))
        return Counter(trunk.id for trunk in carriers if trunk is not None)

    def is_talking(self, agent_id: AgentId) -> bool:
        """Whether an agent is in a call that was answered, by one of its devices."""
        talks = (live for live in self.calls.values() if live.answered is not None and not live.is_ended and not live.route.plan.is_room)
        return any(agent.id == agent_id for live in talks for agent in _agents_in(live))

    def counted(self, limited: Collection[TrunkId], *, tells_engaged: bool = False) -> Counter[Count]:
        """What other gateways must know of these calls, since it is bounded over all of them. `limited`: trunks with so many channels.

        `tells_engaged`: there are others, who are to send further calls of who is in one here to this gateway, as long as it takes calls.
        """
        tells_engaged = tells_engaged and not (self.is_draining or self.is_closing or self.is_full)
        found: Counter[Count] = Counter()
        for live in self.calls.values():
            if live.is_ended:
                continue
            route = live.route
            if limited:
                trunks = (route.trunk, route.out_trunk, *route.further_trunks)
                found.update((Counted.TRUNK, trunk.id) for trunk in trunks if trunk is not None and trunk.id in limited)
            if route.masking_id is not None:
                found[Counted.MASKED, route.masking_id] += 1
            if route.mailbox is not None and route.plan.answered_by in _VISITS:
                found[Counted.VISIT, route.mailbox.id] += 1
            if live.answered is not None and not route.plan.is_room:
                is_engaged = tells_engaged and live.joining is None
                for agent in _agents_in(live):
                    if not agent.forwarding.call_waiting:
                        found[Counted.TALKING, agent.id] += 1
                    if is_engaged:
                        found[Counted.ENGAGED, agent.id] += 1
        return found

    def out_for(self, agent_id: AgentId) -> int:
        """How many calls an agent's forwarding has let out that are not over yet, wherever their parties were transferred to."""
        return sum(live.route.forwarded_by.count(agent_id) for live in self.calls.values() if not live.is_ended)

    def masked(self, session_id: UUID) -> int:
        """How many calls of a masked session are not over yet."""
        return sum(1 for live in self.coming_and_there() if live.route.masking_id == session_id)

    def visits(self, agent_id: AgentId) -> int:
        """How often an agent is at its mailbox, to hear its messages or for its greeting."""
        routes = (live.route for live in self.coming_and_there() if live.route.plan.answered_by in _VISITS)
        return sum(1 for route in routes if route.mailbox is not None and route.mailbox.id == agent_id)

    def find(self, bridge_id: UUID, leg: int | None) -> LiveCall | None:
        """The call whose leg it is: that of the bridge, or one that joins it."""
        live = self.calls.get(CallId(bridge_id))
        return live if live is None or leg is None else live.guests.get(leg, live)

    def forget_parties(self, live: LiveCall) -> None:
        """Nothing that the SIP engine says leads to this call any more."""
        if live.tx is not None:
            self.by_tx.pop(live.tx, None)
        for invite in live.invites.values():
            self.by_invite.pop(invite, None)
        for dialog in (*live.dialogs.values(), *live.branch_dialogs.values()):
            self.by_dialog.pop(dialog, None)

    def coming_and_there(self) -> list[LiveCall]:
        """Calls that are not over, those included that have not begun: whatever keeps them waiting."""
        return [live for live in {*self.calls.values(), *self.by_tx.values()} if not live.is_ended]


def _agents_in(live: LiveCall) -> list[Agent]:
    """Who of us is in it; not who parked it, or asked for a transfer and hung up."""
    call, left = live.call, None
    if call.state is State.WAITING:
        left = next((call.leg(side) for side in Side if call.end(side) is None), None)
    return [agent for leg in (0, 1) if leg != left and (agent := live.route.agent_at(leg)) is not None]
