"""Whom a call is to ring next where who was called does not take it: decided at that moment, in memory, by the newest settings.

A destination of the organisation's own is rung. Everything else is one more way out, with a fresh verdict under the rules of the agent
who forwards: its organisation pays, so it answers for the call. A chain is bounded, and no agent is in it twice. An emergency number is
never what a call is diverted to, and an emergency call is never diverted.
"""

from collections.abc import Callable
from dataclasses import field
from typing import Final

import structlog

from hushwire.calls import events
from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import AnsweredBy, CallDirection, Target
from hushwire.core.ids import AgentId, CallId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen, replace
from hushwire.policy.model import Allow, Attempt, Channel, Deny, Emergency, Malformed
from hushwire.services.addressed import own_name
from hushwire.services.forwarding import MOST_DIVERSIONS, VOICEMAIL, Diversion
from hushwire.services.group_ringing import rung_next
from hushwire.services.recording_law import lacks_consent
from hushwire.services.ring_groups import RingGroup
from hushwire.services.ringing import RING_TRUNK_S, ring_s
from hushwire.services.route import Route
from hushwire.services.routing import Router
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.trunk import Trunk
from hushwire.sip.diversion import Diverted

MOST_OUT: Final = 10
"""So many calls at once are out on one agent's forwarding: whatever a carrier makes of them, they do not breed."""
_log = structlog.get_logger(__name__)


@frozen
class Onward:
    """The call rings somebody else: its route from now on, and what its machine is told."""

    route: Route
    event: events.Diverted


@frozen
class Nowhere:
    """Nobody else is rung. `diversions` tell how far it came; empty where nothing was set."""

    diversions: tuple[Diversion, ...] = ()


@frozen
class TakeMessage:
    """Who calls leaves a message: the call's route from now on, and what its machine is told."""

    route: Route
    event: events.AnsweredHere


Answer = Onward | TakeMessage | Nowhere


@frozen
class _Wish:
    """Where a call is to go on to: by a name within the organisation, where it is one, and as the verdict is asked of it."""

    name: str | None = field(repr=False)
    attempt: Attempt


def _set_by(agent: Agent, reason: DiversionReason) -> _Wish | None:
    """What an agent has set for calls that it does not take for this reason."""
    wanted = agent.forwarding.to(reason)
    return None if wanted is None else _Wish(wanted.reveal(), Attempt(wanted.reveal(), Channel.FORWARD))


