"""Rows of cases: a regulator's question, a complaint, a dispute, and the answer that waits for the customer's word."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "id, kind, state, actor, text_sealed, opened_at, released_at, released_by, compulsion_sealed, answer_sealed, answered_at, closed_at,"
    " outcome"
)


@dataclass(frozen=True, slots=True)
class CaseRow:
    """One case; its texts are sealed under the case's own key."""

    id: UUID
    kind: str
    state: str
    actor: str
    text_sealed: bytes = field(repr=False)
    opened_at: datetime
    released_at: datetime | None
    released_by: str | None
    compulsion_sealed: bytes | None = field(repr=False)
    answer_sealed: bytes | None = field(repr=False)
    answered_at: datetime | None
    closed_at: datetime | None
    outcome: str | None


async def open_case(connection: Connection, org_id: OrgId, row: CaseRow) -> None:
    """Insert."""
    await connection.execute(
        "INSERT INTO cases (id, org_id, kind, state, actor, text_sealed, opened_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        row.id,
        org_id,
        row.kind,
        row.state,
        row.actor,
        row.text_sealed,
        row.opened_at,
    )


async def get(connection: Connection, case_id: UUID, *, for_update: bool = False) -> CaseRow | None:
    """One case of the organisation."""
    query = f"SELECT {_COLUMNS} FROM cases WHERE id = $1{' FOR UPDATE' if for_update else ''}"  # noqa: S608
    row = await connection.fetchrow(query, case_id)
    return None if row is None else CaseRow(**dict(row))


async def listed(connection: Connection, *, after: Place | None = None, limit: int = 50) -> list[CaseRow]:
    """Cases, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM cases WHERE $1::timestamptz IS NULL OR (opened_at, id) < ($1, $2::uuid)"  # noqa: S608
        " ORDER BY opened_at DESC, id DESC LIMIT $3",
        None if after is None else after.started_at,
        None if after is None else after.id,
        limit,
    )
    return [CaseRow(**dict(row)) for row in rows]


async def release(connection: Connection, case_id: UUID, state: str, by: str, compulsion_sealed: bytes | None, at: datetime) -> None:
    """open -> authorised or compelled."""
    await connection.execute(
        "UPDATE cases SET state = $2, released_by = $3, compulsion_sealed = $4, released_at = $5 WHERE id = $1 AND state = 'open'",
        case_id,
        state,
        by,
        compulsion_sealed,
        at,
    )


async def answer(connection: Connection, case_id: UUID, answer_sealed: bytes, at: datetime) -> None:
    """authorised or compelled -> answered."""
    await connection.execute(
        "UPDATE cases SET state = 'answered', answer_sealed = $2, answered_at = $3 WHERE id = $1 AND state IN ('authorised', 'compelled')",
        case_id,
        answer_sealed,
        at,
    )


async def close(connection: Connection, case_id: UUID, outcome: str, at: datetime) -> None:
    """Anything but closed -> closed."""
    await connection.execute(
        "UPDATE cases SET state = 'closed', outcome = $2, closed_at = $3 WHERE id = $1 AND state <> 'closed'", case_id, outcome, at
    )
