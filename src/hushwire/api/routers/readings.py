"""/v1/privacy/purposes, /v1/privacy/undertakings, /v1/privacy/access-log: what a reading takes, and which readings there were."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from hushwire.api.access import PURPOSES, Caller, Permission
from hushwire.api.means import Given, Means, needs
from hushwire.api.paging import Cursor, Limit, Page, read_place, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.values import Body, BodyMoment
from hushwire.core import purposes as codes
from hushwire.privacy.purposes import MEANINGS
from hushwire.privacy.undertakings import Standing
from hushwire.services.readings import OtherText, Outdated, State
from hushwire.services.voice_security import as_uuid
from hushwire.store import readings as table
from hushwire.store.readings import AccessFilter, Place, PurposeRuleRow, UndertakingRow

router = APIRouter(prefix="/v1/privacy", tags=["privacy"])
Anyone = Annotated[Caller, Depends(needs(Permission.SELF))]
Auditing = Annotated[Caller, Depends(needs(Permission.AUDIT))]
Answering = Annotated[Caller, Depends(needs(Permission.CASES))]


class Purpose(BaseModel):
    """A code for `Hushwire-Purpose`."""

    code: str
    meaning: str
    roles: list[str] = Field(description="Roles that may use it, if the organisation allows it.")
    allowed: bool


class Purposes(BaseModel):
    """The organisation's instruction, and the codes that there are."""

    version: int = Field(description="0: there is no instruction, so whatever a role may use is allowed.")
    allowed: list[str] | None = Field(description="null: whatever a role may use.")
    changed_at: datetime | None
    changed_by: str | None
    purposes: list[Purpose]


class NewPurposes(Body):
    """A new instruction. `allowed` null lifts the restriction; an empty list allows no reading at all."""

    allowed: list[str] | None = Field(max_length=64)
    version: int | None = Field(default=None, ge=0, lt=1 << 62, description="Refuse unless the instruction still has this version.")


class Text(BaseModel):
    """The undertaking in force."""

    version: str
    text: str
    digest: str = Field(description="SHA-256 of the text, hexadecimal.")
    published_at: datetime
    sign_by: datetime = Field(description="Until then a signature under an earlier version still counts.")


class Signature(BaseModel):
    """Somebody's word on one version."""

    signer: str
    version: str
    digest: str
    signed_at: datetime
    signed_by: str = Field(description="The signer, or whoever provisioned it and answers for it.")
    withdrawn_at: datetime | None


class Undertaking(BaseModel):
    """The text in force, and how the asking key stands to it."""

    current: Text
    standing: Standing
    opens: bool = Field(description="Whether content opens for this key.")
    signatures: list[Signature]


class Signing(Body):
    """To sign: name the version that was read."""

    version: str = Field(min_length=1, max_length=100)


class Withdrawal(Body):
    """Whose word is taken back; without a signer one's own."""

    signer: str | None = Field(default=None, max_length=100, description="api-key:<id> or agent:<id>; others' only for owners and admins.")


class Access(BaseModel):
    """One reading."""

    id: UUID
    at: datetime
    actor: str
    purpose: str
    object: str


class AccessSearch(Body):
    """Which readings; what is left out is any."""

    actor: str | None = Field(default=None, max_length=100, description="api-key:<id>, agent:<id>, system:worker ...")
    object: str | None = Field(default=None, max_length=100, description="call:<id>, recording:<id> ...")
    from_: BodyMoment | None = Field(default=None, alias="from")
    to: BodyMoment | None = None
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=200)


@router.get("/purposes")
async def get_purposes(means: Given, caller: Anyone) -> Purposes:
    """Codes of purposes, what they mean, who may use them, and which of them the organisation allows."""
    return _purposes(await means.readings.rule(caller.org_id))


@router.put("/purposes")
async def put_purposes(means: Given, caller: Answering, body: NewPurposes) -> Purposes:
    """Narrow for which purposes personal data may be read: an instruction, versioned. It counts everywhere within a second."""
    allowed = None if body.allowed is None else frozenset(body.allowed)
    if allowed is not None and not allowed <= codes.OF_PEOPLE:
        raise invalid("allowed", f"must hold codes among {', '.join(sorted(codes.OF_PEOPLE))}")
    found = await means.readings.change_rule(caller.org_id, allowed, actor=caller.actor, version=body.version)
    if isinstance(found, Outdated):
        raise Problem(409, "Somebody else changed the instruction meanwhile: read it again.", version=found.version)
    return _purposes(found)


