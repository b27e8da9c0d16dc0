"""Rows of audits that customers asked for."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, basis, details_sealed, independence_confirmed_at, independence_confirmed_by, requested_at, requested_by, begins_at,"
    " key_id, bundled_at, bundle_digest"
)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One audit."""

    id: UUID
    org_id: OrgId
    basis: str
    details_sealed: bytes = field(repr=False)
    independence_confirmed_at: datetime
    independence_confirmed_by: str
    requested_at: datetime
    requested_by: str
    begins_at: datetime
    key_id: UUID | None
    bundled_at: datetime | None
    bundle_digest: bytes | None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list."""

    requested_at: datetime
    id: UUID


async def lock(connection: Connection, org_id: OrgId) -> None:
    """One request of an organisation at a time, until the transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('audits:' || $1, 0))", str(org_id))


async def requested(connection: Connection, basis: str) -> list[datetime]:
    """When audits on this basis were asked for."""
    return [row[0] for row in await connection.fetch("SELECT requested_at FROM audits WHERE basis = $1", basis)]


async def insert(connection: Connection, row: AuditRow) -> None:
    """Register one."""
    await connection.execute(
        "INSERT INTO audits (id, org_id, basis, details_sealed, independence_confirmed_at, independence_confirmed_by, requested_at,"
        " requested_by, begins_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row.id,
        row.org_id,
        row.basis,
        row.details_sealed,
        row.independence_confirmed_at,
        row.independence_confirmed_by,
        row.requested_at,
        row.requested_by,
        row.begins_at,
    )


async def get(connection: Connection, audit_id: UUID, *, for_update: bool = False) -> AuditRow | None:
    """One audit."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM audits WHERE id = $1{' FOR UPDATE' if for_update else ''}", audit_id)  # noqa: S608
    return None if row is None else _row(row)


async def listed(connection: Connection, *, after: Place | None = None, limit: int = 50) -> list[AuditRow]:
    """Audits, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM audits WHERE ($1::timestamptz IS NULL OR (requested_at, id) < ($1, $2::uuid))"  # noqa: S608 (ours)
        " ORDER BY requested_at DESC, id DESC LIMIT $3",
        None if after is None else after.requested_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in rows]


async def give_key(connection: Connection, row: AuditRow, key_id: UUID, secret_hash: bytes, now: datetime, until: datetime) -> None:
    """An auditor's key with an end; the audit's earlier key opens nothing any more."""
    await connection.execute("UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", row.key_id or UUID(int=0), now)
    await connection.execute(
        "INSERT INTO api_keys (id, org_id, name, role, purpose, secret_hash, created_at, expires_at)"
        " VALUES ($1, $2, $3, 'auditor', 'audit', $4, $5, $6)",
        key_id,
        row.org_id,
        f"audit-{key_id}",
        secret_hash,
        now,
        until,
    )
    await connection.execute("UPDATE audits SET key_id = $2 WHERE id = $1", row.id, key_id)


async def note_bundle(connection: Connection, audit_id: UUID, at: datetime, digest: bytes) -> None:
    """A whole bundle of evidence was handed over."""
    await connection.execute("UPDATE audits SET bundled_at = $2, bundle_digest = $3 WHERE id = $1", audit_id, at, digest)


def _row(found: Any) -> AuditRow:
    return AuditRow(**dict(found))
