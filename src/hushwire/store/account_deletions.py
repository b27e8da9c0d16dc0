"""Rows of account deletions: applied for, verified, carried out."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, agent_id, state, application_sealed, received_at, created_by, verified_at, verified_by, method, operation_id, decided_at,"
    " decided_by, refusal, done_at"
)
BATCH: Final = 5000


@dataclass(frozen=True, slots=True)
class DeletionRow:
    """One application."""

    id: UUID
    org_id: OrgId
    agent_id: UUID
    state: str
    application_sealed: bytes | None = field(repr=False)
    received_at: datetime
    created_by: str
    verified_at: datetime | None = None
    verified_by: str | None = None
    method: str | None = None
    operation_id: UUID | None = None
    decided_at: datetime | None = None
    decided_by: str | None = None
    refusal: str | None = None
    done_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list by time."""

    received_at: datetime
    id: UUID


async def insert(connection: Connection, row: DeletionRow) -> bool:
    """Register an application; False if an open one for the agent is there already."""
    made = await connection.fetchval(
        "INSERT INTO account_deletions (id, org_id, agent_id, state, application_sealed, received_at, created_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (org_id, agent_id) WHERE state IN ('received', 'verified', 'held') DO NOTHING RETURNING true",
        row.id,
        row.org_id,
        row.agent_id,
        row.state,
        row.application_sealed,
        row.received_at,
        row.created_by,
    )
    return made is not None


async def get(connection: Connection, deletion_id: UUID, *, for_update: bool = False) -> DeletionRow | None:
    """One application."""
    lock = " FOR UPDATE" if for_update else ""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM account_deletions WHERE id = $1{lock}", deletion_id)  # noqa: S608 (ours)
    return None if row is None else DeletionRow(**dict(row))


async def open_for(connection: Connection, agent_id: UUID) -> DeletionRow | None:
    """The open application for an agent's account."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM account_deletions WHERE agent_id = $1 AND state IN ('received', 'verified', 'held')",  # noqa: S608 (ours)
        agent_id,
    )
    return None if row is None else DeletionRow(**dict(row))


async def listed(connection: Connection, *, state: str | None = None, after: Position | None = None, limit: int = 50) -> list[DeletionRow]:
    """Applications, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM account_deletions WHERE ($1::text IS NULL OR state = $1)"  # noqa: S608 (ours)
        " AND ($2::timestamptz IS NULL OR (received_at, id) < ($2, $3::uuid)) ORDER BY received_at DESC, id DESC LIMIT $4",
        state,
        None if after is None else after.received_at,
        None if after is None else after.id,
        limit,
    )
    return [DeletionRow(**dict(row)) for row in rows]


async def to_do(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Verified ones of all organisations that are not done; ids only."""
    rows = await connection.fetch("SELECT org_id, deletion_id FROM account_deletions_to_do()")
    return [(OrgId(row["org_id"]), row["deletion_id"]) for row in rows]


async def note_verified(connection: Connection, deletion_id: UUID, at: datetime, by: str, method: str) -> None:
    """The gate is passed."""
    await connection.execute(
        "UPDATE account_deletions SET state = 'verified', verified_at = $2, verified_by = $3, method = $4"
        " WHERE id = $1 AND state = 'received'",
        deletion_id,
        at,
        by,
        method,
    )


async def note_decided(connection: Connection, deletion_id: UUID, state: str, at: datetime, by: str, refusal: str | None) -> None:
    """Refused or withdrawn; what was written goes."""
    await connection.execute(
        "UPDATE account_deletions SET state = $2, decided_at = $3, decided_by = $4, refusal = $5, application_sealed = NULL WHERE id = $1",
        deletion_id,
        state,
        at,
        by,
        refusal,
    )


async def note_operation(connection: Connection, deletion_id: UUID, operation_id: UUID) -> None:
    """Which erasure carries it out; the first one stays."""
    await connection.execute(
        "UPDATE account_deletions SET operation_id = $2 WHERE id = $1 AND operation_id IS NULL", deletion_id, operation_id
    )


async def operation_of(connection: Connection, actor: str) -> UUID | None:
    """The erasure that was entered for an application, if a crash came before that was noted."""
    found: UUID | None = await connection.fetchval(
        "SELECT id FROM erasure_operations WHERE actor = $1 ORDER BY requested_at, id LIMIT 1", actor
    )
    return found


async def note_held(connection: Connection, deletion_id: UUID) -> None:
    """A legal hold keeps some of the agent's data, and so the account."""
    await connection.execute("UPDATE account_deletions SET state = 'held' WHERE id = $1 AND state = 'verified'", deletion_id)


async def note_done(connection: Connection, deletion_id: UUID, at: datetime) -> None:
    """The account is gone, and what was written."""
    await connection.execute(
        "UPDATE account_deletions SET state = 'done', done_at = $2, application_sealed = NULL WHERE id = $1", deletion_id, at
    )


async def retire_key(connection: Connection, row: DeletionRow, at: datetime) -> None:
    """What was written is sealed nowhere any more: its key is to be destroyed."""
    await connection.execute(
        "INSERT INTO retired_keys (key_id, org_id, kind, object_id, retired_at) VALUES ($1, $2, 'case', $1, $3) ON CONFLICT DO NOTHING",
        row.id,
        row.org_id,
        at,
    )


async def detach(connection: Connection, agent_id: UUID) -> int:
    """Take the agent's id out of a batch of calls and recordings, which outlive the account; how many rows were touched."""
    touched = 0
    for table in ("calls", "recordings"):
        for column in ("agent_id", "peer_agent_id"):
            status = await connection.execute(
                f"UPDATE {table} SET {column} = NULL WHERE id IN (SELECT id FROM {table} WHERE {column} = $1 LIMIT $2)",  # noqa: S608 (ours)
                agent_id,
                BATCH,
            )
            touched += int(status.rpartition(" ")[2])
    return touched


async def remove_account(connection: Connection, agent_id: UUID) -> bool:
    """The agent's row goes, with its registrations."""
    return await connection.execute("DELETE FROM agents WHERE id = $1", agent_id) == "DELETE 1"
