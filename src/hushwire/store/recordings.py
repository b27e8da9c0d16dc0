"""Rows of recordings. Every function runs in a transaction of the organisation, so another organisation's rows don't exist for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from hushwire.core.ids import AgentId, CallId, NodeId, OrgId, RecordingId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "r.id, r.org_id, r.call_id, r.agent_id, r.peer_agent_id, r.node_id, r.segment, r.state, r.spool_name, r.object_key, r.region,"
    " r.lawful_basis, r.custody, r.started_at, r.ended_at, r.duration_ms, r.frames, r.size_bytes, r.digest, r.key_fingerprint, r.erased_at,"
    " (EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'recording' AND e.object_id = r.id)"
    " OR EXISTS (SELECT 1 FROM orgs AS o WHERE o.id = r.org_id AND o.erased_at IS NOT NULL)) AS is_erasing,"
    " is_restricted(r.remote_index, r.id, r.call_id) OR any_is_restricted(r.further_indexes) AS is_restricted"
)


@dataclass(frozen=True, slots=True)
class Recording:
    """One row. `is_erasing` is true from the moment that the ledger holds its erasure: no content is given out any more.

    `is_restricted`: it is kept, and not given out either, until the restriction is lifted.
    """

    id: RecordingId
    org_id: OrgId
    call_id: CallId | None
    """None: no call brought it (a greeting that was given as a file)."""
    agent_id: AgentId | None
    peer_agent_id: AgentId | None
    node_id: NodeId
    segment: int
    state: str
    spool_name: str
    object_key: str | None
    region: str
    lawful_basis: str
    custody: Literal["hushwire", "both", "customer"]
    started_at: datetime
    ended_at: datetime | None
    duration_ms: int | None
    frames: int | None
    size_bytes: int | None
    digest: bytes | None
    key_fingerprint: bytes
    erased_at: datetime | None
    is_erasing: bool
    is_restricted: bool

    @property
    def is_gone(self) -> bool:
        """Erased, or on its way there: reads answer 410."""
        return self.is_erasing or self.state == "erased"

    @property
    def is_cut(self) -> bool:
        """Without a final frame: still live, or its writer died. A stored recording without a frame count crashed."""
        return self.state in ("live", "crashed") or (self.state == "stored" and self.frames is None)

    @property
    def is_unmeasured(self) -> bool:
        """It crashed, and only the customer's key could tell how much is in it."""
        return self.digest is not None and self.duration_ms is None

    @property
    def blob_key(self) -> str:
        """Where the object store keeps it, whether it was shipped yet or not."""
        return self.object_key or f"recordings/{self.org_id}/{self.id}-{self.segment}.hwr"


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """What to list; None: any. `agent` matches either side of an internal call. Times bound `started_at`: from <= t < until."""

    agent: AgentId | None = None
    remote_index: bytes | None = None
    call: CallId | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the list, newest first: what a cursor carries."""

    started_at: datetime
    id: UUID


async def get(connection: Connection, recording_id: RecordingId, *, for_update: bool = False) -> Recording | None:
    """The row, or None; `for_update` holds it until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM recordings AS r WHERE r.id = $1"  # noqa: S608
    if for_update:
        # A statement of its own: one that waits for the row answers from before the wait, and an erasure enters while it holds the row.
        await connection.execute("SELECT 1 FROM recordings WHERE id = $1 FOR UPDATE", recording_id)
    row = await connection.fetchrow(query, recording_id)
    return None if row is None else Recording(**dict(row))


