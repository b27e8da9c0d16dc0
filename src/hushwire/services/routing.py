"""Where a call goes: the agent's own world first (extensions, echo), then the verdict, and only what it allows reaches a trunk."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import AnsweredBy, CallDirection, Plan, Target, Terms
from hushwire.core.errors import LocalError
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.policy import hosts, numbers, trunk_number
from hushwire.policy.model import Allow, AllowContact, Attempt, Channel, Deny, Emergency, Malformed, Reason, Verdict
from hushwire.privacy.consent import Places
from hushwire.sdp.offer_answer import Keying, Srtp
from hushwire.services import caller_id
from hushwire.services.caller_id import e164
from hushwire.services.directory import Agent, AssignedNumber, Directory, Organisation
from hushwire.services.features import DEFAULT, SETTINGS, TABLE, Dialled, Feature, Features, changed_by
from hushwire.services.forwarding import VOICEMAIL, Diversion, Forwarding
from hushwire.services.registration import Device
from hushwire.services.ring_groups import RingGroup, Strategy
from hushwire.services.sound_settings import AnnounceAt, Ringback
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_targets import leads_to, sends_from, trunk_target, trunk_terms, written_for
from hushwire.services.verdicts import Judge, denied, verdict_for
from hushwire.sip import asserted, diversion, refusals
from hushwire.sip.diversion import Diverted
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Transport
from hushwire.sip.gruu import instance_of
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.routing import numeric
from hushwire.sip.uri import NameAddr, SipUri, TelUri, escape_user, parse_name_addr

ECHO: Final = "echo"
"""The echo's name, which is dialled as its feature code is."""
_ROOM: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
"""A conference's room, by its number."""
_GLOBAL: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)
_SHORT: Final = re.compile(r"[0-9]{2,6}", re.ASCII)
_MU_LAW: Final = frozenset({"US", "CA", "PR", "JP", "TW", "HK"})
RING_AGENT_S: Final = 60.0
RING_TRUNK_S: Final = 120.0
MOST_WAYS: Final = 6
"""So many ways to a carrier are tried for one call."""
PROGRESS_S: Final = 16.0
"""How long a carrier may say 100 and no more while there is another way."""
SILENT_LAST_S: Final = 16.0
"""How long the last of the ways may be silent."""
log = structlog.get_logger(__name__)
Devices = Callable[[Agent], Sequence[Device]]
DeviceFilter = Callable[[Device], bool]
Temporary = Callable[[Organisation, str], tuple[AgentId, UUID] | None]
"""The agent and binding that a temporary GRUU's user part stands for."""


