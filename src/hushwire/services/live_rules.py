"""Calls under way, judged anew: where a change of the rules is to hold for them too, those that could not be made now are to end.

The organisation's `live_rules_version` says so, by the same row that carries the rules: a gateway that learns of the change finds every
call that it began under older rules, however late it learns, and no call slips between.
"""

from hushwire.calls.model import Side
from hushwire.core.ids import AgentId
from hushwire.core.personal import Personal
from hushwire.policy.model import Allow, Attempt, Channel, Emergency
from hushwire.services.directory import Directory
from hushwire.services.live import LiveCall
from hushwire.services.route import Route
from hushwire.services.verdicts import Verdicts


def is_ruled_out(directory: Directory, verdicts: Verdicts, live: LiveCall) -> bool:
    """Whether a call that began under older rules leads to a number that nobody who pays for it may call now. Asked once per change."""
    route = live.route
    org = directory.newest(route.org)
    begun_under = live.judged_under or (route.org.rules.version if live.new is None else live.new.rules_version or 0)
    if begun_under >= org.live_rules_version:
        return False
    live.judged_under = org.rules.version
    if isinstance(route.verdict, Emergency) or route.plan.is_room:
        return False
    payers = [agent for agent_id in _paying(route) if (agent := org.by_id.get(agent_id)) is not None]
    attempts = [Attempt(number.reveal(), Channel.FORWARD if route.leads_out else Channel.INVITE) for number in _reached(live)]
    return any(not any(isinstance(verdicts.on(org, agent, attempt), Allow) for agent in payers) for attempt in attempts)


def called_out(route: Route) -> tuple[Personal[str], ...]:
    """The numbers that were called from here: by who dialled, by who diverted, by who transferred."""
    first = (Personal(route.verdict.number),) if isinstance(route.verdict, Allow) else ()
    return (*first, *route.called_later)


def _reached(live: LiveCall) -> list[Personal[str]]:
    """Of the numbers called those whose parties are still there."""
    called = called_out(live.route)
    if not live.replaced:
        return list(called)
    there = {party.number.reveal() for side in Side if (party := live.party(side)).number is not None}
    return [number for number in called if number.reveal() in there]


def _paying(route: Route) -> set[AgentId]:
    """By whose right: who called, or who had it diverted there, and who is not in it any more."""
    first = route.diversions[-1].agent_id if route.leads_out and route.diversions else route.agent.id
    return {first, *route.let_out, *(agent.id for agent in route.payers)}
