"""Calls that come from carriers: whose number was called, and which phones ring for it. Nothing here asks for a way out."""

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import CallDirection, Plan, Target
from hushwire.core.values import frozen, replace
from hushwire.policy.model import Reason
from hushwire.privacy.consent import Places
from hushwire.services import addressed, caller_id
from hushwire.services.agent_terms import announces_with
from hushwire.services.availability import Availability, not_taken
from hushwire.services.directory import Directory
from hushwire.services.group_ringing import GroupRinging, rung_next
from hushwire.services.masked_routes import MaskedRoutes
from hushwire.services.phone_targets import PhoneTargets
from hushwire.services.recording_law import is_recorded, lacks_consent, places_of
from hushwire.services.ring_groups import RingGroup
from hushwire.services.ringing import ring_s, takes_over
from hushwire.services.route import Refused, Route
from hushwire.services.snapshot import Agent, AssignedNumber, Organisation
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_targets import sends_from, trunk_terms
from hushwire.sip import diversion, refusals
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request


@frozen
class _Arrived:
    """A carrier's call to a number of ours, by its INVITE."""

    trunk: Trunk
    org: Organisation
    number: AssignedNumber
    caller: caller_id.Outside
    request: Request
    flow: Flow
    agent: Agent | None
    """Whom the number is assigned to."""
    places: Places
    """Where the caller may be, for the law on recording."""

    @property
    def lacks_consent(self) -> bool:
        """Whether it can't be made, as it would have to be recorded and may not be."""
        return lacks_consent(self.org, (self.caller.known,), self.places)

    def refused(self, status: int, words: str, why: str) -> Refused:
        """It is answered with this status and Reason; `why` is the row's word."""
        direction, is_hidden = CallDirection.INBOUND, self.caller.is_hidden
        return Refused(status, words, why, direction, self.org, self.agent, self.trunk, self.caller.shown, hides=is_hidden)

    def route(self, agent: Agent, targets: tuple[Target, ...], rung_s: float, not_rung: DiversionReason | None = None) -> Route:
        """It rings these phones for so long; it is this agent's."""
        plan = Plan(
            CallDirection.INBOUND,
            trunk_terms(self.trunk, self.flow.remote.host),
            targets,
            rung_s,
            is_recorded(self.org, self.caller.known, self.places),
            (),
            announces_with(self.org),
            self.org.sounds.music_on_hold,
            diverts=True,
            not_rung=not_rung,
        )
        return Route(
            plan,
            self.org,
            agent,
            trunk=self.trunk,
            remote=self.caller.shown,
            local=self.number.number,
            places=self.places,
            hides=self.caller.is_hidden,
            withheld=self.caller.known if self.caller.is_hidden else None,
        )


class Inbound:
    """Decides for each INVITE of a carrier."""

    def __init__(
        self,
        directory: Directory,
        states: TrunkStates,
        phones: PhoneTargets,
        availability: Availability,
        groups: GroupRinging,
        masked: MaskedRoutes,
    ) -> None:
        self._directory = directory
        self._states = states
        self._phones = phones
        self._availability = availability
        self._groups = groups
        self._masked = masked

    def trunk_of(self, flow: Flow) -> Trunk | None:
        """The carrier that sends by this flow, by its address alone; None for everybody else.

        A trunk without declared addresses sends from its URI's own address and port; one that connects to us (TCP, TLS) does so from
        any port, and has to be declared.
        """
        return next((trunk for trunk in self._directory.trunks if sends_from(trunk, flow, self._states.named(trunk))), None)

    def from_trunk(self, trunk: Trunk, request: Request, flow: Flow) -> Route | Refused | None:
        """Where a carrier's INVITE goes; None where the number is not ours."""
        called = addressed.called(request, None if trunk.credentials is None or not trunk.register_every_s else trunk.credentials.username)
        number = None if called is None else self._directory.find_number(called)
        org = None if number is None else self._directory.organisation(number.org_id)
        if number is None or org is None:
            return None
        caller = caller_id.from_outside(request, trunk)
        if number.masks:
            return self._masked.from_trunk(trunk, org, number, caller, flow, diversion.times(request))
        agent = None if number.agent_id is None else org.by_id.get(number.agent_id)
        arrived = _Arrived(trunk, org, number, caller, request, flow, agent, places_of(org, caller.known))
        if self._states.is_full(trunk):
            return arrived.refused(503, refusals.header("trunk-full"), "trunk-full")
        group = org.group_of(number.group_id)
        first = None if group is None else next((org.by_id[one] for one in group.members if one in org.by_id), None)
        if group is not None and first is not None:
            return self._to_group(arrived, group, first)
        if agent is None or agent.is_suspended:
            return arrived.refused(480, refusals.header("unavailable"), "unavailable")
        return self._to_agent(arrived, agent)

    def _to_group(self, arrived: _Arrived, group: RingGroup, first: Agent) -> Route | Refused:
        """It rings a group's members; until one of them answers it stands as the first one's."""
        if arrived.lacks_consent:
            return arrived.refused(Reason.RECORDING_CONSENT.sip_status, Reason.RECORDING_CONSENT.sip_reason, "no-recording")
        route = arrived.route(first, (), float(group.ring_s))
        found = rung_next(route, group, self._groups.members(arrived.org, group, route), 0)
        return found or arrived.refused(480, refusals.header("unavailable"), "unavailable")

    def _to_agent(self, arrived: _Arrived, agent: Agent) -> Route | Refused:
        org, domain = arrived.org, self._directory.domain
        from_, told = caller_id.from_shown(arrived.caller, domain)
        told = (*told, *caller_id.diverted_in(arrived.request, arrived.trunk, domain, self._phones.address(org, agent)))
        not_rung = self._availability.not_rung(agent)
        targets = () if not_rung else self._phones.of(org, agent, from_, leg=0, told=told)
        why = None if targets else not_rung or DiversionReason.UNAVAILABLE
        if why is not None and not takes_over(agent, why):
            return arrived.refused(*not_taken(not_rung, "unavailable"))
        if arrived.lacks_consent:
            return arrived.refused(Reason.RECORDING_CONSENT.sip_status, Reason.RECORDING_CONSENT.sip_reason, "no-recording")
        route = arrived.route(agent, targets, ring_s(agent), why)
        return replace(route, diverted_before=diversion.times(arrived.request))
