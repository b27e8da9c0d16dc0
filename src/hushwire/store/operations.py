"""Rows of erasure operations: what a selector led to, and what holds kept of it. Runs as the organisation."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "id, org_id, scope, state, requested_at, actor, reason, selector, selector_sealed, selector_commitment, note_sealed, planned_at,"
    " unreadable_at, done_at, deferred, follows, receipt"
)


@dataclass(frozen=True, slots=True)
class OperationRow:
    """One row. A time that is set is a step that is done."""

    id: UUID
    org_id: OrgId
    scope: str
    state: str
    requested_at: datetime
    actor: str
    reason: str
    selector: dict[str, Any] | None
    selector_sealed: bytes | None = field(repr=False)
    selector_commitment: bytes
    note_sealed: bytes | None = field(repr=False)
    planned_at: datetime | None
    unreadable_at: datetime | None
    done_at: datetime | None
    deferred: int
    follows: UUID | None
    receipt: dict[str, Any] | None

    @property
    def has_key(self) -> bool:
        """Whether something is sealed under its data key."""
        return self.selector_sealed is not None or self.note_sealed is not None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the things of one kind are."""

    entered: int
    unreadable: int
    swept: int
    closed: int


async def add(connection: Connection, row: OperationRow) -> None:
    """A new operation."""
    await connection.execute(
        "INSERT INTO erasure_operations (id, org_id, scope, state, requested_at, actor, reason, selector, selector_sealed,"
        " selector_commitment, note_sealed, planned_at, deferred, follows)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, $9, $10, $11, $12, $13, $14)",
        row.id,
        row.org_id,
        row.scope,
        row.state,
        row.requested_at,
        row.actor,
        row.reason,
        None if row.selector is None else json.dumps(row.selector),
        row.selector_sealed,
        row.selector_commitment,
        row.note_sealed,
        row.planned_at,
        row.deferred,
        row.follows,
    )


async def get(connection: Connection, operation_id: UUID, *, for_update: bool = False) -> OperationRow | None:
    """The row, or None."""
    query = f"SELECT {_COLUMNS} FROM erasure_operations WHERE id = $1" + (" FOR UPDATE" if for_update else "")  # noqa: S608
    row = await connection.fetchrow(query, operation_id)
    return None if row is None else _row(row)


