"""/v1/organisation: which laws apply, who is told, what is agreed."""

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import AfterValidator, BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.values import Body
from hushwire.core.personal import Personal
from hushwire.privacy import mail
from hushwire.privacy.jurisdictions import Consent, strictest, tag_of
from hushwire.privacy.laws import LAWS
from hushwire.privacy.notices import ContactRole
from hushwire.services.organisation import Wanted

router = APIRouter(prefix="/v1", tags=["organisation"])
Reading = Annotated[Caller, Depends(needs(Permission.ORGANISATION))]
Changing = Annotated[Caller, Depends(needs(Permission.ORGANISATION_CHANGE))]

_MOST_CONTACTS: Final = 32
_MOST_FIELDS: Final = 64
RECORDS: Final = ("billing", "plan", "contract", "settings")


def _each_once(tags: list[str]) -> list[str]:
    return list(dict.fromkeys(tags))


Tag = Annotated[str, AfterValidator(tag_of), Field(max_length=16, json_schema_extra={"enum": sorted(LAWS)})]
Tags = Annotated[list[Tag], Field(max_length=16), AfterValidator(_each_once)]
Email = Annotated[str, Field(max_length=254), AfterValidator(mail.address)]
FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
FieldValue = Annotated[str, Field(max_length=1000)] | bool | Annotated[int, Field(ge=-(1 << 53), le=1 << 53)] | None
Record = Annotated[dict[FieldName, FieldValue], Field(max_length=_MOST_FIELDS)]


class NewContact(Body):
    """A contact to designate."""

    role: Annotated[ContactRole, Field(strict=False)]
    email: Email


def _no_twins(contacts: list[NewContact]) -> list[NewContact]:
    if len({(contact.role, contact.email) for contact in contacts}) != len(contacts):
        raise ValueError("names an address twice in one role")
    return contacts


class Change(Body):
    """What is given is replaced as a whole; what is left out stays."""

    jurisdictions: Annotated[Tags | None, Field(description="Empty: those of the home country.")] = None
    contacts: Annotated[
        list[NewContact] | None,
        Field(max_length=_MOST_CONTACTS, description="All designated contacts, in the order in which they are told."),
        AfterValidator(lambda value: value if value is None else _no_twins(value)),
    ] = None
    billing: Record | None = None
    plan: Record | None = None
    contract: Record | None = None
    settings: Record | None = None


class Contact(BaseModel):
    """A designated contact."""

    id: UUID
    role: ContactRole
    email: str
    designated_at: datetime


class LawView(BaseModel):
    """What follows from the jurisdictions: of each rule the strictest. Configuration that counsel reviews, not legal advice."""

    recording_consent: Consent
    must_announce_recording: bool
    regulator_hours: int = Field(description="From becoming aware of a breach to the notice to a regulator.")
    regulators: list[str]
    is_european: bool


class Version(BaseModel):
    """A record's version in force."""

    version: int
    recorded_at: datetime
    fields: dict[str, FieldValue]


class OrganisationView(BaseModel):
    """The organisation's profile."""

    id: UUID
    slug: str
    name: str
    home_country: str
    residency: str
    jurisdictions: list[str] = Field(description="As they were set.")
    applied_jurisdictions: list[str] = Field(description="Those that count: as set, or those of the home country.")
    law: LawView
    contacts: list[Contact] = Field(description="In the order in which they are told. Without any, notices stay in the outbox.")
    billing: Version | None
    plan: Version | None
    contract: Version | None
    settings: Version | None


@router.get("/organisation")
async def get_organisation(means: Given, caller: Reading) -> OrganisationView:
    """The organisation's profile."""
    return await _shown(means, caller)


@router.patch("/organisation")
async def change_organisation(means: Given, caller: Changing, change: Change) -> OrganisationView:
    """Change parts of the profile. Running clocks keep the jurisdictions that they were started under."""
    contacts = None
    if change.contacts is not None:
        contacts = tuple((contact.role, Personal(contact.email)) for contact in change.contacts)
    records = {kind: body for kind in RECORDS if (body := getattr(change, kind)) is not None}
    wanted = Wanted(None if change.jurisdictions is None else tuple(change.jurisdictions), contacts, records)
    await means.organisations.change(caller.org_id, wanted, caller.actor)
    return await _shown(means, caller)


async def _shown(means: Means, caller: Caller) -> OrganisationView:
    found = await means.organisations.get(caller.org_id, reader(caller))
    rules = strictest(found.applied)
    records = {
        record.kind: Version(version=record.version, recorded_at=record.recorded_at, fields=dict(record.body)) for record in found.records
    }
    return OrganisationView(
        id=found.row.id,
        slug=found.row.slug,
        name=found.row.name,
        home_country=found.row.home_country,
        residency=found.row.residency,
        jurisdictions=list(found.row.jurisdictions),
        applied_jurisdictions=list(found.applied),
        law=LawView(
            recording_consent=rules.consent,
            must_announce_recording=rules.must_announce,
            regulator_hours=rules.regulator_hours,
            regulators=list(rules.regulators),
            is_european=rules.is_european,
        ),
        contacts=[Contact(id=c.id, role=c.role, email=c.email, designated_at=c.designated_at) for c in found.contacts],
        **{kind: records.get(kind) for kind in RECORDS},
    )
