"""/v1/privacy: the agreement itself: sub-processors and objections, policies, instructions, safeguards of transfers."""

from datetime import datetime
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, Field, StringConstraints

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs, reader
from hushwire.api.problems import Problem, not_found
from hushwire.api.values import Body, BodyMoment, Country, Id, parsed_id
from hushwire.privacy.agreement import Bar
from hushwire.services.subprocessors import NotListed, Objected, ObjectsAlready, TooLate
from hushwire.store import agreement as table
from hushwire.store.agreement import ObjectionRow, PolicyRow, SafeguardRow

router = APIRouter(tags=["agreement"])
Reading = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]
Opening = Annotated[Caller, Depends(needs(Permission.RECEIPTS, opens=True))]
Deciding = Annotated[Caller, Depends(needs(Permission.AGREEMENT))]

Words = Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)]
Kind = Literal["scc-module-1", "scc-module-2", "scc-module-3", "scc-module-4", "uk-addendum", "swiss-fadp", "pdpa", "app", "eu-us-dpf"]


class PublishedEntry(BaseModel):
    """A sub-processor as everybody may read of it."""

    name: str
    purpose: str
    country: str
    categories: list[str]
    safeguard: str | None


class PublishedList(BaseModel):
    """One version of the public list; `digest`: SHA-256 of the canonical JSON (RFC 8785) of `subprocessors`."""

    version: int
    at: datetime
    digest: str
    subprocessors: list[PublishedEntry]


class Lists(BaseModel):
    """The list in force and those before it, newest first."""

    versions: list[PublishedList]


class Entry(PublishedEntry):
    """A sub-processor and how it stands with the organisation."""

    id: UUID
    announced_at: datetime
    withdrawn_at: datetime | None
    notified_at: datetime | None
    active_from: datetime | None = Field(description="Not used for the organisation's data before; until then it may object.")
    objection: str | None = Field(description="open or unresolved: an objection stands.")
    is_used: bool
    bar: Bar | None = Field(description="Why the organisation's data does not go there now.")


class Entries(BaseModel):
    """Every sub-processor."""

    items: list[Entry]


class ObjectionBody(Body):
    """Why the organisation objects."""

    grounds: Words


class Objection(BaseModel):
    """An objection; `due_at`: unresolved by then, the affected services may be terminated."""

    id: UUID
    subprocessor_id: UUID
    state: str
    actor: str
    objected_at: datetime
    decided_at: datetime | None
    due_at: datetime | None = None
    grounds: str | None = None


class Objections(BaseModel):
    """The organisation's objections."""

    items: list[Objection]


class Policy(BaseModel):
    """One version of a published text."""

    id: UUID
    kind: str
    version: str
    text: str
    digest: str
    published_at: datetime
    effective_at: datetime
    notified_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


class Policies(BaseModel):
    """Every published text, newest first."""

    items: list[Policy]


class InstructionBody(Body):
    """What the processor is told to do."""

    text: Words


class Instruction(BaseModel):
    """One version; the newest counts."""

    id: UUID
    version: int
    actor: str
    at: datetime
    text: str | None = None


class InstructionList(BaseModel):
    """Every version, newest first."""

    items: list[Instruction]


class SafeguardBody(Body):
    """A signed paper for transfers to a country. The paper stays with the parties: its digest is put on file."""

    country: Country
    kind: Kind
    document_sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    expires_at: BodyMoment | None = None


class Safeguard(BaseModel):
    """A safeguard on file."""

    id: UUID
    country: str
    kind: str
    document_sha256: str
    actor: str
    filed_at: datetime
    expires_at: datetime | None
    withdrawn_at: datetime | None


class Safeguards(BaseModel):
    """Everything on file, newest first."""

    items: list[Safeguard]


@router.get("/.well-known/hushwire-subprocessors.json")
async def published_lists(means: Given) -> Lists:
    """The public list of sub-processors, every version."""
    async with means.main.transaction() as connection:
        found = await table.lists(connection)
    return Lists(versions=[_list(*version) for version in found])


@router.get("/v1/privacy/subprocessors")
async def list_subprocessors(means: Given, caller: Reading) -> Entries:
    """The list as it stands with the organisation."""
    return Entries(
        items=[
            Entry(
                id=view.entry.id,
                name=view.entry.name,
                purpose=view.entry.purpose,
                country=view.entry.country,
                categories=list(view.entry.categories),
                safeguard=view.entry.safeguard,
                announced_at=view.entry.announced_at,
                withdrawn_at=view.entry.withdrawn_at,
                notified_at=view.notified_at,
                active_from=view.active_from,
                objection=view.objection,
                is_used=view.bar is None,
                bar=view.bar,
            )
            for view in await means.agreement.subprocessors.listed(caller.org_id)
        ]
    )


@router.post("/v1/privacy/subprocessors/{subprocessor_id}/objections", status_code=201)
async def object_to(means: Given, caller: Deciding, subprocessor_id: Id, body: ObjectionBody) -> Objection:
    """Object in writing, before the day from which the sub-processor may be used."""
    match outcome := await means.agreement.subprocessors.object(
        caller.org_id, parsed_id(subprocessor_id), body.grounds, actor=caller.actor
    ):
        case Objected(row, clock):
            return _objection(row, due_at=clock.due_at)
        case NotListed():
            raise not_found()
        case TooLate():
            raise Problem(409, "The time to object is over: without an objection by its day a sub-processor counts as authorised.")
        case ObjectsAlready(objection_id):
            raise Problem(409, "An objection to this sub-processor stands already.", objection_id=str(objection_id))
        case _:
            assert_never(outcome)


