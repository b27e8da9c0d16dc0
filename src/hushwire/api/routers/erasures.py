"""Erasing in bulk, calls by themselves, and how far erasures are. Numbers stand in bodies only."""

import hmac
from datetime import datetime, timedelta
from typing import Annotated, Any, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, Means, needs
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import NOBODY, Body, BodyMoment, Id, TypedNumber, agent_of, parsed_id
from hushwire.core.errors import MalformedError
from hushwire.core.personal import Personal
from hushwire.privacy.reasons import ErasureReason
from hushwire.privacy.selection import Selector
from hushwire.services.erasure_operations import Operation
from hushwire.store.recordings import Place
from hushwire.vault.keyring import OrgKeys

router = APIRouter(prefix="/v1", tags=["privacy"])
CONFIRM_WITHIN: Final = timedelta(minutes=10)
END_WITHIN_S: Final = 5.0

Erasing = Annotated[Caller, Depends(needs(Permission.ERASURE))]
Proving = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]


def _words(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold NUL")
    return value


Note = Annotated[str, Field(min_length=1, max_length=2000), AfterValidator(_words)]


class Wish(Body):
    """What to erase: all that is given must hold. `ids` stand alone."""

    number: TypedNumber | None = None
    agent: str | None = Field(default=None, max_length=128, description="Id or username of an agent.")
    from_: BodyMoment | None = Field(default=None, alias="from")
    to: BodyMoment | None = None
    ids: list[Annotated[UUID, Field(strict=False)]] | None = Field(default=None, min_length=1, max_length=1000)
    reason: ErasureReason = "customer-request"
    note: Note | None = Field(default=None, description="Sealed, and destroyed once the erasure is carried out.")

    @model_validator(mode="after")
    def _says_something(self) -> "Wish":
        given = [self.number, self.agent, self.from_, self.to]
        if self.ids is not None and any(value is not None for value in given):
            raise ValueError("ids stand alone: give nothing besides")
        if self.ids is None and all(value is None for value in given):
            raise ValueError("say what is to be erased: number, agent, from, to or ids")
        if self.from_ is not None and self.to is not None and self.from_ >= self.to:
            raise ValueError("from must lie before to")
        return self


class KindProgress(BaseModel):
    """How many things of a kind stand in the ledger, are unreadable, swept with their absence proven, closed."""

    entered: int
    unreadable: int
    swept: int
    closed: int


class Erasure(BaseModel):
    """An erasure of everything that a selector means. `receipt`: once all keys are destroyed (version 2)."""

    id: UUID
    scope: str
    state: str = Field(description="entered, running, deferred (a legal hold keeps something) or done")
    requested_at: datetime
    actor: str
    reason: str
    counts: dict[str, KindProgress]
    deferred: int
    planned_at: datetime | None
    unreadable_at: datetime | None
    done_at: datetime | None
    follows: UUID | None = Field(description="The deferred erasure that this one runs again.")
    selector_salt: str | None = Field(default=None, description="Opens the receipt's selector_commitment; told once, to who asked.")
    receipt: dict[str, Any] | None


@router.post("/recordings/erase", responses={202: {"model": Erasure, "description": "Entered; the worker goes on."}})
async def erase_recordings(means: Given, caller: Erasing, body: Wish, response: Response) -> Erasure:
    """Erase recordings by number, agent, time or ids; their calls stay."""
    return await _erase(means, caller, body, "recording", response)


@router.post("/calls/erase", responses={202: {"model": Erasure, "description": "Entered; the worker goes on."}})
async def erase_calls(means: Given, caller: Erasing, body: Wish, response: Response) -> Erasure:
    """Erase calls by number, agent, time or ids, and their recordings with them."""
    return await _erase(means, caller, body, "call", response)


@router.post("/messages/erase", responses={202: {"model": Erasure, "description": "Entered; the worker goes on."}})
async def erase_messages(means: Given, caller: Erasing, body: Wish, response: Response) -> Erasure:
    """Erase text messages by number, agent, time or ids; what was not sent yet never is."""
    return await _erase(means, caller, body, "message", response)


@router.delete("/calls/{call_id}", response_class=Response, responses={200: {"description": "The signed proof, version 2."}})
async def erase_call(means: Given, caller: Erasing, call_id: Id) -> Response:
    """Erase what names a person in a call, and its recordings. Asked again, the proof is the same."""
    outcome = await means.erasures.erase_object(caller.org_id, "call", parsed_id(call_id), actor=caller.actor, reason="customer-request")
    return answered(outcome)


@router.get("/privacy/erasures")
async def list_erasures(means: Given, caller: Proving, limit: Limit = 50, cursor: Cursor = None) -> Page[Erasure]:
    """Erasures by selector, newest first."""
    found = await means.erasures.operations.listed(caller.org_id, after=read_place(cursor), limit=limit + 1)
    last = found[limit - 1].row if len(found) > limit else None
    return Page(
        items=[_erasure(each) for each in found[:limit]], next=None if last is None else place_cursor(Place(last.requested_at, last.id))
    )


@router.get("/privacy/erasures/{erasure_id}")
async def get_erasure(means: Given, caller: Proving, erasure_id: Id) -> Erasure:
    """How far an erasure is."""
    found = await means.erasures.operation(caller.org_id, parsed_id(erasure_id))
    if found is None:
        raise not_found()
    return _erasure(found)


class Ending(Body):
    """First without, then with the confirmation that the first answer gave."""

    confirmation: str | None = Field(default=None, min_length=64, max_length=100)
    reason: ErasureReason = "termination"


class EndAsked(BaseModel):
    """What would be erased, and what to send to have it erased."""

    confirmation: str
    expires_at: datetime
    things: dict[str, int]


@router.post(
    "/privacy/organisation/erase",
    response_model=None,
    responses={200: {"model": Erasure}, 202: {"model": Erasure}, 409: {"model": EndAsked, "description": "Confirm it."}},
)
async def erase_organisation(means: Given, caller: Erasing, body: Ending, response: Response) -> Erasure:
    """Erase the whole organisation, for good: its keys at once, then everything that they opened. Owners only, in two steps."""
    if caller.role != "owner":
        raise Problem(403, "Only a key of the role owner may erase the organisation.")
    keys = await means.keyring.org_context(caller.org_id)
    now = means.clock.now()
    if body.confirmation is None:
        until = now + CONFIRM_WITHIN
        token = f"{int(until.timestamp())}.{_confirmation(keys, caller, int(until.timestamp()))}"
        things = (await means.retention.preview(caller.org_id)).classes
        detail = "This erases the organisation and can't be undone. Send the confirmation to have it done."
        raise Problem(
            409, detail, confirmation=token, expires_at=until.isoformat(), things={kind: each.total for kind, each in things.items()}
        )
    expires, _, proof = body.confirmation.partition(".")
    # One number is both what is proven and what is compared with the time, or a proof could be carried beyond its end.
    until_s = int(expires) if expires.isascii() and expires.isdigit() and len(expires) <= 12 else 0
    is_right = hmac.compare_digest(proof.encode(), _confirmation(keys, caller, until_s).encode())
    if not is_right or until_s < now.timestamp():
        raise invalid("confirmation", "is not one that was given to this key in the last ten minutes")
    found = await means.erasures.erase_matching(
        caller.org_id, Selector(everything=True), actor=caller.actor, reason=body.reason, within_s=END_WITHIN_S
    )
    response.status_code = 200 if found.is_unreadable else 202
    return _erasure(found)


def _confirmation(keys: OrgKeys, caller: Caller, expires: int) -> str:
    return keys.index("erasure.confirmation", f"{caller.key_id}:{expires}").hex()


async def _erase(means: Means, caller: Caller, body: Wish, kind: str, response: Response) -> Erasure:
    agent = await agent_of(means.queries, caller, body.agent)
    if agent == NOBODY:
        raise invalid("agent", "is no agent of the organisation")
    selector = Selector(
        number=None if body.number is None else Personal(body.number),
        agent=agent,
        since=body.from_,
        until=body.to,
        objects={} if body.ids is None else {kind: body.ids},
        kinds=None if body.ids is not None else frozenset({kind}),
    )
    try:
        found = await means.erasures.erase_matching(caller.org_id, selector, actor=caller.actor, reason=body.reason, note=body.note)
    except MalformedError:
        raise invalid("number", 'must be a phone number such as "+493023125000"') from None
    response.status_code = 200 if found.is_unreadable else 202
    return _erasure(found)


def _erasure(found: Operation) -> Erasure:
    row = found.row
    return Erasure(
        id=row.id,
        scope=row.scope,
        state=row.state,
        requested_at=row.requested_at,
        actor=row.actor,
        reason=row.reason,
        counts={
            kind: KindProgress(entered=each.entered, unreadable=each.unreadable, swept=each.swept, closed=each.closed)
            for kind, each in found.counts.items()
        },
        deferred=row.deferred,
        planned_at=row.planned_at,
        unreadable_at=row.unreadable_at,
        done_at=row.done_at,
        follows=row.follows,
        selector_salt=None if found.selector_salt is None else found.selector_salt.hex(),
        receipt=row.receipt,
    )
