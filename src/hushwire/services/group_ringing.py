"""Which phones ring where a group is called, and whose next."""

from collections.abc import Sequence

from hushwire.calls.model import CallDirection
from hushwire.core.ids import AgentId
from hushwire.core.values import replace
from hushwire.services.availability import Availability
from hushwire.services.phone_targets import PhoneTargets
from hushwire.services.ring_groups import RingGroup, Strategy
from hushwire.services.route import Member, Route
from hushwire.services.snapshot import Organisation


class GroupRinging:
    """Finds the members who can be rung in this moment."""

    def __init__(self, phones: PhoneTargets, availability: Availability) -> None:
        self._phones = phones
        self._availability = availability

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
                agent = org.agent_named(agent.forwarding.always.reveal())
            if agent is None or agent.is_suspended or agent.id in left_out or agent.id in found:
                continue
            if self._availability.is_left_alone(agent):
                continue
            targets = self._phones.on_route(org, agent, route)
            if targets:
                found[agent.id] = Member(agent, targets)
        return list(found.values())


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
