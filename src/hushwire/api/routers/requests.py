"""/v1/privacy/requests: what data subjects ask for, whether it was they who asked, and what came of it."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, BodyMoment, Id, IdempotencyKey, TypedNumber, parsed_id, request_hash
from hushwire.core import purposes
from hushwire.privacy.jurisdictions import tag_of
from hushwire.privacy.requests import Kind, Method, Refusal, State, Step
from hushwire.services.contacts import Unfit
from hushwire.services.once import KeyReused, Once
from hushwire.services.request_execution import Unprovided
from hushwire.services.requests import Correction, NewRequest, NoRequest, NotNow, Person, RequestView
from hushwire.store.recordings import Place
from hushwire.store.requests import RequestRow, Wanted
from hushwire.vault.unseal import Why

router = APIRouter(prefix="/v1/privacy/requests", tags=["rights of data subjects"])
Keeping = Annotated[Caller, Depends(needs(Permission.REQUESTS))]


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold NUL")
    return value


Text = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_text)]


class Subject(Body):
    """Who asks. By number or contact they are found; name and reach are their own words, kept for the answer."""

    number: TypedNumber | None = None
    contact: UUID | None = Field(default=None, strict=False)
    name: Text | None = None
    reach: Text | None = Field(default=None, description="Where the answer goes: an address, a number.")

    @model_validator(mode="after")
    def _is_somebody(self) -> "Subject":
        if self.number is None and self.contact is None:
            raise ValueError("give number or contact")
        return self


class GivenCorrection(Body):
    """A value that is to be another one."""

    target: Literal["contact", "agent"]
    id: UUID = Field(strict=False)
    what: Literal["name", "notes", "number", "caller_id", "extension"]
    value: Text
    instead_of: TypedNumber | None = Field(default=None, description="Of a number: the wrong one, +E.164, that it replaces.")


class GivenRequest(Body):
    """A request of a data subject."""

    kind: Literal["access", "know", "rectify", "erase", "restrict", "object"]
    channel: Literal["customer", "data-subject"] = Field(description="From the customer, or directly from the data subject.")
    subject: Subject
    received_at: BodyMoment | None = Field(default=None, description="When it arrived; now if left out.")
    jurisdiction: Annotated[str, Field(max_length=12), AfterValidator(tag_of)] | None = None
    note: Text | None = None
    corrections: list[GivenCorrection] = Field(default_factory=list, max_length=20)

    @model_validator(mode="after")
    def _corrects_something(self) -> "GivenRequest":
        if (self.kind == "rectify") != bool(self.corrections):
            raise ValueError("corrections belong to a request to rectify, and only to one")
        return self


class IdentityCheck(Body):
    """How the identity was checked, and how that came out."""

    method: Method = Field(strict=False)
    outcome: Literal["asked", "passed", "failed"] = "passed"
    note: Text | None = None


class RequestRefusal(Body):
    """Why it is not granted."""

    reason: Refusal = Field(strict=False)
    note: Text | None = None


class Cancellation(Body):
    """The data subject took it back."""

    note: Text | None = None


class ObjectionWithdrawal(Body):
    """The data subject no longer objects; how they were identified."""

    method: Method = Field(strict=False)
    note: Text | None = None


class RequestSearch(Body):
    """Requests of a person, by number. Numbers never stand in a URL, so this is a POST."""

    number: TypedNumber
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


class Request(BaseModel):
    """A request as lists show it: unopened."""

    id: UUID
    kind: Kind
    state: State
    channel: Literal["customer", "data-subject"]
    contact: UUID | None
    jurisdiction: str | None
    received_at: datetime
    due_at: datetime = Field(description="Until when it is to be answered.")
    verified_at: datetime | None
    closed_at: datetime | None
    refusal: Refusal | None
    outcome: dict[str, Any] | None = Field(
        description="What followed: ids of an export (and why it could not be built), restrictions, erasures."
    )
    created_by: str


class TakenStep(BaseModel):
    """Something that was done with it, by whom and when: the evidence."""

    at: datetime
    actor: str
    step: Step
    state: State
    method: Method | None
    note: str | None


class ShownSubject(BaseModel):
    """Who asks; null once what named them was erased."""

    number: str | None
    contact: UUID | None
    name: str | None
    reach: str | None


class OpenedRequest(Request):
    """A request with whom it is about, and its evidence."""

    subject: ShownSubject | None
    note: str | None
    corrections: list[dict[str, Any]]
    steps: list[TakenStep]


_STEPS: Final = {"asked": Step.IDENTITY_ASKED, "passed": Step.VERIFIED, "failed": Step.IDENTITY_FAILED}


@router.post("", status_code=201)
async def register_request(means: Given, caller: Keeping, body: GivenRequest, idempotency_key: IdempotencyKey = None) -> OpenedRequest:
    """Register a request. One that came directly from a data subject starts the 24 h clock of the notice to the customer."""
    once = None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "request", body.model_dump_json()))
    match found := await means.rights.requests.register(caller.org_id, _new(body), _why(caller), once=once):
        case RequestView():
            return _opened(found)
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case Unfit(field, message):
            raise invalid(field, message)
        case _:
            assert_never(found)


@router.get("")
async def list_requests(
    means: Given,
    caller: Keeping,
    kind: Annotated[Kind | None, Query()] = None,
    state: Annotated[State | None, Query()] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> Page[Request]:
    """Requests, newest first."""
    return await _page(means, caller, Wanted(kind=kind, state=state), cursor, limit)


@router.post("/search")
async def search_requests(means: Given, caller: Keeping, body: RequestSearch) -> Page[Request]:
    """Requests of a person, found by the blind index of their number."""
    index = await means.rights.requests.index_of(caller.org_id, body.number)
    if index is None:
        raise invalid("number", 'must be a phone number such as "+493023125000"')
    return await _page(means, caller, Wanted(remote_index=index), body.cursor, body.limit)


@router.get("/{request_id}")
async def get_request(means: Given, caller: Keeping, request_id: Id) -> OpenedRequest:
    """One request, with its evidence."""
    return _answered(await means.rights.requests.get(caller.org_id, parsed_id(request_id), _why(caller)))


@router.post("/{request_id}/verify")
async def verify_identity(means: Given, caller: Keeping, request_id: Id, body: IdentityCheck) -> OpenedRequest:
    """Note an identity check. Before one is passed nothing is given out or changed."""
    found = await means.rights.requests.check_identity(
        caller.org_id, parsed_id(request_id), _STEPS[body.outcome], body.method, _why(caller), note=body.note
    )
    return _answered(found)


@router.post("/{request_id}/execute")
async def execute_request(means: Given, caller: Keeping, request_id: Id) -> OpenedRequest:
    """Do what was asked. Safe to repeat: what is under way goes on."""
    return _answered(await means.rights.execution.execute(caller.org_id, parsed_id(request_id), _why(caller)))


@router.post("/{request_id}/refuse")
async def refuse_request(means: Given, caller: Keeping, request_id: Id, body: RequestRefusal) -> OpenedRequest:
    """Don't grant it."""
    return _answered(await means.rights.requests.refuse(caller.org_id, parsed_id(request_id), body.reason, _why(caller), note=body.note))


