"""/v1/contacts: an organisation's and its agents' contact lists."""

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import AfterValidator, BaseModel, Field, model_validator

from hushwire.api.access import Caller, Permission
from hushwire.api.erasing import answered
from hushwire.api.means import Given, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_id, write
from hushwire.api.problems import Problem, invalid, not_found, restricted
from hushwire.api.values import AgentQuery, Body, Id, IdempotencyKey, TypedNumber, agent_of, parsed_id, request_hash
from hushwire.privacy.jurisdictions import tag_of
from hushwire.services.contacts import ContactView, Gone, NotFound, PhoneNumber, Restricted, Unfit, Values
from hushwire.services.once import KeyReused, Once
from hushwire.store.contacts import Wanted

router = APIRouter(prefix="/v1/contacts", tags=["contacts"])

Reading = Annotated[Caller, Depends(needs(Permission.CONTACTS))]
Erasing = Annotated[Caller, Depends(needs(Permission.ERASURE))]
Changing = Annotated[Caller, Depends(needs(Permission.CONTACTS_CHANGE))]


def _text(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not hold NUL")
    if not value.strip():
        raise ValueError("must not be blank")
    return value


def _reference(value: str) -> str:
    if not value.isascii() or not value.isprintable() or value.startswith("data:"):
        raise ValueError("is a reference to a picture: printable ASCII, no data: URL")
    return value


Label = Literal["mobile", "work", "home", "other"]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_text)]
Notes = Annotated[str, Field(max_length=10_000), AfterValidator(_text)]
Picture = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_reference)]
Jurisdiction = Annotated[str, Field(max_length=12), AfterValidator(tag_of)]


class GivenNumber(Body):
    """A number of a contact, as a person types it."""

    number: TypedNumber
    label: Label = "other"


class NewContact(Body):
    """A new contact."""

    name: Name
    numbers: list[GivenNumber] = Field(default_factory=list, max_length=20)
    notes: Notes | None = None
    picture: Picture | None = Field(default=None, description="A reference to the customer's own picture store.")
    owner: UUID | None = Field(default=None, strict=False, description="Id of the agent whose contact it is; null: shared.")
    is_minor: bool = Field(default=False, description="A minor is never recorded.")
    jurisdiction: Jurisdiction | None = None


class ContactChange(Body):
    """What is to be different; what is left out stays as it is."""

    name: Name | None = None
    numbers: list[GivenNumber] | None = Field(default=None, max_length=20)
    notes: Notes | None = None
    picture: Picture | None = None
    owner: UUID | None = Field(default=None, strict=False)
    is_minor: bool | None = None
    jurisdiction: Jurisdiction | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "ContactChange":
        if not self.model_fields_set:
            raise ValueError("give at least one field")
        for field in ("name", "numbers", "is_minor"):
            if field in self.model_fields_set and getattr(self, field) is None:
                raise ValueError(f"{field} can't be null")
        return self


class ContactSearch(Body):
    """Whom to look for: by one of their numbers, or by their whole name. Neither stands in a URL, so this is a POST."""

    number: TypedNumber | None = None
    name: Name | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)

    @model_validator(mode="after")
    def _one_of_them(self) -> "ContactSearch":
        if (self.number is None) == (self.name is None):
            raise ValueError("give number or name")
        return self


class Number(BaseModel):
    """A number of a contact, +E.164."""

    number: str
    label: Label


class Contact(BaseModel):
    """One contact. While its processing is restricted it is listed with its id alone."""

    id: UUID
    is_restricted: bool
    name: str | None
    numbers: list[Number] | None
    notes: str | None
    picture: str | None
    owner: UUID | None
    is_minor: bool
    jurisdiction: str | None
    created_at: datetime
    updated_at: datetime


