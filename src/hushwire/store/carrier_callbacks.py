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
    attempts: int = 0
    country: str | None = None
    """Where its carrier is at home, and how it writes numbers: from its settings."""
    untyped_is_national: bool = False


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


async def waiting(connection: Connection, now: datetime, limit: int) -> list[CallbackRow]:
    """What is to be carried out now, oldest first; held until the transaction ends."""
    rows = await connection.fetch(
        "SELECT b.id, b.centre_id, b.kind, b.body_sealed, b.attempts, c.settings ->> 'country' AS country,"
        " coalesce(c.settings ->> 'untyped_numbers' = 'national', false) AS untyped_is_national"
        " FROM carrier_callbacks AS b JOIN message_centres AS c ON c.id = b.centre_id"
        " WHERE b.done_at IS NULL AND b.set_aside_at IS NULL AND b.body_sealed IS NOT NULL AND (b.due_at IS NULL OR b.due_at <= $1)"
        " ORDER BY b.received_at, b.id LIMIT $2 FOR UPDATE OF b SKIP LOCKED",
        now,
        limit,
    )
    return [CallbackRow(**dict(row)) for row in rows]


async def later(connection: Connection, callback_id: UUID, due_at: datetime) -> None:
    """It could not be carried out: once more then."""
    await connection.execute("UPDATE carrier_callbacks SET attempts = attempts + 1, due_at = $2 WHERE id = $1", callback_id, due_at)


async def set_aside(connection: Connection, callback_id: UUID, at: datetime) -> None:
    """It could not be carried out so often that nobody tries any more."""
    await connection.execute("UPDATE carrier_callbacks SET attempts = attempts + 1, set_aside_at = $2 WHERE id = $1", callback_id, at)


async def take_up(connection: Connection, at: datetime) -> int:
    """Try what was set aside once more; returns how many."""
    query = "UPDATE carrier_callbacks SET set_aside_at = NULL, due_at = $1 WHERE set_aside_at IS NOT NULL"
    return int((await connection.execute(query, at)).rpartition(" ")[2])


async def aside(connection: Connection) -> int:
    """How many are set aside."""
    return int(await connection.fetchval("SELECT count(*) FROM carrier_callbacks WHERE set_aside_at IS NOT NULL"))


async def done(connection: Connection, ids: Sequence[UUID], at: datetime) -> None:
    """They are carried out: nothing of what they said stays."""
    await connection.execute("UPDATE carrier_callbacks SET body_sealed = NULL, done_at = $2 WHERE id = ANY($1::uuid[])", list(ids), at)


async def forget(connection: Connection, before: datetime, aside_before: datetime) -> int:
    """Remove marks of requests that can't come again, and what is set aside for too long, however often it was tried once more; returns
    how many."""
    query = (
        "DELETE FROM carrier_callbacks WHERE done_at < $1 OR set_aside_at < $2"
        " OR set_aside_at IS NOT NULL AND received_at < $2 - interval '1 day'"
    )
    return int((await connection.execute(query, before, aside_before)).rpartition(" ")[2])
