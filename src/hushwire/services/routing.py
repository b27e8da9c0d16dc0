"""Where a call goes: the agent's own world first (extensions, echo), then the verdict, and only what it allows reaches a trunk."""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import AnsweredBy, CallDirection, Plan, Target, Terms
from hushwire.core.errors import LocalError
from hushwire.core.ids import AgentId, OrgId
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.policy.model import Allow, AllowContact, Attempt, Channel, Deny, Emergency, Malformed, Reason, Verdict
from hushwire.sdp.offer_answer import Srtp
from hushwire.services import addressed, caller_id, emergencies
from hushwire.services.addressed import own_user, own_user_of
from hushwire.services.agent_terms import agent_terms, announces_with, rings_with
from hushwire.services.directory import Directory
from hushwire.services.features import DEFAULT, SETTINGS, TABLE, Dialled, Feature, Features, changed_by
from hushwire.services.forwarding import VOICEMAIL
from hushwire.services.masked_routes import MaskedRoutes
from hushwire.services.recording_law import is_recorded, is_unrecorded, lacks_consent, places_of
from hushwire.services.registration import Device
from hushwire.services.ring_groups import RingGroup, Strategy
from hushwire.services.ringing import RING_AGENT_S, ring_s, takes_over
from hushwire.services.route import Member, Refused, Route, Wish
from hushwire.services.snapshot import Agent, Credential, Organisation
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_targets import leads_to, sends_from, trunk_terms
from hushwire.services.verdicts import Admit, Judge, denied, unlimited, verdict_for
from hushwire.services.ways_out import WaysOut
from hushwire.sip import asserted, diversion, refusals
from hushwire.sip.diversion import Diverted
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Transport
from hushwire.sip.gruu import instance_of
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri, escape_user, parse_name_addr

ECHO: Final = "echo"
"""The echo's name, which is dialled as its feature code is."""
_ROOM: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
"""A conference's room, by its number."""
MOST_VISITS: Final = 2
"""To one's own mailbox at once, its greeting included: whatever is heard there, the worker has to open first."""
log = structlog.get_logger(__name__)
Devices = Callable[[Agent], Sequence[Device]]
DeviceFilter = Callable[[Device], bool]
Temporary = Callable[[Organisation, str], tuple[AgentId, UUID] | None]
"""The agent and binding that a temporary GRUU's user part stands for."""


