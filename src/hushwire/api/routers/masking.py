"""/v1/masking/sessions: a proxy number between two parties, who never see each other's."""

from datetime import datetime
from typing import Annotated, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_id, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, Id, IdempotencyKey, TypedNumber, parsed_id, request_hash
from hushwire.services.contacts import Unfit
from hushwire.services.masking import LONGEST_S, MOST_SESSIONS, NoneFree, SessionView, TooMany
from hushwire.services.once import KeyReused, Once

router = APIRouter(prefix="/v1/masking/sessions", tags=["calls"])
Reading = Annotated[Caller, Depends(needs(Permission.DIRECTORY))]
Changing = Annotated[Caller, Depends(needs(Permission.CALL_CONTROL))]


class NewSession(Body):
    """Two numbers that are to reach each other without being seen."""

    agent: str = Field(min_length=1, max_length=128, description="Username or id: calls are made in its name and under its rules.")
    parties: list[TypedNumber] = Field(min_length=2, max_length=2)
    expires_in_s: int = Field(ge=60, le=LONGEST_S, description="From then on the proxy number leads nowhere for them.")


class Session(BaseModel):
    """A session. The parties' own numbers are never shown again."""

    id: UUID
    number: str = Field(description="The proxy number: what both see, and call to reach the other.")
    agent_id: UUID
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


@router.post("", status_code=201)
async def begin_session(means: Given, caller: Changing, body: NewSession, idempotency_key: IdempotencyKey = None) -> Session:
    """Put a proxy number of the pool between two parties. Gateways know it within a second."""
    agent_id = await means.queries.agent_id(caller.org_id, body.agent)
    once = None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "masking", body.model_dump_json()))
    made = (
        None
        if agent_id is None
        else await means.masking.begin(
            caller.org_id, agent_id, (body.parties[0], body.parties[1]), body.expires_in_s, actor=caller.actor, once=once
        )
    )
    match made:
        case None:
            raise invalid("agent", "is no agent who may call")
        case SessionView():
            return _shown(made)
        case Unfit():
            raise invalid(made.field, made.message)
        case NoneFree():
            raise Problem(409, "No proxy number is free for these parties: add numbers with masks = true, or end sessions.")
        case TooMany():
            raise Problem(409, f"There are {MOST_SESSIONS} sessions already: end some.")
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case _:
            assert_never(made)


@router.get("")
async def list_sessions(means: Given, caller: Reading, limit: Limit = 50, cursor: Cursor = None) -> Page[Session]:
    """Sessions, newest first; those that are over too."""
    views, more = await means.masking.listed(caller.org_id, reader(caller), after=read_id(cursor), limit=limit)
    return Page(items=[_shown(view) for view in views], next=None if more is None else write(str(more)))


@router.get("/{session_id}")
async def get_session(means: Given, caller: Reading, session_id: Id) -> Session:
    """One session."""
    view = await means.masking.get(caller.org_id, parsed_id(session_id), reader(caller))
    if view is None:
        raise not_found()
    return _shown(view)


@router.delete("/{session_id}", status_code=204)
async def end_session(means: Given, caller: Changing, session_id: Id) -> Response:
    """Forget who its parties are, at once. Calls under way go on. Safe to repeat."""
    if not await means.masking.end(caller.org_id, parsed_id(session_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


def _shown(view: SessionView) -> Session:
    return Session(
        id=view.id,
        number=view.number,
        agent_id=view.agent_id,
        created_at=view.created_at,
        expires_at=view.expires_at,
        ended_at=view.ended_at,
    )
