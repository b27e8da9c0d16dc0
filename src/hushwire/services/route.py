"""What routing decides: a call that may be made, a wish that is no call, or a refusal."""

from uuid import UUID

from hushwire.calls.model import AnsweredBy, CallDirection, Plan, Target
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.core.values import frozen, replace
from hushwire.policy.model import Allow, Deny, Emergency, Malformed, Reason
from hushwire.privacy.consent import Places
from hushwire.services.features import Dialled, Feature
from hushwire.services.forwarding import Diversion, Forwarding
from hushwire.services.ring_groups import RingGroup
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.trunk import Trunk
from hushwire.sip.flow import Hop


@frozen
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
    let_out: tuple[AgentId, ...] = ()
    """Whose forwarding called parties outside who came into the call later, once for each of them."""
    further_trunks: tuple[Trunk, ...] = ()
    """Carriers of parties who came into the call later."""
    others: tuple[Personal[str], ...] = ()
    """Numbers of outside parties who came into the call later."""
    called_later: tuple[Personal[str], ...] = ()
    """Those of them that were called from here, under a verdict."""

    @property
    def takes_message(self) -> bool:
        """Whether what is recorded of it is a message for the mailbox."""
        return self.mailbox is not None and self.plan.answered_by is AnsweredBy.MESSAGE

    @property
    def makes_greeting(self) -> bool:
        """Whether what is recorded of it is a greeting of the caller's own mailbox."""
        return self.mailbox is not None and self.plan.answered_by is AnsweredBy.GREETING

    @property
    def may_go_unrecorded(self) -> bool:
        """Whether the call goes on where it can't be recorded: as the organisation decided; an emergency call always."""
        return self.org.calls_without_recording or isinstance(self.verdict, Emergency)

    @property
    def outsiders(self) -> tuple[Personal[str] | None, ...]:
        """The numbers of the parties outside the organisation, for the law on recording."""
        return self.withheld or self.remote, self.diverted_to

    @property
    def forwarded_by(self) -> tuple[AgentId, ...]:
        """Whose forwarding it is out on, once for each party outside that was called so."""
        return (*self.let_out, *(one.agent_id for one in self.diversions[-1:] if self.leads_out))

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

    through: Hop | None = None
    """The gateway by way of which the caller comes, where that one handed its INVITE over."""

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
        if (self.diverted_to is not None or self.group is not None) and leg == self.callee_leg:
            return None
        return self.agent if leg == 0 else self.peer_agent

    def trunk_at(self, leg: int) -> Trunk | None:
        """The carrier of a leg; None for an agent's."""
        return self.trunk if leg == 1 else self.out_trunk


@frozen
class Member:
    """A member of a ring group, and its phones."""

    agent: Agent
    targets: tuple[Target, ...]


@frozen
class Wish:
    """What an agent dialled is no call but a wish: `wanted` as its own settings from now on, or, without, access to where it was refused
    a moment ago."""

    org: Organisation
    agent: Agent
    feature: Feature
    wanted: Forwarding | None = None


@frozen
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


def refused_by(verdict: Deny | Malformed, org: Organisation, agent: Agent, dialled: str) -> Refused:
    """What the rules refused, with the number that they read, else what was dialled."""
    number = verdict.number if isinstance(verdict, Deny) else None
    remote, reason = Personal(number or dialled[:256]), verdict.reason
    return Refused(reason.sip_status, reason.sip_reason, "refused", CallDirection.OUTBOUND, org, agent, remote=remote, verdict=verdict)


def refused_for_consent(direction: CallDirection, org: Organisation, agent: Agent, remote: Personal[str]) -> Refused:
    """A call within the organisation that would have to be recorded and may not be."""
    reason = Reason.RECORDING_CONSENT
    return Refused(reason.sip_status, reason.sip_reason, "no-recording", direction, org, agent, remote=remote)