@router.get("/undertakings")
async def get_undertaking(means: Given, caller: Anyone) -> Undertaking:
    """The undertaking of confidentiality in force, and how this key stands to it."""
    return _undertaking(await means.readings.state(caller.org_id, caller.actor))


@router.post("/undertakings")
async def sign_undertaking(means: Given, caller: Anyone, body: Signing) -> Undertaking:
    """Sign the text in force, as the one who holds this key. Safe to repeat."""
    found = await means.readings.sign(caller.org_id, caller.actor, body.version)
    if isinstance(found, OtherText):
        raise Problem(
            409, "This is not the version in force: read GET /v1/privacy/undertakings and sign that one.", version=found.current.version
        )
    return _undertaking(found)


@router.post("/undertakings/withdraw")
async def withdraw_undertaking(means: Given, caller: Anyone, body: Withdrawal) -> Undertaking:
    """Take a signature back: from now on nothing opens for the signer."""
    signer = body.signer or caller.actor
    kind, _, name = signer.partition(":")
    if kind not in ("api-key", "agent") or as_uuid(name) is None or signer != signer.lower():
        raise invalid("signer", "must be api-key:<id> or agent:<id>")
    if signer != caller.actor and not caller.may(Permission.CASES):
        raise Problem(403, "Only owners and admins take back somebody else's signature.")
    if not await means.readings.withdraw(caller.org_id, signer, by=caller.actor):
        raise not_found()
    return _undertaking(await means.readings.state(caller.org_id, signer))


@router.get("/undertakings/signatures")
async def list_signatures(means: Given, caller: Auditing, limit: Limit = 50, cursor: Cursor = None) -> Page[Signature]:
    """Everybody's signatures, newest first."""
    async with means.main.organisation(caller.org_id) as connection:
        rows = await table.all_signatures(connection, after=_place(cursor), limit=limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return Page(
        items=[_signature(row) for row in rows[:limit]], next=None if last is None else write(last.signed_at.isoformat(), str(last.id))
    )


@router.get("/access-log")
async def list_accesses(means: Given, caller: Auditing, limit: Limit = 50, cursor: Cursor = None) -> Page[Access]:
    """Every reading of personal data, newest first: who, what, for what."""
    return await _accesses(means, caller, AccessFilter(), cursor, limit)


@router.post("/access-log/search")
async def search_accesses(means: Given, caller: Auditing, body: AccessSearch) -> Page[Access]:
    """Readings by somebody, of something, in some time."""
    for name, value in (("actor", body.actor), ("object", body.object)):
        if value is not None and "\x00" in value:
            raise invalid(name, "is not an id")
    wanted = AccessFilter(actor=body.actor, object=body.object, since=body.from_, until=body.to)
    return await _accesses(means, caller, wanted, body.cursor, body.limit)


async def _accesses(means: Means, caller: Caller, wanted: AccessFilter, cursor: str | None, limit: int) -> Page[Access]:
    async with means.main.organisation(caller.org_id) as connection:
        rows = await table.readings(connection, wanted, after=_place(cursor), limit=limit + 1)
    items = [Access(id=row.id, at=row.at, actor=row.actor, purpose=row.purpose, object=row.object) for row in rows[:limit]]
    return Page(items=items, next=write(items[-1].at.isoformat(), str(items[-1].id)) if len(rows) > limit else None)


def _place(cursor: str | None) -> Place | None:
    found = read_place(cursor)
    return None if found is None else Place(found.started_at, found.id)


def _purposes(row: PurposeRuleRow | None) -> Purposes:
    allowed = row.allowed if row else None
    return Purposes(
        version=row.version if row else 0,
        allowed=None if allowed is None else list(allowed),
        changed_at=row.at if row else None,
        changed_by=row.actor if row else None,
        purposes=[
            Purpose(
                code=code,
                meaning=meaning,
                roles=[role for role, granted in PURPOSES.items() if code in granted],
                allowed=allowed is None or code in allowed,
            )
            for code, meaning in sorted(MEANINGS.items())
        ],
    )


def _undertaking(state: State) -> Undertaking:
    text = state.current
    return Undertaking(
        current=Text(version=text.version, text=text.text, digest=text.digest.hex(), published_at=text.published_at, sign_by=text.sign_by),
        standing=state.standing,
        opens=state.standing.opens,
        signatures=[_signature(row) for row in state.signatures],
    )


def _signature(row: UndertakingRow) -> Signature:
    return Signature(
        signer=row.signer,
        version=row.version,
        digest=row.digest.hex(),
        signed_at=row.signed_at,
        signed_by=row.signed_by,
        withdrawn_at=row.withdrawn_at,
    )