class Router:
    """Decides for each INVITE from outside dialogs. Nothing here sends or waits."""

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
        self._directory = directory
        self._devices = devices
        self._judge = judge
        self._states = states
        self._now = now
        self._temporary = temporary
        self._features = features
        self.leaving = WaysOut(directory, judge, states, now)
        """The ways by which calls leave for the telephone network."""
        self._masked = MaskedRoutes(
            directory, judge, states, now, self.leaving.ways_out, self.assigned, self._agent_targets, lambda one: self.masked_calls(one)
        )
        self.is_talking: Callable[[AgentId], bool] = lambda _agent: False
        """Whether an agent is in a call at this gateway."""
        self.visits: Callable[[AgentId], int] = lambda _agent: 0
        """How often an agent is at its mailbox at this gateway."""
        self.masked_calls: Callable[[UUID], int] = lambda _session: 0
        """How many calls of a masked session there are at this gateway."""
        self.admit: Admit = unlimited
        """What the fraud breaker makes of the verdict on a real attempt to leave the house."""
        self._masked.admit = lambda *asked: self.admit(*asked)

    # From agents.

    def from_agent(
        self, org: Organisation, agent: Agent, request: Request, flow: Flow, credential: Credential | None = None
    ) -> Route | Refused | Wish:
        """Where an authenticated agent's INVITE goes, under the rules of this moment. `credential` is the one that it showed."""
        terms = agent_terms(org, flow.transport, flow.remote.host, leg=0)
        asked, request = caller_id.asked_for(request, own_user(request, org), self._features)
        hides = agent.hides_identity if asked is None else asked
        user = own_user(request, org)
        verdict = verdict_for(self._judge, org, agent, Attempt(request.uri, Channel.INVITE, peer=flow.remote.host), self._now())
        if credential is not None and credential.is_locked and not isinstance(verdict, Emergency):
            words, direction = refusals.header("credential-locked"), CallDirection.OUTBOUND
            remote = Personal(addressed.dialled(request)[:256])
            return Refused(403, words, "credential-locked", direction, org, agent, remote=remote)
        shown = None if credential is None else credential.id
        if user is not None and not isinstance(verdict, Emergency):
            dialled = Dialled(Feature.ECHO) if user == ECHO else self._features.read(user)
            if dialled is not None and (served := self._served(org, agent, terms, dialled, user, shown, flow.remote.host)) is not None:
                return served
            callee, only = self._own_callee(org, user, request)
            if callee is not None:
                return self._internal(org, agent, callee, terms, only, hides=hides)
            if (group := org.groups.get(user)) is not None:
                return self._to_group(org, agent, group, terms, hides=hides)
        if isinstance(verdict, Allow) and (proxy := self._masked.proxy(org, verdict.number)) is not None:
            return self._masked.from_agent(org, agent, terms, proxy)
        verdict = self.admit(org, agent, verdict, user or addressed.dialled(request), shown, flow.remote.host)
        match verdict:
            case Allow() | Emergency():
                if isinstance(verdict, Allow) and lacks_consent(org, (Personal(verdict.number),), (verdict.country,)):
                    return _refused(org, agent, denied(verdict, Reason.RECORDING_CONSENT), request)
                return self.leaving.outbound(org, agent, terms, verdict, hides=hides and not isinstance(verdict, Emergency))
            case Deny() | Malformed():
                return _refused(org, agent, verdict, request)
            case AllowContact():
                raise LocalError("the verdict on an INVITE was one on a Contact")

    def calls_for_help(self, org: Organisation, request: Request, flow: Flow | None) -> bool:
        """Whether an INVITE of an agent of this organisation is an emergency call."""
        _, request = caller_id.asked_for(request, own_user(request, org), self._features)
        return emergencies.calls_for_help(self._judge, org, request, flow)

    def may_begin_elsewhere(self, org: Organisation, agent: Agent, request: Request, flow: Flow) -> bool:
        """Whether an agent's INVITE is a call like others: neither for help, which goes out where it arrives, nor a feature code."""
        _, request = caller_id.asked_for(request, own_user(request, org), self._features)
        user = own_user(request, org)
        if user is not None and (user == ECHO or self._features.read(user) is not None):
            return False
        verdict = verdict_for(self._judge, org, agent, Attempt(request.uri, Channel.INVITE, peer=flow.remote.host), self._now())
        return not isinstance(verdict, Emergency)

    def _served(
        self, org: Organisation, agent: Agent, terms: Terms, dialled: Dialled, user: str, shown: UUID | None, host: str
    ) -> Route | Refused | Wish | None:
        """What a feature code leads to; None where it leads nowhere, and the string is looked at as any other."""
        if dialled.feature is Feature.ECHO:
            return Route(Plan(CallDirection.ECHO, terms, (), RING_AGENT_S, False), org, agent, remote=Personal("echo"))
        if dialled.feature is Feature.ASK_ACCESS:
            return Wish(org, agent, dialled.feature)
        if dialled.feature is Feature.CONFERENCE and _ROOM.fullmatch(dialled.argument):
            return self._conference(org, agent, terms, dialled.argument, Personal(user))
        if dialled.feature in (Feature.PARK_SLOT, Feature.PICKUP):
            plan = Plan(CallDirection.INTERNAL, terms, (), RING_AGENT_S, False, joins=0)
            return Route(plan, org, agent, remote=Personal(user), local=agent.extension, place=dialled)
        if dialled.feature in (Feature.MAILBOX, Feature.GREETING):
            if self.visits(agent.id) >= MOST_VISITS:
                words, direction = refusals.header("mailbox-in-use"), CallDirection.VOICEMAIL
                return Refused(486, words, "busy", direction, org, agent, remote=Personal(user))
            by = AnsweredBy.MAILBOX if dialled.feature is Feature.MAILBOX else AnsweredBy.GREETING
            plan = Plan(CallDirection.VOICEMAIL, terms, (), RING_AGENT_S, False, answered_by=by)
            return Route(plan, org, agent, remote=Personal(user), local=agent.extension, mailbox=agent)
        if dialled.feature is Feature.LEAVE_MESSAGE:
            return self._message(org, agent, terms, dialled.argument)
        if dialled.feature in SETTINGS:
            return self._wish(org, agent, dialled, user, shown, host)
        return None

    def _wish(self, org: Organisation, agent: Agent, dialled: Dialled, user: str, shown: UUID | None, host: str) -> Wish | Refused:
        """A setting of the agent's own; refused where calls could never go on there. It is judged again whenever one does."""
        if not TABLE[dialled.feature].takes:
            return Wish(org, agent, dialled.feature, changed_by(agent.forwarding, dialled.feature, None))
        found = self._features.read(dialled.argument)
        to_mailbox = found is not None and found.feature is Feature.MAILBOX
        wanted = VOICEMAIL if to_mailbox else dialled.argument
        callee = self.own_agent(org, wanted)
        if not to_mailbox and callee is None and wanted not in org.groups:
            match self.verdict(org, agent, Attempt(wanted, Channel.FORWARD)):
                case Allow():
                    pass
                case Deny() | Malformed() as verdict:
                    # Who tries by settings what the rules refuse looks for a way out as who calls does.
                    self.admit(org, agent, verdict, wanted, shown, host)
                    remote, reason = Personal((verdict.number if isinstance(verdict, Deny) else None) or user), verdict.reason
                    direction = CallDirection.OUTBOUND
                    return Refused(reason.sip_status, reason.sip_reason, "refused", direction, org, agent, remote=remote, verdict=verdict)
                case _:
                    return self._not_forwarded("forward-emergency", org, agent, user)
        if callee is not None and callee.id == agent.id:
            return self._not_forwarded("forward-self", org, agent, user)
        return Wish(org, agent, dialled.feature, changed_by(agent.forwarding, dialled.feature, Personal(wanted)))

    def _not_forwarded(self, code: str, org: Organisation, agent: Agent, user: str) -> Refused:
        return Refused(403, refusals.header(code), "rejected", CallDirection.INTERNAL, org, agent, remote=Personal(user))

    def not_rung(self, agent: Agent) -> DiversionReason | None:
        """Why no phone of an agent is to be rung now; None where they are."""
        wish = agent.forwarding
        if wish.not_rung is None and not wish.call_waiting and self.is_talking(agent.id):
            return DiversionReason.USER_BUSY
        return wish.not_rung

    def _to_group(self, org: Organisation, agent: Agent, group: RingGroup, terms: Terms, *, hides: bool) -> Route | Refused:
        remote, direction = Personal(group.extension), CallDirection.INTERNAL
        if lacks_consent(org, (), ()):
            reason = Reason.RECORDING_CONSENT
            return Refused(reason.sip_status, reason.sip_reason, "no-recording", direction, org, agent, remote=remote)
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
        found = rung_next(route, group, self.members(org, group, route), 0)
        return found or Refused(480, refusals.header("no-device"), "unavailable", direction, org, agent, remote=remote)

    def _conference(self, org: Organisation, agent: Agent, terms: Terms, room: str, remote: Personal[str]) -> Route | Refused:
        if lacks_consent(org, (), ()):
            reason = Reason.RECORDING_CONSENT
            return Refused(reason.sip_status, reason.sip_reason, "no-recording", CallDirection.CONFERENCE, org, agent, remote=remote)
        plan = Plan(CallDirection.CONFERENCE, terms, (), RING_AGENT_S, is_recorded(org, None, ()))
        return Route(plan, org, agent, remote=remote, local=agent.extension, room=room)

    def _message(self, org: Organisation, agent: Agent, terms: Terms, name: str) -> Route | Refused:
        """The way straight into somebody's mailbox."""
        owner = org.by_extension.get(name) or org.by_username.get(name)
        if owner is None or owner.is_suspended:
            words = refusals.header("no-such-mailbox")
            return Refused(404, words, "not-found", CallDirection.INTERNAL, org, agent, remote=Personal(name))
        plan = Plan(CallDirection.INTERNAL, terms, (), RING_AGENT_S, False, answered_by=AnsweredBy.MESSAGE)
        remote = owner.extension or owner.username
        return Route(plan, org, agent, peer_agent=owner, remote=remote, local=agent.extension, mailbox=owner)

    def may_take_message(self, route: Route) -> bool:
        """Whether who calls may be recorded into a mailbox: not who objected to being recorded, or is a minor.

        Where the law asks for everybody's consent the caller gives it: it is the only one who is recorded, was told so by the greeting,
        and speaks after the tone, or does not.
        """
        org = self._directory.organisation(route.org.id) or route.org
        return route.plan.direction is not CallDirection.INBOUND or not is_unrecorded(org, route.withheld or route.remote)

    def _own_callee(self, org: Organisation, user: str, request: Request) -> tuple[Agent | None, DeviceFilter | None]:
        """The agent that a user part of ours names and, where it is a GRUU, which device alone is meant (RFC 5627 section 5.1)."""
        found = self._temporary(org, user)
        if found is not None:
            agent_id, row_id = found
            return org.by_id.get(agent_id), lambda device: device.row_id == row_id
        callee = org.by_extension.get(user) or org.by_username.get(user)
        uri = request.request_uri
        instance = instance_of(uri) if isinstance(uri, SipUri) else None
        return callee, None if instance is None else lambda device: device.instance == instance

    def _internal(
        self, org: Organisation, agent: Agent, callee: Agent, terms: Terms, only: DeviceFilter | None = None, *, hides: bool = False
    ) -> Route | Refused:
        # Who names a device means that device.
        not_rung = self.not_rung(callee) if only is None else None
        from_ = self._insider(org, agent, hides=hides)
        targets = () if callee.is_suspended or not_rung else self._agent_targets(org, callee, from_, leg=1, only=only)
        remote = callee.extension or callee.username
        if not targets and not (only is None and takes_over(callee, not_rung or DiversionReason.UNAVAILABLE)):
            return Refused(*_not_taken(not_rung, "no-device"), CallDirection.INTERNAL, org, agent, remote=remote)
        if lacks_consent(org, (), ()):
            reason = Reason.RECORDING_CONSENT
            return Refused(reason.sip_status, reason.sip_reason, "no-recording", CallDirection.INTERNAL, org, agent, remote=remote)
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

    def is_barred(self, route: Route, shown: Iterable[tuple[AgentId, UUID]] | None = None) -> bool:
        """Whether an agent of the call was suspended or removed since it was routed, or the device that it is made from revoked.

        `shown` are the agents in it and whose credentials their devices showed; None: the caller's alone. An emergency call is nobody's to
        end but theirs.
        """
        if isinstance(route.verdict, Emergency) or route.plan.is_room:
            return False
        # Of a group that is still rung nobody is in the call yet.
        parties = (route.agent, route.peer_agent) if route.group is None else (route.agent_at(0), route.agent_at(1))
        there = {agent.id for agent in (*parties, *route.payers) if agent is not None}
        # Who forwarded it out pays for it, in it or not.
        paying = {route.diversions[-1].agent_id} if route.leads_out and route.diversions else set()
        newest = [self._directory.agent(agent_id) for agent_id in there | paying]
        if any(agent is None or agent.is_suspended for agent in newest):
            return True
        if shown is None:
            shown = () if route.device_id is None else ((route.agent.id, route.device_id),)
        return any(self._directory.is_revoked(agent_id, device_id) for agent_id, device_id in shown)

    def agent(self, agent_id: AgentId) -> Agent | None:
        """The agent as it is known now."""
        return self._directory.agent(agent_id)

    def to_supervisor(self, agent: Agent, supervised: Route, leg: int) -> Route | None:
        """The way to a supervisor's own phones, to join a call as this leg; None where none can be reached. It never leads to a trunk."""
        org = self._directory.organisation(supervised.org.id) or supervised.org
        shown = (supervised.agent.extension or supervised.agent.username).reveal()
        from_ = NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(shown)), "Supervision")
        targets = self._agent_targets(org, agent, from_, leg)
        if not targets:
            return None
        plan = Plan(CallDirection.SUPERVISION, targets[0].terms, targets, RING_AGENT_S, False, joins=leg)
        return Route(plan, org, agent)

    def may_record(self, route: Route) -> bool:
        """Whether the call may be recorded, by what is known now: its far side may have objected since the call was routed."""
        org = self._directory.organisation(route.org.id) or route.org
        return org.may_record(route.places) and not any(is_unrecorded(org, number) for number in (*route.outsiders, *route.others))

    # Transfers.

    def referred(
        self, org: Organisation, agent: Agent, refer_to: str, shown: NameAddr, leg: int, peer: str, credential_id: UUID | None = None
    ) -> Route | Refused:
        """Where an agent's REFER leads, under the rules of this moment for this agent: who is called becomes this leg of its call.

        `refer_to` is the header's value, `shown` who the called agent is told to talk with; the network is shown the agent's own number.
        """
        org = self.newest(org)  # the call's own is as it was when the call began
        user = own_user_of(parse_name_addr(refer_to).uri, org)
        return self._as_another(org, agent, Attempt(refer_to, Channel.REFER, peer=peer), user, shown, leg, credential_id)

    def keyed(
        self, org: Organisation, agent: Agent, digits: str, shown: NameAddr, leg: int, credential_id: UUID | None = None
    ) -> Route | Refused:
        """The same of what an agent keyed in its call, on the device that shows this credential."""
        org = self.newest(org)
        if credential_id is not None and self._directory.is_locked(agent.id, credential_id):
            words, direction = refusals.header("credential-locked"), CallDirection.OUTBOUND
            return Refused(403, words, "credential-locked", direction, org, agent, remote=Personal(digits))
        return self._as_another(org, agent, Attempt(digits, Channel.DTMF), digits, shown, leg, credential_id)

    def invited(self, org: Organisation, agent: Agent, to: str, leg: int) -> Route | Refused:
        """The way to whom an agent in a conference invites there, as this leg of it. `to` is what was asked for, a dial string or a URI."""
        org = self.newest(org)
        user = self.own_name(org, to) or to
        shown = self._insider(org, agent, hides=agent.hides_identity)
        return self._as_another(org, agent, Attempt(to, Channel.CONFERENCE), user, shown, leg, None)

    def _as_another(
        self, org: Organisation, agent: Agent, attempt: Attempt, user: str | None, shown: NameAddr, leg: int, credential_id: UUID | None
    ) -> Route | Refused:
        """The way to whom an agent wants as this leg of a call. `user`: the name or number within the organisation, where it is one."""
        verdict = self.verdict(org, agent, attempt)
        if user is not None and not isinstance(verdict, Emergency):
            callee = self.own_agent(org, user)
            if callee is not None:
                return self.to_successor(org, agent, callee, shown, leg)
        verdict = self.admit(org, agent, verdict, user or attempt.destination, credential_id, attempt.peer)
        match verdict:
            case Allow() | Emergency():
                if isinstance(verdict, Allow) and lacks_consent(org, (Personal(verdict.number),), (verdict.country,)):
                    return _denied(org, agent, denied(verdict, Reason.RECORDING_CONSENT), attempt.destination)
                hides = agent.hides_identity and not isinstance(verdict, Emergency)
                found = self.leaving.outbound(org, agent, Terms(leg, Srtp.OPTIONAL, None), verdict, hides=hides)
                return found if isinstance(found, Refused) else _as_leg(found, leg)
            case Deny() | Malformed():
                return _denied(org, agent, verdict, attempt.destination)
            case AllowContact():
                raise LocalError("the verdict on a transfer was one on a Contact")

    def called_for(
        self, org: Organisation, agent: Agent, to: str, channel: Channel, *, counts: bool, credential_id: UUID | None = None
    ) -> Route | Refused:
        """Where a call leads that we make in an agent's name, under the rules of this moment; its caller's terms and phones follow.

        `to` is what was asked for, a dial string or a URI. `counts`: it is an attempt, which the fraud breaker is told of.
        """
        org = self.newest(org)  # a call's own is as it was when the call began
        terms = Terms(0, Srtp.OPTIONAL, None)
        verdict = self.verdict(org, agent, Attempt(to, channel))
        if not isinstance(verdict, Emergency):
            callee = self.own_agent(org, self.own_name(org, to) or to)
            if callee is not None:
                return self._internal(org, agent, callee, terms, hides=agent.hides_identity)
        if isinstance(verdict, Allow) and self._masked.proxy(org, verdict.number) is not None:
            # Whose session it is says the number that a phone's call comes from; here is none.
            words, remote = refusals.header("not-masked"), Personal(verdict.number)
            return Refused(404, words, "not-masked", CallDirection.OUTBOUND, org, agent, remote=remote)
        if counts:
            verdict = self.admit(org, agent, verdict, to, credential_id, None)
        match verdict:
            case Allow() | Emergency():
                if isinstance(verdict, Allow) and lacks_consent(org, (Personal(verdict.number),), (verdict.country,)):
                    return _denied(org, agent, denied(verdict, Reason.RECORDING_CONSENT), to)
                hides = agent.hides_identity and not isinstance(verdict, Emergency)
                return self.leaving.outbound(org, agent, terms, verdict, hides=hides)
            case Deny() | Malformed():
                return _denied(org, agent, verdict, to)
            case AllowContact():
                raise LocalError("the verdict on a call was one on a Contact")

    def own_phones(self, org: Organisation, agent: Agent, other: Personal[str], headers: tuple[Line, ...] = ()) -> tuple[Target, ...]:
        """An agent's own phones, rung to talk with `other`, which they are shown; none whose credential is locked."""
        from_ = self.internal_name(org, other.reveal())
        phones = self._agent_targets(org, agent, from_, leg=0, told=headers)
        return tuple(one for one in phones if one.device_id is None or not self._directory.is_locked(agent.id, one.device_id))

    def to_successor(self, org: Organisation, agent: Agent, callee: Agent, shown: NameAddr, leg: int) -> Route | Refused:
        """The way to an agent of the organisation who is to take a party's place, by the right of `agent`, and on as that one has set."""
        org = self.newest(org)
        is_other = callee.id != agent.id  # who has a call back is rung, whatever it has set
        not_rung = self.not_rung(callee) if is_other else None
        targets = () if callee.is_suspended or not_rung else self._agent_targets(org, callee, shown, leg)
        remote = callee.extension or callee.username
        if not targets and not (is_other and takes_over(callee, not_rung or DiversionReason.UNAVAILABLE)):
            return Refused(*_not_taken(not_rung, "no-device"), CallDirection.INTERNAL, org, agent, remote=remote)
        plan = Plan(
            CallDirection.INTERNAL,
            targets[0].terms if targets else Terms(leg, Srtp.REQUIRED, None),
            targets,
            ring_s(callee) if is_other else RING_AGENT_S,
            False,
            joins=leg,
            diverts=is_other and not callee.is_suspended,
            not_rung=None if targets else not_rung or DiversionReason.UNAVAILABLE,
        )
        return Route(plan, org, agent, peer_agent=callee, remote=remote, local=agent.extension)

    def to_place(self, org: Organisation, agent: Agent, flow: Flow) -> Route:
        """For an agent who comes to take somebody's place: its leg's number follows."""
        terms = agent_terms(org, flow.transport, flow.remote.host, leg=0)
        plan = Plan(CallDirection.INTERNAL, terms, (), RING_AGENT_S, False, joins=0)
        return Route(plan, org, agent, local=agent.extension)

    def parks_at(self, org: Organisation, refer_to: str) -> str | None:
        """The slot that a Refer-To asks to park in, empty for any; None where it asks for something else."""
        user = own_user_of(parse_name_addr(refer_to).uri, org)
        dialled = None if user is None else self._features.read(user)
        if dialled is None or dialled.feature not in (Feature.PARK, Feature.PARK_SLOT):
            return None
        return dialled.argument

    def is_on(self, feature: Feature) -> bool:
        """Whether a feature is switched on."""
        return self._features.code(feature) is not None

    def internal_name(self, org: Organisation, text: str) -> NameAddr:
        """An extension or number as it is shown within the organisation."""
        return NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(text)))

    # From trunks.

    def trunk_of(self, flow: Flow, request: Request) -> Trunk | None:
        """The carrier that sent this, by its address alone; None for everybody else.

        A trunk without declared addresses sends from its URI's own address and port; one that connects to us (TCP, TLS) does so from
        any port, and has to be declared.
        """
        return next((trunk for trunk in self._directory.trunks if sends_from(trunk, flow, self._states.named(trunk))), None)

    def from_trunk(self, trunk: Trunk, request: Request, flow: Flow) -> Route | Refused | None:
        """Where a carrier's INVITE goes; None where the number is not ours."""
        number = addressed.called(request, None if trunk.credentials is None or not trunk.register_every_s else trunk.credentials.username)
        assigned = None if number is None else self._directory.find_number(number)
        org = None if assigned is None else self._directory.organisation(assigned.org_id)
        if assigned is None or org is None:
            return None
        caller = caller_id.from_outside(request, trunk)
        if assigned.masks:
            return self._masked.from_trunk(trunk, org, assigned, caller, flow, diversion.times(request))
        agent = None if assigned.agent_id is None else org.by_id.get(assigned.agent_id)
        remote, known = caller.shown, caller.known

        def refused(status: int, words: str, why: str) -> Refused:
            return Refused(status, words, why, CallDirection.INBOUND, org, agent, trunk, remote, hides=caller.is_hidden)

        if self._states.is_full(trunk):
            return refused(503, refusals.header("trunk-full"), "trunk-full")
        words = refusals.header("unavailable")
        group = next((group for group in org.groups.values() if group.id == assigned.group_id), None)
        first = None if group is None else next((org.by_id[one] for one in group.members if one in org.by_id), None)
        if group is not None and first is not None:
            places = places_of(org, known)
            if lacks_consent(org, (known,), places):
                return refused(Reason.RECORDING_CONSENT.sip_status, Reason.RECORDING_CONSENT.sip_reason, "no-recording")
            plan = Plan(
                CallDirection.INBOUND,
                trunk_terms(trunk, flow.remote.host),
                (),
                float(group.ring_s),
                is_recorded(org, known, places),
                (),
                announces_with(org),
                org.sounds.music_on_hold,
                diverts=True,
            )
            route = Route(
                plan,
                org,
                first,
                trunk=trunk,
                remote=remote,
                local=assigned.number,
                places=places,
                hides=caller.is_hidden,
                withheld=known if caller.is_hidden else None,
            )
            return rung_next(route, group, self.members(org, group, route), 0) or refused(480, words, "unavailable")
        if agent is None or agent.is_suspended:
            return refused(480, words, "unavailable")
        from_, told = caller_id.from_shown(caller, self._directory.domain)
        told = (*told, *caller_id.diverted_in(request, trunk, self._directory.domain, self._address(org, agent)))
        not_rung = self.not_rung(agent)
        targets = () if not_rung else self._agent_targets(org, agent, from_, leg=0, told=told)
        if not targets and not takes_over(agent, not_rung or DiversionReason.UNAVAILABLE):
            return refused(*_not_taken(not_rung, "unavailable"))
        places = places_of(org, known)
        if lacks_consent(org, (known,), places):
            reason = Reason.RECORDING_CONSENT
            return refused(reason.sip_status, reason.sip_reason, "no-recording")
        terms = trunk_terms(trunk, flow.remote.host)
        plan = Plan(
            CallDirection.INBOUND,
            terms,
            targets,
            ring_s(agent),
            is_recorded(org, known, places),
            (),
            announces_with(org),
            org.sounds.music_on_hold,
            diverts=True,
            not_rung=None if targets else not_rung or DiversionReason.UNAVAILABLE,
        )
        withheld = known if caller.is_hidden else None
        return Route(
            plan,
            org,
            agent,
            trunk=trunk,
            remote=remote,
            local=assigned.number,
            places=places,
            hides=caller.is_hidden,
            withheld=withheld,
            diverted_before=diversion.times(request),
        )

    # For calls that go on.

    def members(self, org: Organisation, group: RingGroup, route: Route) -> list[Member]:
        """The members of a group whose phones ring for whoever calls by this route, in their order, and these phones.

        Not who is not to be disturbed, or is busy without call waiting; nor the caller, nor who has diverted the call. A member's
        forwarding of all calls is followed where the group is set so, to a colleague: a member's wish leads no call of a group out.
        """
        caller = None if route.plan.direction is CallDirection.INBOUND else route.agent.id
        left_out = {caller, *(one.agent_id for one in route.diversions)}
        found: dict[AgentId, Member] = {}
        for member_id in group.members:
            agent = org.by_id.get(member_id)
            if agent is not None and group.follows_forwarding and agent.forwarding.always is not None:
                agent = self.own_agent(org, agent.forwarding.always.reveal())
            if agent is None or agent.is_suspended or agent.id in left_out or agent.id in found or self._is_left_alone(agent):
                continue
            targets = self.targets_of(org, agent, route)
            if targets:
                found[agent.id] = Member(agent, targets)
        return list(found.values())

    def _is_left_alone(self, agent: Agent) -> bool:
        wish = agent.forwarding
        return wish.do_not_disturb or (not wish.call_waiting and self.is_talking(agent.id))

    def organisation(self, org_id: OrgId) -> Organisation | None:
        """An organisation as it is known now."""
        return self._directory.organisation(org_id)

    def newest(self, org: Organisation) -> Organisation:
        """The organisation as it is known now."""
        return self._directory.organisation(org.id) or org

    def verdict(self, org: Organisation, agent: Agent, attempt: Attempt) -> Verdict:
        """What the rules say to a way out on an agent's wish."""
        return verdict_for(self._judge, org, agent, attempt, self._now())

    def own_name(self, org: Organisation, header: str) -> str | None:
        """The user part of a header's URI that names this gateway; None where it names something else, or can't be read."""
        try:
            return own_user_of(parse_name_addr(header).uri, org)
        except ParseError:
            return None

    def own_agent(self, org: Organisation, text: str) -> Agent | None:
        """The agent whose extension or user name it is."""
        return org.by_extension.get(text) or org.by_username.get(text)

    def assigned(self, org: Organisation, number: str) -> Agent | None:
        """The agent that a canonical number of the organisation's own rings."""
        found = self._directory.find_number(number)
        return None if found is None or found.org_id != org.id or found.agent_id is None else org.by_id.get(found.agent_id)

    def assigned_group(self, org: Organisation, number: str) -> RingGroup | None:
        """The ring group that a canonical number of the organisation's own rings."""
        found = self._directory.find_number(number)
        group_id = None if found is None or found.org_id != org.id else found.group_id
        return None if group_id is None else next((group for group in org.groups.values() if group.id == group_id), None)

    def targets_of(
        self, org: Organisation, agent: Agent, route: Route, diverter: Agent | None = None, diverted: Diverted | None = None
    ) -> tuple[Target, ...]:
        """The phones of an agent, rung for whoever calls by this route; with who diverted the call to them, where it was."""
        lines: tuple[Line, ...] = ()
        if diverted is not None:
            by = None if diverter is None or diverter.hides_identity else self._insider(org, diverter, hides=False)
            lines = diversion.lines(replace(diverted, by=by), self._address(org, agent))
        if route.plan.direction is not CallDirection.INBOUND:
            from_ = self._insider(org, route.agent, hides=route.hides)
            return self._agent_targets(org, agent, from_, route.callee_leg, told=lines)
        outside = caller_id.Outside(route.remote, route.remote, route.hides)
        from_, told = caller_id.from_shown(outside, self._directory.domain)
        return self._agent_targets(org, agent, from_, route.callee_leg, told=(*told, *lines))

    def _address(self, org: Organisation, agent: Agent) -> SipUri:
        """The agent's address of record."""
        return SipUri(f"{org.slug}.{self._directory.domain}", escape_user(agent.username.reveal()))

    # Targets.

    def _insider(self, org: Organisation, agent: Agent, *, hides: bool) -> NameAddr:
        """Who calls, as colleagues see it."""
        if hides:
            return asserted.ANONYMOUS
        shown = (agent.extension or agent.username).reveal()
        return NameAddr(SipUri(f"{org.slug}.{self._directory.domain}", escape_user(shown)), agent.username.reveal())

    def _agent_targets(
        self, org: Organisation, agent: Agent, from_: NameAddr, leg: int, only: DeviceFilter | None = None, told: tuple[Line, ...] = ()
    ) -> tuple[Target, ...]:
        to = NameAddr(self._address(org, agent))
        targets = []
        for device in filter(only, self._devices(agent)) if only is not None else self._devices(agent):
            if any(leads_to(trunk, device.source, self._states.named(trunk)) for trunk in self._directory.trunks):
                # Whoever registered from a carrier's address would have it dial the Contact, which no verdict was asked about.
                continue
            # A browser behind an edge proxy comes by the proxy's transport; what it is stands in its Contact (RFC 7118 section 5.2).
            is_browser = device.contact.transport in ("ws", "wss")
            terms = agent_terms(org, Transport.WS if is_browser else device.transport, device.address, leg)
            headers = (*(("Route", value) for value in device.routes), *told)
            targets.append(Target(device.hop, str(device.contact), from_, to, terms, headers, device_id=device.credential_id))
        return tuple(targets)


