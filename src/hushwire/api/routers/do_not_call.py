"""/v1/privacy/do-not-call: numbers that telemarketing must not reach. They can be asked about, and never be read."""

from datetime import datetime
from typing import Annotated, assert_never

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.problems import Problem, invalid
from hushwire.api.values import Body, TypedNumber
from hushwire.services.do_not_call import AT_ONCE, MOST, Changed, NoNumbers, TooMany

router = APIRouter(prefix="/v1/privacy/do-not-call", tags=["voice security"])
Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Changing = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
_A_NUMBER = 'must be a phone number such as "+493023125000"'
_NAMED = 20


class Numbers(Body):
    """Numbers as people write them; those without + are read as dialled in the organisation's home country."""

    numbers: list[TypedNumber] = Field(min_length=1, max_length=AT_ONCE)


class OneNumber(Body):
    """A number as a person writes it."""

    number: TypedNumber


class Listing(BaseModel):
    """The size of the set."""

    count: int
    newest_at: datetime | None


class Change(BaseModel):
    """What a change did."""

    changed: int = Field(description="Entries that were added or removed; those that stood so already don't count.")
    count: int


class Answer(BaseModel):
    """Whether the number is listed."""

    listed: bool


@router.get("")
async def count(means: Given, caller: Reading) -> Listing:
    """How many numbers are listed."""
    found = await means.do_not_call.size(caller.org_id)
    return Listing(count=found.count, newest_at=found.newest_at)


@router.post("")
async def add(means: Given, caller: Changing, body: Numbers) -> Change:
    """List numbers, all or none. The next call of an agent that does telemarketing obeys. Safe to repeat."""
    return _told(await means.do_not_call.add(caller.org_id, body.numbers, actor=caller.actor))


@router.post("/remove")
async def remove(means: Given, caller: Changing, body: Numbers) -> Change:
    """List numbers no more. Safe to repeat."""
    return _told(await means.do_not_call.remove(caller.org_id, body.numbers, actor=caller.actor))


@router.post("/check")
async def check(means: Given, caller: Reading, body: OneNumber) -> Answer:
    """Whether one number is listed."""
    found = await means.do_not_call.is_listed(caller.org_id, body.number)
    if found is None:
        raise invalid("number", _A_NUMBER)
    return Answer(listed=found)


def _told(outcome: Changed | NoNumbers | TooMany) -> Change:
    match outcome:
        case Changed():
            return Change(changed=outcome.changed, count=outcome.count)
        case NoNumbers():
            errors = [{"field": f"numbers[{position}]", "message": _A_NUMBER} for position in outcome.positions[:_NAMED]]
            raise Problem(422, f"{len(outcome.positions)} of these are no phone numbers: nothing was changed.", errors=errors)
        case TooMany():
            raise Problem(409, f"An organisation's set holds {MOST} numbers at most: nothing was changed.")
        case _:
            assert_never(outcome)
