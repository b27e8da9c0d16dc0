"""Rows of documents that hushwire makes, of what is inside them, and of how far their building came. As the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import NodeId, OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "d.id, d.org_id, d.kind, d.request_id, d.state, d.region, d.key_fingerprint, d.object_key, d.node_id, d.planned_at, d.contents,"
    " d.done, d.sealed_bytes, d.plain_bytes, d.digest, d.failure, d.failures, d.failing_since, d.retry_at,"
    " d.created_at, d.ready_at, d.expires_at, d.token_hash, d.erased_at,"
    " EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'document' AND e.object_id = d.id) AS is_erasing"
)


@dataclass(frozen=True, slots=True)
class Document:
    """One row. `contents` and `done` count things, for progress; `failure` is the code of why building it broke the last time."""

    id: UUID
    org_id: OrgId
    kind: str
    request_id: UUID | None
    state: str
    region: str
    key_fingerprint: bytes
    object_key: str | None
    node_id: NodeId | None
    planned_at: datetime | None
    contents: int
    done: int
    sealed_bytes: int | None
    plain_bytes: int | None
    digest: bytes | None
    failure: str | None
    failures: int
    failing_since: datetime | None
    retry_at: datetime | None
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None
    token_hash: bytes | None = field(repr=False)
    erased_at: datetime | None
    is_erasing: bool

    @property
    def is_gone(self) -> bool:
        """Erased, or on its way there."""
        return self.is_erasing or self.state == "erased"

    @property
    def blob_key(self) -> str:
        """Where the region's store keeps it."""
        return self.object_key or f"documents/{self.org_id}/{self.id}.hwx"

    @property
    def spool_name(self) -> str:
        """The sealed file that it is built in."""
        return f"{self.id}.hwx"


@dataclass(frozen=True, slots=True)
class Content:
    """One thing that a document contains, is to contain, or leaves out for a reason."""

    position: int
    kind: str
    object_id: UUID
    file: int | None
    left_out: str | None


@dataclass(frozen=True, slots=True)
class FileRow:
    """A finished file of a document; what it says is sealed under the document's key."""

    position: int
    entry_sealed: bytes = field(repr=False)
    sealed_end: int
    frames: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """So many documents could not be built for this reason; `is_over`: they are not tried again."""

    is_over: bool
    failure: str
    documents: int


async def insert(
    connection: Connection, org_id: OrgId, document_id: UUID, request_id: UUID, region: str, key_fingerprint: bytes, now: datetime
) -> None:
    """An export that is to be built."""
    await connection.execute(
        "INSERT INTO documents (id, org_id, kind, request_id, state, region, key_fingerprint, created_at)"
        " VALUES ($1, $2, 'export', $3, 'queued', $4, $5, $6)",
        document_id,
        org_id,
        request_id,
        region,
        key_fingerprint,
        now,
    )


async def get(connection: Connection, document_id: UUID, *, for_update: bool = False) -> Document | None:
    """The row, or None."""
    query = f"SELECT {_COLUMNS} FROM documents AS d WHERE d.id = $1"  # noqa: S608
    if for_update:
        # A statement of its own: one that waits for the row answers from before the wait, and an erasure enters while it holds the row.
        await connection.execute("SELECT 1 FROM documents WHERE id = $1 FOR UPDATE", document_id)
    row = await connection.fetchrow(query, document_id)
    return None if row is None else Document(**dict(row))


async def listed(connection: Connection, *, after: tuple[datetime, UUID] | None = None, limit: int = 50) -> list[Document]:
    """Documents, newest first."""
    at, row_id = after or (None, None)
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM documents AS d WHERE $1::timestamptz IS NULL OR (d.created_at, d.id) < ($1, $2::uuid)"  # noqa: S608
        " ORDER BY d.created_at DESC, d.id DESC LIMIT $3",
        at,
        row_id,
        limit,
    )
    return [Document(**dict(row)) for row in rows]


async def residency(connection: Connection) -> str:
    """The entered organisation's region."""
    found: str = await connection.fetchval("SELECT residency FROM orgs")
    return found


async def to_build(connection: Connection, now: datetime) -> list[tuple[OrgId, UUID]]:
    """Documents that are not finished, and whose turn it is; across tenants, ids only."""
    return [(OrgId(row["org_id"]), row["document_id"]) for row in await connection.fetch("SELECT * FROM documents_to_build($1)", now)]


