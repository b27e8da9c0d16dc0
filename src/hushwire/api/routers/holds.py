"""/v1/privacy/holds: what must not be erased, on whose authority, until when."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_id, write
from hushwire.api.problems import invalid, not_found
from hushwire.api.values import Body, BodyMoment, Id, TypedNumber, parsed_id
from hushwire.core.personal import Personal
from hushwire.privacy.reasons import HoldReason
from hushwire.services.holds import Hold as Held
from hushwire.services.holds import Unfit, Wanted

router = APIRouter(prefix="/v1/privacy/holds", tags=["privacy"])

Placing = Annotated[Caller, Depends(needs(Permission.HOLDS))]
Reading = Annotated[Caller, Depends(needs(Permission.RECEIPTS, opens=True))]
Scope = Literal["recording", "call", "message", "contact", "document", "case", "number", "agent", "range", "organisation"]


def _words(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold NUL")
    if not value.strip():
        raise ValueError("must not be blank")
    return value


class NewHold(Body):
    """A hold to place. `number` with number; `from` and `to` with range; `id` with the others, a case being a data subject's request."""

    scope: Scope
    id: UUID | None = Field(default=None, strict=False)
    number: TypedNumber | None = None
    from_: BodyMoment | None = Field(default=None, alias="from")
    to: BodyMoment | None = None
    reason: HoldReason
    authority: Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_words)] = Field(
        description="Who demands it: a court, a file number. Sealed."
    )
    note: Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_words)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "NewHold":
        needed = {"number": {"number"}, "range": {"from_", "to"}, "organisation": set[str]()}.get(self.scope, {"id"})
        given = {name for name in ("id", "number", "from_", "to") if getattr(self, name) is not None}
        if not given <= needed or (needed and not given):
            words = {"number": "number", "range": "from, to or both", "organisation": "nothing besides"}.get(self.scope, "id")
            raise ValueError(f"a hold on a {self.scope} takes {words}")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError("from must lie before to")
        return self


class Hold(BaseModel):
    """A legal hold; in force until `released_at`."""

    id: UUID
    scope: str
    object_id: UUID | None
    number: str | None
    from_: datetime | None = Field(serialization_alias="from")
    to: datetime | None
    reason: str
    authority: str | None
    note: str | None
    placed_at: datetime
    placed_by: str
    released_at: datetime | None
    released_by: str | None


@router.post("", status_code=201)
async def place_hold(means: Given, caller: Placing, body: NewHold) -> Hold:
    """Hold what the scope covers, also what comes later: it can't be erased until the hold is released."""
    wanted = Wanted(
        scope=body.scope,
        reason=body.reason,
        authority=Personal(body.authority),
        note=None if body.note is None else Personal(body.note),
        object_id=body.id,
        number=None if body.number is None else Personal(body.number),
        since=body.from_,
        until=body.to,
    )
    placed = await means.holds.place(caller.org_id, wanted, actor=caller.actor)
    if isinstance(placed, Unfit):
        raise invalid(placed.field, placed.message)
    return _hold(Held(placed, body.authority, body.note, body.number))


@router.get("")
async def list_holds(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Hold]:
    """Holds, newest first, released ones included."""
    found, following = await means.holds.listed(caller.org_id, reader(caller), after=read_id(cursor), limit=limit)
    return Page(items=[_hold(each) for each in found], next=None if following is None else write(str(following)))


@router.get("/{hold_id}")
async def get_hold(means: Given, caller: Reading, hold_id: Id) -> Hold:
    """One hold."""
    found = await means.holds.get(caller.org_id, parsed_id(hold_id), reader(caller))
    if found is None:
        raise not_found()
    return _hold(found)


@router.post("/{hold_id}/release")
async def release_hold(means: Given, caller: Placing, hold_id: Id) -> Hold:
    """Release it: erasures that it kept are carried out now. Released already: nothing happens."""
    released = await means.holds.release(caller.org_id, parsed_id(hold_id), actor=caller.actor)
    if released is None:
        raise not_found()
    found = await means.holds.get(caller.org_id, released.id, reader(caller))
    if found is None:
        raise not_found()
    return _hold(found)


def _hold(found: Held) -> Hold:
    row = found.row
    return Hold(
        id=row.id,
        scope=row.scope,
        object_id=row.object_id,
        number=found.number,
        from_=row.since,
        to=row.until,
        reason=row.reason,
        authority=found.authority,
        note=found.note,
        placed_at=row.placed_at,
        placed_by=row.placed_by,
        released_at=row.released_at,
        released_by=row.released_by,
    )
