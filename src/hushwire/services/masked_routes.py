"""Masked calls: neither party learns the other's number, and no row shows one (docs/masking.md)."""

from collections.abc import Callable
from typing import Final
from uuid import UUID

from hushwire.calls.model import CallDirection, Plan, Terms
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.policy.model import Allow, Attempt, Channel, Deny, Malformed, Verdict
from hushwire.services import caller_id
from hushwire.services.agent_terms import announces_with
from hushwire.services.directory import Directory
from hushwire.services.forwarding import MOST_DIVERSIONS
from hushwire.services.phone_targets import PhoneTargets
from hushwire.services.recording_law import is_recorded, is_unrecorded, lacks_consent, places_of
from hushwire.services.ringing import RING_TRUNK_S, ring_s
from hushwire.services.route import Refused, Route
from hushwire.services.snapshot import Agent, AssignedNumber, Organisation
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_targets import trunk_terms
from hushwire.services.verdicts import Verdicts
from hushwire.services.ways_out import WaysOut, route_out
from hushwire.sip import refusals
from hushwire.sip.flow import Flow
from hushwire.sip.uri import NameAddr, SipUri, escape_user

MOST_CALLS: Final = 2
"""Of a session at once, at one gateway: both parties call each other in the same moment. Whoever shows a party's number where it is not
theirs, or leads a call round and round, has no more of the organisation's money than that at a time."""


class MaskedRoutes:
    """Where calls to proxy numbers go."""

    def __init__(self, directory: Directory, verdicts: Verdicts, states: TrunkStates, leaving: WaysOut, phones: PhoneTargets) -> None:
        self._directory = directory
        self._verdicts = verdicts
        self._states = states
        self._leaving = leaving
        self._phones = phones
        self.calls: Callable[[UUID], int] = lambda _session: 0
        """How many calls of a session are not over yet."""

    def _verdict(self, org: Organisation, agent: Agent, other: str) -> Verdict:
        verdict = self._verdicts.on(org, agent, Attempt(other, Channel.FORWARD))
        return self._verdicts.admit(org, agent, verdict, other, None, None)

    def proxy(self, org: Organisation, number: str) -> AssignedNumber | None:
        """The proxy number of the organisation that this number is; None for all others."""
        if not self._directory.has_proxies(org.id):
            return None
        found = self._directory.find_number(number)
        return found if found is not None and found.masks and found.org_id == org.id else None

    def from_trunk(
        self, trunk: Trunk, org: Organisation, proxy: AssignedNumber, caller: caller_id.Outside, flow: Flow, diverted_before: int
    ) -> Route | Refused:
        """A carrier's call to a proxy number: on to the other party, in the name of the session's agent."""

        def refused(code: str, end_reason: str, agent: Agent | None = None, verdict: Deny | Malformed | None = None) -> Refused:
            status, words = refusals.REFUSALS[code].status or 500, refusals.header(code)
            return Refused(status, words, end_reason, CallDirection.INBOUND, org, agent, trunk, None, verdict, hides=True)

        if self._states.is_full(trunk):
            return refused("trunk-full", "trunk-full")
        if diverted_before >= MOST_DIVERSIONS:
            return refused("too-many-diversions", "too-many-diversions")
        known = caller.known
        found = None if known is None else self._directory.masked(proxy, known.reveal())
        agent = None if found is None else org.by_id.get(found.agent_id)
        if known is None or found is None or agent is None or agent.is_suspended:
            return refused("not-masked", "not-masked")
        if self.calls(found.session_id) >= MOST_CALLS:
            return refused("mask-full", "mask-full", agent)
        verdict = self._verdict(org, agent, found.other.reveal())
        if not isinstance(verdict, Allow):
            return refused("mask-refused", "refused", agent, verdict if isinstance(verdict, Deny | Malformed) else None)
        other, places = Personal(verdict.number), (*places_of(org, known), verdict.country)
        if lacks_consent(org, (known, other), places):
            return refused("no-recording", "no-recording", agent)
        own = self._directory.agent_of_number(org, verdict.number)
        trunks: list[Trunk] = []
        if own is not None:
            from_ = NameAddr(SipUri(self._directory.domain, escape_user(proxy.number.reveal())))
            targets = () if own.is_suspended or own.forwarding.not_rung else self._phones.of(org, own, from_, 0)
        else:
            trunks, ways = self._leaving.ways_out(org, agent, verdict, shown=proxy.number)
            targets = tuple(replace(way, terms=replace(way.terms, leg=0)) for way in ways)
        if not targets:
            code = "unavailable" if own is not None else "trunk-failed"
            return refused(code, code, agent)
        plan = Plan(
            CallDirection.INBOUND,
            trunk_terms(trunk, flow.remote.host),
            targets,
            RING_TRUNK_S if own is None else ring_s(own),
            is_recorded(org, known, places) and not is_unrecorded(org, other),
            (),
            announces_with(org),
            org.sounds.music_on_hold,
            is_serial=own is None,
        )
        return Route(
            plan,
            org,
            own or agent,
            trunk=trunk,
            trunks=tuple(trunks),
            out_trunk=trunks[0] if trunks else None,
            local=proxy.number,
            verdict=None if own is not None else verdict,
            places=places,
            hides=True,
            withheld=known,
            diverted_to=None if own is not None else other,
            masking_id=found.session_id,
        )

    def from_agent(self, org: Organisation, agent: Agent, terms: Terms, proxy: AssignedNumber) -> Route | Refused:
        """An agent who is a party of a session calls its proxy number."""

        def refused(code: str, end_reason: str, verdict: Deny | Malformed | None = None) -> Refused:
            status, words = refusals.REFUSALS[code].status or 500, refusals.header(code)
            return Refused(status, words, end_reason, CallDirection.OUTBOUND, org, agent, None, proxy.number, verdict)

        sessions = (self._directory.masked(proxy, number) for number in self._directory.numbers_of(agent))
        found = next((one for one in sessions if one is not None), None)
        if found is None:
            return refused("not-masked", "not-masked")
        if self.calls(found.session_id) >= MOST_CALLS:
            return refused("mask-full", "mask-full")
        verdict = self._verdict(org, agent, found.other.reveal())
        if not isinstance(verdict, Allow):
            return refused("mask-refused", "refused", verdict if isinstance(verdict, Deny | Malformed) else None)
        other = Personal(verdict.number)
        if lacks_consent(org, (other,), (verdict.country,)):
            return refused("no-recording", "no-recording")
        trunks, targets = self._leaving.ways_out(org, agent, verdict, shown=proxy.number)
        if not targets:
            return refused("trunk-failed", "trunk-failed")
        recorded = is_recorded(org, other, (verdict.country,))
        route = route_out(org, agent, terms, verdict, trunks, targets, recorded=recorded, remote=proxy.number, local=proxy.number)
        return replace(route, withheld=other, masking_id=found.session_id)
