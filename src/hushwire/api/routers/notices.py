"""/v1/privacy/notices: what the organisation was told, or could not be told, and the word that it was read."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_place, write
from hushwire.api.problems import not_found
from hushwire.api.values import Id, parsed_id
from hushwire.privacy.notices import NoticeKind
from hushwire.store.notices import NoticeRow, Position

router = APIRouter(prefix="/v1/privacy", tags=["notices"])
Reading = Annotated[Caller, Depends(needs(Permission.ORGANISATION))]
Changing = Annotated[Caller, Depends(needs(Permission.ORGANISATION_CHANGE))]


class NoticeState(StrEnum):
    """How a notice stands."""

    QUEUED = "queued"  # not accepted by a mail server yet
    UNADDRESSED = "unaddressed"  # no contact is designated
    SENT = "sent"
    FAILED = "failed"  # every contact's address was refused for good
    ACKNOWLEDGED = "acknowledged"


class Notice(BaseModel):
    """A notice, without its words."""

    id: UUID
    kind: str
    state: NoticeState
    about: str = Field(description="Such as request, breach, case.")
    about_id: UUID
    clock_id: UUID | None = Field(description="The clock that the notice is owed by.")
    created_at: datetime
    attempts: int
    next_at: datetime | None = Field(description="When it is tried again.")
    sent_at: datetime | None
    acknowledged_at: datetime | None
    contact_id: UUID | None = Field(description="Whom it went to, or was tried with last.")
    evidence: dict[str, Any] = Field(description="What the mail server said: codes and SHA-256 digests.")


class WholeNotice(Notice):
    """A notice with its words; null where their key is gone."""

    subject: str | None
    body: str | None
    recipient: str | None


StateQuery = Annotated[NoticeState | None, Query(alias="state")]


@router.get("/notices")
async def list_notices(means: Given, caller: Reading, state: StateQuery = None, limit: Limit = 50, cursor: Cursor = None) -> Page[Notice]:
    """Notices, newest first."""
    place = read_place(cursor)
    async with means.main.organisation(caller.org_id) as connection:
        rows = await means.notices.listed(
            connection,
            state=None if state is None else state.value,
            after=None if place is None else Position(place.started_at, place.id),
            limit=limit + 1,
        )
    last = rows[limit - 1] if len(rows) > limit else None
    items = [Notice(**_fields(row)) for row in rows[:limit]]
    return Page(items=items, next=None if last is None else write(last.created_at.isoformat(), str(last.id)))


@router.get("/notices/{notice_id}")
async def get_notice(means: Given, caller: Reading, notice_id: Id) -> WholeNotice:
    """One notice with its words."""
    found = await means.notices.get(caller.org_id, parsed_id(notice_id), reader(caller))
    if found is None:
        raise not_found()
    words = found.words
    return WholeNotice(
        **_fields(found.row),
        subject=None if words is None else words.subject,
        body=None if words is None else words.body,
        recipient=found.recipient,
    )


@router.post("/notices/{notice_id}/acknowledge")
async def acknowledge_notice(means: Given, caller: Changing, notice_id: Id) -> Notice:
    """It was read: it is not sent any more, and the clock that it was owed by ends. Safe to repeat."""
    row = await means.notices.acknowledge(caller.org_id, parsed_id(notice_id), caller.actor)
    if row is None:
        raise not_found()
    return Notice(**_fields(row))


@router.post("/notices/test", status_code=202)
async def send_test_notice(means: Given, caller: Changing) -> Notice:
    """Queue a notice that says nothing but that notices arrive."""
    async with means.main.organisation(caller.org_id) as connection:
        row = await means.notices.queue(
            connection,
            caller.org_id,
            NoticeKind.TEST,
            "organisation",
            caller.org_id,
            {"asked_at": means.clock.now()},
            occasion=str(uuid4()),
        )
    return Notice(**_fields(row))


def _fields(row: NoticeRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "state": NoticeState(row.state),
        "about": row.subject_kind,
        "about_id": row.subject_id,
        "clock_id": row.clock_id,
        "created_at": row.created_at,
        "attempts": row.attempts,
        "next_at": row.next_at if row.state == NoticeState.QUEUED else None,
        "sent_at": row.sent_at,
        "acknowledged_at": row.acknowledged_at,
        "contact_id": row.contact_id,
        "evidence": row.evidence,
    }
