"""/v1/voice-security/access-requests: countries that agents were refused and ask for, and until when they get them."""

from datetime import datetime
from typing import Annotated, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, BodyMoment, Country, Id, parsed_id
from hushwire.services.access_requests import (
    LONGEST,
    AskedAlready,
    NoRequest,
    NotAskable,
    Over,
    OwnAgreement,
    WrongEnd,
)
from hushwire.store.access_requests import AccessRow
from hushwire.store.recordings import Place

router = APIRouter(prefix="/v1/voice-security/access-requests", tags=["voice security"])
Reading = Annotated[Caller, Depends(needs(Permission.RULES))]
Asking = Annotated[Caller, Depends(needs(Permission.CALL_CONTROL))]
Deciding = Annotated[Caller, Depends(needs(Permission.RULES_CHANGE))]


class NewRequest(Body):
    """The refused call whose agent is to be given access. Agents ask themselves by the feature code `ask_access`."""

    call: UUID = Field(strict=False)
    countries: list[Country] = Field(
        default=[], max_length=30, description="Needed where the number may lie in several countries: all of them; else the call's own."
    )


class Approval(Body):
    """Until when the agent may reach it."""

    until: BodyMoment


class AccessRequest(BaseModel):
    """A request. Approved, it is one more permission for this one agent, beside all lists, until `ends_at`."""

    id: UUID
    agent_id: UUID
    call_id: UUID | None
    countries: list[str]
    state: Literal["open", "agreed", "approved", "ended", "rejected", "revoked", "lapsed"] = Field(
        description="agreed: the first of two has approved what is guarded. ended: the permission is over. lapsed: nobody decided."
    )
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    agreed_by: str | None
    decided_by: str | None
    decided_at: datetime | None
    ends_at: datetime | None


@router.get("")
async def list_requests(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[AccessRequest]:
    """Requests, newest first, decided ones too."""
    rows = await means.access_requests.listed(caller.org_id, after=read_place(cursor), limit=limit + 1)
    now, last = means.clock.now(), rows[limit - 1] if len(rows) > limit else None
    following = place_cursor(None if last is None else Place(last.asked_at, last.id))
    return Page(items=[_shown(row, now) for row in rows[:limit]], next=following)


@router.post("", status_code=201)
async def ask(means: Given, caller: Asking, body: NewRequest) -> AccessRequest:
    """Ask for what a call's agent was refused. The organisation's contacts are told."""
    match await means.access_requests.ask(caller.org_id, body.call, body.countries, actor=caller.actor):
        case AccessRow() as row:
            return _shown(row, means.clock.now())
        case NoRequest():
            raise not_found()
        case NotAskable():
            raise invalid("countries", "must be named here, or the call was refused for something else than its country")
        case AskedAlready():
            raise Problem(409, "The same is asked for already, or the agent has too many requests open.")
        case other:
            assert_never(other)


@router.get("/{access_id}")
async def get_request(means: Given, caller: Reading, access_id: Id) -> AccessRequest:
    """One request."""
    found = await means.access_requests.get(caller.org_id, parsed_id(access_id))
    if isinstance(found, NoRequest):
        raise not_found()
    return _shown(found, means.clock.now())


@router.post("/{access_id}/approve", responses={202: {"model": AccessRequest, "description": "Guarded: somebody else has to agree too."}})
async def approve(means: Given, caller: Deciding, response: Response, access_id: Id, body: Approval) -> AccessRequest:
    """Let the agent reach it until then. The agent's next call obeys, and its phones are told."""
    match await means.access_requests.approve(caller.org_id, parsed_id(access_id), body.until, actor=caller.actor):
        case AccessRow() as row:
            response.status_code = 202 if row.state == "open" else 200
            return _shown(row, means.clock.now())
        case NoRequest():
            raise not_found()
        case Over():
            raise _over()
        case OwnAgreement():
            raise Problem(403, "The country is guarded: somebody else has to agree too.", reason="own-agreement")
        case WrongEnd():
            raise invalid("until", f"must lie in the future, and within {LONGEST.days} days")
        case other:
            assert_never(other)


@router.post("/{access_id}/reject")
async def reject(means: Given, caller: Deciding, access_id: Id) -> AccessRequest:
    """The agent does not get it, and its phones are told."""
    return await _decided(means, await means.access_requests.reject(caller.org_id, parsed_id(access_id), actor=caller.actor))


@router.post("/{access_id}/revoke")
async def revoke(means: Given, caller: Deciding, access_id: Id) -> AccessRequest:
    """Take a permission back before it ends."""
    return await _decided(means, await means.access_requests.revoke(caller.org_id, parsed_id(access_id), actor=caller.actor))


async def _decided(means: Given, outcome: AccessRow | NoRequest | Over) -> AccessRequest:
    match outcome:
        case AccessRow():
            return _shown(outcome, means.clock.now())
        case NoRequest():
            raise not_found()
        case Over():
            raise _over()
        case _:
            assert_never(outcome)


def _shown(row: AccessRow, now: datetime) -> AccessRequest:
    state = row.state
    if state == "open":
        state = "lapsed" if not row.is_open(now) else "open" if row.agreed_by is None else "agreed"
    elif state == "approved" and row.ends_at is not None and row.ends_at <= now:
        state = "ended"
    return AccessRequest(
        id=row.id,
        agent_id=row.agent_id,
        call_id=row.call_id,
        countries=list(row.countries),
        state=state,  # type: ignore[arg-type]
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        expires_at=row.expires_at,
        agreed_by=row.agreed_by,
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        ends_at=row.ends_at,
    )


def _over() -> Problem:
    return Problem(409, "It was decided already, has lapsed, or is over.")