@router.get("/v1/privacy/objections")
async def list_objections(means: Given, caller: Opening) -> Objections:
    """The organisation's objections, newest first, with their grounds."""
    found = await means.agreement.subprocessors.objections(caller.org_id, reader(caller))
    return Objections(items=[_objection(view.row, grounds=view.grounds) for view in found])


@router.post("/v1/privacy/objections/{objection_id}/withdraw")
async def withdraw_objection(means: Given, caller: Deciding, objection_id: Id) -> Objection:
    """A solution was found: the sub-processor is authorised."""
    row = await means.agreement.subprocessors.withdraw(caller.org_id, parsed_id(objection_id), actor=caller.actor)
    if row is None:
        raise not_found()
    return _objection(row)


@router.get("/v1/privacy/policies")
async def list_policies(means: Given, caller: Reading) -> Policies:
    """Published texts: what the agreement refers to."""
    return Policies(items=[_policy(row) for row in await means.agreement.instructions.policies(caller.org_id)])


@router.post("/v1/privacy/policies/{policy_id}/acknowledge")
async def acknowledge_policy(means: Given, caller: Deciding, policy_id: Id) -> Policy:
    """The organisation has taken note of a text."""
    row = await means.agreement.instructions.acknowledge(caller.org_id, parsed_id(policy_id), actor=caller.actor)
    if row is None:
        raise not_found()
    if row.notified_at is None:
        raise Problem(409, "Nobody has been told of this text yet: try again in a minute.")
    return _policy(row)


@router.get("/v1/privacy/instructions")
async def list_instructions(means: Given, caller: Opening) -> InstructionList:
    """What the processor was told, every version."""
    found = await means.agreement.instructions.listed(caller.org_id, reader(caller))
    return InstructionList(
        items=[Instruction(id=v.row.id, version=v.row.version, actor=v.row.actor, at=v.row.at, text=v.text) for v in found]
    )


@router.post("/v1/privacy/instructions", status_code=201)
async def give_instruction(means: Given, caller: Deciding, body: InstructionBody) -> Instruction:
    """A new version of the organisation's instructions."""
    row = await means.agreement.instructions.give(caller.org_id, body.text, actor=caller.actor)
    return Instruction(id=row.id, version=row.version, actor=row.actor, at=row.at, text=body.text)


@router.get("/v1/privacy/safeguards")
async def list_safeguards(means: Given, caller: Reading) -> Safeguards:
    """What is on file for transfers out of the organisation's region."""
    return Safeguards(items=[_safeguard(row) for row in await means.agreement.instructions.safeguards(caller.org_id)])


@router.post("/v1/privacy/safeguards", status_code=201)
async def file_safeguard(means: Given, caller: Deciding, body: SafeguardBody) -> Safeguard:
    """Put a safeguard on file: sub-processors of that country may be used."""
    if body.expires_at is not None and body.expires_at <= means.clock.now():
        raise Problem(422, "expires_at: must lie in the future.")
    digest = bytes.fromhex(body.document_sha256)
    row = await means.agreement.instructions.file_safeguard(
        caller.org_id, body.country, body.kind, digest, body.expires_at, actor=caller.actor
    )
    return _safeguard(row)


@router.delete("/v1/privacy/safeguards/{safeguard_id}", status_code=204, response_class=Response)
async def withdraw_safeguard(means: Given, caller: Deciding, safeguard_id: Id) -> Response:
    """A safeguard that counts no more: what rested on it is not used from now on."""
    if not await means.agreement.instructions.withdraw_safeguard(caller.org_id, parsed_id(safeguard_id), actor=caller.actor):
        raise not_found()
    return Response(status_code=204)


def _list(version: int, at: datetime, listed: list[dict[str, Any]], digest: bytes) -> PublishedList:
    entries = [PublishedEntry.model_validate(entry) for entry in listed]
    return PublishedList(version=version, at=at, digest=digest.hex(), subprocessors=entries)


def _objection(row: ObjectionRow, *, grounds: str | None = None, due_at: datetime | None = None) -> Objection:
    return Objection(
        id=row.id,
        subprocessor_id=row.subprocessor_id,
        state=row.state,
        actor=row.actor,
        objected_at=row.objected_at,
        decided_at=row.decided_at,
        due_at=due_at,
        grounds=grounds,
    )


def _policy(row: PolicyRow) -> Policy:
    return Policy(
        id=row.id,
        kind=row.kind,
        version=row.version,
        text=row.text,
        digest=row.digest.hex(),
        published_at=row.published_at,
        effective_at=row.effective_at,
        notified_at=row.notified_at,
        acknowledged_at=row.acknowledged_at,
        acknowledged_by=row.acknowledged_by,
    )


def _safeguard(row: SafeguardRow) -> Safeguard:
    return Safeguard(
        id=row.id,
        country=row.country,
        kind=row.kind,
        document_sha256=row.document_digest.hex(),
        actor=row.actor,
        filed_at=row.filed_at,
        expires_at=row.expires_at,
        withdrawn_at=row.withdrawn_at,
    )
