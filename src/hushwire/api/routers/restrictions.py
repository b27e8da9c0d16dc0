"""/v1/privacy/restrictions: what is kept and not read, until it is lifted."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_id, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, Id, TypedNumber, parsed_id
from hushwire.store.restrictions import Restriction as Row

router = APIRouter(prefix="/v1/privacy/restrictions", tags=["rights of data subjects"])
Keeping = Annotated[Caller, Depends(needs(Permission.REQUESTS))]


class NewRestriction(Body):
    """What is to be restricted: everything of a number, or one thing by its id."""

    number: TypedNumber | None = None
    scope: Literal["contact", "call", "recording"] | None = None
    id: UUID | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _one_thing(self) -> "NewRestriction":
        if (self.number is None) == (self.id is None) or (self.scope is None) != (self.id is None):
            raise ValueError("give number, or scope and id")
        return self


class Restriction(BaseModel):
    """One restriction. The number that it is about is nowhere shown."""

    id: UUID
    scope: Literal["number", "contact", "call", "recording"]
    object_id: UUID | None
    request_id: UUID | None
    since: datetime
    placed_by: str
    lifted_at: datetime | None
    lifted_by: str | None


@router.get("")
async def list_restrictions(means: Given, caller: Keeping, limit: Limit = 50, cursor: Cursor = None) -> Page[Restriction]:
    """Restrictions, oldest first, those that were lifted too."""
    rows, more = await means.rights.restrictions.listed(caller.org_id, after=read_id(cursor), limit=limit)
    return Page(items=[_restriction(row) for row in rows], next=None if more is None else write(str(more)))


@router.post("", status_code=201)
async def place_restriction(means: Given, caller: Keeping, body: NewRestriction) -> Restriction:
    """From now on it is kept, and not read. Safe to repeat: the answer is the restriction in force."""
    if body.number is not None:
        found = await means.rights.restrictions.restrict_number(caller.org_id, body.number, actor=caller.actor)
        if found is None:
            raise invalid("number", 'must be a phone number such as "+493023125000"')
    else:
        assert body.scope is not None
        assert body.id is not None
        found = await means.rights.restrictions.restrict_object(caller.org_id, body.scope, body.id, actor=caller.actor)
        if found is None:
            raise Problem(404, "The organisation has no such thing.")
    return _restriction(found)


@router.get("/{restriction_id}")
async def get_restriction(means: Given, caller: Keeping, restriction_id: Id) -> Restriction:
    """One restriction."""
    return _found(await means.rights.restrictions.get(caller.org_id, parsed_id(restriction_id)))


@router.post("/{restriction_id}/lift")
async def lift_restriction(means: Given, caller: Keeping, restriction_id: Id) -> Restriction:
    """Readable again, unless another restriction covers it. Safe to repeat."""
    return _found(await means.rights.restrictions.lift(caller.org_id, parsed_id(restriction_id), actor=caller.actor))


def _found(row: Row | None) -> Restriction:
    if row is None:
        raise not_found()
    return _restriction(row)


def _restriction(row: Row) -> Restriction:
    return Restriction(
        id=row.id,
        scope=row.scope,  # type: ignore[arg-type]
        object_id=row.object_id,
        request_id=row.request_id,
        since=row.since,
        placed_by=row.placed_by,
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
    )
