"""What a call may still do, by what is known now: its people, its devices and the wishes of the other side may have changed meanwhile."""

from collections.abc import Iterable
from uuid import UUID

from hushwire.calls.model import CallDirection
from hushwire.core.ids import AgentId
from hushwire.policy.model import Emergency
from hushwire.services.directory import Directory
from hushwire.services.recording_law import is_unrecorded
from hushwire.services.route import Route


class CallRights:
    """Asked when a call begins, is answered or recorded, and whenever the directory has changed."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

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

    def may_record(self, route: Route) -> bool:
        """Whether the call may be recorded, by what is known now: its far side may have objected since the call was routed."""
        org = self._directory.newest(route.org)
        return org.may_record(route.places) and not any(is_unrecorded(org, number) for number in (*route.outsiders, *route.others))

    def may_take_message(self, route: Route) -> bool:
        """Whether who calls may be recorded into a mailbox: not who objected to being recorded, or is a minor.

        Where the law asks for everybody's consent the caller gives it: it is the only one who is recorded, was told so by the greeting,
        and speaks after the tone, or does not.
        """
        org = self._directory.newest(route.org)
        return route.plan.direction is not CallDirection.INBOUND or not is_unrecorded(org, route.withheld or route.remote)