@dataclass(frozen=True, slots=True)
class Route:
    """A call that may be made. `remote` and `local` are the numbers or names for the row; `verdict` is None for calls that stay inside."""

    plan: Plan
    org: Organisation
    agent: Agent
    peer_agent: Agent | None = None
    trunk: Trunk | None = None
    """The carrier: of several the one that is tried now."""
    trunks: tuple[Trunk | None, ...] = ()
    """Of each of the plan's targets, where these are trunks."""
    out_trunk: Trunk | None = None
    """The carrier of the number that a carrier's call was diverted to: a call with two of them."""
    remote: Personal[str] | None = None
    local: Personal[str] | None = None
    verdict: Allow | Emergency | None = None
    places: Places = ()
    """Where the other party may be, for the law on recording."""

    device_id: UUID | None = None
    """Whose credential the caller showed; None where a carrier calls."""

    room: str | None = None
    """The conference that is dialled."""

    hides: bool = False
    """The caller's number is shown to nobody."""

    mailbox: Agent | None = None
    """Whose mailbox answers."""

    withheld: Personal[str] | None = None
    """A hidden caller's number, where the carrier told it: for the law on recording alone, while the call lasts."""

    masking_id: UUID | None = None
    """The masked session that it belongs to: rows find its parties by blind index alone."""

    diversions: tuple[Diversion, ...] = ()
    """How the call went on from who was called first, in order."""

    group: RingGroup | None = None
    """The ring group that is called: until one of its members answers, nobody in particular is, whoever stands in the route."""

    rung: tuple[AgentId, ...] = ()
    """Its members that were rung."""

    callees: tuple[Agent | None, ...] = ()
    """Of each of the plan's targets, whose phone it is, where a group is called."""

    diverted_before: int = 0
    """How often it was diverted before it came to us, as the carrier says."""

    diverted_to: Personal[str] | None = None
    """The number outside that it was diverted to at last."""

    place: Dialled | None = None
    """The slot, or the colleague's ringing call, that is to be taken."""

    payers: tuple[Agent, ...] = ()
    """Agents who are not in the call any more, and by whose right somebody in it was called."""
    further_trunks: tuple[Trunk, ...] = ()
    """Carriers of parties who came into the call later."""
    others: tuple[Personal[str], ...] = ()
    """Numbers of outside parties who came into the call later."""

    @property
    def takes_message(self) -> bool:
        """Whether what is recorded of it is a message for the mailbox."""
        return self.mailbox is not None and self.plan.answered_by is AnsweredBy.MESSAGE

    @property
    def may_go_unrecorded(self) -> bool:
        """Whether the call goes on where it can't be recorded: as the organisation decided; an emergency call always."""
        return self.org.calls_without_recording or isinstance(self.verdict, Emergency)

    @property
    def outsiders(self) -> tuple[Personal[str] | None, ...]:
        """The numbers of the parties outside the organisation, for the law on recording."""
        return self.withheld or self.remote, self.diverted_to

    def answered_by(self, target: int | None) -> "Route":
        """The route once a target has taken the call of a group: it is that member's."""
        member = None if target is None or target >= len(self.callees) else self.callees[target]
        if self.group is None or member is None:
            return self
        changed = replace(self, group=None, rung=(), callees=())
        is_inbound = self.plan.direction is CallDirection.INBOUND
        return replace(changed, agent=member) if is_inbound else replace(changed, peer_agent=member)

    @property
    def parties(self) -> tuple[AgentId | None, AgentId | None]:
        """Agent and peer agent for the row; while a group is rung, nobody of it."""
        is_inbound = self.plan.direction is CallDirection.INBOUND
        agent = None if self.group is not None and is_inbound else self.agent.id
        peer = None if self.peer_agent is None or (self.group is not None and not is_inbound) else self.peer_agent.id
        return agent, peer

    @property
    def leads_out(self) -> bool:
        """Whether it was diverted to a carrier."""
        return self.diverted_to is not None

    @property
    def called(self) -> Agent | None:
        """The agent who is called now; None where it is nobody of ours."""
        return self.agent if self.plan.direction is CallDirection.INBOUND else self.peer_agent

    @property
    def callee_leg(self) -> int:
        """The media leg of whoever is called."""
        return 1 - self.plan.caller.leg if self.plan.joins is None else self.plan.joins

    def agent_at(self, leg: int) -> Agent | None:
        """Whose devices are on a leg; None for a carrier's, and for a group's of which nobody has answered."""
        if leg == self.callee_leg and (self.leads_out or self.group is not None):
            return None
        return self.agent if leg == 0 else self.peer_agent

    def trunk_at(self, leg: int) -> Trunk | None:
        """The carrier of a leg; None for an agent's."""
        return self.trunk if leg == 1 else self.out_trunk


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a ring group, and its phones."""

    agent: Agent
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Wish:
    """What an agent dialled is a setting of its own, `feature`'s, and no call: its forwarding is to be so from now on."""

    org: Organisation
    agent: Agent
    feature: Feature
    wanted: Forwarding


@dataclass(frozen=True, slots=True)
class Refused:
    """A call that is not made: answered at once. With `verdict` it was refused by the rules."""

    status: int
    reason: str
    end_reason: str
    direction: CallDirection
    org: Organisation
    agent: Agent | None
    trunk: Trunk | None = None
    remote: Personal[str] | None = None
    verdict: Deny | Malformed | None = None
    hides: bool = False


