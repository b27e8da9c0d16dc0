"""/v1/voice-security/exceptions: numbers that no plan knows, or that lie in a range of a risk pack, and are reached all the same."""

import re
from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.routers.rule_proposals import shown as shown_proposal
from hushwire.api.routers.teams import WAITS, Waiting
from hushwire.api.values import Body, BodyMoment, Country, Id, parsed_id
from hushwire.policy.rules import ExceptionKind
from hushwire.services.agent_rules import Said
from hushwire.services.contacts import Unfit
from hushwire.services.exception_settings import MOST, TooMany, View
from hushwire.store.rule_proposals import ProposalRow

router = APIRouter(prefix="/v1/voice-security/exceptions", tags=["voice security"])
Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Changing = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)


class NumberException(BaseModel):
    """One rule that does not hold for a number, or for all that begin so."""

    id: UUID
    kind: Literal["unassigned", "risk"]
    number: str = Field(description="The prefix; of a whole number its first and last digits alone.")
    is_prefix: bool
    country: str = Field(description="Where it counts as lying; it must be allowed like any other's.")
    reason: str
    until: datetime | None
    created_at: datetime
    created_by: str


class NewException(Body):
    """An exception, with its reason and its end."""

    kind: Literal["unassigned", "risk"]
    number: str = Field(min_length=5, max_length=16, description="A whole number, +E.164; or with is_prefix how numbers begin.")
    is_prefix: bool = False
    country: Country
    reason: str = Field(min_length=1, max_length=500)
    until: BodyMoment


@router.get("")
async def list_exceptions(means: Given, caller: Reading) -> list[NumberException]:
    """All of them, the oldest first; those that wait for a second person are proposals."""
    return [_shown(view) for view in await means.exceptions.listed(caller.org_id)]


@router.post("", status_code=201, response_model=NumberException, responses=WAITS)
async def add_exception(means: Given, caller: Changing, body: NewException) -> NumberException | Response:
    """Add one. Where two must agree to its country it waits (202)."""
    if not _NUMBER.fullmatch(body.number):
        raise invalid("number", "must be + and 4 to 15 digits")
    said = Said(body.number, body.is_prefix, body.country, body.reason)
    match await means.exceptions.add(caller.org_id, ExceptionKind(body.kind), said, body.until, actor=caller.actor):
        case Unfit() as unfit:
            raise invalid(unfit.field, unfit.message)
        case TooMany():
            raise Problem(409, f"The organisation has {MOST} exceptions: remove some that have ended.")
        case ProposalRow() as row:
            return JSONResponse(Waiting(waits=shown_proposal(row, means.clock.now())).model_dump(mode="json"), 202)
        case View() as view:
            return _shown(view)


@router.delete("/{exception_id}", status_code=204)
async def remove_exception(means: Given, caller: Changing, exception_id: Id) -> Response:
    """Take one back, also one that waits. The next call on every node obeys within a second."""
    if not await means.exceptions.remove(caller.org_id, parsed_id(exception_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


def _shown(view: View) -> NumberException:
    row, said = view.row, view.said
    number = said.number if said.is_prefix else f"{said.number[:4]}...{said.number[-2:]}"
    return NumberException(
        id=row.id,
        kind=row.kind,  # type: ignore[arg-type]
        number=number,
        is_prefix=said.is_prefix,
        country=said.country,
        reason=said.reason,
        until=row.ends_at,
        created_at=row.created_at,
        created_by=row.created_by,
    )
