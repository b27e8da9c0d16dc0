"""API keys by the hash of their secret; the secret itself is nowhere stored."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection, Database


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that is not revoked. `purpose` is the one that reads of content have where the request names none.

    `is_ended`: its organisation was erased.
    """

    id: UUID
    org_id: OrgId
    name: str
    role: str
    purpose: str
    is_ended: bool


async def find(main: Database, secret_hash: bytes, now: datetime) -> ApiKey | None:
    """The key whose secret has this hash, whoever's it is; None once it is revoked or its time is over."""
    async with main.transaction() as connection:
        found = await connection.fetchrow("SELECT org_id, key_id FROM find_api_key($1)", secret_hash)
    if found is None:
        return None
    async with main.organisation(OrgId(found["org_id"])) as connection:
        row = await connection.fetchrow(
            "SELECT id, org_id, name, role, purpose, EXISTS (SELECT 1 FROM orgs WHERE erased_at IS NOT NULL) AS is_ended FROM api_keys"
            " WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)",
            found["key_id"],
            now,
        )
    return None if row is None else ApiKey(**dict(row))


async def is_live(connection: Connection, key_id: UUID, role: str, now: datetime) -> bool:
    """Whether a key of the organisation still is valid, and of this role. In a transaction of the organisation."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM api_keys WHERE id = $1 AND role = $2 AND revoked_at IS NULL"
            " AND (expires_at IS NULL OR expires_at > $3)) AND NOT EXISTS (SELECT 1 FROM orgs WHERE erased_at IS NOT NULL)",
            key_id,
            role,
            now,
        )
    )


async def is_same_person(connection: Connection, one: str, other: str) -> bool:
    """Whether two actors are one to what two must agree to: the same key, or keys in one person's hands. In its transaction.

    Whoever had both hands on them still has: a person's agent may be gone.
    """
    if one == other:
        return True
    keys = [UUID(actor.removeprefix(_ACTOR)) for actor in (one, other) if actor.startswith(_ACTOR)]
    if len(keys) != 2:
        return False
    held: int = await connection.fetchval("SELECT count(*) FROM api_keys WHERE id = ANY($1::uuid[]) AND person_id IS NOT NULL", keys)
    hands: int = await connection.fetchval("SELECT count(DISTINCT person_id) FROM api_keys WHERE id = ANY($1::uuid[])", keys)
    return held == 2 and hands == 1


_ACTOR: Final = "api-key:"
