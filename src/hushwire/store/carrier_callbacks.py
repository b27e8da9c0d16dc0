"""Rows of what HTTP carriers said, until it is carried out. In a transaction of no organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class CallbackRow:
    """One thing that a carrier said, sealed."""

    id: UUID
    centre_id: UUID
    kind: str
    body_sealed: bytes = field(repr=False)


async def secret(connection: Connection, centre_id: UUID) -> bytes | None:
    """What verifies a carrier's requests, sealed; None where there is no such carrier, or it calls nobody back."""
    found: bytes | None = await connection.fetchval("SELECT secret_sealed FROM carrier_secrets WHERE centre_id = $1", centre_id)
    return found


async def add(connection: Connection, row: CallbackRow, request_hash: bytes, at: datetime) -> bool:
    """Keep it; False where the same request was kept before."""
    tag = await connection.execute(
        "INSERT INTO carrier_callbacks (id, centre_id, kind, request_hash, body_sealed, received_at) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (centre_id, request_hash) DO NOTHING",
        row.id,
        row.centre_id,
        row.kind,
        request_hash,
        row.body_sealed,
        at,
    )
    return tag == "INSERT 0 1"


async def waiting(connection: Connection, limit: int) -> list[CallbackRow]:
    """What is to be carried out, oldest first; held until the transaction ends."""
    rows = await connection.fetch(
        "SELECT id, centre_id, kind, body_sealed FROM carrier_callbacks WHERE done_at IS NULL AND body_sealed IS NOT NULL"
        " ORDER BY received_at, id LIMIT $1 FOR UPDATE SKIP LOCKED",
        limit,
    )
    return [CallbackRow(**dict(row)) for row in rows]


async def done(connection: Connection, ids: Sequence[UUID], at: datetime) -> None:
    """They are carried out: nothing of what they said stays."""
    await connection.execute("UPDATE carrier_callbacks SET body_sealed = NULL, done_at = $2 WHERE id = ANY($1::uuid[])", list(ids), at)


async def forget(connection: Connection, before: datetime) -> int:
    """Remove marks of requests that can't come again; returns how many."""
    return int((await connection.execute("DELETE FROM carrier_callbacks WHERE done_at < $1", before)).rpartition(" ")[2])
