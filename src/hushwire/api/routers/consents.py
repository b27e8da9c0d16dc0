"""/v1/privacy/consents: who agreed to be recorded or to get messages, how that is known, what was withdrawn, and which rule holds where."""

from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given as GivenMeans
from hushwire.api.means import needs, reader
from hushwire.api.paging import Cursor, Limit, Page, place_cursor, read_place
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, BodyMoment, Id, TypedNumber, parsed_id
from hushwire.privacy.consent import Declaration, How
from hushwire.privacy.jurisdictions import Consent as Law
from hushwire.privacy.jurisdictions import tag_of
from hushwire.services.consents import ConsentView, Given, Gone, NoNumber, NoSuchThing, Withdrawn
from hushwire.store.consents import ConsentRow
from hushwire.store.recordings import Place

router = APIRouter(prefix="/v1/privacy/consents", tags=["rights of data subjects"])
Keeping = Annotated[Caller, Depends(needs(Permission.REQUESTS))]
Reading = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]
Wanted = Annotated[str | None, Query(max_length=64, description="The id of the thing, a UUID.")]
_A_NUMBER = 'must be a phone number such as "+493023125000"'


def _words(value: str) -> str:
    if "\0" in value or not value.strip():
        raise ValueError("must hold words, and no NUL")
    return value


class NewConsent(Body):
    """A consent: about a recording, a call or a number, and how it was given."""

    recording: UUID | None = Field(default=None, strict=False)
    call: UUID | None = Field(default=None, strict=False)
    number: TypedNumber | None = None
    about: Literal["recording", "marketing-messages"] = "recording"
    how: How = Field(strict=False)
    given_at: BodyMoment
    text_version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,39}$")] | None = None
    announcement_digest: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the announcement or text.")] | None = None
    jurisdiction: Annotated[str, Field(max_length=12), AfterValidator(tag_of)] | None = None
    note: Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_words)] | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> "NewConsent":
        if sum(value is not None for value in (self.recording, self.call, self.number)) != 1:
            raise ValueError("give one of recording, call and number")
        if self.about != "recording" and self.number is None:
            raise ValueError("give the number that agreed to messages")
        return self


class OfNumber(Body):
    """A number as a person writes it."""

    number: TypedNumber


class Consent(BaseModel):
    """One consent. The number that it is about is nowhere shown; the note only where one consent is asked for."""

    id: UUID
    recording_id: UUID | None
    call_id: UUID | None
    about: Literal["recording", "marketing-messages"]
    how: How
    text_version: str | None
    announcement_digest: str | None
    jurisdiction: str | None
    given_at: datetime
    noted_at: datetime
    noted_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    erased_at: datetime | None
    note: str | None = None


class Withdrawal(BaseModel):
    """A consent that was withdrawn, and what rests on it."""

    consent: Consent
    stops_recording: bool = Field(description="Calls with this number are not recorded any more.")
    recordings: list[UUID] = Field(description="What was recorded under it, the first 1000: erase it if it is to go.")


class Rule(BaseModel):
    """What holds for recording calls with one country, by its law and the organisation's own."""

    country: str
    consent: Law
    must_announce: bool
    may_record: bool
    is_satisfied: bool
    explanation: str


class Rules(BaseModel):
    """What the organisation declares, and what that means where it calls."""

    recording_consent: Declaration
    lawful_basis: str
    record: str
    without_recording: str
    jurisdictions: list[str]
    countries: list[Rule]


@router.get("")
async def list_consents(
    means: GivenMeans, caller: Keeping, recording: Wanted = None, call: Wanted = None, limit: Limit = 50, cursor: Cursor = None
) -> Page[Consent]:
    """Consents, newest first, those that were withdrawn or erased too; without their notes."""
    asked = {
        "recording": None if recording is None else parsed_id(recording),
        "call": None if call is None else parsed_id(call),
    }
    rows = await means.consents.listed(caller.org_id, **asked, after=read_place(cursor), limit=limit + 1)
    return _page(rows, limit)