async def expired(connection: Connection, now: datetime) -> list[tuple[OrgId, UUID]]:
    """Finished and failed documents whose time is over; across tenants, ids only."""
    rows = await connection.fetch("SELECT * FROM documents_that_expired($1)", now)
    return [(OrgId(row["org_id"]), row["document_id"]) for row in rows]


async def plan(
    connection: Connection,
    org_id: OrgId,
    document_id: UUID,
    *,
    indexes: Sequence[bytes],
    contacts: Sequence[UUID],
    shared: Sequence[UUID],
    until: datetime,
    now: datetime,
) -> int:
    """Write down what the document is to contain, by kind and time, and how many things that are. Safe to repeat."""
    await connection.execute(
        "INSERT INTO document_contents (org_id, document_id, position, kind, object_id, left_out)"
        " SELECT $1, $2, row_number() OVER (ORDER BY rank, at, id), kind, id, left_out FROM ("
        "  SELECT 1 AS rank, 'contact' AS kind, id, created_at AS at, NULL AS left_out FROM contacts"
        "   WHERE id = ANY($4::uuid[]) AND erased_at IS NULL"
        "  UNION ALL SELECT 2, 'contact', id, created_at, 'other-person' FROM contacts WHERE id = ANY($5::uuid[]) AND erased_at IS NULL"
        "  UNION ALL SELECT 3, 'case', id, received_at, NULL FROM privacy_requests"
        "   WHERE (remote_index = ANY($3::bytea[]) OR contact_id = ANY($4::uuid[])) AND received_at <= $6 AND erased_at IS NULL"
        "  UNION ALL SELECT 4, 'call', id, started_at, NULL FROM calls"
        "   WHERE (remote_index = ANY($3::bytea[]) OR diverted_to_index = ANY($3::bytea[])) AND started_at <= $6"
        "  UNION ALL SELECT 5, 'recording', id, started_at, NULL FROM recordings"
        "   WHERE (remote_index = ANY($3::bytea[]) OR (further_indexes IS NOT NULL AND further_indexes && $3::bytea[]))"
        "   AND started_at <= $6 AND state NOT IN ('erased', 'failed')"
        "  UNION ALL SELECT 6, 'consent', id, noted_at, NULL FROM consents"
        "   WHERE remote_index = ANY($3::bytea[]) AND noted_at <= $6 AND erased_at IS NULL"
        "  UNION ALL SELECT 7, 'message', id, created_at, NULL FROM messages"
        "   WHERE remote_index = ANY($3::bytea[]) AND created_at <= $6 AND state <> 'receiving' AND erased_at IS NULL"
        " ) AS everything ON CONFLICT DO NOTHING",
        org_id,
        document_id,
        list(indexes),
        list(contacts),
        list(shared),
        until,
    )
    count: int = await connection.fetchval(
        "UPDATE documents SET state = 'building', planned_at = $2,"
        " contents = (SELECT count(*) FROM document_contents WHERE document_id = $1) WHERE id = $1 RETURNING contents",
        document_id,
        now,
    )
    return count


async def waiting(connection: Connection, document_id: UUID, *, limit: int) -> list[Content]:
    """The next things that are in no file yet, in their order."""
    rows = await connection.fetch(
        "SELECT position, kind, object_id, file, left_out FROM document_contents"
        " WHERE document_id = $1 AND file IS NULL AND left_out IS NULL ORDER BY position LIMIT $2",
        document_id,
        limit,
    )
    return [Content(**dict(row)) for row in rows]


async def left_out(connection: Connection, document_id: UUID, *, after: int, limit: int) -> list[Content]:
    """Things that are not inside, and why, after a position."""
    rows = await connection.fetch(
        "SELECT position, kind, object_id, file, left_out FROM document_contents"
        " WHERE document_id = $1 AND left_out IS NOT NULL AND position > $2 ORDER BY position LIMIT $3",
        document_id,
        after,
        limit,
    )
    return [Content(**dict(row)) for row in rows]


async def leave_out(connection: Connection, document_id: UUID, positions: Sequence[int], reason: str) -> None:
    """Why these are not inside."""
    await connection.execute(
        "UPDATE document_contents SET left_out = $3, file = NULL WHERE document_id = $1 AND position = ANY($2::bigint[])",
        document_id,
        list(positions),
        reason,
    )
    await _count_done(connection, document_id)


