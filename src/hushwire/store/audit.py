"""Rows of the audit log: appended, never changed; the database's grants allow nothing else."""

import json
from collections.abc import AsyncIterator, Mapping
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
    """All rows of the organisation by position, fetched in batches."""
    position = -1 << 62
    while batch := await following(connection, position):
        for row in batch:
            yield row
        position = batch[-1].position


async def following(connection: Connection, position: int, *, last: int = (1 << 62) - 1, limit: int = _BATCH) -> list[AuditRow]:
    """The next rows after `position` and up to `last`, by rising position."""
    found = await connection.fetch(
        "SELECT org_id, position, at, actor, action, object, fields, previous, hash FROM audit_log"
        " WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3",
        position,
        last,
        limit,
    )
    return [_row(row) for row in found]


async def restores(connection: Connection) -> list[AuditRow]:
    """The rows that tell of a restore from a backup, oldest first."""
    found = await connection.fetch(
        "SELECT org_id, position, at, actor, action, object, fields, previous, hash FROM audit_log"
        " WHERE action = 'restored' AND fields ? 'backup_at' ORDER BY position"
    )
    return [_row(row) for row in found]


async def newest(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[AuditRow]:
    """Rows by falling position."""
    found = await connection.fetch(
        "SELECT org_id, position, at, actor, action, object, fields, previous, hash FROM audit_log"
        " WHERE position < coalesce($1, position + 1) ORDER BY position DESC LIMIT $2",
        before,
        limit,
    )
    return [_row(row) for row in found]


async def receipts(connection: Connection, *, first: int = 0, last: int = (1 << 62) - 1) -> list[dict[str, Any]]:
    """The receipts, of single erasures and of operations, that name a head of these positions: each is one that the chain had."""
    found = await connection.fetch(
        "SELECT receipt FROM (SELECT receipt FROM erasure_ledger UNION ALL SELECT receipt FROM erasure_operations) AS given"
        " WHERE receipt IS NOT NULL AND (receipt->>'audit_position')::bigint BETWEEN $1 AND $2",
        first,
        last,
    )
    return [json.loads(row["receipt"]) if isinstance(row["receipt"], str) else row["receipt"] for row in found]


_HEAD: Final = "org_id, seq, position, hash, previous, at, key_id, signature"


async def heads(connection: Connection, *, first: int = 0, last: int = (1 << 62) - 1) -> list[dict[str, Any]]:
    """Signed heads of these numbers, oldest first."""
    found = await connection.fetch(
        f"SELECT {_HEAD} FROM audit_heads WHERE seq BETWEEN $1 AND $2 ORDER BY seq",  # noqa: S608 (ours)
        first,
        last,
    )
    return [dict(row) for row in found]


async def newest_head(connection: Connection) -> dict[str, Any] | None:
    """The newest signed head."""
    row = await connection.fetchrow(f"SELECT {_HEAD} FROM audit_heads ORDER BY seq DESC LIMIT 1")  # noqa: S608 (ours)
    return None if row is None else dict(row)


async def heads_around(connection: Connection, first: int, last: int) -> tuple[int | None, int | None]:
    """Numbers of the newest signed head before row `first`, and of the oldest at row `last` or later."""
    before = await connection.fetchval("SELECT max(seq) FROM audit_heads WHERE position < $1", first)
    after = await connection.fetchval("SELECT min(seq) FROM audit_heads WHERE position >= $1", last)
    return before, after


async def add_head(connection: Connection, head: Mapping[str, Any]) -> None:
    """Insert a signed head."""
    await connection.execute(
        f"INSERT INTO audit_heads ({_HEAD}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",  # noqa: S608 (ours)
        *(head[name] for name in _HEAD.split(", ")),
    )


async def organisations_without_head(connection: Connection, since: datetime) -> list[OrgId]:
    """Organisations whose newest signed head is older; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT orgs_without_head($1)", since)]


def _row(row: Any) -> AuditRow:
    fields = dict(row)
    found = fields["fields"]
    return AuditRow(**{**fields, "fields": json.loads(found) if isinstance(found, str) else found})