class Router:
    """Decides for each INVITE from outside dialogs. Nothing here sends or waits."""

    def __init__(
        self,
        directory: Directory,
        devices: Devices,
        judge: Judge,
        states: TrunkStates,
        temporary: Temporary = lambda _org, _user: None,
        features: Features = DEFAULT,
    ) -> None:
        self._directory = directory
        self._devices = devices
        self._judge = judge
        self._states = states
        self._temporary = temporary
        self._features = features
        self.is_talking: Callable[[AgentId], bool] = lambda _agent: False
        """Whether an agent is in a call at this gateway."""

    # From agents.

    def from_agent(self, org: Organisation, agent: Agent, request: Request, flow: Flow) -> Route | Refused | Wish:
        """Where an authenticated agent's INVITE goes, under the rules of this moment."""
        terms = agent_terms(org, flow.transport, flow.remote.host, leg=0)
        asked, request = caller_id.asked_for(request, own_user(request, org), self._features)
        hides = agent.hides_identity if asked is None else asked
        user = own_user(request, org)
        verdict = verdict_for(self._judge, org, agent, Attempt(request.uri, Channel.INVITE, peer=flow.remote.host))
        if user is not None and not isinstance(verdict, Emergency):
            dialled = Dialled(Feature.ECHO) if user == ECHO else self._features.read(user)
            if dialled is not None and (served := self._served(org, agent, terms, dialled, user)) is not None:
                return served
            callee, only = self._own_callee(org, user, request)
            if callee is not None:
                return self._internal(org, agent, callee, terms, only, hides=hides)
            if (group := org.groups.get(user)) is not None:
                return self._to_group(org, agent, group, terms, hides=hides)
        match verdict:
            case Allow() if (proxy := self._proxy(org, verdict.number)) is not None:
                return self._masked_from_agent(org, agent, terms, proxy)
            case Allow() | Emergency():
                if isinstance(verdict, Allow) and lacks_consent(org, (Personal(verdict.number),), (verdict.country,)):
                    return _refused(org, agent, denied(verdict, Reason.RECORDING_CONSENT), request)
                return self._outbound(org, agent, terms, verdict, hides=hides and not isinstance(verdict, Emergency))
            case Deny() | Malformed():
                return _refused(org, agent, verdict, request)
            case AllowContact():
                raise LocalError("the verdict on an INVITE was one on a Contact")

    def _served(self, org: Organisation, agent: Agent, terms: Terms, dialled: Dialled, user: str) -> Route | Refused | Wish | None:
        """What a feature code leads to; None where it leads nowhere, and the string is looked at as any other."""
        if dialled.feature is Feature.ECHO:
            return Route(Plan(CallDirection.ECHO, terms, (), RING_AGENT_S, False), org, agent, remote=Personal("echo"))
        if dialled.feature is Feature.CONFERENCE and _ROOM.fullmatch(dialled.argument):
            return self._conference(org, agent, terms, dialled.argument, Personal(user))
        if dialled.feature in (Feature.PARK_SLOT, Feature.PICKUP):
            plan = Plan(CallDirection.INTERNAL, terms, (), RING_AGENT_S, False, joins=0)
            return Route(plan, org, agent, remote=Personal(user), local=agent.extension, place=dialled)
        if dialled.feature is Feature.MAILBOX:
            plan = Plan(CallDirection.VOICEMAIL, terms, (), RING_AGENT_S, False, answered_by=AnsweredBy.MAILBOX)
            return Route(plan, org, agent, remote=Personal(user), local=agent.extension, mailbox=agent)
        if dialled.feature is Feature.LEAVE_MESSAGE:
            return self._message(org, agent, terms, dialled.argument)
        if dialled.feature in SETTINGS:
            return self._wish(org, agent, dialled, user)
        return None

    def _wish(self, org: Organisation, agent: Agent, dialled: Dialled, user: str) -> Wish | Refused:
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
            _is_recorded(org, None, ()),
            _rings_with(org),
            _announces_with(org),
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
        plan = Plan(CallDirection.CONFERENCE, terms, (), RING_AGENT_S, _is_recorded(org, None, ()))
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
        return route.plan.direction is not CallDirection.INBOUND or not _is_unrecorded(org, route.withheld or route.remote)

    def _outbound(self, org: Organisation, agent: Agent, terms: Terms, verdict: Allow | Emergency, *, hides: bool) -> Route | Refused:
        remote = Personal(verdict.number)
        trunks, targets = self.ways_out(org, agent, verdict, hides=hides)
        if not targets:
            return Refused(
                503, refusals.header("trunk-failed"), "trunk-failed", CallDirection.OUTBOUND, org, agent, remote=remote, verdict=None
            )
        places = (verdict.country,)
        plan = Plan(
            CallDirection.OUTBOUND,
            terms,
            tuple(targets),
            RING_TRUNK_S,
            _is_recorded(org, remote, places),
            _rings_with(org),
            _announces_with(org),
            org.sounds.music_on_hold,
            is_serial=True,
        )
        return Route(
            plan,
            org,
            agent,
            trunk=trunks[0],
            trunks=tuple(trunks),
            remote=remote,
            local=agent.caller_id,
            verdict=verdict,
            places=places,
            hides=hides,
        )

    def ways_out(
        self,
        org: Organisation,
        agent: Agent,
        verdict: Allow | Emergency,
        *,
        hides: bool = False,
        shown: Personal[str] | None = None,
        diverted: Diverted | None = None,
    ) -> tuple[list[Trunk], list[Target]]:
        """The ways by which this call may leave, in the order in which they are tried, and the trunk of each.

        `shown`: the number that it shows; None: the agent's. `diverted`: the agent does not call, but diverts a call there.
        """
        is_emergency = isinstance(verdict, Emergency)
        trunks: list[Trunk] = []
        targets: list[Target] = []
        for trunk in self._states.in_order(self._directory.trunks):
            # An emergency call goes whatever stands between the customer and a carrier.
            if not is_emergency and not (org.may_use(trunk) and trunk.carries(verdict.number) and not self._states.is_full(trunk)):
                continue
            if not self._may_leave(org, agent, trunk, verdict):
                continue
            for way in self._states.ways(trunk):
                trunks.append(trunk)
                target = trunk_target(trunk, verdict, shown or agent.caller_id, self._directory.domain, way, hides=hides)
                told: tuple[Line, ...] = ()
                if diverted is not None:
                    told = caller_id.diverted_out(trunk, diverted, agent.caller_id, self._directory.domain, target.to.sip_uri, hides=hides)
                targets.append(replace(target, headers=(*self._states.route(trunk), *target.headers, *told)))
        trunks, targets = trunks[:MOST_WAYS], targets[:MOST_WAYS]
        # Nothing comes after the last one: it has more time to say something.
        for position, target in enumerate(targets):
            is_last = position == len(targets) - 1
            targets[position] = replace(target, silence_s=SILENT_LAST_S) if is_last else replace(target, progress_s=PROGRESS_S)
        return trunks, targets

    def _may_leave(self, org: Organisation, agent: Agent, trunk: Trunk, verdict: Allow | Emergency) -> bool:
        """Whether what the trunk would read in its own number format is what was judged, and is judged so once more."""
        text = written_for(trunk, verdict)
        if text is None:
            log.warning("trunk.can_not_write_number", trunk=trunk.name, country=verdict.country)
            return False
        if isinstance(verdict, Emergency):
            return text == verdict.number
        read = trunk_number.read(text, trunk.number_format, trunk.country) or ""
        again = verdict_for(self._judge, org, agent, Attempt(read, Channel.INVITE))
        return isinstance(again, Allow) and again.number == verdict.number

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
            _is_recorded(org, None, ()),
            _rings_with(org),
            _announces_with(org),
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
        return org.may_record(route.places) and not any(_is_unrecorded(org, number) for number in (*route.outsiders, *route.others))

    # Transfers.

    def referred(self, org: Organisation, agent: Agent, refer_to: str, shown: NameAddr, leg: int, peer: str) -> Route | Refused:
        """Where an agent's REFER leads, under the rules of this moment for this agent: who is called becomes this leg of its call.

        `refer_to` is the header's value, `shown` who the called agent is told to talk with; the network is shown the agent's own number.
        """
        org = self.newest(org)  # the call's own is as it was when the call began
        uri = parse_name_addr(refer_to).uri
        user = _own_user_of(uri, org)
        verdict = verdict_for(self._judge, org, agent, Attempt(refer_to, Channel.REFER, peer=peer))
        if user is not None and not isinstance(verdict, Emergency):
            callee = org.by_extension.get(user) or org.by_username.get(user)
            if callee is not None:
                return self.to_successor(org, agent, callee, shown, leg)
        match verdict:
            case Allow() | Emergency():
                if isinstance(verdict, Allow) and lacks_consent(org, (Personal(verdict.number),), (verdict.country,)):
                    return _denied(org, agent, denied(verdict, Reason.RECORDING_CONSENT), refer_to)
                hides = agent.hides_identity and not isinstance(verdict, Emergency)
                found = self._outbound(org, agent, Terms(leg, Srtp.OPTIONAL, None), verdict, hides=hides)
                return found if isinstance(found, Refused) else _as_leg(found, leg)
            case Deny() | Malformed():
                return _denied(org, agent, verdict, refer_to)
            case AllowContact():
                raise LocalError("the verdict on a REFER was one on a Contact")

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
        user = _own_user_of(parse_name_addr(refer_to).uri, org)
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
        number = _called(request, None if trunk.credentials is None or not trunk.register_every_s else trunk.credentials.username)
        assigned = None if number is None else self._directory.find_number(number)
        org = None if assigned is None else self._directory.organisation(assigned.org_id)
        if assigned is None or org is None:
            return None
        caller = caller_id.from_outside(request, trunk)
        if assigned.masks:
            return self._masked_from_trunk(trunk, org, assigned, caller, flow)
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
            places = _places(org, known)
            if lacks_consent(org, (known,), places):
                return refused(Reason.RECORDING_CONSENT.sip_status, Reason.RECORDING_CONSENT.sip_reason, "no-recording")
            plan = Plan(
                CallDirection.INBOUND,
                trunk_terms(trunk, flow.remote.host),
                (),
                float(group.ring_s),
                _is_recorded(org, known, places),
                (),
                _announces_with(org),
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
        places = _places(org, known)
        if lacks_consent(org, (known,), places):
            reason = Reason.RECORDING_CONSENT
            return refused(reason.sip_status, reason.sip_reason, "no-recording")
        terms = trunk_terms(trunk, flow.remote.host)
        plan = Plan(
            CallDirection.INBOUND,
            terms,
            targets,
            ring_s(agent),
            _is_recorded(org, known, places),
            (),
            _announces_with(org),
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

    # Masked calls: neither party learns the other's number, and no row shows one (docs/masking.md).

    def _proxy(self, org: Organisation, number: str) -> AssignedNumber | None:
        found = self._directory.find_number(number)
        return found if found is not None and found.masks and found.org_id == org.id else None

    def _masked_from_trunk(
        self, trunk: Trunk, org: Organisation, proxy: AssignedNumber, caller: caller_id.Outside, flow: Flow
    ) -> Route | Refused:
        """A carrier's call to a proxy number: on to the other party, in the name of the session's agent."""

        def refused(code: str, end_reason: str, agent: Agent | None = None, verdict: Deny | Malformed | None = None) -> Refused:
            status, words = refusals.REFUSALS[code].status or 500, refusals.header(code)
            return Refused(status, words, end_reason, CallDirection.INBOUND, org, agent, trunk, None, verdict, hides=True)

        if self._states.is_full(trunk):
            return refused("trunk-full", "trunk-full")
        known = caller.known
        found = None if known is None else self._directory.masked(proxy, known.reveal())
        agent = None if found is None else org.by_id.get(found.agent_id)
        if known is None or found is None or agent is None or agent.is_suspended:
            return refused("not-masked", "not-masked")
        verdict = verdict_for(self._judge, org, agent, Attempt(found.other.reveal(), Channel.FORWARD))
        if not isinstance(verdict, Allow):
            return refused("mask-refused", "refused", agent, verdict if isinstance(verdict, Deny | Malformed) else None)
        other, places = Personal(verdict.number), (*_places(org, known), verdict.country)
        if lacks_consent(org, (known, other), places):
            return refused("no-recording", "no-recording", agent)
        own = self.assigned(org, verdict.number)
        trunks: list[Trunk] = []
        if own is not None:
            from_ = NameAddr(SipUri(self._directory.domain, escape_user(proxy.number.reveal())))
            targets = () if own.is_suspended or own.forwarding.not_rung else self._agent_targets(org, own, from_, leg=0)
        else:
            trunks, ways = self.ways_out(org, agent, verdict, shown=proxy.number)
            targets = tuple(replace(way, terms=replace(way.terms, leg=0)) for way in ways)
        if not targets:
            code = "unavailable" if own is not None else "trunk-failed"
            return refused(code, code, agent)
        plan = Plan(
            CallDirection.INBOUND,
            trunk_terms(trunk, flow.remote.host),
            targets,
            RING_TRUNK_S if own is None else ring_s(own),
            _is_recorded(org, known, places) and not _is_unrecorded(org, other),
            (),
            _announces_with(org),
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

    def _masked_from_agent(self, org: Organisation, agent: Agent, terms: Terms, proxy: AssignedNumber) -> Route | Refused:
        """An agent who is a party of a session calls its proxy number."""

        def refused(code: str, end_reason: str, verdict: Deny | Malformed | None = None) -> Refused:
            status, words = refusals.REFUSALS[code].status or 500, refusals.header(code)
            return Refused(status, words, end_reason, CallDirection.OUTBOUND, org, agent, None, proxy.number, verdict)

        sessions = (self._directory.masked(proxy, number) for number in self._directory.numbers_of(agent))
        found = next((one for one in sessions if one is not None), None)
        if found is None:
            return refused("not-masked", "not-masked")
        verdict = verdict_for(self._judge, org, agent, Attempt(found.other.reveal(), Channel.FORWARD))
        if not isinstance(verdict, Allow):
            return refused("mask-refused", "refused", verdict if isinstance(verdict, Deny | Malformed) else None)
        other = Personal(verdict.number)
        if lacks_consent(org, (other,), (verdict.country,)):
            return refused("no-recording", "no-recording")
        trunks, targets = self.ways_out(org, agent, verdict, shown=proxy.number)
        if not targets:
            return refused("trunk-failed", "trunk-failed")
        plan = Plan(
            CallDirection.OUTBOUND,
            terms,
            tuple(targets),
            RING_TRUNK_S,
            _is_recorded(org, other, (verdict.country,)),
            _rings_with(org),
            _announces_with(org),
            org.sounds.music_on_hold,
            is_serial=True,
        )
        return Route(
            plan,
            org,
            agent,
            trunk=trunks[0],
            trunks=tuple(trunks),
            remote=proxy.number,
            local=proxy.number,
            verdict=verdict,
            places=(verdict.country,),
            withheld=other,
            masking_id=found.session_id,
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

    def newest(self, org: Organisation) -> Organisation:
        """The organisation as it is known now."""
        return self._directory.organisation(org.id) or org

    def verdict(self, org: Organisation, agent: Agent, attempt: Attempt) -> Verdict:
        """What the rules say to a way out on an agent's wish."""
        return verdict_for(self._judge, org, agent, attempt)

    def own_name(self, org: Organisation, header: str) -> str | None:
        """The user part of a header's URI that names this gateway; None where it names something else, or can't be read."""
        try:
            return _own_user_of(parse_name_addr(header).uri, org)
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


def takes_over(agent: Agent, reason: DiversionReason) -> bool:
    """Whether something is set for calls that an agent does not take for this reason."""
    return agent.forwarding.to(reason) is not None


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


def ring_s(agent: Agent) -> float:
    """How long an agent's phones ring."""
    seconds = agent.forwarding.no_answer_after_s
    return RING_AGENT_S if seconds is None or not takes_over(agent, DiversionReason.NO_ANSWER) else float(seconds)


def _rings_with(org: Organisation) -> tuple[str, ...]:
    """The codecs of ringing for an agent: what networks of its country speak first (ITU-T G.711), so that the answer agrees with it."""
    return _spoken_at(org) if org.sounds.ringback is Ringback.EARLY else ()


def _announces_with(org: Organisation) -> tuple[str, ...]:
    """The codecs of an announcement before the answer: with more than ringing has, since it must be heard where it can be."""
    return (*_spoken_at(org), "G722", "opus") if org.sounds.announce_at is AnnounceAt.BEFORE else ()


def _spoken_at(org: Organisation) -> tuple[str, ...]:
    return ("PCMU", "PCMA") if org.rules.home_country in _MU_LAW else ("PCMA", "PCMU")


def _is_recorded(org: Organisation, remote: Personal[str] | None, places: Places) -> bool:
    """Whether a call with this number is recorded. Who objected goes before the organisation's setting: the call is made, unrecorded."""
    return org.record == "all" and org.may_record(places) and not _is_unrecorded(org, remote)


def lacks_consent(org: Organisation, numbers_: Sequence[Personal[str] | None], places: Places) -> bool:
    """Whether a call must not be made, since it would have to be recorded and the law asks for a consent that nobody declares.

    `numbers_` are those of the parties outside the organisation, `places` where these may be.

    Where the organisation lets calls go unrecorded they are made so; calls with who objected are made in any case.
    """
    must_be_recorded = org.record == "all" and not org.calls_without_recording
    return must_be_recorded and not org.may_record(places) and not any(_is_unrecorded(org, number) for number in numbers_)


def _places(org: Organisation, remote: Personal[str] | None) -> Places:
    """Where a caller may be, by the number that the carrier shows; unknown where it is withheld or no plan knows it."""
    text = None if remote is None else remote.reveal()
    if text is None or not _GLOBAL.fullmatch(text):
        return (None,)
    found = numbers.international(text[1:], org.rules.home_country)
    return found.territories or (None,) if isinstance(found, numbers.Found) else (None,)


def _as_leg(route: Route, leg: int) -> Route:
    """The same way, for a party who comes into a call as this leg."""
    targets = tuple(replace(target, terms=replace(target.terms, leg=leg)) for target in route.plan.targets)
    return replace(route, plan=replace(route.plan, targets=targets, is_recorded=False, joins=leg))


def _refused(org: Organisation, agent: Agent, verdict: Deny | Malformed, request: Request) -> Refused:
    """What the rules refused, with the number that they read, else what was dialled."""
    return _denied(org, agent, verdict, _dialled(request))


def _denied(org: Organisation, agent: Agent, verdict: Deny | Malformed, dialled: str) -> Refused:
    number = verdict.number if isinstance(verdict, Deny) else None
    remote, reason = Personal(number or dialled[:256]), verdict.reason
    return Refused(reason.sip_status, reason.sip_reason, "refused", CallDirection.OUTBOUND, org, agent, remote=remote, verdict=verdict)


def _is_unrecorded(org: Organisation, remote: Personal[str] | None) -> bool:
    """Whether this number is never recorded: its owner objected, or is a minor. One look-up, however many there are."""
    return bool(org.unrecorded) and remote is not None and org.keys.index("calls.remote", remote.reveal()) in org.unrecorded


def agent_terms(org: Organisation, transport: Transport, address: str, leg: int) -> Terms:
    """What an agent's media must be, and how it may be protected: by keys in SDP only where these do not travel in the clear.

    A handshake (DTLS) needs no secret of the signalling, so it serves everywhere. Browsers, who come by WebSocket, know nothing else.
    """
    if transport in (Transport.WS, Transport.WSS):
        return Terms(leg, Srtp.REQUIRED, address, (Keying.WEBRTC,))
    host = numeric(address)
    is_protected = transport.is_protected or org.allows_sdes_in_clear or (host is not None and host.is_loopback)
    return Terms(leg, org.agent_srtp, address, (org.sdes, Keying.DTLS) if is_protected else (Keying.DTLS,))


def own_user(request: Request, org: Organisation) -> str | None:
    """The dial string of a Request-URI that names this gateway; None for other hosts and forms."""
    try:
        return _own_user_of(request.request_uri, org)
    except ParseError:
        return None


def _own_user_of(uri: object, org: Organisation) -> str | None:
    try:
        if not isinstance(uri, SipUri) or uri.password is not None or uri.headers is not None:
            return None
        if not hosts.is_own(uri.host, uri.port, org.rules.own_hosts):
            return None
        return uri.user_unescaped
    except ParseError:
        return None


def _dialled(request: Request) -> str:
    """What the row of a refusal shows: the user part as dialled, else the whole URI."""
    try:
        uri = request.request_uri
    except ParseError:
        return request.uri[:256]
    if isinstance(uri, SipUri):
        return (uri.user or uri.host)[:256]
    return uri.number[:256] if isinstance(uri, TelUri) else str(uri)[:256]


def _called(request: Request, registered_as: str | None) -> str | None:
    """The called number as +E.164: carriers write it with +, with 00, or bare.

    Where we are registered, the Request-URI may be our Contact and say no more than that: then the number stands in P-Called-Party-ID
    (RFC 7315 section 4.2), else in To.
    """
    try:
        text = _user(request.request_uri)
        if registered_as is None or text != registered_as:
            return e164(text)
        named = request.headers.get("P-Called-Party-ID")
        return e164(_user(request.to.uri if named is None else parse_name_addr(named).uri)) or e164(text)
    except ParseError:
        return None


def _user(uri: SipUri | TelUri | object) -> str | None:
    return uri.user_unescaped if isinstance(uri, SipUri) else uri.digits if isinstance(uri, TelUri) else None
