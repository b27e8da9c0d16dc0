"""/v1/audit/export and /v1/audit/heads: the audit log as a file that proves itself, and the heads that vouch for it."""

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.responses import StreamingResponse

from hushwire.api.access import Caller, Permission
from hushwire.api.means import Given, needs
from hushwire.api.paging import Cursor, Limit, Page, read_position, write
from hushwire.api.problems import Problem, invalid
from hushwire.privacy.audit_heads import SignedHead
from hushwire.services.audit_exports import Beyond
from hushwire.store import audit as table

router = APIRouter(prefix="/v1/audit", tags=["privacy"])
Auditing = Annotated[Caller, Depends(needs(Permission.AUDIT))]
MEDIA_TYPE: Final = "application/jsonl"
_MOST: Final = (1 << 53) - 1


class SignedHeadView(BaseModel):
    """A signed head (docs/audit.md): keep it, and a log that is cut or rewritten contradicts it."""

    type: str
    org_id: UUID
    seq: int
    position: int
    hash: str
    previous: str
    at: str
    key_id: UUID
    signature: str


@router.get(
    "/export",
    response_class=Response,
    responses={200: {"description": "Canonical JSON lines: docs/audit.md.", "content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
)
async def export_audit(
    means: Given,
    caller: Auditing,
    first: Annotated[int | None, Query(ge=1, le=_MOST, description="Begin at this position or before.")] = None,
    last: Annotated[int | None, Query(ge=1, le=_MOST, description="End at this position or after.")] = None,
) -> Response:
    """The log, its signed heads and the receipts that name it, to be verified offline; a part is widened to the signed heads around it.

    If the answer breaks off, its signed last line is missing: such a file verifies as truncated.
    """
    if first is not None and last is not None and last < first:
        raise invalid("last", "must not be less than first")
    match found := await means.audit_exports.export(caller.org_id, actor=caller.actor, first=first, last=last):
        case Beyond():
            raise Problem(404, "The log does not reach this position.")
        case _:
            name = f"audit-{found.span.first}-{found.span.last}.jsonl"
            return StreamingResponse(found.chunks, media_type=MEDIA_TYPE, headers={"Content-Disposition": f'attachment; filename="{name}"'})


@router.get("/heads")
async def list_heads(means: Given, caller: Auditing, limit: Limit = 50, cursor: Cursor = None) -> Page[SignedHeadView]:
    """Signed heads, newest first: one each hour."""
    before = read_position(cursor)
    async with means.main.organisation(caller.org_id) as connection:
        newest = await table.newest_head(connection)
        last = min(before - 1 if before is not None else _MOST, int(newest["seq"]) if newest else 0)
        heads = [SignedHead(**row) for row in await table.heads(connection, first=max(1, last - limit + 1), last=last)][::-1]
    items = [SignedHeadView.model_validate(head.statement()) for head in heads]
    return Page(items=items, next=write(items[-1].seq) if items and items[-1].seq > 1 else None)
