"""/v1/voice-security/simulate: what other rules would have refused and newly allowed, before they are saved."""

from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.problems import Problem
from hushwire.api.routers.voice_security import Answer, Rules, answered, what_if_of
from hushwire.api.values import Body
from hushwire.policy.model import Channel
from hushwire.services.simulation import MOST_NUMBERS, Simulated
from hushwire.services.voice_security import NoAgent

router = APIRouter(prefix="/v1/voice-security/simulate", tags=["voice security"])
Trying = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
Reading = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE, opens=True))]


class Numbers(Body):
    """Destinations as they would be dialled, and the rules to try on them."""

    destinations: list[Annotated[str, Field(max_length=256)]] = Field(min_length=1, max_length=MOST_NUMBERS)
    rules: Rules
    channel: Channel = Field(default=Channel.INVITE, strict=False)
    agent: str | None = Field(default=None, max_length=128, description="Id or username of an agent: its lists narrow both sides.")


class Calls(Body):
    """How far back to look, and the rules to try."""

    rules: Rules
    days: int = Field(default=30, ge=1, le=92)
    agent: str | None = Field(default=None, max_length=128, description="Id or username of an agent: its calls alone.")


class Change(BaseModel):
    """A destination that is judged otherwise under the rules that were tried."""

    position: int | None = Field(description="Its place in what was sent, from 0.")
    call_id: UUID | None = Field(description="The newest of its calls.")
    calls: int
    becomes: Literal["refused", "allowed"]
    before: Answer
    after: Answer


class Country(BaseModel):
    """How many of one country change."""

    country: str | None
    becomes: Literal["refused", "allowed"]
    calls: int


class Outcome(BaseModel):
    """Counts are of destinations, or of calls where calls were asked about."""

    judged: int
    allowed_before: int
    allowed_after: int
    newly_refused: int
    newly_allowed: int
    by_country: list[Country]
    changes: list[Change] = Field(description="Those that stand for most calls first, 200 at most.")
    unread: int = Field(description="Calls whose number is erased, or the customer's alone to open.")
    is_whole: bool = Field(description="Whether every number was judged: of calls, the 5000 that were called most.")


@router.post("")
async def simulate(means: Given, caller: Trying, body: Numbers) -> Outcome:
    """Judge destinations by the saved rules and by others. Saves, sends and counts nothing."""
    what_if = what_if_of(body.rules)
    found = await means.simulation.of_numbers(caller.org_id, body.destinations, body.channel, what_if, agent=body.agent)
    return _shown(found, has_numbers=True)


@router.post("/calls")
async def simulate_calls(means: Given, caller: Reading, body: Calls) -> Outcome:
    """Judge what was called outside lately by the saved rules and by others.

    Each call's number is opened for a purpose, and noted in the access log; the answer names calls, not numbers.
    """
    found = await means.simulation.of_calls(caller.org_id, body.days, what_if_of(body.rules), reader(caller), agent=body.agent)
    return _shown(found, has_numbers=False)


def _shown(found: Simulated | NoAgent, *, has_numbers: bool) -> Outcome:
    if isinstance(found, NoAgent):
        raise Problem(404, "The organisation has no such agent.")
    hidden: dict[str, Any] = {} if has_numbers else {"number": None}
    return Outcome(
        judged=found.judged,
        allowed_before=found.allowed_before,
        allowed_after=found.allowed_after,
        newly_refused=found.newly_refused,
        newly_allowed=found.newly_allowed,
        by_country=[
            Country(country=country, becomes="refused" if is_refused else "allowed", calls=calls)
            for (country, is_refused), calls in found.by_country.items()
        ],
        changes=[
            Change(
                position=one.position,
                call_id=one.call_id,
                calls=one.calls,
                becomes="refused" if one.is_refused_now else "allowed",
                before=answered(one.before).model_copy(update=hidden),
                after=answered(one.after).model_copy(update=hidden),
            )
            for one in found.differences
        ],
        unread=found.unread,
        is_whole=found.is_whole,
    )
