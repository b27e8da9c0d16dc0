"""/v1/privacy/breaches: from a credential and a time to what was read, whom it concerns, and the notice of it."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_bytes, read_named, read_place, write
from hushwire.api.problems import invalid, not_found
from hushwire.api.values import Body, BodyMoment, Id, parsed_id
from hushwire.core.errors import RefusedError
from hushwire.privacy import breach
from hushwire.services.breaches import counts_of
from hushwire.services.voice_security import as_uuid
from hushwire.store import breaches as table
from hushwire.store.breaches import BreachRow, Place

router = APIRouter(prefix="/v1/privacy/breaches", tags=["privacy"])
Auditing = Annotated[Caller, Depends(needs(Permission.AUDIT))]
Reading = Annotated[Caller, Depends(needs(Permission.CASES, opens=True))]
Answering = Annotated[Caller, Depends(needs(Permission.CASES))]


class Registration(Body):
    """A breach. Revoke the credential first: the window has to be over."""

    credential: str = Field(max_length=200, description="api-key:<id>, or agent:<id or username>")
    from_: BodyMoment = Field(alias="from")
    to: BodyMoment | None = Field(default=None, description="Without it: now.")
    note: str | None = Field(default=None, max_length=20_000, description="What is known; kept sealed.")


class Counts(BaseModel):
    """What was read with the credential."""

    accesses: int
    persons: int = Field(description="Distinct numbers and contacts on the far side.")
    agents: int
    unknown: int = Field(description="Records that name no person, or none any more.")
    records: dict[str, int] = Field(description="Records by kind.")
    categories: str
    consequences: str


class Breach(BaseModel):
    """One case. `registered_at` is T0: the notice is owed within 24 hours of it."""

    id: UUID
    incident_id: UUID
    credential: str
    from_: datetime = Field(alias="from")
    to: datetime
    registered_at: datetime
    registered_by: str
    state: Literal["registered", "computed", "noticed"]
    computed_at: datetime | None
    counts: Counts | None
    first_access_at: datetime | None
    last_access_at: datetime | None
    notice_id: UUID | None = Field(description="Its sending and its evidence: /v1/privacy/notices/{id}")
    noticed_at: datetime | None


class BreachWithNote(Breach):
    """One case with what a person wrote about it."""

    note: str | None


class Record(BaseModel):
    """Something that was read: its id, how often, when."""

    kind: str
    id: UUID
    accesses: int
    first_at: datetime
    last_at: datetime


class Person(BaseModel):
    """Somebody whose data was read. The number is null where it was erased since."""

    number: str | None
    records: int


@router.post("")
async def register_breach(means: Given, caller: Answering, body: Registration) -> Breach:
    """Register a breach of one of the organisation's credentials: stamps T0, finds what was read, and sends the notice. Safe to repeat."""
    kind, _, name = body.credential.partition(":")
    actor = body.credential
    if kind == "agent" and as_uuid(name) is None:
        agent = await means.queries.agent_id(caller.org_id, name)
        if agent is None:
            raise not_found()
        actor = breach.agent_actor(agent)
    now = means.clock.now()
    try:
        found = breach.window(actor, body.from_, body.to or now, now)
    except RefusedError as error:
        raise invalid("credential" if "credential must" in str(error) else "to", str(error)) from None
    return Breach.model_validate(_shown(await means.breaches.register(caller.org_id, found, by=caller.actor, note=body.note)))


@router.get("")
async def list_breaches(means: Given, caller: Auditing, limit: Limit = 50, cursor: Cursor = None) -> Page[Breach]:
    """Cases, newest first."""
    place = read_place(cursor)
    after = None if place is None else Place(place.started_at, place.id)
    rows = await means.breaches.listed(caller.org_id, after=after, limit=limit + 1)
    items = [Breach.model_validate(_shown(row)) for row in rows[:limit]]
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=items, next=None if last is None else write(last.registered_at.isoformat(), str(last.id)))


@router.get("/{breach_id}")
async def get_breach(means: Given, caller: Reading, breach_id: Id) -> BreachWithNote:
    """One case, with what was written about it."""
    row = await _found(means, caller, breach_id)
    note = await means.breaches.note(row, reader(caller))
    return BreachWithNote.model_validate({**_shown(row), "note": note})


@router.get("/{breach_id}/records")
async def list_records(means: Given, caller: Auditing, breach_id: Id, limit: Limit = 50, cursor: Cursor = None) -> Page[Record]:
    """What was read: kinds and ids."""
    row = await _found(means, caller, breach_id)
    async with means.main.organisation(caller.org_id) as connection:
        found = await table.records(connection, row.id, after=read_named(cursor), limit=limit + 1)
    items = [Record(kind=r.kind, id=r.object_id, accesses=r.accesses, first_at=r.first_at, last_at=r.last_at) for r in found[:limit]]
    return Page(items=items, next=write(items[-1].kind, str(items[-1].id)) if len(found) > limit else None)


@router.get("/{breach_id}/persons")
async def list_persons(means: Given, caller: Reading, breach_id: Id, limit: Limit = 50, cursor: Cursor = None) -> Page[Person]:
    """Whom it concerns, by number: for the customer alone, who decides whether they are told. The reading is in the access log."""
    row = await _found(means, caller, breach_id)
    people, after = await means.breaches.persons(row, reader(caller), after=read_bytes(cursor), limit=limit)
    items = [Person(number=person.number, records=person.records) for person in people]
    return Page(items=items, next=None if after is None else write(after.hex()))


async def _found(means: Means, caller: Caller, breach_id: str) -> BreachRow:
    row = await means.breaches.get(caller.org_id, parsed_id(breach_id))
    if row is None:
        raise not_found()
    return row


def _shown(row: BreachRow) -> dict[str, object]:
    counts = counts_of(row)
    return {
        "id": row.id,
        "incident_id": row.incident_id,
        "credential": row.actor,
        "from": row.since,
        "to": row.until,
        "registered_at": row.registered_at,
        "registered_by": row.registered_by,
        "state": row.state,
        "computed_at": row.computed_at,
        "counts": None
        if counts is None
        else {
            "accesses": counts.accesses,
            "persons": counts.persons,
            "agents": counts.agents,
            "unknown": counts.unknown,
            "records": dict(counts.records),
            "categories": breach.categories(counts),
            "consequences": breach.consequences(counts),
        },
        "first_access_at": row.first_at,
        "last_access_at": row.last_at,
        "notice_id": row.notice_id,
        "noticed_at": row.noticed_at,
    }
