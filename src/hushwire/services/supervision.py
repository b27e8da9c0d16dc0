"""A supervisor in a live call: rung on a phone of its own, it listens, whispers to the agent, or barges in; and leaves again.

The supervisor's leg is a call of its own (a row, a length, an end), and a leg of the supervised call's bridge. Listening to people is held
to what recording them is: where the law or the other party's objection forbids the one it forbids the other.
"""

from collections.abc import Callable
from typing import Final

import structlog

from hushwire.calls import events
from hushwire.calls.call import State
from hushwire.calls.model import SUPERVISING, CallDirection, EndReason, JoinedAs
from hushwire.core.ids import AgentId
from hushwire.services.call_media import CallMedia
from hushwire.services.call_rows import CallRows
from hushwire.services.call_starts import CallStarts
from hushwire.services.live import Joining, LiveCall
from hushwire.services.routing import Router
from hushwire.services.snapshot import Agent

MAY_SUPERVISE: Final = frozenset({"supervisor", "admin", "owner"})
FIRST_LEG: Final = 2
MOST_LEGS: Final = 15  # the last number is that of a leg which is put aside in a transfer
_log = structlog.get_logger(__name__)


class Supervision:
    """What supervisors ask for. Answers are `ok`, or why not. `feed` gives a call's machine an event."""

    def __init__(
        self,
        router: Router,
        starts: CallStarts,
        media: CallMedia,
        rows: CallRows,
        feed: Callable[[LiveCall, events.Event], None],
    ) -> None:
        self._router = router
        self._starts = starts
        self._media = media
        self._rows = rows
        self._feed = feed

    async def supervise(self, live: LiveCall, role: JoinedAs, agent_id: AgentId, *, actor: str, purpose: str) -> str:
        """Ring the supervisor's phone; or, where it is in the call already, let it be in it as `role` from now on."""
        agent = self._router.directory.agent(agent_id)
        refusal = self._why_not(live, agent)
        if refusal is not None or agent is None:
            return refusal or "the organisation has no such agent"
        mine = self._find(live, agent_id)
        if mine is not None and mine.joining is not None:
            return await self._change(live, mine, mine.joining, role, actor, purpose)
        leg = next((leg for leg in range(FIRST_LEG, MOST_LEGS) if leg not in live.guests), None)
        if leg is None:
            return "the call has as many parties as it can have"
        route = self._router.successors.to_supervisor(agent, live.route, leg)
        if route is None:
            return "the supervisor has no phone that can be reached"
        if not self._starts.join(route, Joining(live, leg, role, actor, purpose)):
            return "the gateway takes no calls now"
        return "ok"

    def leave(self, live: LiveCall, agent_id: AgentId) -> str:
        """Take the supervisor out of the call; the call goes on."""
        mine = self._find(live, agent_id)
        if mine is not None:
            self._feed(mine, events.Stopped(EndReason.HANGUP))
        return "ok"

    async def settle(self, live: LiveCall) -> None:
        """Something sensitive begins or is over: supervisors hear nothing of it."""
        if live.guests and not await self._media.arrange(live):
            self.end_all(live, EndReason.MEDIA_FAILED)

    def end_all(self, live: LiveCall, why: EndReason) -> None:
        """Nobody listens to this call any more."""
        for guest in list(live.guests.values()):
            if guest.joining is not None and guest.joining.role in SUPERVISING:
                self._feed(guest, events.Stopped(why))

    def obey(self, live: LiveCall) -> None:
        """The other party may have objected meanwhile."""
        if live.guests and not self._router.rights.may_record(live.route):
            self.end_all(live, EndReason.NOT_ALLOWED)

    async def _change(self, live: LiveCall, mine: LiveCall, joining: Joining, role: JoinedAs, actor: str, purpose: str) -> str:
        if joining.role is role:
            return "ok"
        joining.role, joining.actor, joining.purpose = role, actor, purpose
        self._rows.joined_as(mine, joining)
        if mine.call.state is State.ACTIVE and not await self._media.arrange(live):
            self._feed(mine, events.MediaFailed())
            return "hushwire-media did not take it"
        _log.info("supervision.changed", call_id=str(live.id), role=role.value)
        return "ok"

    def _why_not(self, live: LiveCall, agent: Agent | None) -> str | None:
        if agent is None or agent.org_id != live.route.org.id:
            return "the organisation has no such agent"
        if agent.role not in MAY_SUPERVISE or agent.is_suspended:
            return "the agent is no supervisor"
        if (
            live.joining is not None
            or live.answering is not None
            or live.route.plan.direction in (CallDirection.ECHO, CallDirection.CONFERENCE)
        ):
            return "calls of this kind are not supervised"
        if agent.id in {one.id for one in (live.route.agent, live.route.peer_agent) if one is not None}:
            return "who is a party of the call can't supervise it"
        if live.call.state is not State.ACTIVE:
            return "the call is not answered"
        if not self._router.rights.may_record(live.route):
            return "all parties must agree to that there, or one of them objected"
        return None

    @staticmethod
    def _find(live: LiveCall, agent_id: AgentId) -> LiveCall | None:
        supervisors = (guest for guest in live.guests.values() if guest.joining is not None and guest.joining.role in SUPERVISING)
        return next((guest for guest in supervisors if guest.route.agent.id == agent_id and not guest.is_ended), None)