async def listed(connection: Connection, *, after: Place | None = None, limit: int = 50) -> list[OperationRow]:
    """Newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasure_operations WHERE $1::timestamptz IS NULL OR (requested_at, id) < ($1, $2)"  # noqa: S608
        " ORDER BY requested_at DESC, id DESC LIMIT $3",
        None if after is None else after.started_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in rows]


async def progress(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, dict[str, Progress]]:
    """By operation and kind."""
    rows = await connection.fetch(
        "SELECT operation_id, kind, count(*) AS entered, count(unreadable_at) AS unreadable, count(swept_at) AS swept,"
        " count(closed_at) AS closed FROM erasure_ledger WHERE operation_id = ANY($1::uuid[]) GROUP BY operation_id, kind ORDER BY kind",
        ids,
    )
    found: dict[UUID, dict[str, Progress]] = {each: {} for each in ids}
    for row in rows:
        found[row["operation_id"]][row["kind"]] = Progress(row["entered"], row["unreadable"], row["swept"], row["closed"])
    return found


async def note_planned(connection: Connection, operation_id: UUID, at: datetime, deferred: int) -> None:
    """Everything that is free stands in the ledger."""
    await connection.execute(
        "UPDATE erasure_operations SET planned_at = $2, deferred = $3::bigint,"
        " state = CASE WHEN $3::bigint > 0 THEN 'deferred' ELSE 'running' END WHERE id = $1 AND planned_at IS NULL",
        operation_id,
        at,
        deferred,
    )


async def note_receipt(connection: Connection, operation_id: UUID, at: datetime, receipt: bytes) -> None:
    """Every key is destroyed, and here is the receipt that says so."""
    await connection.execute(
        "UPDATE erasure_operations SET unreadable_at = $2, receipt = $3::jsonb WHERE id = $1 AND receipt IS NULL",
        operation_id,
        at,
        receipt.decode(),
    )


async def still_remembered(connection: Connection) -> list[UUID]:
    """Operations that are carried out, and whose selector was not forgotten: whoever carried them out died before it could."""
    rows = await connection.fetch(
        "SELECT id FROM erasure_operations WHERE state IN ('running', 'done') AND unreadable_at IS NOT NULL AND selector IS NOT NULL"
        " UNION SELECT o.id FROM erasure_operations AS o JOIN erasure_operations AS n ON n.follows = o.id"
        " WHERE n.unreadable_at IS NOT NULL AND o.selector IS NOT NULL"
    )
    return [row["id"] for row in rows]


async def forget_selector(connection: Connection, operation_id: UUID) -> None:
    """What was asked for has led to entries: its words are needed no more."""
    await connection.execute(
        "UPDATE erasure_operations SET selector = NULL, selector_sealed = NULL, note_sealed = NULL WHERE id = $1", operation_id
    )


async def close(connection: Connection, operation_id: UUID, at: datetime) -> None:
    """Nothing is left to do, or another operation has taken it over."""
    await connection.execute(
        "UPDATE erasure_operations SET state = 'done', done_at = $2 WHERE id = $1 AND state <> 'done'", operation_id, at
    )


async def close_finished(connection: Connection, at: datetime) -> list[UUID]:
    """Closes the operations all of whose entries are closed; returns their ids."""
    rows = await connection.fetch(
        "UPDATE erasure_operations AS o SET state = 'done', done_at = $1 WHERE o.state = 'running' AND o.unreadable_at IS NOT NULL"
        " AND NOT EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.operation_id = o.id AND e.closed_at IS NULL) RETURNING o.id",
        at,
    )
    return [row[0] for row in rows]


# What holds kept.


async def defer(connection: Connection, org_id: OrgId, operation_id: UUID, holds: Iterable[UUID], at: datetime) -> None:
    """Note which holds kept what an operation left."""
    await connection.execute(
        "INSERT INTO deferred_erasures (org_id, operation_id, hold_id, deferred_at) SELECT $1, $2, hold, $4 FROM unnest($3::uuid[]) AS hold"
        " ON CONFLICT DO NOTHING",
        org_id,
        operation_id,
        list(holds),
        at,
    )


async def deferred_like(connection: Connection, hold_id: UUID, selector: Mapping[str, Any]) -> UUID | None:
    """The operation that waits already for this hold's release with the same selector."""
    found: UUID | None = await connection.fetchval(
        "SELECT o.id FROM erasure_operations AS o JOIN deferred_erasures AS d ON d.operation_id = o.id"
        " WHERE o.state = 'deferred' AND d.hold_id = $1 AND o.selector = $2::jsonb LIMIT 1",
        hold_id,
        json.dumps(selector),
    )
    return found


async def open_operations(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Operations with steps left; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, operation_id FROM open_erasure_operations()")
    return [(OrgId(row["org_id"]), row["operation_id"]) for row in rows]


async def released(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Deferred operations that may run again, since a hold of theirs was released; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, operation_id FROM released_erasures()")
    return [(OrgId(row["org_id"]), row["operation_id"]) for row in rows]


async def released_hold(connection: Connection, operation_id: UUID) -> UUID | None:
    """A hold of this operation that was released."""
    found: UUID | None = await connection.fetchval(
        "SELECT h.id FROM deferred_erasures AS d JOIN legal_holds AS h ON h.id = d.hold_id"
        " WHERE d.operation_id = $1 AND h.released_at IS NOT NULL ORDER BY h.released_at DESC LIMIT 1",
        operation_id,
    )
    return found


def _row(row: Any) -> OperationRow:
    fields = dict(row)
    for name in ("selector", "receipt"):
        if isinstance(fields[name], str):
            fields[name] = json.loads(fields[name])
    return OperationRow(**fields)
