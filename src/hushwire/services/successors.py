"""Ways to whoever comes into a call that there is: by transfer, into a conference, as its supervisor, in somebody's place.

Who is called for it is judged as any other attempt, under the rules of this moment for the agent who wants it; only such a verdict leads
to a carrier.
"""

from uuid import UUID

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import CallDirection, Plan, Terms
from hushwire.core.personal import Personal
from hushwire.core.values import replace
from hushwire.policy.model import Attempt, Channel, Emergency
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.addressed import own_name, own_user_of
from hushwire.services.agent_terms import agent_terms
from hushwire.services.availability import Availability, not_taken
from hushwire.services.directory import Directory
from hushwire.services.phone_targets import PhoneTargets
from hushwire.services.ringing import RING_AGENT_S, ring_s, takes_over
from hushwire.services.route import Refused, Route
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.verdicts import Verdicts
from hushwire.services.ways_out import WaysOut
from hushwire.sip import refusals
from hushwire.sip.flow import Flow
from hushwire.sip.uri import NameAddr, parse_name_addr


class Successors:
    """Finds them. What is found joins the call as the leg that is named."""

    def __init__(
        self, directory: Directory, verdicts: Verdicts, phones: PhoneTargets, availability: Availability, leaving: WaysOut
    ) -> None:
        self._directory = directory
        self._verdicts = verdicts
        self._phones = phones
        self._availability = availability
        self._leaving = leaving

    def referred(
        self, org: Organisation, agent: Agent, refer_to: str, shown: NameAddr, leg: int, peer: str, credential_id: UUID | None = None
    ) -> Route | Refused:
        """Where an agent's REFER leads, under the rules of this moment for this agent: who is called becomes this leg of its call.

        `refer_to` is the header's value, `shown` who the called agent is told to talk with; the network is shown the agent's own number.
        """
        org = self._directory.newest(org)  # the call's own is as it was when the call began
        user = own_user_of(parse_name_addr(refer_to).uri, org)
        return self._as_another(org, agent, Attempt(refer_to, Channel.REFER, peer=peer), user, shown, leg, credential_id)

    def keyed(
        self, org: Organisation, agent: Agent, digits: str, shown: NameAddr, leg: int, credential_id: UUID | None = None
    ) -> Route | Refused:
        """The same of what an agent keyed in its call, on the device that shows this credential."""
        org = self._directory.newest(org)
        if credential_id is not None and self._directory.is_locked(agent.id, credential_id):
            words, direction = refusals.header("credential-locked"), CallDirection.OUTBOUND
            return Refused(403, words, "credential-locked", direction, org, agent, remote=Personal(digits))
        return self._as_another(org, agent, Attempt(digits, Channel.DTMF), digits, shown, leg, credential_id)

    def invited(self, org: Organisation, agent: Agent, to: str, leg: int) -> Route | Refused:
        """The way to whom an agent in a conference invites there, as this leg of it. `to` is what was asked for, a dial string or a URI."""
        org = self._directory.newest(org)
        user = own_name(to, org) or to
        shown = self._phones.insider(org, agent, hides=agent.hides_identity)
        return self._as_another(org, agent, Attempt(to, Channel.CONFERENCE), user, shown, leg, None)

    def to_successor(self, org: Organisation, agent: Agent, callee: Agent, shown: NameAddr, leg: int) -> Route | Refused:
        """The way to an agent of the organisation who is to take a party's place, by the right of `agent`, and on as that one has set."""
        org = self._directory.newest(org)
        is_other = callee.id != agent.id  # who has a call back is rung, whatever it has set
        not_rung = self._availability.not_rung(callee) if is_other else None
        targets = () if callee.is_suspended or not_rung else self._phones.of(org, callee, shown, leg)
        remote = callee.extension or callee.username
        if not targets and not (is_other and takes_over(callee, not_rung or DiversionReason.UNAVAILABLE)):
            return Refused(*not_taken(not_rung, "no-device"), CallDirection.INTERNAL, org, agent, remote=remote)
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

    def to_supervisor(self, agent: Agent, supervised: Route, leg: int) -> Route | None:
        """The way to a supervisor's own phones, to join a call as this leg; None where none can be reached. It never leads to a trunk."""
        org = self._directory.newest(supervised.org)
        shown = (supervised.agent.extension or supervised.agent.username).reveal()
        from_ = replace(self._phones.internal_name(org, shown), display="Supervision")
        targets = self._phones.of(org, agent, from_, leg)
        if not targets:
            return None
        plan = Plan(CallDirection.SUPERVISION, targets[0].terms, targets, RING_AGENT_S, False, joins=leg)
        return Route(plan, org, agent)

    def _as_another(
        self, org: Organisation, agent: Agent, attempt: Attempt, user: str | None, shown: NameAddr, leg: int, credential_id: UUID | None
    ) -> Route | Refused:
        """The way to whom an agent wants as this leg of a call. `user`: the name or number within the organisation, where it is one."""
        verdict = self._verdicts.on(org, agent, attempt)
        if user is not None and not isinstance(verdict, Emergency):
            callee = org.agent_named(user)
            if callee is not None:
                return self.to_successor(org, agent, callee, shown, leg)
        verdict = self._verdicts.admit(org, agent, verdict, user or attempt.destination, credential_id, attempt.peer)
        terms = Terms(leg, Srtp.OPTIONAL, None)
        found = self._leaving.on_verdict(org, agent, terms, verdict, attempt.destination, hides=agent.hides_identity)
        return found if isinstance(found, Refused) else _as_leg(found, leg)


def _as_leg(route: Route, leg: int) -> Route:
    """The same way, for a party who comes into a call as this leg."""
    targets = tuple(replace(target, terms=replace(target.terms, leg=leg)) for target in route.plan.targets)
    return replace(route, plan=replace(route.plan, targets=targets, is_recorded=False, joins=leg))
