"""Rows of banned sources. Addresses leave and enter here sealed."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.store.database import Connection

MOST = 65536


@dataclass(frozen=True, slots=True)
class BanRow:
    """One ban. `reason` is `guessing`, `scanning` or `operator`."""

    id: UUID
    source_index: bytes
    source_sealed: bytes
    reason: str
    created_at: datetime
    expires_at: datetime


async def put(connection: Connection, row: BanRow) -> None:
    """Add a ban. One that there is already lasts until the later end, and keeps its id."""
    await connection.execute(
        "INSERT INTO bans (id, source_index, source_sealed, reason, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (source_index) DO UPDATE SET expires_at = excluded.expires_at, reason = excluded.reason"
        " WHERE bans.expires_at < excluded.expires_at",
        row.id, row.source_index, row.source_sealed, row.reason, row.created_at, row.expires_at,
    )  # fmt: skip


async def ends(connection: Connection, now: datetime) -> dict[UUID, datetime]:
    """When each ban that stands ends: the longest `MOST`."""
    found = await connection.fetch("SELECT id, expires_at FROM bans WHERE expires_at > $1 ORDER BY expires_at DESC LIMIT $2", now, MOST)
    return {row["id"]: row["expires_at"] for row in found}


async def read(connection: Connection, ids: Sequence[UUID]) -> list[BanRow]:
    """These rows, oldest first."""
    found = await connection.fetch("SELECT * FROM bans WHERE id = ANY($1) ORDER BY created_at, id", ids)
    return [BanRow(**row) for row in found]


async def remove(connection: Connection, indexes: Iterable[bytes]) -> int:
    """End bans by their sources' indexes; how many there were."""
    return len(await connection.fetch("DELETE FROM bans WHERE source_index = ANY($1) RETURNING id", list(indexes)))


async def remove_ended(connection: Connection, now: datetime) -> None:
    """Delete what is over: the addresses of bans don't outlive them."""
    # A DELETE wakes all gateways, also one that finds nothing; they would look here again because of it, without end.
    if await connection.fetchval("SELECT EXISTS (SELECT 1 FROM bans WHERE expires_at <= $1)", now):
        await connection.execute("DELETE FROM bans WHERE expires_at <= $1", now)
