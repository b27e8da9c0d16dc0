"""The erasure ledger's rows: one per erased object of any kind, there before anything is destroyed, never deleted."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import BucketId, CallId, NodeId, OrgId, RecordingId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, position, kind, object_id, operation_id, caused_by, requested_at, actor, reason, commitment, commitment_salt,"
    " key_fingerprint, bucket_id, stopped_at, unreadable_at, swept_at, renewed_at, closed_at, evidence, receipt"
)


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One row; a time that is set is a step that is done."""

    id: UUID
    org_id: OrgId
    position: int
    kind: str
    object_id: UUID
    operation_id: UUID | None
    caused_by: UUID | None
    requested_at: datetime
    actor: str
    reason: str
    commitment: bytes
    commitment_salt: bytes
    key_fingerprint: bytes | None
    bucket_id: BucketId | None
    stopped_at: datetime | None
    unreadable_at: datetime | None
    swept_at: datetime | None
    renewed_at: datetime | None
    closed_at: datetime | None
    evidence: dict[str, Any] | None
    receipt: dict[str, Any] | None

    @property
    def recording_id(self) -> RecordingId:
        """The recording that it erases."""
        assert self.kind == "recording"
        return RecordingId(self.object_id)


@dataclass(frozen=True, slots=True)
class Intent:
    """What a new entry says; its position is the ledger's to give."""

    id: UUID
    kind: str
    object_id: UUID
    requested_at: datetime
    actor: str
    reason: str
    commitment: bytes
    commitment_salt: bytes
    key_fingerprint: bytes | None
    bucket_id: BucketId | None
    stopped_at: datetime | None
    operation_id: UUID | None = None
    caused_by: UUID | None = None


async def append(connection: Connection, org_id: OrgId, intent: Intent) -> LedgerEntry:
    """The new entry at the next position, or the one that this object has already. Waits for other appends to commit."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ledger:' || $1, 0))", str(org_id))
    if (known := await by_object(connection, intent.kind, intent.object_id)) is not None:
        return known
    await connection.execute(
        "INSERT INTO erasure_ledger (id, org_id, position, kind, object_id, requested_at, actor, reason, commitment, commitment_salt,"
        " key_fingerprint, bucket_id, stopped_at, operation_id, caused_by)"
        " SELECT $1, $2, coalesce(max(position), 0) + 1, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 FROM erasure_ledger",
        intent.id,
        org_id,
        intent.kind,
        intent.object_id,
        intent.requested_at,
        intent.actor,
        intent.reason,
        intent.commitment,
        intent.commitment_salt,
        intent.key_fingerprint,
        intent.bucket_id,
        intent.stopped_at,
        intent.operation_id,
        intent.caused_by,
    )
    return await lock(connection, intent.id)


async def by_recording(connection: Connection, recording_id: RecordingId) -> LedgerEntry | None:
    """The entry of a recording, if its erasure was ever asked for."""
    return await by_object(connection, "recording", recording_id)


async def by_object(connection: Connection, kind: str, object_id: UUID) -> LedgerEntry | None:
    """The entry of an object of any kind, if its erasure was ever asked for."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE kind = $1 AND object_id = $2",  # noqa: S608
        kind,
        object_id,
    )
    return None if row is None else _entry(row)


async def get(connection: Connection, ledger_id: UUID) -> LedgerEntry | None:
    """The entry, or None."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM erasure_ledger WHERE id = $1", ledger_id)  # noqa: S608
    return None if row is None else _entry(row)


async def lock(connection: Connection, ledger_id: UUID) -> LedgerEntry:
    """The entry as it stands, held until the transaction ends."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM erasure_ledger WHERE id = $1 FOR UPDATE", ledger_id)  # noqa: S608
    return _entry(row)


async def listed(connection: Connection, *, before: int | None = None, limit: int = 50) -> list[LedgerEntry]:
    """Entries by falling position."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE position < coalesce($1, position + 1) ORDER BY position DESC LIMIT $2",  # noqa: S608
        before,
        limit,
    )
    return [_entry(row) for row in rows]


async def organisations(connection: Connection) -> list[OrgId]:
    """Organisations with entries that have steps left; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, ledger_id FROM open_erasures()")
    return list(dict.fromkeys(OrgId(row["org_id"]) for row in rows))


async def open_entries(connection: Connection) -> list[LedgerEntry]:
    """The organisation's entries with steps left, oldest first."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM erasure_ledger WHERE closed_at IS NULL ORDER BY requested_at, id")  # noqa: S608
    return [_entry(row) for row in rows]


async def note_stopped(connection: Connection, ledger_id: UUID, at: datetime) -> None:
    """No process records it any more."""
    await connection.execute("UPDATE erasure_ledger SET stopped_at = $2 WHERE id = $1 AND stopped_at IS NULL", ledger_id, at)


async def note_unreadable(connection: Connection, ledger_id: UUID, at: datetime, receipt: bytes) -> None:
    """The key is gone, and here is the receipt that says so."""
    await connection.execute(
        "UPDATE erasure_ledger SET unreadable_at = $2, receipt = $3::jsonb WHERE id = $1 AND receipt IS NULL",
        ledger_id,
        at,
        receipt.decode(),
    )


async def note_swept(connection: Connection, ledger_id: UUID, at: datetime) -> None:
    """No store holds its ciphertext any more, each was asked."""
    await connection.execute("UPDATE erasure_ledger SET swept_at = $2 WHERE id = $1 AND swept_at IS NULL", ledger_id, at)


async def note_renewed(connection: Connection, ledger_id: UUID, at: datetime) -> None:
    """The private key that its sealed key could be opened with is destroyed."""
    await connection.execute("UPDATE erasure_ledger SET renewed_at = $2 WHERE id = $1 AND renewed_at IS NULL", ledger_id, at)


async def note_closed(connection: Connection, ledger_id: UUID, at: datetime) -> None:
    """Nothing is left to do."""
    await connection.execute("UPDATE erasure_ledger SET closed_at = $2 WHERE id = $1 AND closed_at IS NULL", ledger_id, at)


@dataclass(frozen=True, slots=True)
class Wipe:
    """The newest command that asks a node to stop a call's recording and wipe its key."""

    id: UUID
    is_done: bool
    outcome: str | None


async def command_wipe(connection: Connection, command_id: UUID, org_id: OrgId, node: NodeId, call: CallId, at: datetime) -> None:
    """Ask the node of a live recording to stop it and wipe its key; the database tells the node."""
    await connection.execute(
        "INSERT INTO node_commands (id, org_id, node_id, call_id, action, created_at) VALUES ($1, $2, $3, $4, 'recording.wipe', $5)",
        command_id,
        org_id,
        node,
        call,
        at,
    )


async def last_wipe(connection: Connection, call: CallId, since: datetime) -> Wipe | None:
    """The newest such command of a call that is not older than `since`."""
    row = await connection.fetchrow(
        "SELECT id, done_at IS NOT NULL AS is_done, outcome FROM node_commands"
        " WHERE call_id = $1 AND action = 'recording.wipe' AND created_at >= $2 ORDER BY created_at DESC, id DESC LIMIT 1",
        call,
        since,
    )
    return None if row is None else Wipe(**dict(row))


def _entry(row: Any) -> LedgerEntry:
    fields = dict(row)
    for name in ("evidence", "receipt"):
        if isinstance(fields[name], str):
            fields[name] = json.loads(fields[name])
    return LedgerEntry(**fields)
