"""The verdict on what an agent wants to reach, for every way out: the rules of destinations first, then those of telemarketing.

Whatever leaves the house on an agent's wish asks here, calls today and messages tomorrow, so that no way goes past the set. Emergency
calls are never asked about. The set is in memory, as the gateway's newest snapshot has it; one look-up, however long the list is.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.policy.calling_hours import CallingHours, closed_where, local_time
from hushwire.policy.model import Allow, Attempt, Deny, Reason, Verdict
from hushwire.policy.rules import Rules
from hushwire.services.snapshot import Agent, Organisation

INDEX: Final = "do_not_call.number"
"""The blind index that a listed number stands under: one of its own, which no other table's index can be compared with."""

Judge = Callable[[Attempt, Rules], Verdict]
Admit = Callable[[Organisation, Agent, Verdict, str, UUID | None, str | None], Verdict]
"""What the fraud breaker makes of the verdict on a real attempt (services/fraud.py): of whom, what was dialled, by which credential and
from which host, None where no device asked. Checks and settings are no attempts."""


def unlimited(_org: Organisation, _agent: Agent, verdict: Verdict, _dialled: str, _credential: UUID | None, _host: str | None) -> Verdict:
    """Where nothing is counted."""
    return verdict


def verdict_for(judge: Judge, org: Organisation, agent: Agent, attempt: Attempt, now: datetime) -> Verdict:
    """What the rules say, and for telemarketing what the do-not-call set and the hours say of a number that they allow."""
    verdict = judge(attempt, org.rules_of(agent))
    if not isinstance(verdict, Allow) or not agent.is_telemarketing:
        return verdict
    return marketed(verdict, org.telemarketing_hours, now, is_listed=is_listed(org, verdict.number))


class Verdicts:
    """Gives them by the rules, the set and the hours of this moment, for whatever calls ask."""

    def __init__(self, judge: Judge, now: Callable[[], datetime]) -> None:
        self._judge = judge
        self._now = now
        self.admit: Admit = unlimited
        """What the fraud breaker makes of the verdict on a real attempt to leave the house."""

    def on(self, org: Organisation, agent: Agent, attempt: Attempt) -> Verdict:
        """What the rules say to a way out on an agent's wish."""
        if agent.is_telemarketing:
            return verdict_for(self._judge, org, agent, attempt, self._now())
        return self._judge(attempt, org.rules_of(agent))


def marketed(allowed: Allow, hours: Sequence[CallingHours], now: datetime, *, is_listed: bool) -> Allow | Deny:
    """What is left of a permission where telemarketing asks, by call or by message. `is_listed`: in the do-not-call set."""
    if is_listed:
        return denied(allowed, Reason.DO_NOT_CALL)
    zone = closed_where(allowed.number, allowed.country, hours, now)
    if zone is None:
        return allowed
    if not zone:
        why = "Telemarketing must not reach this number: the time of day where it is can't be known."
    else:
        why = f"Telemarketing must not reach this number at this hour of its day: it is {local_time(zone, now)} in {zone}."
    return replace(denied(allowed, Reason.QUIET_HOURS), explanation=why)


def is_listed(org: Organisation, number: str) -> bool:
    """Whether telemarketing must not reach this canonical number."""
    return bool(org.do_not_call) and org.keys.index(INDEX, number) in org.do_not_call


def denied(allowed: Allow, reason: Reason) -> Deny:
    """A number that the rules of destinations allow, refused for another reason."""
    return Deny(reason, reason.explanation, allowed.number, allowed.country, allowed.number_class, reason.value)
