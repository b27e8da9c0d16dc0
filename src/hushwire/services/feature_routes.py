"""What feature codes lead to: a mailbox, a conference, somebody's place, or a setting of the agent who dials."""

import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

from hushwire.calls.model import AnsweredBy, CallDirection, Plan, Terms
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.policy.model import Allow, Attempt, Channel, Deny, Malformed
from hushwire.services.addressed import own_user_of
from hushwire.services.features import SETTINGS, TABLE, Dialled, Feature, Features, changed_by
from hushwire.services.forwarding import VOICEMAIL
from hushwire.services.recording_law import is_recorded, lacks_consent
from hushwire.services.ringing import RING_AGENT_S
from hushwire.services.route import Refused, Route, Wish, refused_for_consent
from hushwire.services.snapshot import Agent, Organisation
from hushwire.services.verdicts import Verdicts
from hushwire.sip import refusals
from hushwire.sip.uri import parse_name_addr

ECHO: Final = "echo"
"""The echo's name, which is dialled as its feature code is."""
MOST_VISITS: Final = 2
"""To one's own mailbox at once, its greeting included: whatever is heard there, the worker has to open first."""
_ROOM: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
"""A conference's room, by its number."""


class FeatureRoutes:
    """The deployment's codes, served. No route of these leads to a carrier."""

    def __init__(self, features: Features, verdicts: Verdicts) -> None:
        self._features = features
        self._verdicts = verdicts
        self.visits: Callable[[AgentId], int] = lambda _agent: 0
        """How often an agent is at its mailbox at this gateway."""

    def is_on(self, feature: Feature) -> bool:
        """Whether a feature is switched on."""
        return self._features.code(feature) is not None

    def read(self, user: str) -> Dialled | None:
        """The feature that a dial string asks for; None where it asks for none."""
        return Dialled(Feature.ECHO) if user == ECHO else self._features.read(user)

    def parks_at(self, org: Organisation, refer_to: str) -> str | None:
        """The slot that a Refer-To asks to park in, empty for any; None where it asks for something else."""
        user = own_user_of(parse_name_addr(refer_to).uri, org)
        dialled = None if user is None else self._features.read(user)
        if dialled is None or dialled.feature not in (Feature.PARK, Feature.PARK_SLOT):
            return None
        return dialled.argument

    def served(
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
            return self.wish(org, agent, dialled, user, shown, host)
        return None

    def wish(self, org: Organisation, agent: Agent, dialled: Dialled, user: str, shown: UUID | None, host: str) -> Wish | Refused:
        """A setting of the agent's own; refused where calls could never go on there. It is judged again whenever one does."""
        if not TABLE[dialled.feature].takes:
            return Wish(org, agent, dialled.feature, changed_by(agent.forwarding, dialled.feature, None))
        found = self._features.read(dialled.argument)
        to_mailbox = found is not None and found.feature is Feature.MAILBOX
        wanted = VOICEMAIL if to_mailbox else dialled.argument
        callee = org.agent_named(wanted)
        if not to_mailbox and callee is None and wanted not in org.groups:
            match self._verdicts.on(org, agent, Attempt(wanted, Channel.FORWARD)):
                case Allow():
                    pass
                case Deny() | Malformed() as verdict:
                    # Who tries by settings what the rules refuse looks for a way out as who calls does.
                    self._verdicts.admit(org, agent, verdict, wanted, shown, host)
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

    def _conference(self, org: Organisation, agent: Agent, terms: Terms, room: str, remote: Personal[str]) -> Route | Refused:
        if lacks_consent(org, (), ()):
            return refused_for_consent(CallDirection.CONFERENCE, org, agent, remote)
        plan = Plan(CallDirection.CONFERENCE, terms, (), RING_AGENT_S, is_recorded(org, None, ()))
        return Route(plan, org, agent, remote=remote, local=agent.extension, room=room)

    def _message(self, org: Organisation, agent: Agent, terms: Terms, name: str) -> Route | Refused:
        """The way straight into somebody's mailbox."""
        owner = org.agent_named(name)
        if owner is None or owner.is_suspended:
            words = refusals.header("no-such-mailbox")
            return Refused(404, words, "not-found", CallDirection.INTERNAL, org, agent, remote=Personal(name))
        plan = Plan(CallDirection.INTERNAL, terms, (), RING_AGENT_S, False, answered_by=AnsweredBy.MESSAGE)
        remote = owner.extension or owner.username
        return Route(plan, org, agent, peer_agent=owner, remote=remote, local=agent.extension, mailbox=owner)
