"""What HTTP carriers sign with, and marks of what they said: nothing of what it was. In a transaction of no organisation."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Home:
    """Where a carrier is at home, and how it writes numbers."""

    country: str | None
    untyped_is_national: bool


async def secret(connection: Connection, centre_id: UUID) -> bytes | None:
    """What verifies a carrier's requests, sealed; None where there is no such carrier, or it calls nobody back."""
    found: bytes | None = await connection.fetchval("SELECT secret_sealed FROM carrier_secrets WHERE centre_id = $1", centre_id)
    return found


async def home(connection: Connection, centre_id: UUID) -> Home:
    """Of a carrier as it is provisioned; of none, one that says nothing."""
    row = await connection.fetchrow(
        "SELECT settings ->> 'country' AS country, coalesce(settings ->> 'untyped_numbers' = 'national', false) AS untyped_is_national"
        " FROM message_centres WHERE id = $1",
        centre_id,
    )
    return Home(None, untyped_is_national=False) if row is None else Home(**dict(row))


async def is_marked(connection: Connection, centre_id: UUID, request_hash: bytes) -> bool:
    """Whether this request was taken before."""
    query = "SELECT EXISTS (SELECT FROM carrier_callbacks WHERE centre_id = $1 AND request_hash = $2)"
    return bool(await connection.fetchval(query, centre_id, request_hash))


async def mark(connection: Connection, centre_id: UUID, request_hash: bytes, at: datetime) -> bool:
    """This request is taken; False if it was before."""
    tag = await connection.execute(
        "INSERT INTO carrier_callbacks (centre_id, request_hash, taken_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        centre_id,
        request_hash,
        at,
    )
    return tag == "INSERT 0 1"


async def forget(connection: Connection, before: datetime) -> int:
    """Remove marks of requests that can't come again; returns how many."""
    return int((await connection.execute("DELETE FROM carrier_callbacks WHERE taken_at < $1", before)).rpartition(" ")[2])
