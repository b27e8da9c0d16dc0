"""Calls that we begin in an agent's name (click-to-call): the agent's own phones ring first, and then the destination is called.

What is wanted is judged before any phone rings, so that a refusal costs nobody an answered call, and once more when the agent is there:
rules change meanwhile. Only the verdict of that moment makes ways to a carrier.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from uuid import UUID
from weakref import WeakValueDictionary

import structlog

from hushwire.calls import events
from hushwire.calls.model import CallDirection, EndReason, Plan, Side
from hushwire.core.ids import AgentId, OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import Allow, Channel, Emergency
from hushwire.services.call_media import CallMedia
from hushwire.services.call_starts import CallStarts
from hushwire.services.live import LiveCall, Wanted
from hushwire.services.replacing import Replacing
from hushwire.services.ringing import RING_AGENT_S
from hushwire.services.route import Refused, Route
from hushwire.services.routing import Router
from hushwire.services.snapshot import Agent, Organisation
from hushwire.sip import refusals
from hushwire.sip.headers import Line

ANSWERS_ITSELF: Final[tuple[Line, ...]] = (
    ("Alert-Info", "<http://localhost/>;info=alert-autoanswer;delay=0"),
    ("Call-Info", "<sip:localhost>;answer-after=0"),
    ("Answer-Mode", "Auto"),
)
"""What phones understand as a wish to be answered without a hand: two customs of the field, and RFC 5373."""
_log = structlog.get_logger(__name__)


class Originating:
    """This gateway's. `is_locked` says whether the fraud breaker locked what a call goes on by."""

    def __init__(
        self, router: Router, starts: CallStarts, media: CallMedia, replacing: Replacing, feed: Callable[[LiveCall, events.Event], None]
    ) -> None:
        self._replacing = replacing
        self._feed = feed
        self._router = router
        self._starts = starts
        self._media = media
        self._turns: WeakValueDictionary[AgentId, asyncio.Lock] = WeakValueDictionary()
        self.is_locked: Callable[[LiveCall], bool] = lambda _live: False

    async def begin(self, org_id: OrgId, agent_id: AgentId, wanted: Wanted, *, answers_itself: bool = False) -> LiveCall | Refused | None:
        """Ring the agent's phones to begin a call; None where the gateway takes no calls now, or no longer knows the agent.

        A refusal has its row already. `answers_itself`: the agent's phone is asked to take the call by itself.
        """
        turn = self._turns.get(agent_id) or asyncio.Lock()
        self._turns[agent_id] = turn
        async with turn:  # each is counted before the next one is judged, however long it waits for keys
            return await self._begin(org_id, agent_id, wanted, answers_itself=answers_itself)

    async def _begin(self, org_id: OrgId, agent_id: AgentId, wanted: Wanted, *, answers_itself: bool) -> LiveCall | Refused | None:
        org, agent = self._router.directory.organisation(org_id), self._router.directory.agent(agent_id)
        if org is None or agent is None or agent.org_id != org_id:
            return None
        found = self._judged(org, agent, wanted, counts=True)
        if isinstance(found, Route):
            found = self._to_own_phones(found, wanted, answers_itself=answers_itself)
        if isinstance(found, Refused):
            self._starts.note_refusal(found)
            return found
        return await self._starts.originate(found, wanted)

    async def call_back(self, live: LiveCall, to: str) -> str | None:
        """Let an agent who hears its messages call somebody, in a call of its own; None, or why not, by a code of the catalogue."""
        org, agent = self._router.directory.newest(live.route.org), self._router.directory.agent(live.route.agent.id)
        end = live.call.end(Side.CALLER)
        if agent is None or end is None:
            return "closing"
        wanted = Wanted(Personal(to), Channel.CALLBACK)
        found = self._judged(org, agent, wanted, counts=True, credential_id=live.route.device_id)
        if isinstance(found, Refused):
            self._starts.note_refusal(found)
            return found.end_reason if found.verdict is None else found.verdict.reason.value
        if isinstance(found.verdict, Emergency):
            # Whoever calls shows the number that it likes; help is called by a person who means it.
            return "no-such-number"
        plan = replace(found.plan, caller=replace(end.terms, leg=0), targets=(), is_serial=False, rings_with=(), are_several=False)
        route = replace(found, plan=plan, trunk=None, trunks=(), device_id=live.route.device_id)
        host = await self._starts.originate(route, wanted)
        if host is None:
            return "closing"
        await host.opened.wait()
        outcome = "the call is over" if host.is_ended else await self._replacing.bring(live, host)
        if outcome == "ok":
            _log.info("call.called_back", call_id=str(host.id), from_call=str(live.id))
            return None
        _log.warning("call.not_called_back", call_id=str(live.id), why=outcome)
        self._feed(host, events.Stopped(EndReason.MEDIA_FAILED))
        return "media-failed"

    async def caller_there(self, live: LiveCall, branch: int | None) -> list[events.Event]:
        """The caller is there: whom its call's machine is to ring now, by the verdict of this moment; or that it may not."""
        if branch is not None:
            target = live.route.plan.targets[branch]
            live.caller_hop, live.route = target.hop, replace(live.route, device_id=target.device_id)
            if live.new is not None:
                live.new = replace(live.new, device_id=target.device_id)
        wanted = live.wanted
        if wanted is None:
            return [events.NotDiverted()]
        if self.is_locked(live) and not live.is_emergency:
            return [events.Stopped(EndReason.CREDENTIAL_LOCKED)]
        agent = self._router.directory.agent(live.route.agent.id)
        if agent is None or self._router.rights.is_barred(live.route):
            return [events.Stopped(EndReason.SUSPENDED)]
        found = self._judged(live.route.org, agent, wanted, counts=False)
        if isinstance(found, Refused):
            _log.info("call.ruled_out", call_id=str(live.id), status=found.status)
            return [events.NotDiverted() if found.verdict is None else events.Stopped(EndReason.RULES_CHANGED)]
        if number_of(found) != number_of(live.route):
            return [events.Stopped(EndReason.RULES_CHANGED)]  # the same string names another number now: nobody asked for that one
        return await self._towards(live, found)

    async def _towards(self, live: LiveCall, found: Route) -> list[events.Event]:
        tried, plan = live.call.tried, found.plan
        event = events.Diverted(
            plan.targets,
            plan.ring_s,
            is_serial=plan.is_serial,
            leads_out=plan.direction is CallDirection.OUTBOUND,
            is_recorded=plan.is_recorded,
        )
        changed = replace(
            found,
            plan=replace(plan, caller=live.route.plan.caller, targets=live.route.plan.targets[:tried] + plan.targets),
            trunks=(None,) * tried + (found.trunks or (None,) * len(plan.targets)),
            device_id=live.route.device_id,
        )
        moved = await self._media.turn(live, changed)
        return [events.NotDiverted()] if moved is None else [*moved, event]

    def _judged(
        self, org: Organisation, agent: Agent, wanted: Wanted, *, counts: bool, credential_id: UUID | None = None
    ) -> Route | Refused:
        if agent.is_suspended:
            status, words = refusals.REFUSALS["suspended"].status or 403, refusals.header("suspended")
            return Refused(status, words, "suspended", CallDirection.OUTBOUND, org, agent, remote=Personal(wanted.to.reveal()[:256]))
        if wanted.is_telemarketing:
            agent = replace(agent, is_telemarketing=True)
        return self._router.called_for(org, agent, wanted.to.reveal(), wanted.channel, counts=counts, credential_id=credential_id)

    def _to_own_phones(self, found: Route, wanted: Wanted, *, answers_itself: bool) -> Route | Refused:
        other = found.remote or wanted.to
        # Nobody's hand, nobody's need: an emergency call is begun by a person.
        headers = ANSWERS_ITSELF if answers_itself and not isinstance(found.verdict, Emergency) else ()
        phones = self._router.phones.own(found.org, found.agent, other, headers)
        if not phones:
            words = refusals.header("agent-not-reached")
            return Refused(480, words, "agent-not-reached", found.plan.direction, found.org, found.agent, remote=found.remote)
        plan: Plan = replace(
            found.plan, caller=phones[0].terms, targets=phones, ring_s=RING_AGENT_S, is_serial=False, rings_with=(), are_several=False
        )
        # No way to a carrier is taken before there is somebody to talk there.
        return replace(found, plan=plan, trunk=None, trunks=())


def number_of(route: Route) -> str | None:
    """The number outside that a route leads to; None for one that stays inside."""
    return route.verdict.number if isinstance(route.verdict, Allow | Emergency) else None