async def get_all(connection: Connection, ids: Sequence[RecordingId]) -> list[Recording]:
    """The rows of several."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM recordings AS r WHERE r.id = ANY($1::uuid[])", ids)  # noqa: S608
    return [Recording(**dict(row)) for row in rows]


async def find(connection: Connection, wanted: RecordingFilter, *, after: Place | None = None, limit: int = 50) -> list[Recording]:
    """Rows newest first, after a place in the list; erased ones are listed too, as such."""
    conditions, arguments = ["true"], list[Any]()

    def where(condition: str, *values: Any) -> None:
        numbers = [f"${len(arguments) + n + 1}" for n in range(len(values))]
        conditions.append(condition.format(*numbers))
        arguments.extend(values)

    if wanted.agent is not None:
        where("(r.agent_id = {0} OR r.peer_agent_id = {0})", wanted.agent)
    if wanted.remote_index is not None:
        where("(r.remote_index = {0} OR (r.further_indexes IS NOT NULL AND {0} = ANY (r.further_indexes)))", wanted.remote_index)
    if wanted.call is not None:
        where("r.call_id = {0}", wanted.call)
    if wanted.since is not None:
        where("r.started_at >= {0}", wanted.since)
    if wanted.until is not None:
        where("r.started_at < {0}", wanted.until)
    if after is not None:
        where("(r.started_at, r.id) < ({0}, {1})", after.started_at, after.id)
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM recordings AS r WHERE {' AND '.join(conditions)} ORDER BY r.started_at DESC, r.id DESC LIMIT {int(limit)}",  # noqa: S608
        *arguments,
    )
    return [Recording(**dict(row)) for row in rows]


async def mark_crashed(connection: Connection, recording_id: RecordingId) -> bool:
    """live -> crashed; False if it isn't live any more."""
    tag = await connection.execute("UPDATE recordings SET state = 'crashed' WHERE id = $1 AND state = 'live'", recording_id)
    return tag == "UPDATE 1"


async def mark_failed(connection: Connection, recording_id: RecordingId) -> bool:
    """Nothing is left of it: no file was ever written, or it can't be found."""
    tag = await connection.execute(
        "UPDATE recordings SET state = 'failed' WHERE id = $1 AND state IN ('live', 'closed', 'crashed')", recording_id
    )
    return tag == "UPDATE 1"


async def mark_found(connection: Connection, recording_id: RecordingId) -> bool:
    """failed -> crashed: its file is there after all."""
    tag = await connection.execute("UPDATE recordings SET state = 'crashed' WHERE id = $1 AND state = 'failed'", recording_id)
    return tag == "UPDATE 1"


async def note_file(
    connection: Connection,
    recording_id: RecordingId,
    *,
    ended_at: datetime,
    duration_ms: int | None,
    frames: int | None,
    size_bytes: int,
    digest: bytes,
) -> None:
    """What the file of a recording holds that nobody closed properly; `frames` None: its tail is missing.

    `duration_ms` None: nobody here can look into it, since only the customer holds its key.
    """
    await connection.execute(
        "UPDATE recordings SET ended_at = coalesce(ended_at, $2), duration_ms = $3, frames = $4, size_bytes = $5, digest = $6"
        " WHERE id = $1 AND state IN ('closed', 'crashed') AND digest IS NULL",
        recording_id,
        ended_at,
        duration_ms,
        frames,
        size_bytes,
        digest,
    )


async def mark_stored(connection: Connection, recording_id: RecordingId, object_key: str) -> bool:
    """closed or crashed -> stored; False if it was erased meanwhile."""
    tag = await connection.execute(
        "UPDATE recordings SET state = 'stored', object_key = $2 WHERE id = $1 AND state IN ('closed', 'crashed')"
        " AND NOT EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'recording' AND e.object_id = $1)",
        recording_id,
        object_key,
    )
    return tag == "UPDATE 1"


async def to_ship(connection: Connection, node: NodeId) -> list[tuple[OrgId, RecordingId]]:
    """Recordings of this node that wait in its spool; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, recording_id FROM recordings_to_ship($1)", node)
    return [(row["org_id"], row["recording_id"]) for row in rows]


async def live(connection: Connection, node: NodeId) -> list[tuple[OrgId, RecordingId]]:
    """Recordings that this node says it is making; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, recording_id FROM live_recordings($1)", node)
    return [(row["org_id"], row["recording_id"]) for row in rows]


async def call_ended_at(connection: Connection, recording_id: RecordingId) -> datetime | None:
    """When the recording's call ended, if it did."""
    ended: datetime | None = await connection.fetchval(
        "SELECT c.ended_at FROM calls AS c JOIN recordings AS r ON r.call_id = c.id WHERE r.id = $1", recording_id
    )
    return ended


async def node_unseen_for(connection: Connection, node: NodeId) -> timedelta | None:
    """How long ago the node's gateway last gave a sign of life, by the database's clock alone; None where it never did.

    While the database was down no node could give any: the time counts from the server's start on.
    """
    unseen: timedelta | None = await connection.fetchval("SELECT clock_timestamp() - seen_at FROM nodes WHERE id = $1", node)
    return None if unseen is None else min(unseen, await serving_for(connection))


async def serving_for(connection: Connection) -> timedelta:
    """How long the database could have heard a node."""
    serving: timedelta = await connection.fetchval("SELECT clock_timestamp() - pg_postmaster_start_time()")
    return serving
