"""Rows of consents to recording and to messages of marketing. Every function runs in a transaction of the organisation."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "c.id, c.call_id, c.recording_id, c.about, c.how, c.text_version, c.announcement_digest, c.jurisdiction, c.given_at, c.noted_at,"
    " c.noted_by, c.note_sealed, c.withdrawn_at, c.withdrawn_by, c.erased_at, c.remote_index IS NOT NULL AS has_number,"
    " EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'consent' AND e.object_id = c.id) AS is_erasing,"
    " is_restricted(c.remote_index, c.recording_id, c.call_id) AS is_restricted"
)


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One row; its note is closed. `is_erasing` from the moment that the ledger holds its erasure."""

    id: UUID
    call_id: UUID | None
    recording_id: UUID | None
    about: str
    how: str
    text_version: str | None
    announcement_digest: bytes | None
    jurisdiction: str | None
    given_at: datetime
    noted_at: datetime
    noted_by: str
    note_sealed: bytes | None = field(repr=False)
    withdrawn_at: datetime | None
    withdrawn_by: str | None
    erased_at: datetime | None
    has_number: bool
    is_erasing: bool
    is_restricted: bool


@dataclass(frozen=True, slots=True)
class NewConsent:
    """What is noted."""

    id: UUID
    call_id: UUID | None
    recording_id: UUID | None
    remote_index: bytes | None
    how: str
    text_version: str | None
    announcement_digest: bytes | None
    jurisdiction: str | None
    given_at: datetime
    noted_at: datetime
    noted_by: str
    sealed_with: UUID | None
    note_sealed: bytes | None = field(repr=False)
    about: str = "recording"


@dataclass(frozen=True, slots=True)
class About:
    """A call or recording that a consent may be about."""

    call_id: UUID
    remote_index: bytes | None


async def of_recording(connection: Connection, recording_id: UUID) -> About | None:
    """A recording that nobody erases; under the lock of the ledger that stays so until the transaction ends."""
    row = await connection.fetchrow(
        "SELECT call_id, remote_index FROM recordings WHERE id = $1 AND erased_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM erasure_ledger WHERE kind = 'recording' AND object_id = $1)",
        recording_id,
    )
    return None if row is None else About(**dict(row))


async def of_call(connection: Connection, call_id: UUID) -> About | None:
    """A call that is not erased."""
    row = await connection.fetchrow(
        "SELECT id AS call_id, remote_index FROM calls WHERE id = $1 AND erased_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM erasure_ledger WHERE kind = 'call' AND object_id = $1)",
        call_id,
    )
    return None if row is None else About(**dict(row))


async def insert(connection: Connection, org_id: OrgId, new: NewConsent) -> None:
    """A new row."""
    names = [item.name for item in fields(NewConsent)]
    places = ", ".join(f"${place}" for place in range(2, len(names) + 2))
    await connection.execute(
        f"INSERT INTO consents (org_id, {', '.join(names)}) VALUES ($1, {places})",  # noqa: S608 (names are ours)
        org_id,
        *(getattr(new, name) for name in names),
    )


async def get(connection: Connection, consent_id: UUID) -> ConsentRow | None:
    """One consent."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM consents AS c WHERE c.id = $1", consent_id)  # noqa: S608
    return None if row is None else ConsentRow(**dict(row))


async def listed(
    connection: Connection,
    *,
    recording_id: UUID | None = None,
    call_id: UUID | None = None,
    remote_index: bytes | None = None,
    after: Place | None = None,
    limit: int = 50,
) -> list[ConsentRow]:
    """Consents, newest first; those of a call include its recordings'."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM consents AS c WHERE ($1::uuid IS NULL OR c.recording_id = $1) AND ($2::uuid IS NULL OR c.call_id = $2)"  # noqa: S608
        " AND ($3::bytea IS NULL OR c.remote_index = $3) AND ($4::timestamptz IS NULL OR (c.noted_at, c.id) < ($4, $5::uuid))"
        " ORDER BY c.noted_at DESC, c.id DESC LIMIT $6",
        recording_id,
        call_id,
        remote_index,
        None if after is None else after.started_at,
        None if after is None else after.id,
        limit,
    )
    return [ConsentRow(**dict(row)) for row in rows]


async def withdraw(connection: Connection, consent_id: UUID, at: datetime, actor: str) -> bool:
    """It holds no more; False if it was withdrawn already."""
    query = "UPDATE consents SET withdrawn_at = $2, withdrawn_by = $3 WHERE id = $1 AND withdrawn_at IS NULL AND erased_at IS NULL"
    return bool(await connection.execute(query, consent_id, at, actor) == "UPDATE 1")


async def stop_recording(connection: Connection, org_id: OrgId, row_id: UUID, consent_id: UUID, at: datetime) -> None:
    """No gateway records the consent's number from now on, as if it had objected."""
    await connection.execute(
        "INSERT INTO unrecorded_numbers (id, org_id, remote_index, source, source_id, created_at)"
        " SELECT $1, $2, c.remote_index, 'withdrawal', c.id, $4 FROM consents AS c"
        " WHERE c.id = $3 AND c.remote_index IS NOT NULL AND c.about = 'recording'"
        " ON CONFLICT DO NOTHING",
        row_id,
        org_id,
        consent_id,
        at,
    )


async def record_again(connection: Connection, remote_index: bytes, given_at: datetime) -> None:
    """A consent that was given after withdrawals of the same number ends them; objections stay."""
    await connection.execute(
        "DELETE FROM unrecorded_numbers WHERE source = 'withdrawal' AND remote_index = $1 AND created_at <= $2", remote_index, given_at
    )


async def resting_on(connection: Connection, consent_id: UUID, limit: int) -> list[UUID]:
    """Recordings that are kept and rest on this consent: its own, and those of its number whose lawful basis is consent."""
    rows = await connection.fetch(
        "SELECT r.id FROM recordings AS r, consents AS c WHERE c.id = $1 AND c.about = 'recording' AND r.erased_at IS NULL"
        " AND (r.id = c.recording_id OR (r.lawful_basis = 'consent' AND (r.call_id = c.call_id OR r.remote_index = c.remote_index"
        "  OR c.remote_index = ANY (r.further_indexes))))"
        " AND NOT EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'recording' AND e.object_id = r.id)"
        " ORDER BY r.started_at, r.id LIMIT $2",
        consent_id,
        limit,
    )
    return [row["id"] for row in rows]