def rung_next(route: Route, group: RingGroup, members: Sequence[Member], tried: int) -> Route | None:
    """The route on which the group's members are rung now: all, or of one after the other the next; None where nobody is left."""
    left = [member for member in members if member.agent.id not in route.rung]
    now = left if group.strategy is Strategy.PARALLEL and not route.rung else left[:1] if group.strategy is Strategy.SERIAL else []
    if not now:
        return None
    targets = tuple(target for member in now for target in member.targets)
    plan = replace(
        route.plan,
        targets=route.plan.targets[:tried] + targets,
        ring_s=float(group.ring_s),
        is_serial=False,
        are_several=len(now) > 1,
        not_rung=None,
    )
    before = (None,) * tried
    changed = replace(
        route,
        plan=plan,
        group=group,
        rung=(*route.rung, *(member.agent.id for member in now)),
        callees=(*before, *(member.agent for member in now for _ in member.targets)),
        trunks=(*route.trunks, *before)[:tried] + (None,) * len(targets),
    )
    is_inbound = route.plan.direction is CallDirection.INBOUND
    return replace(changed, agent=now[0].agent) if is_inbound else replace(changed, peer_agent=now[0].agent)


def _not_taken(not_rung: DiversionReason | None, otherwise: str) -> tuple[int, str, str]:
    """Status, Reason and the row's word for a call that rings nobody and goes nowhere."""
    if not_rung is DiversionReason.USER_BUSY:
        return 486, refusals.header("busy"), "busy"
    return 480, refusals.header("do-not-disturb" if not_rung is DiversionReason.DO_NOT_DISTURB else otherwise), "unavailable"


def _as_leg(route: Route, leg: int) -> Route:
    """The same way, for a party who comes into a call as this leg."""
    targets = tuple(replace(target, terms=replace(target.terms, leg=leg)) for target in route.plan.targets)
    return replace(route, plan=replace(route.plan, targets=targets, is_recorded=False, joins=leg))


def _refused(org: Organisation, agent: Agent, verdict: Deny | Malformed, request: Request) -> Refused:
    """What the rules refused, with the number that they read, else what was dialled."""
    return _denied(org, agent, verdict, addressed.dialled(request))


def _denied(org: Organisation, agent: Agent, verdict: Deny | Malformed, dialled: str) -> Refused:
    number = verdict.number if isinstance(verdict, Deny) else None
    remote, reason = Personal(number or dialled[:256]), verdict.reason
    return Refused(reason.sip_status, reason.sip_reason, "refused", CallDirection.OUTBOUND, org, agent, remote=remote, verdict=verdict)
