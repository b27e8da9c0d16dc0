"""Where an agent's call goes: its own world first (features, extensions, groups), then the verdict, and only what it allows leaves."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import CallDirection, Plan, Terms
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.policy.model import Allow, Attempt, Channel, Emergency
from hushwire.sdp.offer_answer import Srtp
from hushwire.services import addressed, caller_id, emergencies
from hushwire.services.addressed import own_user
from hushwire.services.agent_terms import agent_terms, announces_with, rings_with
from hushwire.services.availability import Availability, not_taken
from hushwire.services.call_rights import CallRights
from hushwire.services.directory import Directory
from hushwire.services.feature_routes import FeatureRoutes
from hushwire.services.features import DEFAULT, Features
from hushwire.services.group_ringing import GroupRinging, rung_next
from hushwire.services.inbound import Inbound
from hushwire.services.masked_routes import MaskedRoutes
from hushwire.services.phone_targets import DeviceFilter, Devices, PhoneTargets
from hushwire.services.recording_law import is_recorded, lacks_consent
from hushwire.services.ring_groups import RingGroup
from hushwire.services.ringing import ring_s, takes_over
from hushwire.services.route import Refused, Route, Wish, refused_for_consent
from hushwire.services.snapshot import Agent, Credential, Organisation
from hushwire.services.successors import Successors
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.verdicts import Judge, Verdicts
from hushwire.services.ways_out import WaysOut
from hushwire.sip import refusals
from hushwire.sip.flow import Flow
from hushwire.sip.gruu import instance_of
from hushwire.sip.message import Request
from hushwire.sip.uri import SipUri

Temporary = Callable[[Organisation, str], tuple[AgentId, UUID] | None]
"""The agent and binding that a temporary GRUU's user part stands for."""


