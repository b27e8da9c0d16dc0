"""The erasure ledger's rows: one per erased object of any kind, there before anything is destroyed, never deleted."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from hushwire.core.ids import BucketId, CallId, NodeId, OrgId, RecordingId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, position, kind, object_id, operation_id, caused_by, requested_at, actor, reason, commitment, commitment_salt,"
    " key_fingerprint, bucket_id, stopped_at, unreadable_at, swept_at, renewed_at, closed_at, evidence, receipt"
)

_APPENDED: Final = (
    "id", "position", "kind", "object_id", "requested_at", "actor", "reason", "commitment", "commitment_salt", "key_fingerprint",
    "bucket_id", "stopped_at", "operation_id", "caused_by",
)  # fmt: skip


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


async def lock_ledger(connection: Connection, org_id: OrgId) -> None:
    """Nobody else appends to the organisation's ledger, or places a hold, until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('ledger:' || $1, 0))", str(org_id))


async def append(connection: Connection, org_id: OrgId, intents: Sequence[Intent]) -> list[LedgerEntry]:
    """The new entries at the next positions, in their order. The ledger must be locked, and none of the objects stand in it."""
    last: int = await connection.fetchval("SELECT coalesce(max(position), 0) FROM erasure_ledger")
    entries = [
        LedgerEntry(
            id=intent.id,
            org_id=org_id,
            position=position,
            kind=intent.kind,
            object_id=intent.object_id,
            operation_id=intent.operation_id,
            caused_by=intent.caused_by,
            requested_at=intent.requested_at,
            actor=intent.actor,
            reason=intent.reason,
            commitment=intent.commitment,
            commitment_salt=intent.commitment_salt,
            key_fingerprint=intent.key_fingerprint,
            bucket_id=intent.bucket_id,
            stopped_at=intent.stopped_at,
            unreadable_at=None,
            swept_at=None,
            renewed_at=None,
            closed_at=None,
            evidence=None,
            receipt=None,
        )
        for position, intent in enumerate(intents, start=last + 1)
    ]
    await connection.execute(
        "INSERT INTO erasure_ledger (id, org_id, position, kind, object_id, requested_at, actor, reason, commitment, commitment_salt,"
        " key_fingerprint, bucket_id, stopped_at, operation_id, caused_by)"
        " SELECT id, $1, position, kind, object_id, requested_at, actor, reason, commitment, salt, fingerprint, bucket_id, stopped_at,"
        " operation_id, caused_by"
        " FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::timestamptz[], $7::text[], $8::text[], $9::bytea[],"
        " $10::bytea[], $11::bytea[], $12::uuid[], $13::timestamptz[], $14::uuid[], $15::uuid[])"
        " AS n (id, position, kind, object_id, requested_at, actor, reason, commitment, salt, fingerprint, bucket_id, stopped_at,"
        " operation_id, caused_by)",
        org_id,
        *([getattr(entry, name) for entry in entries] for name in _APPENDED),
    )
    return entries


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


async def by_any_object(connection: Connection, object_id: UUID) -> LedgerEntry | None:
    """The entry of whatever has this id."""
    kinds = "('recording', 'call', 'message', 'contact', 'document', 'case', 'organisation')"  # written out: then the index serves
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE kind IN {kinds} AND object_id = $1",  # noqa: S608
        object_id,
    )
    return None if row is None else _entry(row)


async def get(connection: Connection, ledger_id: UUID) -> LedgerEntry | None:
    """The entry, or None."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM erasure_ledger WHERE id = $1", ledger_id)  # noqa: S608
    return None if row is None else _entry(row)


async def lock_readable(connection: Connection, ids: Sequence[UUID]) -> set[UUID]:
    """Those of the entries whose keys are not noted as destroyed yet, held until the transaction ends."""
    rows = await connection.fetch(
        "SELECT id FROM erasure_ledger WHERE id = ANY($1::uuid[]) AND unreadable_at IS NULL ORDER BY position FOR UPDATE", ids
    )
    return {row[0] for row in rows}


async def stopped_among(connection: Connection, ids: Sequence[UUID]) -> list[LedgerEntry]:
    """Those of the entries that wait for nothing but the end of their keys."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE id = ANY($1::uuid[]) AND stopped_at IS NOT NULL AND unreadable_at IS NULL"  # noqa: S608
        " ORDER BY position",
        ids,
    )
    return [_entry(row) for row in rows]


async def caused_by(connection: Connection, ledger_id: UUID) -> list[LedgerEntry]:
    """The entries of what falls with an entry's object."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM erasure_ledger WHERE caused_by = $1 ORDER BY position", ledger_id)  # noqa: S608
    return [_entry(row) for row in rows]


async def of_operation(
    connection: Connection, operation_id: UUID, *, step: Literal["stop", "destroy"], limit: int | None = None
) -> list[LedgerEntry]:
    """The entries of an operation that wait for a live recording to stop, or for their keys to be destroyed."""
    waiting = "stopped_at IS NULL" if step == "stop" else "stopped_at IS NOT NULL AND unreadable_at IS NULL"
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE operation_id = $1 AND {waiting} ORDER BY position LIMIT $2",  # noqa: S608
        operation_id,
        limit,
    )
    return [_entry(row) for row in rows]


async def items(connection: Connection, operation_id: UUID) -> list[tuple[str, UUID, int, bytes]]:
    """Kind, object, position and commitment of an operation's entries, in the order of the ledger."""
    rows = await connection.fetch(
        "SELECT kind, object_id, position, commitment FROM erasure_ledger WHERE operation_id = $1 ORDER BY position", operation_id
    )
    return [(row["kind"], row["object_id"], row["position"], row["commitment"]) for row in rows]


