"""/v1/recordings: listed, found, played, and erased for good."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, not_found, restricted
from hushwire.api.values import AgentQuery, Body, BodyMoment, From, Id, To, TypedNumber, agent_of, indexes_of, parsed_id
from hushwire.core.ids import CallId, RecordingId
from hushwire.services.recordings import Gone, Missing, Restricted
from hushwire.store.recordings import Recording as Row
from hushwire.store.recordings import RecordingFilter

router = APIRouter(prefix="/v1/recordings", tags=["recordings"])

Reading = Annotated[Caller, Depends(needs(Permission.RECORDINGS))]
Erasing = Annotated[Caller, Depends(needs(Permission.ERASURE))]


class Recording(BaseModel):
    """One recording. `is_cut`: without its end, since it is still live or its writer died."""

    id: UUID
    org_id: UUID
    call_id: UUID | None = Field(description="Null: no call brought it, a greeting that was given as a file.")
    agent_id: UUID | None
    agent: str | None = Field(description="Username of the agent.")
    peer_agent_id: UUID | None
    peer_agent: str | None
    segment: int
    state: Literal["live", "closed", "crashed", "stored", "erasing", "erased", "failed"]
    is_cut: bool
    is_restricted: bool = Field(description="Its processing is restricted: it is kept, listed with little more than its id, and not read.")
    region: str
    lawful_basis: str
    custody: Literal["hushwire", "both", "customer"] = Field(description="Whose keys open it; customer: hushwire can't play it.")
    is_unmeasured: bool = Field(description="It crashed, and only the customer's key could tell how much is in it.")
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    size_bytes: int | None
    frames: int | None
    digest: str | None = Field(description="SHA-256 of the sealed file, hexadecimal.")
    erased_at: datetime | None


class RecordingSearch(Body):
    """What to look for. Numbers never stand in a URL, so this is a POST."""

    number: TypedNumber | None = None
    agent: str | None = Field(default=None, max_length=128, description="Id or username of an agent.")
    call_id: UUID | None = Field(default=None, strict=False)
    from_: BodyMoment | None = Field(default=None, alias="from")
    to: BodyMoment | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


class Receipt(BaseModel):
    """What an erasure is answered with: canonical JSON (RFC 8785), signed, to be verified offline byte for byte."""

    type: str
    receipt_id: UUID
    org_id: UUID
    recording_id: UUID
    ledger_position: int
    commitment: str
    key_fingerprint: str
    audit_position: int
    audit_head: str
    requested_at: str
    unreadable_at: str
    copies_unusable_by: str
    key_id: UUID
    signature: str


@router.get("")
async def list_recordings(
    means: Given, caller: Reading, agent: AgentQuery = None, since: From = None, until: To = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Recording]:
    """Recordings, newest first; erased ones are listed as such."""
    wanted = RecordingFilter(agent=await agent_of(means.queries, caller, agent), since=since, until=until)
    return await _page(means, caller, wanted, cursor, limit)


@router.post("/search")
async def search_recordings(means: Given, caller: Reading, body: RecordingSearch) -> Page[Recording]:
    """Recordings of calls with a number on the far side, found by its blind index; or of an agent, a call, a time."""
    index = None
    if body.number is not None:
        # Recordings belong to answered calls, so the number is canonical: +E.164 sorts before a national spelling.
        index = (await indexes_of(means.queries, caller, body.number))[0]
    wanted = RecordingFilter(
        agent=await agent_of(means.queries, caller, body.agent),
        remote_index=index,
        call=None if body.call_id is None else CallId(body.call_id),
        since=body.from_,
        until=body.to,
    )
    return await _page(means, caller, wanted, body.cursor, body.limit)


@router.get("/{recording_id}")
async def get_recording(means: Given, caller: Reading, recording_id: Id) -> Recording:
    """One recording."""
    match found := await means.recordings.get(caller.org_id, RecordingId(parsed_id(recording_id))):
        case Row():
            names = await means.queries.usernames(caller.org_id, reader(caller), [found.agent_id, found.peer_agent_id])
            return _recording(found, names)
        case Gone():
            raise gone(recording_id)
        case Restricted():
            raise restricted()
        case Missing():
            raise not_found()
        case _:
            assert_never(found)


@router.delete("/{recording_id}", response_class=Response, responses={200: {"model": Receipt, "description": "The signed receipt."}})
async def erase_recording(means: Given, caller: Erasing, recording_id: Id) -> Response:
    """Erase for good: its key is destroyed before this answers. Asked again, the receipt is the same."""
    found = RecordingId(parsed_id(recording_id))
    outcome = await means.erasures.erase(caller.org_id, found, actor=caller.actor, reason="customer-request")
    return answered(outcome)


async def _page(means: Means, caller: Caller, wanted: RecordingFilter, cursor: str | None, limit: int) -> Page[Recording]:
    page = await means.recordings.listed(caller.org_id, wanted, after=read_place(cursor), limit=limit)
    agents = [agent for row in page.rows for agent in (row.agent_id, row.peer_agent_id)]
    names = await means.queries.usernames(caller.org_id, reader(caller), agents)
    return Page(items=[_recording(row, names) for row in page.rows], next=place_cursor(page.next))


def gone(recording_id: str) -> Problem:
    """410, and where the receipt is."""
    return Problem(410, "The recording was erased.", receipt=f"/v1/privacy/receipts/{recording_id.lower()}")


def _recording(row: Row, names: dict[UUID, str]) -> Recording:
    if row.is_restricted:
        row = replace(row, agent_id=None, peer_agent_id=None, ended_at=None, duration_ms=None, size_bytes=None, frames=None, digest=None)
    return Recording(
        id=row.id,
        org_id=row.org_id,
        call_id=row.call_id,
        agent_id=row.agent_id,
        agent=names.get(row.agent_id) if row.agent_id else None,
        peer_agent_id=row.peer_agent_id,
        peer_agent=names.get(row.peer_agent_id) if row.peer_agent_id else None,
        segment=row.segment,
        state="erasing" if row.is_erasing and row.state != "erased" else row.state,  # type: ignore[arg-type]
        is_cut=row.is_cut,
        is_restricted=row.is_restricted,
        region=row.region,
        lawful_basis=row.lawful_basis,
        custody=row.custody,
        is_unmeasured=row.is_unmeasured,
        started_at=row.started_at,
        ended_at=row.ended_at,
        duration_ms=row.duration_ms,
        size_bytes=row.size_bytes,
        frames=row.frames,
        digest=None if row.digest is None else row.digest.hex(),
        erased_at=row.erased_at,
    )