class Router:
    """Decides for each INVITE of an agent, and holds what decides for other calls. Nothing here sends or waits."""

    def __init__(
        self,
        directory: Directory,
        devices: Devices,
        judge: Judge,
        states: TrunkStates,
        now: Callable[[], datetime],
        temporary: Temporary = lambda _org, _user: None,
        features: Features = DEFAULT,
    ) -> None:
        self._judge = judge
        self._temporary = temporary
        self._features = features
        self.directory = directory
        self.verdicts = verdicts = Verdicts(judge, now)
        self.rights = CallRights(directory)
        self.phones = phones = PhoneTargets(directory, devices, states)
        self.availability = availability = Availability()
        self.groups = GroupRinging(phones, availability)
        self.leaving = WaysOut(directory, verdicts, states)
        """The ways by which calls leave for the telephone network."""
        self.masked = MaskedRoutes(directory, verdicts, states, self.leaving, phones)
        self.inbound = Inbound(directory, states, phones, availability, self.groups, self.masked)
        self.successors = Successors(directory, verdicts, phones, availability, self.leaving)
        self.feature_routes = FeatureRoutes(features, verdicts)

    def from_agent(
        self, org: Organisation, agent: Agent, request: Request, flow: Flow, credential: Credential | None = None
    ) -> Route | Refused | Wish:
        """Where an authenticated agent's INVITE goes, under the rules of this moment. `credential` is the one that it showed."""
        terms = agent_terms(org, flow.transport, flow.remote.host, leg=0)
        came, user = request, own_user(request, org)
        asked, request = caller_id.asked_for(came, user, self._features)
        hides = agent.hides_identity if asked is None else asked
        if request is not came:
            user = own_user(request, org)
        verdict = self.verdicts.on(org, agent, Attempt(request.uri, Channel.INVITE, peer=flow.remote.host))
        if credential is not None and credential.is_locked and not isinstance(verdict, Emergency):
            words, direction = refusals.header("credential-locked"), CallDirection.OUTBOUND
            remote = Personal(addressed.dialled(request)[:256])
            return Refused(403, words, "credential-locked", direction, org, agent, remote=remote)
        shown = None if credential is None else credential.id
        if user is not None and not isinstance(verdict, Emergency):
            dialled = self.feature_routes.read(user)
            if dialled is not None:
                served = self.feature_routes.served(org, agent, terms, dialled, user, shown, flow.remote.host)
                if served is not None:
                    return served
            callee, only = self._own_callee(org, user, request)
            if callee is not None:
                return self._internal(org, agent, callee, terms, only, hides=hides)
            if (group := org.groups.get(user)) is not None:
                return self._to_group(org, agent, group, terms, hides=hides)
        if isinstance(verdict, Allow) and (proxy := self.masked.proxy(org, verdict.number)) is not None:
            return self.masked.from_agent(org, agent, terms, proxy)
        said = addressed.dialled(request)
        verdict = self.verdicts.admit(org, agent, verdict, user or said, shown, flow.remote.host)
        return self.leaving.on_verdict(org, agent, terms, verdict, said, hides=hides, device_id=shown)

    def calls_for_help(self, org: Organisation, request: Request, flow: Flow | None) -> bool:
        """Whether an INVITE of an agent of this organisation is an emergency call."""
        _, request = caller_id.asked_for(request, own_user(request, org), self._features)
        return emergencies.calls_for_help(self._judge, org, request, flow)

    def may_begin_elsewhere(self, org: Organisation, agent: Agent, request: Request, flow: Flow) -> bool:
        """Whether an agent's INVITE is a call like others: neither for help, which goes out where it arrives, nor a feature code."""
        _, request = caller_id.asked_for(request, own_user(request, org), self._features)
        user = own_user(request, org)
        if user is not None and self.feature_routes.read(user) is not None:
            return False
        verdict = self.verdicts.on(org, agent, Attempt(request.uri, Channel.INVITE, peer=flow.remote.host))
        return not isinstance(verdict, Emergency)

    def called_for(
        self, org: Organisation, agent: Agent, to: str, channel: Channel, *, counts: bool, credential_id: UUID | None = None
    ) -> Route | Refused:
        """Where a call leads that we make in an agent's name, under the rules of this moment; its caller's terms and phones follow.

        `to` is what was asked for, a dial string or a URI. `counts`: it is an attempt, which the fraud breaker is told of.
        """
        org = self.directory.newest(org)  # a call's own is as it was when the call began
        terms = Terms(0, Srtp.OPTIONAL, None)
        verdict = self.verdicts.on(org, agent, Attempt(to, channel))
        if not isinstance(verdict, Emergency):
            callee = org.agent_named(addressed.own_name(to, org) or to)
            if callee is not None:
                return self._internal(org, agent, callee, terms, hides=agent.hides_identity)
        if isinstance(verdict, Allow) and self.masked.proxy(org, verdict.number) is not None:
            # Whose session it is says the number that a phone's call comes from; here is none.
            words, remote = refusals.header("not-masked"), Personal(verdict.number)
            return Refused(404, words, "not-masked", CallDirection.OUTBOUND, org, agent, remote=remote)
        if counts:
            verdict = self.verdicts.admit(org, agent, verdict, to, credential_id, None)
        return self.leaving.on_verdict(org, agent, terms, verdict, to, hides=agent.hides_identity)

    def _to_group(self, org: Organisation, agent: Agent, group: RingGroup, terms: Terms, *, hides: bool) -> Route | Refused:
        remote, direction = Personal(group.extension), CallDirection.INTERNAL
        if lacks_consent(org, (), ()):
            return refused_for_consent(direction, org, agent, remote)
        plan = Plan(
            direction,
            terms,
            (),
            float(group.ring_s),
            is_recorded(org, None, ()),
            rings_with(org),
            announces_with(org),
            org.sounds.music_on_hold,
            diverts=True,
        )
        route = Route(plan, org, agent, peer_agent=agent, remote=remote, local=agent.extension, hides=hides)
        found = rung_next(route, group, self.groups.members(org, group, route), 0)
        return found or Refused(480, refusals.header("no-device"), "unavailable", direction, org, agent, remote=remote)

    def _own_callee(self, org: Organisation, user: str, request: Request) -> tuple[Agent | None, DeviceFilter | None]:
        """The agent that a user part of ours names and, where it is a GRUU, which device alone is meant (RFC 5627 section 5.1)."""
        found = self._temporary(org, user)
        if found is not None:
            agent_id, row_id = found
            return org.by_id.get(agent_id), lambda device: device.row_id == row_id
        callee = org.agent_named(user)
        uri = request.request_uri
        instance = instance_of(uri) if isinstance(uri, SipUri) else None
        return callee, None if instance is None else lambda device: device.instance == instance

    def _internal(
        self, org: Organisation, agent: Agent, callee: Agent, terms: Terms, only: DeviceFilter | None = None, *, hides: bool = False
    ) -> Route | Refused:
        # Who names a device means that device.
        not_rung = self.availability.not_rung(callee) if only is None else None
        from_ = self.phones.insider(org, agent, hides=hides)
        targets = () if callee.is_suspended or not_rung else self.phones.of(org, callee, from_, leg=1, only=only)
        remote = callee.extension or callee.username
        if not targets and not (only is None and takes_over(callee, not_rung or DiversionReason.UNAVAILABLE)):
            return Refused(*not_taken(not_rung, "no-device"), CallDirection.INTERNAL, org, agent, remote=remote)
        if lacks_consent(org, (), ()):
            return refused_for_consent(CallDirection.INTERNAL, org, agent, remote)
        plan = Plan(
            CallDirection.INTERNAL,
            terms,
            targets,
            ring_s(callee),
            is_recorded(org, None, ()),
            rings_with(org),
            announces_with(org),
            org.sounds.music_on_hold,
            diverts=only is None and not callee.is_suspended,
            not_rung=None if targets else not_rung or DiversionReason.UNAVAILABLE,
        )
        return Route(plan, org, agent, peer_agent=callee, remote=remote, local=agent.extension, hides=hides)