class Diverting:
    """Answers the question of a call's machine. `out_for` counts the live calls that an agent's forwarding has let out."""

    def __init__(self, router: Router, out_for: Callable[[AgentId], int]) -> None:
        self._directory = router.directory
        self._verdicts = router.verdicts
        self._rights = router.rights
        self._phones = router.phones
        self._availability = router.availability
        self._groups = router.groups
        self._leaving = router.leaving
        self._out_for = out_for
        self.no_mailbox: Callable[[Route, Agent], str | None] = lambda _route, _agent: "no-mailbox"
        """Why who calls by a route can't leave the agent a message now, in a word; None where that is possible."""

    def answer(self, call_id: CallId, route: Route, tried: int, reason: DiversionReason, deflected: str | None = None) -> Answer:
        """Where the call goes on to. `tried` of the route's targets were rung; `deflected` is what a phone's redirection named."""
        if route.group is not None:
            org = self._directory.newest(route.org)
            members = self._groups.members(org, route.group, route)
            return _to_members(rung_next(route, route.group, members, tried), tried) or Nowhere()
        org, agent = self._directory.newest(route.org), self._who_is_called(route)
        if agent is None or isinstance(route.verdict, Emergency):
            return Nowhere()
        made: list[Diversion] = []
        # The caller is no better destination than who has diverted already: it would ring itself.
        seen = {one.agent_id for one in route.diversions} | ({route.agent.id} if route.plan.direction is CallDirection.INTERNAL else set())
        wish = _set_by(agent, reason)
        if deflected is not None:
            # A phone's word goes before its agent's settings, and is judged as the agent's wish.
            reason = DiversionReason.DEFLECTION
            wish = _Wish(own_name(deflected, org), Attempt(deflected, Channel.REDIRECT))
        while wish is not None:
            if wish.name == VOICEMAIL:
                why_not = self.no_mailbox(route, agent)
                made.append(Diversion(agent.id, reason, refused=why_not))
                if why_not is None:
                    return _taken(org, agent, route, tried, made)
                break
            refused, found = self._towards(org, agent, wish, route, seen | {agent.id}, len(route.diversions) + len(made))
            made.append(Diversion(agent.id, reason, leads_out=isinstance(found, Allow), refused=refused))
            seen.add(agent.id)
            if isinstance(found, Allow):
                return self._out(org, agent, found, route, tried, made)
            if isinstance(found, RingGroup):
                changed = replace(route, org=org, diversions=(*route.diversions, *made))
                members = self._groups.members(org, found, changed)
                return _to_members(rung_next(changed, found, members, tried), tried) or Nowhere(tuple(made))
            if found is None:
                break
            onward = self._to_agent(org, found, route, tried, made)
            if onward is not None:
                return onward
            agent, reason = found, self._availability.not_rung(found) or DiversionReason.UNAVAILABLE
            wish = _set_by(agent, reason)
        for one in made:
            if one.refused is not None:
                _log.info("call.not_diverted", call_id=str(call_id), reason=one.reason.value, why=one.refused)
        return Nowhere(tuple(made))

    def _who_is_called(self, route: Route) -> Agent | None:
        """Whose phones were rung, as it is known now; None where it was nobody's."""
        called = None if route.leads_out else route.called
        return None if called is None else self._directory.agent(called.id)

    def _towards(
        self, org: Organisation, agent: Agent, wish: _Wish, route: Route, seen: set[AgentId], done: int
    ) -> tuple[str | None, Agent | RingGroup | Allow | None]:
        """What the destination is: an agent, a group, or a number that may be called; else a word for why it is neither."""
        if done + route.diverted_before >= MOST_DIVERSIONS:
            return "too-many", None
        name = wish.name or ""
        if (group := org.groups.get(name)) is not None:
            return None, group
        found = org.agent_named(name)
        verdict = None if found is not None else self._verdicts.on(org, agent, wish.attempt)
        if isinstance(verdict, Allow):
            # A number of ours is rung here: by way of a carrier nobody would know that it comes round again.
            found = self._directory.agent_of_number(org, verdict.number)
            if (group := self._directory.group_of_number(org, verdict.number)) is not None:
                return None, group
        if found is not None:
            if found.id in seen:
                return "loop", None
            return ("suspended", None) if found.is_suspended else (None, found)
        if verdict is not None:
            verdict = self._verdicts.admit(org, agent, verdict, wish.attempt.destination, None, None)
        match verdict:
            case Allow():
                if self._out_for(agent.id) >= MOST_OUT:
                    return "too-many-calls", None
                if lacks_consent(org, (*route.outsiders, Personal(verdict.number)), (*route.places, verdict.country)):
                    return "recording-consent", None
                return None, verdict
            case Emergency():
                return "emergency", None
            case Deny() | Malformed():
                return verdict.reason.value, None
            case _:
                return "not-a-number", None

    def _to_agent(self, org: Organisation, agent: Agent, route: Route, tried: int, made: list[Diversion]) -> Onward | None:
        """Ring an agent of the organisation; None where none of its phones is to be rung, or can be."""
        if self._availability.not_rung(agent) is not None:
            return None
        targets = self._phones.on_route(org, agent, route, self._directory.agent(made[-1].agent_id), _told(route, made))
        if not targets:
            return None
        changed = replace(route, org=org, diversions=(*route.diversions, *made))
        is_inbound = route.plan.direction is CallDirection.INBOUND
        changed = replace(changed, agent=agent) if is_inbound else replace(changed, peer_agent=agent)
        event = events.Diverted(targets, ring_s(agent), is_recorded=route.plan.is_recorded)
        return _onward(changed, targets, tried, (None,) * len(targets), event)

    def _out(self, org: Organisation, agent: Agent, verdict: Allow, route: Route, tried: int, made: list[Diversion]) -> Answer:
        """Ring a number, as the agent would call it."""
        trunks, ways = self._leaving.ways_out(org, agent, verdict, hides=agent.hides_identity, diverted=_told(route, made))
        targets = tuple(replace(way, terms=replace(way.terms, leg=route.callee_leg)) for way in ways)
        if not targets:
            made[-1] = replace(made[-1], refused="no-trunk")
            return Nowhere(tuple(made))
        places = (*route.places, verdict.country)
        changed = replace(
            route,
            org=org,
            diversions=(*route.diversions, *made),
            diverted_to=Personal(verdict.number),
            places=places,
            verdict=verdict,
        )
        if route.plan.direction is CallDirection.INBOUND:
            changed = replace(changed, agent=agent, out_trunk=trunks[0])
        else:
            changed = replace(changed, peer_agent=None, trunk=trunks[0])
        is_recorded = route.plan.is_recorded and self._rights.may_record(changed)
        event = events.Diverted(targets, RING_TRUNK_S, is_serial=True, leads_out=True, is_recorded=is_recorded)
        return _onward(changed, targets, tried, tuple(trunks), event)


def _to_members(route: Route | None, tried: int) -> Onward | None:
    """Ring members of a group by this route."""
    if route is None:
        return None
    plan = route.plan
    event = events.Diverted(plan.targets[tried:], plan.ring_s, is_recorded=plan.is_recorded, are_several=plan.are_several)
    return Onward(route, event)


def _taken(org: Organisation, owner: Agent, route: Route, tried: int, made: list[Diversion]) -> TakeMessage:
    """Into the mailbox of an agent, whose call it is from now on."""
    plan = replace(
        route.plan, targets=route.plan.targets[:tried], is_recorded=False, diverts=False, not_rung=None, answered_by=AnsweredBy.MESSAGE
    )
    changed = replace(route, org=org, plan=plan, trunks=route.trunks[:tried], diversions=(*route.diversions, *made), mailbox=owner)
    is_inbound = route.plan.direction is CallDirection.INBOUND
    changed = replace(changed, agent=owner) if is_inbound else replace(changed, peer_agent=owner)
    return TakeMessage(changed, events.AnsweredHere(AnsweredBy.MESSAGE))


def _told(route: Route, made: list[Diversion]) -> Diverted:
    """What headers say of the last diversion, and how many there were in all. By whom, is for each peer to be decided."""
    return Diverted(None, made[-1].reason.value, len(route.diversions) + len(made) + route.diverted_before)


def _onward(route: Route, targets: tuple[Target, ...], tried: int, trunks: tuple[Trunk | None, ...], event: events.Diverted) -> Onward:
    """The plan as the machine will have it: behind those that were rung stand those that are rung now."""
    plan = replace(
        route.plan,
        targets=route.plan.targets[:tried] + targets,
        ring_s=event.ring_s,
        is_serial=event.is_serial,
        are_several=event.are_several,
        is_recorded=event.is_recorded,
    )
    before = (*route.trunks, *(None,) * tried)[:tried]
    return Onward(replace(route, plan=plan, trunks=(*before, *trunks)), event)
