"""/v1/privacy/account-deletions: an agent's account, deleted on a written application that was verified."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_place, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, BodyMoment, Id, agent_of, parsed_id
from hushwire.services.account_deletions import InTheFuture, Method, NoAgent, NotNow, Refusal, View
from hushwire.store.account_deletions import Position

router = APIRouter(prefix="/v1/privacy/account-deletions", tags=["account deletions"])
Keeping = Annotated[Caller, Depends(needs(Permission.REQUESTS))]


class DeletionState(StrEnum):
    """How an application stands."""

    RECEIVED = "received"
    VERIFIED = "verified"
    HELD = "held"  # a legal hold keeps some of the agent's data; the rest is erased, the account suspended
    DONE = "done"
    REFUSED = "refused"
    WITHDRAWN = "withdrawn"


class Application(Body):
    """A written application."""

    agent: Annotated[str, Field(min_length=1, max_length=128, description="Id or username of the account's agent.")]
    application: Annotated[str, Field(min_length=1, max_length=20_000, description="What was written; sealed.")]
    received_at: Annotated[BodyMoment | None, Field(description="When it was received; left out: now.")] = None


class Verification(Body):
    """The gate: how it was made sure that the account's owner applied."""

    method: Annotated[Method, Field(strict=False)]


class Refused(Body):
    """Why it is not carried out."""

    reason: Annotated[Refusal, Field(strict=False)]


class AccountDeletion(BaseModel):
    """An application."""

    id: UUID
    agent_id: UUID
    state: DeletionState
    received_at: datetime
    due_at: datetime | None = Field(description="Carried out by then.")
    clock_id: UUID | None
    verified_at: datetime | None
    method: Method | None
    refusal: Refusal | None
    operation_id: UUID | None = Field(description="The erasure; its receipt has the same id.")
    done_at: datetime | None


class WholeDeletion(AccountDeletion):
    """An application with what was written; null once it is over."""

    application: str | None


StateQuery = Annotated[DeletionState | None, Query(alias="state")]


@router.post("", status_code=201)
async def apply_for_deletion(means: Given, caller: Keeping, application: Application) -> AccountDeletion:
    """Register an application; the open one for the account, if there is one. Nothing is deleted before it is verified."""
    agent_id = await agent_of(means.queries, caller, application.agent)
    assert agent_id is not None, "the agent is not empty"
    found = await means.account_deletions.register(
        caller.org_id, agent_id, application.application, caller.actor, received_at=application.received_at
    )
    if isinstance(found, NoAgent):
        raise invalid("agent", "names no agent of this organisation")
    if isinstance(found, InTheFuture):
        raise invalid("received_at", "can't lie in the future")
    return AccountDeletion(**_fields(found))


@router.get("")
async def list_deletions(
    means: Given, caller: Keeping, state: StateQuery = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[AccountDeletion]:
    """Applications, newest first."""
    place = read_place(cursor)
    views = await means.account_deletions.listed(
        caller.org_id,
        state=None if state is None else state.value,
        after=None if place is None else Position(place.started_at, place.id),
        limit=limit + 1,
    )
    last = views[limit - 1].row if len(views) > limit else None
    items = [AccountDeletion(**_fields(view)) for view in views[:limit]]
    return Page(items=items, next=None if last is None else write(last.received_at.isoformat(), str(last.id)))


@router.get("/{deletion_id}")
async def get_deletion(means: Given, caller: Keeping, deletion_id: Id) -> WholeDeletion:
    """One application with what was written."""
    found = await means.account_deletions.get(caller.org_id, parsed_id(deletion_id), reader(caller))
    if found is None:
        raise not_found()
    return WholeDeletion(**_fields(found), application=found.application)


@router.post("/{deletion_id}/verify")
async def verify_deletion(means: Given, caller: Keeping, deletion_id: Id, verification: Verification) -> AccountDeletion:
    """Pass the gate: the account is suspended, what it holds is erased, and it is removed. Safe to repeat."""
    return _answer(await means.account_deletions.verify(caller.org_id, parsed_id(deletion_id), verification.method, caller.actor))


@router.post("/{deletion_id}/refuse")
async def refuse_deletion(means: Given, caller: Keeping, deletion_id: Id, refused: Refused) -> AccountDeletion:
    """Refuse an application that was not verified yet."""
    return _answer(await means.account_deletions.decide(caller.org_id, parsed_id(deletion_id), refused.reason, caller.actor))


@router.post("/{deletion_id}/withdraw")
async def withdraw_deletion(means: Given, caller: Keeping, deletion_id: Id) -> AccountDeletion:
    """Take an application back that was not verified yet."""
    return _answer(await means.account_deletions.decide(caller.org_id, parsed_id(deletion_id), None, caller.actor))


def _answer(found: View | NotNow | None) -> AccountDeletion:
    if found is None:
        raise not_found()
    if isinstance(found, NotNow):
        raise Problem(409, f"The application is {found.state}: this can't be done any more.")
    return AccountDeletion(**_fields(found))


def _fields(view: View) -> dict[str, Any]:
    row = view.row
    return {
        "id": row.id,
        "agent_id": row.agent_id,
        "state": DeletionState(row.state),
        "received_at": row.received_at,
        "due_at": None if view.clock is None else view.clock.due_at,
        "clock_id": None if view.clock is None else view.clock.id,
        "verified_at": row.verified_at,
        "method": row.method,
        "refusal": row.refusal,
        "operation_id": row.operation_id,
        "done_at": row.done_at,
    }
