"""/v1/privacy/cases: regulators' questions, complaints, disputes; and the answer, which waits for the customer's word."""

from datetime import datetime
from typing import Annotated, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field, StringConstraints

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, not_found
from hushwire.api.values import Body, Id, parsed_id
from hushwire.privacy.agreement import Answering
from hushwire.services.cases import CaseKind, CaseView, NoCase, NotNow
from hushwire.store.cases import CaseRow
from hushwire.store.recordings import Place

router = APIRouter(prefix="/v1/privacy/cases", tags=["cases"])
Reading = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]
Opening = Annotated[Caller, Depends(needs(Permission.RECEIPTS, opens=True))]
Deciding = Annotated[Caller, Depends(needs(Permission.AGREEMENT))]
Words = Annotated[str, StringConstraints(min_length=1, max_length=50_000, strip_whitespace=True)]

_REFUSALS = {
    Answering.NOT_RELEASED: "The case may not be answered: authorise it, or state the legal compulsion and its reason.",
    Answering.ALLOWED: "The case was released before, in another way.",
    Answering.ANSWERED: "The case was answered already.",
    Answering.CLOSED: "The case is closed.",
}


class CaseBody(Body):
    """Who asks, and what."""

    kind: CaseKind = Field(strict=False)
    text: Words


class WordsBody(Body):
    """A text: the answer, or why the law compels one."""

    text: Words


class CloseBody(Body):
    """A code for what came of it."""

    outcome: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,38}$")]


class Case(BaseModel):
    """One case. Its texts are shown one case at a time."""

    id: UUID
    kind: CaseKind
    state: str = Field(description="open, authorised or compelled (it may be answered), answered, closed.")
    actor: str
    opened_at: datetime
    released_at: datetime | None
    released_by: str | None
    answered_at: datetime | None
    closed_at: datetime | None
    outcome: str | None
    text: str | None = None
    compulsion: str | None = None
    answer: str | None = None


@router.get("")
async def list_cases(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Case]:
    """Cases, newest first, without their texts."""
    rows = await means.agreement.cases.listed(caller.org_id, after=read_place(cursor), limit=limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=[_case(row) for row in rows[:limit]], next=place_cursor(None if last is None else Place(last.opened_at, last.id)))


@router.post("", status_code=201)
async def open_case(means: Given, caller: Deciding, body: CaseBody) -> Case:
    """Register a regulator's question, a complaint or a dispute; the designated contact is told."""
    return _case(await means.agreement.cases.open(caller.org_id, body.kind, body.text, actor=caller.actor))


@router.get("/{case_id}")
async def get_case(means: Given, caller: Opening, case_id: Id) -> Case:
    """One case with its texts; the reading is logged."""
    match found := await means.agreement.cases.get(caller.org_id, parsed_id(case_id), reader(caller)):
        case CaseView():
            return _case(found.row).model_copy(update={"text": found.text, "compulsion": found.compulsion, "answer": found.answer})
        case NoCase():
            raise not_found()
        case _:
            assert_never(found)


@router.post("/{case_id}/authorise")
async def authorise(means: Given, caller: Deciding, case_id: Id) -> Case:
    """The organisation authorises an answer."""
    return _told(await means.agreement.cases.authorise(caller.org_id, parsed_id(case_id), actor=caller.actor))


@router.post("/{case_id}/compel")
async def compel(means: Given, caller: Deciding, case_id: Id, body: WordsBody) -> Case:
    """The law compels an answer: the reason is kept, and the organisation told."""
    return _told(await means.agreement.cases.compel(caller.org_id, parsed_id(case_id), body.text, actor=caller.actor))


@router.post("/{case_id}/answer")
async def answer(means: Given, caller: Deciding, case_id: Id, body: WordsBody) -> Case:
    """Answer it, once it may be answered."""
    return _told(await means.agreement.cases.answer(caller.org_id, parsed_id(case_id), body.text, actor=caller.actor))


@router.post("/{case_id}/close")
async def close(means: Given, caller: Deciding, case_id: Id, body: CloseBody) -> Case:
    """End it; a dispute's clock ends with it."""
    return _told(await means.agreement.cases.close(caller.org_id, parsed_id(case_id), body.outcome, actor=caller.actor))


def _told(outcome: CaseRow | NoCase | NotNow) -> Case:
    match outcome:
        case CaseRow():
            return _case(outcome)
        case NoCase():
            raise not_found()
        case NotNow(why):
            raise Problem(409, _REFUSALS[why], reason=why.value)
        case _:
            assert_never(outcome)


def _case(row: CaseRow) -> Case:
    return Case(
        id=row.id,
        kind=CaseKind(row.kind),
        state=row.state,
        actor=row.actor,
        opened_at=row.opened_at,
        released_at=row.released_at,
        released_by=row.released_by,
        answered_at=row.answered_at,
        closed_at=row.closed_at,
        outcome=row.outcome,
    )