@router.post("/{request_id}/cancel")
async def cancel_request(means: Given, caller: Keeping, request_id: Id, body: Cancellation) -> OpenedRequest:
    """The data subject took it back."""
    return _answered(await means.rights.requests.cancel(caller.org_id, parsed_id(request_id), _why(caller), note=body.note))


@router.post("/{request_id}/withdraw")
async def withdraw_objection(means: Given, caller: Keeping, request_id: Id, body: ObjectionWithdrawal) -> OpenedRequest:
    """Let an objection that was granted hold no more. `still_unrecorded` numbers stay unrecorded for another reason."""
    found = await means.rights.execution.withdraw_objection(caller.org_id, parsed_id(request_id), body.method, _why(caller), note=body.note)
    return _answered(found)


@router.get("/{request_id}/report")
async def get_report(means: Given, caller: Keeping, request_id: Id) -> dict[str, Any]:
    """What is held of the person, where it comes from, why, and who received it; of a verified request for access or to know."""
    match found := await means.rights.execution.report(caller.org_id, parsed_id(request_id), _why(caller)):
        case NoRequest():
            raise not_found()
        case NotNow(state):
            raise _not_now(state)
        case _:
            return found


def _why(caller: Caller) -> Why:
    return Why(caller.actor, purposes.DATA_SUBJECT_REQUEST)


def _new(body: GivenRequest) -> NewRequest:
    said = body.subject
    return NewRequest(
        kind=Kind(body.kind),
        channel=body.channel,
        person=Person(said.number, said.contact, said.name, said.reach),
        received_at=body.received_at,
        jurisdiction=body.jurisdiction,
        note=body.note,
        corrections=tuple(Correction(each.target, each.id, each.what, each.value, each.instead_of) for each in body.corrections),
    )


async def _page(means: Given, caller: Caller, wanted: Wanted, cursor: str | None, limit: int) -> Page[Request]:
    place = read_place(cursor)
    after = None if place is None else (place.started_at, place.id)
    rows, last = await means.rights.requests.find(caller.org_id, wanted, after=after, limit=limit)
    following = None if last is None else Place(last.received_at, last.id)
    return Page(items=[Request.model_validate(_facts(row)) for row in rows], next=place_cursor(following))


def _answered(found: RequestView | NoRequest | NotNow | Unfit | Unprovided) -> OpenedRequest:
    match found:
        case RequestView():
            return _opened(found)
        case NoRequest():
            raise not_found()
        case NotNow(state):
            raise _not_now(state)
        case Unfit(field, message):
            raise invalid(field, message)
        case Unprovided(message):
            raise Problem(409, f"Not done: {message}.")
        case _:
            assert_never(found)


def _not_now(state: State) -> Problem:
    words = {
        State.RECEIVED: "The identity of who asks is not checked yet: POST to verify first.",
        State.IDENTITY_CHECK: "The identity of who asks is not proven yet: POST to verify first.",
    }
    return Problem(409, words.get(state, f"Not in the state {state.value}."), state=state.value)


def _facts(row: RequestRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "state": row.state,
        "channel": row.channel,
        "contact": row.contact_id,
        "jurisdiction": row.jurisdiction,
        "received_at": row.received_at,
        "due_at": row.due_at,
        "verified_at": row.verified_at,
        "closed_at": row.closed_at,
        "refusal": row.refusal_reason,
        "outcome": row.outcome or None,
        "created_by": row.created_by,
    }


def _opened(view: RequestView) -> OpenedRequest:
    person = view.person
    shown = None if person is None else {"number": person.number, "contact": person.contact, "name": person.name, "reach": person.reach}
    corrections = [
        {"target": each.target, "id": str(each.id), "what": each.what, "value": each.value, "instead_of": each.instead_of}
        for each in view.corrections
    ]
    steps = [
        {"at": s.row.at, "actor": s.row.actor, "step": s.row.step, "state": s.row.state, "method": s.row.method, "note": s.note}
        for s in view.steps
    ]
    return OpenedRequest.model_validate(
        {**_facts(view.row), "subject": shown, "note": view.note, "corrections": corrections, "steps": steps}
    )