async def add_file(connection: Connection, org_id: OrgId, document_id: UUID, row: FileRow, positions: Sequence[int]) -> None:
    """A finished file, and what went into it: from here building goes on after a crash."""
    await connection.execute(
        "INSERT INTO document_files (org_id, document_id, position, entry_sealed, sealed_end, frames) VALUES ($1, $2, $3, $4, $5, $6)",
        org_id,
        document_id,
        row.position,
        row.entry_sealed,
        row.sealed_end,
        row.frames,
    )
    await connection.execute(
        "UPDATE document_contents SET file = $3 WHERE document_id = $1 AND position = ANY($2::bigint[])",
        document_id,
        list(positions),
        row.position,
    )
    await _count_done(connection, document_id)


async def files(connection: Connection, document_id: UUID) -> list[FileRow]:
    """The finished files, in their order."""
    rows = await connection.fetch(
        "SELECT position, entry_sealed, sealed_end, frames FROM document_files WHERE document_id = $1 ORDER BY position", document_id
    )
    return [FileRow(**dict(row)) for row in rows]


async def start_over(connection: Connection, document_id: UUID, node_id: NodeId) -> None:
    """What was built is not within reach: nothing is in a file any more. What is left out is looked at again too."""
    await connection.execute("DELETE FROM document_files WHERE document_id = $1", document_id)
    await connection.execute(
        "UPDATE document_contents SET file = NULL, left_out = CASE WHEN left_out = 'other-person' THEN left_out END WHERE document_id = $1",
        document_id,
    )
    await connection.execute("UPDATE documents SET node_id = $2, done = 0 WHERE id = $1", document_id, node_id)


async def mark_ready(
    connection: Connection,
    document_id: UUID,
    *,
    sealed_bytes: int,
    plain_bytes: int,
    digest: bytes,
    now: datetime,
    expires_at: datetime,
) -> bool:
    """In the store, whole; False if it was erased meanwhile."""
    tag = await connection.execute(
        "UPDATE documents SET state = 'ready', sealed_bytes = $2, plain_bytes = $3, digest = $4, ready_at = $5, expires_at = $6,"
        " failure = NULL, failing_since = NULL, retry_at = NULL"
        " WHERE id = $1 AND state = 'building'"
        " AND NOT EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'document' AND e.object_id = $1)",
        document_id,
        sealed_bytes,
        plain_bytes,
        digest,
        now,
        expires_at,
    )
    return tag == "UPDATE 1"


async def note_failure(connection: Connection, document_id: UUID, failure: str, since: datetime, retry_at: datetime) -> None:
    """Building it broke: it is tried again, not before then."""
    await connection.execute(
        "UPDATE documents SET failure = $2, failures = failures + 1, failing_since = $3, retry_at = $4 WHERE id = $1",
        document_id,
        failure,
        since,
        retry_at,
    )


async def mark_failed(connection: Connection, document_id: UUID, failure: str, since: datetime, expires_at: datetime) -> None:
    """It can't be built, and is not tried again. From `expires_at` on what is left of it is erased."""
    await connection.execute(
        "UPDATE documents SET state = 'failed', failure = $2, failures = failures + 1, failing_since = $3, retry_at = NULL, expires_at = $4"
        " WHERE id = $1",
        document_id,
        failure,
        since,
        expires_at,
    )


async def replace_failed(connection: Connection, document_id: UUID, now: datetime) -> None:
    """Another is made in its place: what is left of it is erased at once."""
    await connection.execute("UPDATE documents SET expires_at = $2 WHERE id = $1 AND state = 'failed'", document_id, now)


async def in_trouble(connection: Connection, now: datetime, reasons: Sequence[str]) -> list[Trouble]:
    """What can't be built, across tenants, in numbers alone; first what is not tried again. `reasons`: all that there are, the last for
    what is none of them.
    """
    rows = await connection.fetch("SELECT * FROM documents_in_trouble($1, $2)", now, list(reasons))
    return [Trouble(row["is_over"] == 1, reasons[row["reason"] - 1], row["documents"]) for row in rows]


async def note_place(connection: Connection, document_id: UUID, object_key: str) -> None:
    """Where it is about to be stored: from here on an erasure looks for it there."""
    await connection.execute("UPDATE documents SET object_key = $2 WHERE id = $1", document_id, object_key)


async def set_token(connection: Connection, document_id: UUID, token_hash: bytes) -> None:
    """The one token that downloads it; an earlier one is worth nothing any more."""
    await connection.execute("UPDATE documents SET token_hash = $2 WHERE id = $1", document_id, token_hash)


async def _count_done(connection: Connection, document_id: UUID) -> None:
    await connection.execute(
        "UPDATE documents SET done = (SELECT count(*) FROM document_contents"
        " WHERE document_id = $1 AND (file IS NOT NULL OR left_out IS NOT NULL)) WHERE id = $1",
        document_id,
    )
