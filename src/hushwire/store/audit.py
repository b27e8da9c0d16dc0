"""Rows of the audit log: appended, never changed; the database's grants allow nothing else."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One link of an organisation's chain."""

    org_id: OrgId
    position: int
    at: datetime
    actor: str
    action: str
    object: str
    fields: dict[str, Any]
    previous: bytes
    hash: bytes


async def lock_head(connection: Connection, org_id: OrgId) -> tuple[int, bytes] | None:
    """Position and hash of the newest row, None in an empty log; nobody else appends until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('audit:' || $1, 0))", str(org_id))
    row = await connection.fetchrow("SELECT position, hash FROM audit_log ORDER BY position DESC LIMIT 1")
    return None if row is None else (row["position"], row["hash"])


async def insert(connection: Connection, row: AuditRow) -> None:
    """Append a row that was linked to the head."""
    await connection.execute(
        "INSERT INTO audit_log (org_id, position, at, actor, action, object, fields, previous, hash)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9)",
        row.org_id,
        row.position,
        row.at,
        row.actor,
        row.action,
        row.object,
        json.dumps(row.fields),
        row.previous,
        row.hash,
    )


async def rows(connection: Connection) -> AsyncIterator[AuditRow]:
    """All rows of the organisation by position, fetched in batches; one transaction, so one state."""
    position = -1 << 62
    while True:
        batch = await connection.fetch(
            "SELECT org_id, position, at, actor, action, object, fields, previous, hash FROM audit_log"
            " WHERE position > $1 ORDER BY position LIMIT $2",
            position,
            _BATCH,
        )
        for row in batch:
            yield _row(row)
        if len(batch) < _BATCH:
            return
        position = batch[-1]["position"]


async def newest(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[AuditRow]:
    """Rows by falling position."""
    found = await connection.fetch(
        "SELECT org_id, position, at, actor, action, object, fields, previous, hash FROM audit_log"
        " WHERE position < coalesce($1, position + 1) ORDER BY position DESC LIMIT $2",
        before,
        limit,
    )
    return [_row(row) for row in found]


async def receipts(connection: Connection) -> list[dict[str, Any]]:
    """The receipts of the organisation's ledger: each names a head that the chain had."""
    found = await connection.fetch("SELECT receipt FROM erasure_ledger WHERE receipt IS NOT NULL ORDER BY position")
    return [json.loads(row["receipt"]) if isinstance(row["receipt"], str) else row["receipt"] for row in found]


def _row(row: Any) -> AuditRow:
    fields = dict(row)
    found = fields["fields"]
    return AuditRow(**{**fields, "fields": json.loads(found) if isinstance(found, str) else found})