@router.post("", status_code=201)
async def note_consent(means: GivenMeans, caller: Keeping, body: NewConsent) -> Consent:
    """Keep the evidence of a consent. One about a number ends earlier withdrawals of that number."""
    if body.given_at > means.clock.now():
        raise invalid("given_at", "must not lie in the future")
    given = Given(
        how=body.how,
        given_at=body.given_at,
        recording=body.recording,
        call=body.call,
        number=body.number,
        text_version=body.text_version,
        announcement_digest=None if body.announcement_digest is None else bytes.fromhex(body.announcement_digest),
        jurisdiction=body.jurisdiction,
        note=body.note,
        about=body.about,
    )
    match found := await means.consents.note(caller.org_id, given, actor=caller.actor):
        case ConsentRow():
            return _consent(found)
        case NoSuchThing():
            raise Problem(404, "The organisation has no such recording or call.")
        case NoNumber():
            raise invalid("number", _A_NUMBER)
        case _:
            assert_never(found)


@router.post("/search")
async def search_consents(means: GivenMeans, caller: Keeping, body: OfNumber, limit: Limit = 50, cursor: Cursor = None) -> Page[Consent]:
    """Consents of a number, newest first: given for it, or for a call or recording with it."""
    rows = await means.consents.of_number(caller.org_id, body.number, after=read_place(cursor), limit=limit + 1)
    if isinstance(rows, NoNumber):
        raise invalid("number", _A_NUMBER)
    return _page(rows, limit)


@router.get("/rules")
async def get_rules(means: GivenMeans, caller: Reading) -> Rules:
    """Who must agree to a recording in each country that may be called, and whether what the organisation declares meets that."""
    found = await means.consents.rules(caller.org_id)
    return Rules(
        recording_consent=found.declared,
        lawful_basis=found.declared.lawful_basis,
        record=found.record,
        without_recording=found.without_recording,
        jurisdictions=list(found.jurisdictions),
        countries=[
            Rule(
                country=country,
                consent=rule.consent,
                must_announce=rule.must_announce,
                may_record=rule.may_record,
                is_satisfied=rule.is_satisfied,
                explanation=rule.explanation,
            )
            for country, rule in found.countries.items()
        ],
    )


@router.get("/{consent_id}")
async def get_consent(means: GivenMeans, caller: Keeping, consent_id: Id) -> Consent:
    """One consent with what was written down; the reading is logged."""
    match found := await means.consents.get(caller.org_id, parsed_id(consent_id), reader(caller)):
        case ConsentView():
            return _consent(found.row).model_copy(update={"note": found.note})
        case NoSuchThing():
            raise not_found()
        case Gone():
            raise _gone()
        case _:
            assert_never(found)


@router.post("/{consent_id}/withdraw")
async def withdraw_consent(means: GivenMeans, caller: Keeping, consent_id: Id) -> Withdrawal:
    """The consent holds no more: its number is not recorded from now on. Nothing is erased by this. Safe to repeat."""
    match found := await means.consents.withdraw(caller.org_id, parsed_id(consent_id), actor=caller.actor):
        case Withdrawn():
            return Withdrawal(consent=_consent(found.row), stops_recording=found.stops_recording, recordings=list(found.recordings))
        case NoSuchThing():
            raise not_found()
        case Gone():
            raise _gone()
        case _:
            assert_never(found)


def _gone() -> Problem:
    return Problem(410, "The consent was erased.")


def _page(rows: list[ConsentRow], limit: int) -> Page[Consent]:
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(items=[_consent(row) for row in rows[:limit]], next=place_cursor(None if last is None else Place(last.noted_at, last.id)))


def _consent(row: ConsentRow) -> Consent:
    said: dict[str, Any] = {name: getattr(row, name) for name in Consent.model_fields if name not in ("note", "announcement_digest")}
    digest = row.announcement_digest
    return Consent(**said, announcement_digest=None if digest is None else digest.hex())
