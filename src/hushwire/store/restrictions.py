"""Rows of restrictions and objections. Every function runs in a transaction of the organisation."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

Scope = Literal["number", "contact", "call", "recording"]
_COLUMNS: Final = "id, org_id, scope, object_id, request_id, since, placed_by, lifted_at, lifted_by"
_TABLES: Final = {"contact": "contacts", "call": "calls", "recording": "recordings"}


@dataclass(frozen=True, slots=True)
class Restriction:
    """One row; `object_id` is None where a number is restricted."""

    id: UUID
    org_id: OrgId
    scope: str
    object_id: UUID | None
    request_id: UUID | None
    since: datetime
    placed_by: str
    lifted_at: datetime | None
    lifted_by: str | None


@dataclass(frozen=True, slots=True)
class NewRestriction:
    """What is restricted: a number by its blind index, or a thing by its id."""

    id: UUID
    scope: Scope
    remote_index: bytes | None
    object_id: UUID | None
    request_id: UUID | None
    since: datetime
    placed_by: str


async def exists(connection: Connection, scope: Scope, object_id: UUID) -> bool:
    """Whether the organisation has this contact, call or recording."""
    query = f"SELECT EXISTS (SELECT 1 FROM {_TABLES[scope]} WHERE id = $1 AND erased_at IS NULL)"  # noqa: S608 (ours)
    return bool(await connection.fetchval(query, object_id))


async def place(connection: Connection, org_id: OrgId, new: NewRestriction) -> Restriction:
    """Restrict from now on; the restriction in force already, if there is one."""
    await connection.execute(
        "INSERT INTO restricted_subjects (id, org_id, scope, remote_index, object_id, request_id, since, placed_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
        new.id,
        org_id,
        new.scope,
        new.remote_index,
        new.object_id,
        new.request_id,
        new.since,
        new.placed_by,
    )
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM restricted_subjects WHERE lifted_at IS NULL AND (remote_index = $1 OR object_id = $2)",  # noqa: S608
        new.remote_index,
        new.object_id,
    )
    assert row is not None
    return Restriction(**dict(row))


async def get(connection: Connection, restriction_id: UUID) -> Restriction | None:
    """One restriction, in force or lifted."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM restricted_subjects WHERE id = $1", restriction_id)  # noqa: S608
    return None if row is None else Restriction(**dict(row))


async def lift(connection: Connection, restriction_id: UUID, at: datetime, actor: str) -> bool:
    """End it; False if it was lifted already. What the number was is forgotten."""
    tag = await connection.execute(
        "UPDATE restricted_subjects SET lifted_at = $2, lifted_by = $3, remote_index = NULL WHERE id = $1 AND lifted_at IS NULL",
        restriction_id,
        at,
        actor,
    )
    return tag == "UPDATE 1"


async def listed(connection: Connection, *, after: UUID | None = None, limit: int = 50) -> list[Restriction]:
    """Restrictions by id, those that were lifted too."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM restricted_subjects WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",  # noqa: S608
        after,
        limit,
    )
    return [Restriction(**dict(row)) for row in rows]


async def object_to_recording(connection: Connection, org_id: OrgId, row_id: UUID, remote_index: bytes, source: UUID, at: datetime) -> None:
    """No gateway records this number from now on; the database tells them."""
    await connection.execute(
        "INSERT INTO unrecorded_numbers (id, org_id, remote_index, source, source_id, created_at)"
        " VALUES ($1, $2, $3, 'objection', $4, $5) ON CONFLICT DO NOTHING",
        row_id,
        org_id,
        remote_index,
        source,
        at,
    )


async def withdraw_objection(connection: Connection, source: UUID) -> int:
    """The objection of this request holds no more; returns how many of its numbers are unrecorded all the same, for another reason."""
    rows = await connection.fetch(
        "DELETE FROM unrecorded_numbers WHERE source = 'objection' AND source_id = $1 RETURNING remote_index", source
    )
    still: int = await connection.fetchval(
        "SELECT count(DISTINCT remote_index) FROM unrecorded_numbers WHERE remote_index = ANY($1::bytea[])", [row[0] for row in rows]
    )
    return still
