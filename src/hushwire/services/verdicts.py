"""The verdict on what an agent wants to reach, for every way out: the rules of destinations first, then do-not-call.

Whatever leaves the house on an agent's wish asks here, calls today and messages tomorrow, so that no way goes past the set. Emergency
calls are never asked about. The set is in memory, as the gateway's newest snapshot has it; one look-up, however long the list is.
"""

from collections.abc import Callable
from typing import Final

from hushwire.policy.model import Allow, Attempt, Deny, Reason, Rules, Verdict
from hushwire.services.directory import Agent, Organisation

INDEX: Final = "do_not_call.number"
"""The blind index that a listed number stands under: one of its own, which no other table's index can be compared with."""

Judge = Callable[[Attempt, Rules], Verdict]


def verdict_for(judge: Judge, org: Organisation, agent: Agent, attempt: Attempt) -> Verdict:
    """What the rules say, and for telemarketing what the do-not-call set says of a number that they allow."""
    verdict = judge(attempt, org.rules)
    if not isinstance(verdict, Allow) or not agent.is_telemarketing or not is_listed(org, verdict.number):
        return verdict
    return denied(verdict, Reason.DO_NOT_CALL)


def is_listed(org: Organisation, number: str) -> bool:
    """Whether telemarketing must not reach this canonical number."""
    return bool(org.do_not_call) and org.keys.index(INDEX, number) in org.do_not_call


def denied(allowed: Allow, reason: Reason) -> Deny:
    """A number that the rules of destinations allow, refused for another reason."""
    return Deny(reason, reason.explanation, allowed.number, allowed.country, allowed.number_class)
