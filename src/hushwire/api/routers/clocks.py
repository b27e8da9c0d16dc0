"""/v1/privacy/clocks: what is owed until when, what was warned of, what came of it."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_place, write
from hushwire.api.problems import not_found
from hushwire.api.values import Id, parsed_id
from hushwire.privacy.clocks import RULES, Clock, ClockKind, State, state
from hushwire.store.clocks import Position

router = APIRouter(prefix="/v1/privacy", tags=["clocks"])
Proving = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]


class Subject(BaseModel):
    """What a clock runs for."""

    kind: str = Field(description="Such as request, breach, number, organisation.")
    id: UUID


class ClockView(BaseModel):
    """One clock. Times are UTC."""

    id: UUID
    kind: ClockKind
    clause: str = Field(description="The clause of the agreement that sets it.")
    state: State = Field(description="overdue: a duty whose time is over and that is not done; elapsed: a period that is over.")
    subject: Subject
    jurisdictions: list[str] = Field(description="Whose days were counted.")
    started_at: datetime
    warn_at: list[datetime]
    due_at: datetime
    remaining_s: int = Field(description="Seconds to its end; below zero once that has passed; 0 for a clock that has ended.")
    ended_at: datetime | None
    late: bool = Field(description="Ended after its time.")
    outcome: str | None
    evidence: dict[str, Any] = Field(description="Ids, digests and codes that prove the outcome.")


StateQuery = Annotated[State | None, Query(alias="state", description="Only clocks that stand so now.")]
KindQuery = Annotated[ClockKind | None, Query(alias="kind")]
SubjectQuery = Annotated[UUID | None, Query(alias="subject", description="Only clocks of this request, breach, number, ...")]


@router.get("/clocks")
async def list_clocks(
    means: Given,
    caller: Proving,
    wanted: StateQuery = None,
    kind: KindQuery = None,
    subject: SubjectQuery = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[ClockView]:
    """Clocks by their end, the earliest first."""
    place = read_place(cursor)
    async with means.main.organisation(caller.org_id) as connection:
        rows = await means.clocks.listed(
            connection,
            state=wanted,
            kind=kind,
            subject_id=subject,
            after=None if place is None else Position(place.started_at, place.id),
            limit=limit + 1,
        )
    now = means.clock.now()
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=[view(row, now) for row in rows[:limit]], next=None if last is None else write(last.due_at.isoformat(), str(last.id)))


@router.get("/clocks/{clock_id}")
async def get_clock(means: Given, caller: Proving, clock_id: Id) -> ClockView:
    """One clock."""
    async with means.main.organisation(caller.org_id) as connection:
        row = await means.clocks.get(connection, parsed_id(clock_id))
    if row is None:
        raise not_found()
    return view(row, means.clock.now())


def view(row: Clock, now: datetime) -> ClockView:
    """A clock as it is shown."""
    return ClockView(
        id=row.id,
        kind=row.kind,
        clause=RULES[row.kind].clause,
        state=state(row, now),
        subject=Subject(kind=row.subject_kind, id=row.subject_id),
        jurisdictions=list(row.jurisdictions),
        started_at=row.started_at.astimezone(UTC),
        warn_at=list(row.warn_at),
        due_at=row.due_at,
        remaining_s=0 if row.ended_at else int((row.due_at - now).total_seconds()),
        ended_at=row.ended_at,
        late=row.was_late,
        outcome=row.outcome,
        evidence=dict(row.evidence),
    )
