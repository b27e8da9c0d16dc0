"""What was already done under an Idempotency-Key, so that a request that is repeated does nothing twice."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

UNDER_WAY: Final = 102


@dataclass(frozen=True, slots=True)
class Kept:
    """What is known of a key. `status` is `UNDER_WAY` until the answer stands."""

    request_hash: bytes
    status: int
    response: dict[str, Any]


async def begin(
    connection: Connection, org_id: OrgId, key: str, request_hash: bytes, response: dict[str, Any], now: datetime
) -> Kept | None:
    """Take the key in the caller's transaction; if it is taken already, what is kept under it.

    Waits for a transaction that holds the same key, so of two requests at once the second one sees the first.
    """
    tag = await connection.execute(
        "INSERT INTO idempotency (org_id, key, request_hash, status, response, created_at) VALUES ($1, $2, $3, $4, $5::jsonb, $6)"
        " ON CONFLICT DO NOTHING",
        org_id,
        key,
        request_hash,
        UNDER_WAY,
        json.dumps(response),
        now,
    )
    if tag == "INSERT 0 1":
        return None
    row = await connection.fetchrow("SELECT request_hash, status, response FROM idempotency WHERE key = $1", key)
    return None if row is None else Kept(row["request_hash"], row["status"], json.loads(row["response"]))


async def forget(connection: Connection, key: str) -> None:
    """Nothing was done under the key: it may be used again."""
    await connection.execute("DELETE FROM idempotency WHERE key = $1", key)


async def finish(connection: Connection, key: str, status: int, response: dict[str, Any]) -> None:
    """Keep the answer."""
    await connection.execute("UPDATE idempotency SET status = $2, response = $3::jsonb WHERE key = $1", key, status, json.dumps(response))
