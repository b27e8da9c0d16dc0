"""Rows of clocks. Started once for a subject, ended once; nobody removes one."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, kind, subject_kind, subject_id, jurisdictions, started_at, due_at, warn_at, act_at, warned, alarmed_at, look_at,"
    " ended_at, outcome, evidence"
)


@dataclass(frozen=True, slots=True)
class ClockRow:
    """One clock as it is stored."""

    id: UUID
    org_id: OrgId
    kind: str
    subject_kind: str
    subject_id: UUID
    jurisdictions: tuple[str, ...]
    started_at: datetime
    due_at: datetime
    warn_at: tuple[datetime, ...]
    act_at: datetime | None
    warned: int
    alarmed_at: datetime | None
    look_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which clocks of a list. Times are compared with `due_at`; `is_ended` None: both."""

    kind: str | None = None
    subject_id: UUID | None = None
    is_ended: bool | None = None
    due_after: datetime | None = None  # later than this
    due_by: datetime | None = None  # this or earlier
    warned_by: datetime | None = None  # first warning at this or earlier
    not_warned_by: datetime | None = None
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list by end."""

    due_at: datetime
    id: UUID


async def jurisdictions(connection: Connection) -> tuple[tuple[str, ...], str]:
    """The organisation's own tags, and its home country; it was entered by the transaction."""
    row = await connection.fetchrow("SELECT jurisdictions, home_country FROM orgs")
    if row is None:
        raise LookupError("no organisation was entered")
    return tuple(row["jurisdictions"]), row["home_country"]


async def insert(connection: Connection, row: ClockRow) -> bool:
    """Start a clock; False if this kind runs, or ran, for the subject already."""
    made = await connection.fetchval(
        "INSERT INTO clocks (id, org_id, kind, subject_kind, subject_id, jurisdictions, started_at, due_at, warn_at, act_at, look_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        " ON CONFLICT (org_id, kind, subject_kind, subject_id) DO NOTHING RETURNING true",
        row.id,
        row.org_id,
        row.kind,
        row.subject_kind,
        row.subject_id,
        list(row.jurisdictions),
        row.started_at,
        row.due_at,
        list(row.warn_at),
        row.act_at,
        row.look_at,
    )
    return made is not None


async def of_subject(
    connection: Connection, kind: str, subject_kind: str, subject_id: UUID, *, for_update: bool = False
) -> ClockRow | None:
    """The clock of this kind that was started for a subject."""
    found = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM clocks WHERE kind = $1 AND subject_kind = $2 AND subject_id = $3{' FOR UPDATE' if for_update else ''}",  # noqa: S608
        kind,
        subject_kind,
        subject_id,
    )
    return None if found is None else _row(found)


async def get(connection: Connection, clock_id: UUID, *, for_update: bool = False) -> ClockRow | None:
    """One clock."""
    found = await connection.fetchrow(f"SELECT {_COLUMNS} FROM clocks WHERE id = $1{' FOR UPDATE' if for_update else ''}", clock_id)  # noqa: S608
    return None if found is None else _row(found)


async def end(connection: Connection, clock_id: UUID, at: datetime, outcome: str, evidence: dict[str, Any]) -> bool:
    """End a running clock; False if it has ended already."""
    status = await connection.execute(
        "UPDATE clocks SET ended_at = $2, outcome = $3, evidence = $4::jsonb, look_at = NULL WHERE id = $1 AND ended_at IS NULL",
        clock_id,
        at,
        outcome,
        json.dumps(evidence),
    )
    return status == "UPDATE 1"


async def note(connection: Connection, clock_id: UUID, warned: int, alarmed_at: datetime | None, look_at: datetime | None) -> None:
    """What the worker has seen to, and when it looks again."""
    await connection.execute(
        "UPDATE clocks SET warned = $2, alarmed_at = $3, look_at = $4 WHERE id = $1 AND ended_at IS NULL",
        clock_id,
        warned,
        alarmed_at,
        look_at,
    )


async def listed(connection: Connection, wanted: Wanted, *, after: Position | None = None, limit: int = 50) -> list[ClockRow]:
    """Clocks by their end, the earliest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM clocks"  # noqa: S608 (ours)
        " WHERE ($1::text IS NULL OR kind = $1) AND ($2::uuid IS NULL OR subject_id = $2)"
        " AND ($3::boolean IS NULL OR (ended_at IS NOT NULL) = $3)"
        " AND ($4::timestamptz IS NULL OR due_at > $4) AND ($5::timestamptz IS NULL OR due_at <= $5)"
        " AND ($6::timestamptz IS NULL OR warn_at[1] <= $6) AND ($7::timestamptz IS NULL OR warn_at[1] > $7)"
        " AND ($8::text[] IS NULL OR kind = ANY($8))"
        " AND ($9::timestamptz IS NULL OR (due_at, id) > ($9, $10::uuid))"
        " ORDER BY due_at, id LIMIT $11",
        wanted.kind,
        wanted.subject_id,
        wanted.is_ended,
        wanted.due_after,
        wanted.due_by,
        wanted.warned_by,
        wanted.not_warned_by,
        None if wanted.kinds is None else list(wanted.kinds),
        None if after is None else after.due_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in rows]


async def to_look_at(connection: Connection, now: datetime) -> list[tuple[OrgId, UUID]]:
    """Clocks of all organisations that have to be looked at; ids only."""
    rows = await connection.fetch("SELECT org_id, clock_id FROM clocks_to_look_at($1)", now)
    return [(OrgId(row["org_id"]), row["clock_id"]) for row in rows]


async def count_due(connection: Connection, kind: str, now: datetime) -> int:
    """How many clocks of this kind, of all organisations, are due and not ended."""
    found: int = await connection.fetchval("SELECT count_due_clocks($1, $2)", kind, now)
    return found


def _row(found: Any) -> ClockRow:
    fields = dict(found)
    fields["jurisdictions"], fields["warn_at"] = tuple(fields["jurisdictions"]), tuple(fields["warn_at"])
    fields["evidence"] = json.loads(fields["evidence"])
    return ClockRow(**fields)
