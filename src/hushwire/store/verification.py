"""What the rows of recordings say of the object store, for whoever compares the two. Runs as the organisation, page by page."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId, RecordingId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Expected:
    """One recording. `is_gone`: its erasure stands in the ledger; `swept_at`: then its ciphertext was said to be gone."""

    id: RecordingId
    org_id: OrgId
    segment: int
    state: str
    object_key: str | None
    region: str
    frames: int | None
    size_bytes: int | None
    digest: bytes | None
    is_gone: bool
    swept_at: datetime | None

    @property
    def key(self) -> str:
        """Where the store keeps it."""
        return self.object_key or f"recordings/{self.org_id}/{self.id}-{self.segment}.hwr"


_QUERY = (
    "SELECT r.id, r.org_id, r.segment, r.state, r.object_key, r.region, r.frames, r.size_bytes, r.digest,"
    " e.id IS NOT NULL OR r.state = 'erased' AS is_gone, e.swept_at"
    " FROM recordings AS r LEFT JOIN erasure_ledger AS e ON e.kind = 'recording' AND e.object_id = r.id"
)


async def page(connection: Connection, after: UUID, limit: int) -> list[Expected]:
    """The organisation's recordings by rising id."""
    rows = await connection.fetch(f"{_QUERY} WHERE r.id > $1 ORDER BY r.id LIMIT $2", after, limit)
    return [Expected(**dict(row)) for row in rows]


async def one(connection: Connection, recording_id: UUID) -> Expected | None:
    """One recording, as it stands now."""
    row = await connection.fetchrow(f"{_QUERY} WHERE r.id = $1", recording_id)
    return None if row is None else Expected(**dict(row))


async def organisations(connection: Connection) -> list[OrgId]:
    """All of them."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]
