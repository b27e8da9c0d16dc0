"""/v1/privacy and /v1/audit: proofs of erasure, what is held about people, and the chained log."""

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_position, write
from hushwire.api.problems import not_found
from hushwire.api.routers.recordings import Receipt
from hushwire.api.values import Id, parsed_id
from hushwire.privacy import inventory
from hushwire.store import audit, ledger

router = APIRouter(prefix="/v1", tags=["privacy"])
Auditing = Annotated[Caller, Depends(needs(Permission.AUDIT))]
Proving = Annotated[Caller, Depends(needs(Permission.RECEIPTS))]


class AuditEntry(BaseModel):
    """One link of the organisation's chain: `hash` covers the row and `previous`."""

    position: int
    at: datetime
    actor: str
    action: str
    object: str
    fields: dict[str, Any]
    previous: str
    hash: str


class Erasure(BaseModel):
    """An erasure's way through the ledger; a time that is set is a step that is done."""

    id: UUID
    kind: str
    object_id: UUID
    recording_id: UUID | None
    operation_id: UUID | None = Field(description="The erasure by selector that it belongs to, which has the receipt.")
    position: int
    requested_at: datetime
    unreadable_at: datetime | None
    swept_at: datetime | None = Field(description="Every store was asked: no ciphertext is left.")
    renewed_at: datetime | None = Field(description="The private key that old copies could be opened with is destroyed.")
    closed_at: datetime | None
    evidence: dict[str, Any] | None = Field(description="Which places were asked after the sweep, and how much each still had of it.")
    receipt: Receipt | None


class Holding(BaseModel):
    """What is held in one column or kind of file."""

    data_class: str = Field(alias="class")
    form: str
    subject: str
    purpose: str
    source: str
    retention: str
    erasure: str
    recipients: str
    residency: str
    role: str


class InventoryColumn(Holding):
    """A column of a database."""

    database: str
    table: str
    column: str


class InventoryFiles(Holding):
    """A kind of file outside the databases."""

    name: str
    place: str


class Inventory(BaseModel):
    """Everything that hushwire holds, classified."""

    columns: list[InventoryColumn]
    files: list[InventoryFiles]


@router.get("/audit")
async def list_audit(means: Given, caller: Auditing, limit: Limit = 50, cursor: Cursor = None) -> Page[AuditEntry]:
    """The audit log, newest first."""
    async with means.main.organisation(caller.org_id) as connection:
        rows = await audit.newest(connection, before=read_position(cursor), limit=limit + 1)
    items = [
        AuditEntry(
            position=row.position,
            at=row.at,
            actor=row.actor,
            action=row.action,
            object=row.object,
            fields=row.fields,
            previous=row.previous.hex(),
            hash=row.hash.hex(),
        )
        for row in rows[:limit]
    ]
    return Page(items=items, next=write(items[-1].position) if len(rows) > limit else None)


@router.get("/privacy/receipts")
async def list_receipts(means: Given, caller: Proving, limit: Limit = 50, cursor: Cursor = None) -> Page[Erasure]:
    """Erasures, newest first, with their receipts."""
    async with means.main.organisation(caller.org_id) as connection:
        entries = await ledger.listed(connection, before=read_position(cursor), limit=limit + 1)
    items = [
        Erasure(
            id=entry.id,
            kind=entry.kind,
            object_id=entry.object_id,
            recording_id=entry.object_id if entry.kind == "recording" else None,
            operation_id=entry.operation_id,
            position=entry.position,
            requested_at=entry.requested_at,
            unreadable_at=entry.unreadable_at,
            swept_at=entry.swept_at,
            renewed_at=entry.renewed_at,
            closed_at=entry.closed_at,
            evidence=entry.evidence,
            receipt=None if entry.receipt is None else Receipt.model_validate(entry.receipt),
        )
        for entry in entries[:limit]
    ]
    return Page(items=items, next=write(items[-1].position) if len(entries) > limit else None)


@router.get(
    "/privacy/receipts/{receipt_id}", response_class=Response, responses={200: {"model": Receipt, "description": "The signed receipt."}}
)
async def get_receipt(means: Given, caller: Proving, receipt_id: Id) -> Response:
    """One receipt, byte for byte as it was handed out; by its own id, an operation's, or that of what was erased."""
    receipt = await means.erasures.receipt_by_id(caller.org_id, parsed_id(receipt_id))
    if receipt is None:
        raise not_found()
    return Response(receipt, media_type="application/json")


@router.get("/privacy/inventory")
async def get_inventory(caller: Proving) -> Inventory:
    """What is held, whose it is, why, from where, for how long, and what erases it."""
    del caller
    return Inventory(
        columns=[
            InventoryColumn.model_validate({"database": c.database, "table": c.table, "column": c.name, **_holding(c.holding)})
            for c in inventory.columns()
        ],
        files=[InventoryFiles.model_validate({"name": b.name, "place": b.place, **_holding(b.holding)}) for b in inventory.blob_kinds()],
    )


def _holding(holding: inventory.Holding) -> dict[str, str]:
    return {
        "class": holding.data_class.value,
        "form": holding.form.value,
        "subject": holding.subject.value,
        "purpose": holding.purpose.value,
        "source": holding.source.value,
        "retention": holding.retention.value,
        "erasure": holding.erasure.value,
        "recipients": holding.recipients.value,
        "residency": holding.residency.value,
        "role": holding.role.value,
    }
