"""/v1/privacy/audits: the customer's audits, an auditor's key that ends by itself, a bundle of evidence."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, Means, needs, reader
from hushwire.api.paging import Cursor, Limit, Page, read_place, write
from hushwire.api.problems import Problem, invalid, not_found
from hushwire.api.streaming import Streaming
from hushwire.api.values import Body, Id, parsed_id
from hushwire.privacy.audit_rights import ACCESS_DAYS, ACCESS_MOST_DAYS, Basis, Refusal, TooSoon
from hushwire.services.audits import Details, NotYet
from hushwire.store.audits import AuditRow, Place

router = APIRouter(prefix="/v1/privacy/audits", tags=["privacy"])
Auditing = Annotated[Caller, Depends(needs(Permission.AUDIT))]
Answering = Annotated[Caller, Depends(needs(Permission.CASES))]
Reading = Annotated[Caller, Depends(needs(Permission.CASES, opens=True))]


class AuditRequest(Body):
    """A request for an audit. `independent`: the auditor is no competitor, and not in one's pay; confirmed by who asks."""

    basis: Literal["agreement", "law", "regulator", "suspected-breach"] = "agreement"
    auditor: str = Field(min_length=1, max_length=200)
    firm: str = Field(min_length=1, max_length=200)
    independent: bool
    reason: str | None = Field(default=None, max_length=5000, description="Needed unless the basis is the agreement itself.")


class Audit(BaseModel):
    """One audit."""

    id: UUID
    basis: str
    requested_at: datetime
    requested_by: str
    begins_at: datetime = Field(description="Access may be given from then on.")
    independence_confirmed_at: datetime
    independence_confirmed_by: str
    key_id: UUID | None
    bundled_at: datetime | None
    manifest_sha256: str | None = Field(description="Of the last bundle that was handed over.")


class AuditWithDetails(Audit):
    """One audit with who audits and why; null where that was erased."""

    auditor: str | None
    firm: str | None
    reason: str | None


class AccessRequest(Body):
    """For how long."""

    days: int = Field(default=ACCESS_DAYS, ge=1, le=ACCESS_MOST_DAYS)


class AuditorKey(BaseModel):
    """The auditor's API key, shown this once. With it the undertaking has to be signed before anything opens."""

    key: str
    key_id: UUID
    expires_at: datetime


@router.post("", status_code=201)
async def request_audit(means: Given, caller: Answering, body: AuditRequest) -> Audit:
    """Ask for an audit: 30 days' notice and once in twelve months, unless law, a regulator or a suspected breach ask for it."""
    details = Details(body.auditor, body.firm, body.reason)
    match found := await means.audits.request(
        caller.org_id, Basis(body.basis), details, is_independent=body.independent, actor=caller.actor
    ):
        case AuditRow():
            return Audit.model_validate(_shown(found))
        case Refusal.NOT_INDEPENDENT:
            raise invalid("independent", "must be confirmed: an auditor may be neither a competitor nor in one's pay")
        case Refusal.NO_REASON:
            raise invalid("reason", "is needed where the basis is not the agreement itself")
        case TooSoon(free_at):
            detail = "An audit was asked for less than twelve months ago; law, a regulator or a suspected breach are other bases."
            raise Problem(409, detail, free_at=free_at.isoformat())
        case _:
            raise Problem(409, "This audit can't be registered now.")


@router.get("")
async def list_audits(means: Given, caller: Auditing, limit: Limit = 50, cursor: Cursor = None) -> Page[Audit]:
    """Audits, newest first."""
    place = read_place(cursor)
    after = None if place is None else Place(place.started_at, place.id)
    rows = await means.audits.listed(caller.org_id, after=after, limit=limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    items = [Audit.model_validate(_shown(row)) for row in rows[:limit]]
    return Page(items=items, next=None if last is None else write(last.requested_at.isoformat(), str(last.id)))


@router.get("/{audit_id}")
async def get_audit(means: Given, caller: Reading, audit_id: Id) -> AuditWithDetails:
    """One audit, with who audits and why."""
    row = await _found(means, caller, audit_id)
    details = await means.audits.details(row, reader(caller))
    said = (
        {"auditor": details.auditor, "firm": details.firm, "reason": details.reason}
        if details
        else dict.fromkeys(("auditor", "firm", "reason"))
    )
    return AuditWithDetails.model_validate({**_shown(row), **said})


@router.post("/{audit_id}/access", status_code=201)
async def give_access(means: Given, caller: Answering, audit_id: Id, body: AccessRequest) -> AuditorKey:
    """A key of the role auditor for some days: read-only, for the purpose of the audit. One that was given before ends now."""
    found = await means.audits.give_access(caller.org_id, parsed_id(audit_id), body.days, actor=caller.actor)
    if found is None:
        raise not_found()
    if isinstance(found, NotYet):
        raise Problem(409, "The notice of 30 days is not over yet.", begins_at=found.begins_at.isoformat())
    return AuditorKey(key=found.secret, key_id=found.key_id, expires_at=found.expires_at)


@router.post(
    "/{audit_id}/bundle",
    response_class=Response,
    responses={200: {"description": "A ZIP archive with a signed manifest.", "content": {"application/zip": {}}}},
)
async def bundle(means: Given, caller: Auditing, audit_id: Id) -> Response:
    """The evidence: audit log, heads, receipts, keys, inventory, state of the agreement, annexes, sub-processors, clocks.

    It is made while it is sent, and lies nowhere.
    """
    row = await _found(means, caller, audit_id)
    chunks = means.audits.bundle(row, actor=caller.actor)
    first = await anext(chunks)
    headers = {"Content-Disposition": f'attachment; filename="evidence-{row.id}.zip"'}
    return Streaming(200, first, chunks, "application/zip", headers)


async def _found(means: Means, caller: Caller, audit_id: str) -> AuditRow:
    row = await means.audits.get(caller.org_id, parsed_id(audit_id))
    if row is None:
        raise not_found()
    return row


def _shown(row: AuditRow) -> dict[str, object]:
    return {
        "id": row.id,
        "basis": row.basis,
        "requested_at": row.requested_at,
        "requested_by": row.requested_by,
        "begins_at": row.begins_at,
        "independence_confirmed_at": row.independence_confirmed_at,
        "independence_confirmed_by": row.independence_confirmed_by,
        "key_id": row.key_id,
        "bundled_at": row.bundled_at,
        "manifest_sha256": row.bundle_digest.hex() if row.bundle_digest else None,
    }
