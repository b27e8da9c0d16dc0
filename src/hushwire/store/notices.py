"""Rows of notices: queued with what they tell of, sent by the worker, confirmed by the customer."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, kind, subject_kind, subject_id, occasion, clock_id, state, content_sealed, contact_id, recipient_sealed, tried, attempts,"
    " next_at, created_at, sent_at, acknowledged_at, acknowledged_by, evidence"
)


@dataclass(frozen=True, slots=True)
class NoticeRow:
    """One notice."""

    id: UUID
    org_id: OrgId
    kind: str
    subject_kind: str
    subject_id: UUID
    occasion: str
    clock_id: UUID | None
    state: str
    content_sealed: bytes = field(repr=False)
    contact_id: UUID | None
    recipient_sealed: bytes | None = field(repr=False)
    tried: tuple[UUID, ...]
    attempts: int
    next_at: datetime
    created_at: datetime
    sent_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    evidence: dict[str, Any]


@dataclass(frozen=True, slots=True)
class NewNotice:
    """What is queued."""

    id: UUID
    org_id: OrgId
    kind: str
    subject_kind: str
    subject_id: UUID
    occasion: str
    clock_id: UUID | None
    state: str
    content_sealed: bytes = field(repr=False)
    at: datetime


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the list by time."""

    created_at: datetime
    id: UUID


async def insert(connection: Connection, new: NewNotice) -> bool:
    """Queue a notice; False if this one about this thing is there already."""
    made = await connection.fetchval(
        "INSERT INTO notices (id, org_id, kind, subject_kind, subject_id, occasion, clock_id, state, content_sealed, next_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)"
        " ON CONFLICT (org_id, kind, subject_kind, subject_id, occasion) DO NOTHING RETURNING true",
        new.id,
        new.org_id,
        new.kind,
        new.subject_kind,
        new.subject_id,
        new.occasion,
        new.clock_id,
        new.state,
        new.content_sealed,
        new.at,
    )
    return made is not None


async def about(connection: Connection, kind: str, subject_kind: str, subject_id: UUID, occasion: str) -> NoticeRow | None:
    """The notice of this kind about a thing."""
    found = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM notices WHERE kind = $1 AND subject_kind = $2 AND subject_id = $3 AND occasion = $4",  # noqa: S608
        kind,
        subject_kind,
        subject_id,
        occasion,
    )
    return None if found is None else _row(found)


async def get(connection: Connection, notice_id: UUID, *, for_update: bool = False) -> NoticeRow | None:
    """One notice."""
    found = await connection.fetchrow(f"SELECT {_COLUMNS} FROM notices WHERE id = $1{' FOR UPDATE' if for_update else ''}", notice_id)  # noqa: S608
    return None if found is None else _row(found)


async def listed(connection: Connection, *, state: str | None = None, after: Position | None = None, limit: int = 50) -> list[NoticeRow]:
    """Notices, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM notices WHERE ($1::text IS NULL OR state = $1)"  # noqa: S608 (ours)
        " AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3::uuid)) ORDER BY created_at DESC, id DESC LIMIT $4",
        state,
        None if after is None else after.created_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in rows]


async def to_send(connection: Connection, now: datetime) -> list[tuple[OrgId, UUID]]:
    """Notices of all organisations whose time to be sent has come; ids only."""
    rows = await connection.fetch("SELECT org_id, notice_id FROM notices_to_send($1)", now)
    return [(OrgId(row["org_id"]), row["notice_id"]) for row in rows]


async def count(connection: Connection, state: str, before: datetime) -> int:
    """How many notices of all organisations stand so, that were queued at `before` or earlier."""
    found: int = await connection.fetchval("SELECT count_notices($1, $2)", state, before)
    return found


async def claim(connection: Connection, notice_id: UUID, now: datetime) -> NoticeRow | None:
    """A notice that is to be sent now, locked until the transaction ends; None if another worker has it, or it is no longer due."""
    found = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM notices WHERE id = $1 AND state = 'queued' AND next_at <= $2 FOR UPDATE SKIP LOCKED",  # noqa: S608 (ours)
        notice_id,
        now,
    )
    return None if found is None else _row(found)


async def note_attempt(connection: Connection, notice_id: UUID, contact_id: UUID, attempts: int, next_at: datetime) -> None:
    """It is being sent to this contact; if nothing more is heard it is tried again at `next_at`."""
    await connection.execute(
        "UPDATE notices SET contact_id = $2, attempts = $3, next_at = $4 WHERE id = $1", notice_id, contact_id, attempts, next_at
    )


async def note_sent(connection: Connection, notice_id: UUID, at: datetime, recipient_sealed: bytes, evidence: dict[str, Any]) -> bool:
    """The server took it; False if that was noted already."""
    status = await connection.execute(
        "UPDATE notices SET state = CASE WHEN state = 'acknowledged' THEN state ELSE 'sent' END, sent_at = $2, recipient_sealed = $3,"
        " evidence = $4::jsonb WHERE id = $1 AND sent_at IS NULL",
        notice_id,
        at,
        recipient_sealed,
        json.dumps(evidence),
    )
    return status == "UPDATE 1"


async def note_refused(connection: Connection, notice_id: UUID, contact_id: UUID, next_at: datetime) -> None:
    """This contact's address is refused for good: the next one's turn."""
    await connection.execute(
        "UPDATE notices SET tried = array_append(tried, $2), attempts = 0, next_at = $3 WHERE id = $1 AND state = 'queued'",
        notice_id,
        contact_id,
        next_at,
    )


async def note_state(connection: Connection, notice_id: UUID, state: str) -> None:
    """It waits for a contact ('unaddressed'), or for better ones ('failed')."""
    await connection.execute("UPDATE notices SET state = $2 WHERE id = $1 AND state = 'queued'", notice_id, state)


async def note_later(connection: Connection, notice_id: UUID, next_at: datetime) -> None:
    """Not now: tried again at `next_at`."""
    await connection.execute("UPDATE notices SET next_at = $2 WHERE id = $1 AND state = 'queued'", notice_id, next_at)


async def acknowledge(connection: Connection, notice_id: UUID, at: datetime, by: str) -> bool:
    """The customer has read it; False if that was noted already."""
    status = await connection.execute(
        "UPDATE notices SET state = 'acknowledged', acknowledged_at = $2, acknowledged_by = $3 WHERE id = $1 AND acknowledged_at IS NULL",
        notice_id,
        at,
        by,
    )
    return status == "UPDATE 1"


async def queue_again(connection: Connection, now: datetime) -> int:
    """Contacts have changed: what found nobody is to be sent again. Returns how many."""
    status = await connection.execute("UPDATE notices SET state = 'queued', next_at = $1 WHERE state IN ('unaddressed', 'failed')", now)
    return int(status.rpartition(" ")[2])


def _row(found: Any) -> NoticeRow:
    fields = dict(found)
    fields["tried"], fields["evidence"] = tuple(fields["tried"]), json.loads(fields["evidence"])
    return NoticeRow(**fields)