async def is_any_readable(connection: Connection, operation_id: UUID) -> bool:
    """Whether a key of an operation's entries may still exist."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM erasure_ledger WHERE operation_id = $1 AND unreadable_at IS NULL)", operation_id
        )
    )


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


async def open_entries(connection: Connection, *, after: int = 0, limit: int = 1000) -> list[LedgerEntry]:
    """The organisation's entries after a position that have steps left before their bucket's renewal, in the order of the ledger."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE position > $1 AND swept_at IS NULL AND closed_at IS NULL ORDER BY position LIMIT $2",  # noqa: S608
        after,
        limit,
    )
    return [_entry(row) for row in rows]


async def readable_entries(connection: Connection, *, limit: int = 1000) -> list[LedgerEntry]:
    """The organisation's entries whose keys may still exist; those that wait for nobody first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM erasure_ledger WHERE unreadable_at IS NULL ORDER BY stopped_at IS NULL, position LIMIT $1",  # noqa: S608
        limit,
    )
    return [_entry(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Waiting:
    """Entries that wait for the renewal of one bucket: how many, and when the oldest was asked for."""

    bucket_id: BucketId | None
    entries: int
    oldest: datetime


async def waiting_for_renewal(connection: Connection) -> list[Waiting]:
    """By bucket."""
    rows = await connection.fetch(
        "SELECT bucket_id, count(*) AS entries, min(requested_at) AS oldest FROM erasure_ledger"
        " WHERE closed_at IS NULL AND renewed_at IS NULL AND unreadable_at IS NOT NULL GROUP BY bucket_id"
    )
    return [Waiting(**dict(row)) for row in rows]


async def note_renewed_where(
    connection: Connection, at: datetime, *, unreadable_before: datetime | None, but_buckets: Sequence[BucketId]
) -> int:
    """Notes entries whose keys went before a time (None: any), and were in none of these buckets; returns how many."""
    tag = await connection.execute(
        "UPDATE erasure_ledger SET renewed_at = $1 WHERE closed_at IS NULL AND renewed_at IS NULL"
        " AND unreadable_at < coalesce($2::timestamptz, 'infinity') AND NOT coalesce(bucket_id = ANY($3::uuid[]), false)",
        at,
        unreadable_before,
        but_buckets,
    )
    return int(tag.rpartition(" ")[2])


async def close_all(connection: Connection, at: datetime) -> list[UUID]:
    """Closes the entries that have nothing left to do; returns their ids."""
    rows = await connection.fetch(
        "UPDATE erasure_ledger SET closed_at = $1 WHERE closed_at IS NULL AND swept_at IS NOT NULL AND renewed_at IS NOT NULL RETURNING id",
        at,
    )
    return [row[0] for row in rows]


async def note_stopped(connection: Connection, ids: Sequence[UUID], at: datetime) -> None:
    """No process records them any more."""
    await connection.execute("UPDATE erasure_ledger SET stopped_at = $2 WHERE id = ANY($1::uuid[]) AND stopped_at IS NULL", ids, at)


async def note_unreadable(connection: Connection, ids: Sequence[UUID], at: datetime) -> None:
    """The keys are gone."""
    await connection.execute("UPDATE erasure_ledger SET unreadable_at = $2 WHERE id = ANY($1::uuid[]) AND unreadable_at IS NULL", ids, at)


async def note_receipt(connection: Connection, ledger_id: UUID, at: datetime, receipt: bytes) -> None:
    """The key is gone, and here is the receipt that says so."""
    await connection.execute(
        "UPDATE erasure_ledger SET unreadable_at = $2, receipt = $3::jsonb WHERE id = $1 AND receipt IS NULL",
        ledger_id,
        at,
        receipt.decode(),
    )


async def note_swept(connection: Connection, evidence: Mapping[UUID, Mapping[str, Any]], at: datetime) -> None:
    """Nothing of them is left: every place was asked, and here is what each answered."""
    await connection.execute(
        "UPDATE erasure_ledger AS e SET swept_at = $3, evidence = n.evidence::jsonb"
        " FROM unnest($1::uuid[], $2::text[]) AS n (id, evidence) WHERE e.id = n.id AND e.swept_at IS NULL",
        list(evidence),
        [json.dumps(found) for found in evidence.values()],
        at,
    )


@dataclass(frozen=True, slots=True)
class Wipe:
    """The newest command that asks a node to stop a call's recording and wipe its key."""

    id: UUID
    is_done: bool
    outcome: str | None


async def command_wipe(connection: Connection, org_id: OrgId, wipes: Sequence[tuple[UUID, NodeId, CallId]], at: datetime) -> None:
    """Ask the nodes of live recordings to stop them and wipe their keys (command's id, node, call); the database tells the nodes."""
    await connection.execute(
        "INSERT INTO node_commands (id, org_id, node_id, call_id, action, created_at)"
        " SELECT n.id, $1, n.node_id, n.call_id, 'recording.wipe', $2"
        " FROM unnest($3::uuid[], $4::uuid[], $5::uuid[]) AS n (id, node_id, call_id)",
        org_id,
        at,
        [command for command, _, _ in wipes],
        [node for _, node, _ in wipes],
        [call for _, _, call in wipes],
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