@router.post("", status_code=201)
async def create_contact(means: Given, caller: Changing, body: NewContact, idempotency_key: IdempotencyKey = None) -> Contact:
    """A new contact. Repeated under the same Idempotency-Key it is made once."""
    once = None if idempotency_key is None else Once(idempotency_key, request_hash(caller, "contact", body.model_dump_json()))
    match found := await means.rights.contacts.create(caller.org_id, _new(body), reader(caller), once=once):
        case KeyReused():
            raise Problem(422, "The Idempotency-Key was used for another request.")
        case NotFound():
            raise Problem(410, "The contact that this request made was erased, or is restricted.")
        case _:
            return _contact(_answered(found))


@router.get("")
async def list_contacts(means: Given, caller: Reading, agent: AgentQuery = None, limit: Limit = 50, cursor: Cursor = None) -> Page[Contact]:
    """Contacts, oldest first; of one agent, or all."""
    wanted = Wanted(owner_agent_id=await agent_of(means.queries, caller, agent))
    views, more = await means.rights.contacts.find(caller.org_id, reader(caller), wanted, after=read_id(cursor), limit=limit)
    return Page(items=[_contact(view) for view in views], next=None if more is None else write(str(more)))


@router.post("/search")
async def search_contacts(means: Given, caller: Reading, body: ContactSearch) -> Page[Contact]:
    """Contacts with a number, or of a name, found by blind index."""
    wanted = await means.rights.contacts.wanted(caller.org_id, number=body.number, name=body.name)
    if wanted is None:
        raise invalid("number", 'must be a phone number such as "+493023125000"')
    views, more = await means.rights.contacts.find(caller.org_id, reader(caller), wanted, after=read_id(body.cursor), limit=body.limit)
    return Page(items=[_contact(view) for view in views], next=None if more is None else write(str(more)))


@router.get("/{contact_id}")
async def get_contact(means: Given, caller: Reading, contact_id: Id) -> Contact:
    """One contact."""
    return _contact(_answered(await means.rights.contacts.get(caller.org_id, parsed_id(contact_id), reader(caller))))


@router.patch("/{contact_id}")
async def change_contact(means: Given, caller: Changing, contact_id: Id, body: ContactChange) -> Contact:
    """Correct a contact. The corrected value is what every node answers from now on; the old one opens nowhere any more."""

    def change(values: Values) -> Values:
        fields: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
        if body.numbers is not None:
            fields["numbers"] = _numbers(body.numbers)
        return replace(values, **fields)

    return _contact(_answered(await means.rights.contacts.change(caller.org_id, parsed_id(contact_id), change, reader(caller))))


@router.delete("/{contact_id}", response_class=Response, responses={200: {"description": "The signed proof, version 2."}})
async def erase_contact(means: Given, caller: Erasing, contact_id: Id) -> Response:
    """Erase the contact through the one erasure path; calls with its numbers stay. Asked again, the proof is the same."""
    outcome = await means.erasures.erase_object(
        caller.org_id, "contact", parsed_id(contact_id), actor=caller.actor, reason="customer-request"
    )
    return answered(outcome)


def _new(body: NewContact) -> Values:
    return Values(body.name, _numbers(body.numbers), body.notes, body.picture, body.owner, body.is_minor, body.jurisdiction)


def _numbers(given: list[GivenNumber]) -> tuple[PhoneNumber, ...]:
    return tuple(PhoneNumber(number.label, number.number) for number in given)


def _answered(found: ContactView | NotFound | Gone | Restricted | Unfit) -> ContactView:
    match found:
        case ContactView():
            return found
        case NotFound():
            raise not_found()
        case Gone():
            raise Problem(410, "The contact was erased.")
        case Restricted():
            raise restricted()
        case Unfit(field, message):
            raise invalid(field, message)
        case _:
            assert_never(found)


def _contact(view: ContactView) -> Contact:
    row, values = view.row, view.values
    return Contact(
        id=row.id,
        is_restricted=values is None,
        name=None if values is None else values.name,
        numbers=None if values is None else [Number(number=n.number, label=n.label) for n in values.numbers],  # type: ignore[arg-type]
        notes=None if values is None else values.notes,
        picture=None if values is None else values.picture,
        owner=None if values is None else values.owner,
        is_minor=row.is_minor,
        jurisdiction=None if values is None else values.jurisdiction,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
