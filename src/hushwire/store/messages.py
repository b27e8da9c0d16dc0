"""Rows of text messages. Every function runs in a transaction of the organisation; sealed columns come and go closed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.core.values import frozen
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "m.id, m.org_id, m.direction, m.channel, m.state, m.agent_id, m.peer_agent_id, m.number_id, m.batch_id, m.centre_id, m.created_at,"
    " m.submitted_at, m.ended_at, m.read_at, m.encoding, m.parts, m.is_marketing, m.is_incomplete, m.is_binary, m.keyword, m.sent_by,"
    " m.country, m.number_class, m.rules_version, m.error, m.sealed_with, m.remote_sealed, m.local_sealed, m.body_sealed, m.thread_id,"
    " m.erased_at, EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'message' AND e.object_id = m.id) AS is_erasing"
)
_RESTRICTED: Final = ", is_restricted(m.remote_index, m.id) AS is_restricted"


@frozen
class NewMessage:
    """A message as it begins; its key is committed to the keyring already."""

    id: UUID
    direction: str
    channel: str
    state: str
    agent_id: UUID | None
    peer_agent_id: UUID | None
    number_id: UUID | None
    batch_id: UUID | None
    centre_id: UUID | None
    created_at: datetime
    ended_at: datetime | None
    encoding: str | None
    parts: int
    is_marketing: bool
    is_binary: bool
    keyword: str | None
    sent_by: str | None
    country: str | None
    number_class: str | None
    rules_version: int | None
    sealed_with: UUID
    remote_sealed: bytes | None = field(repr=False)
    remote_index: bytes | None = field(repr=False)
    local_sealed: bytes | None = field(repr=False)
    body_sealed: bytes | None = field(repr=False)
    thread_id: UUID | None = field(repr=False)
    assembly_index: bytes | None = field(default=None, repr=False)
    received_as: bytes | None = field(default=None, repr=False)


_NEW: Final = tuple(item.name for item in fields(NewMessage))
_TYPES: Final[dict[str, str]] = {
    **dict.fromkeys(("id", "agent_id", "peer_agent_id", "number_id", "batch_id", "centre_id", "sealed_with", "thread_id"), "uuid"),
    **dict.fromkeys(("created_at", "ended_at"), "timestamptz"),
    **dict.fromkeys(("is_marketing", "is_binary"), "boolean"),
    **dict.fromkeys(("remote_sealed", "remote_index", "local_sealed", "body_sealed", "assembly_index", "received_as"), "bytea"),
    "parts": "smallint",
    "rules_version": "bigint",
}
_INSERT: Final = (
    f"INSERT INTO messages (org_id, {', '.join(_NEW)}) SELECT $1, t.* FROM unnest("  # noqa: S608 (names are ours)
    + ", ".join(f"${place}::{_TYPES.get(name, 'text')}[]" for place, name in enumerate(_NEW, 2))
    + f") AS t ({', '.join(_NEW)}) ON CONFLICT (org_id, received_as) WHERE received_as IS NOT NULL DO NOTHING RETURNING id"
)


@frozen
class MessageRow:
    """One row. `is_erasing` from the moment that the ledger holds its erasure."""

    id: UUID
    org_id: OrgId
    direction: str
    channel: str
    state: str
    agent_id: UUID | None
    peer_agent_id: UUID | None
    number_id: UUID | None
    batch_id: UUID | None
    centre_id: UUID | None
    created_at: datetime
    submitted_at: datetime | None
    ended_at: datetime | None
    read_at: datetime | None
    encoding: str | None
    parts: int
    is_marketing: bool
    is_incomplete: bool
    is_binary: bool
    keyword: str | None
    sent_by: str | None
    country: str | None
    number_class: str | None
    rules_version: int | None
    error: str | None
    sealed_with: UUID | None
    remote_sealed: bytes | None = field(repr=False)
    local_sealed: bytes | None = field(repr=False)
    body_sealed: bytes | None = field(repr=False)
    thread_id: UUID | None = field(repr=False)
    erased_at: datetime | None
    is_erasing: bool
    is_restricted: bool = False

    @property
    def is_gone(self) -> bool:
        """Whether nothing of what it said is given out any more."""
        return self.is_erasing or self.erased_at is not None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages; all that is given must hold."""

    agent_id: AgentId | None = None
    thread_id: UUID | None = None
    batch_id: UUID | None = None
    direction: str | None = None
    state: str | None = None
    is_read: bool | None = None
    remote_indexes: Sequence[bytes] | None = field(default=None, repr=False)
    since: datetime | None = None
    until: datetime | None = None


@frozen
class Advanced:
    """A message whose state changed."""

    id: UUID
    state: str
    error: str | None
    direction: str
    channel: str
    agent_id: UUID | None
    number_id: UUID | None
    batch_id: UUID | None


async def insert_all(connection: Connection, org_id: OrgId, messages: Sequence[NewMessage]) -> set[UUID]:
    """Write them in one statement; returns the ids of those that were new: what was received twice stands there already."""
    columns = [[getattr(message, name) for message in messages] for name in _NEW]
    return {row["id"] for row in await connection.fetch(_INSERT, org_id, *columns)}


async def received_as(connection: Connection, index: bytes) -> UUID | None:
    """The message that an earlier delivery of the same made."""
    found: UUID | None = await connection.fetchval("SELECT id FROM messages WHERE received_as = $1", index)
    return found


async def get(connection: Connection, message_id: UUID) -> MessageRow | None:
    """One message, as reads of people see it."""
    found = await get_all(connection, [message_id])
    return found[0] if found else None


async def get_all(connection: Connection, ids: Sequence[UUID]) -> list[MessageRow]:
    """These messages, as far as there are any."""
    rows = await connection.fetch(f"SELECT {_COLUMNS}{_RESTRICTED} FROM messages AS m WHERE m.id = ANY($1::uuid[])", list(ids))  # noqa: S608
    return [MessageRow(**dict(row)) for row in rows]


async def to_send(connection: Connection, ids: Sequence[UUID]) -> list[MessageRow]:
    """Those of these messages that may still leave: not erased, not being erased."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM messages AS m WHERE m.id = ANY($1::uuid[])", list(ids))  # noqa: S608
    return [found for row in rows if not (found := MessageRow(**dict(row))).is_gone and found.sealed_with is not None]


async def find(connection: Connection, wanted: Wanted, *, after: Place | None = None, limit: int) -> list[MessageRow]:
    """Messages, newest first. Those that still arrive, and those that are erased, are not among them."""
    arguments: list[Any] = []

    def given(value: Any) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    conditions = ["m.state <> 'receiving'", "m.erased_at IS NULL"]
    if wanted.agent_id is not None:
        agent = given(wanted.agent_id)
        conditions.append(f"(m.agent_id = {agent} OR m.peer_agent_id = {agent})")
    # The indexes of both know no state, so that its changes are cheap.
    if wanted.state in ("queued", "submitted", "unknown"):
        conditions.append("m.ended_at IS NULL")
    elif wanted.state == "failed":
        conditions.append("m.error IS NOT NULL")
    for column in ("thread_id", "batch_id", "direction", "state"):
        if (value := getattr(wanted, column)) is not None:
            conditions.append(f"m.{column} = {given(value)}")
    if wanted.is_read is not None:
        conditions.append(f"m.direction = 'inbound' AND m.read_at IS {'NOT ' if wanted.is_read else ''}NULL")
    if wanted.remote_indexes is not None:
        conditions.append(f"m.remote_index = ANY({given(list(wanted.remote_indexes))}::bytea[])")
    if wanted.since is not None:
        conditions.append(f"m.created_at >= {given(wanted.since)}")
    if wanted.until is not None:
        conditions.append(f"m.created_at < {given(wanted.until)}")
    if after is not None:
        conditions.append(f"(m.created_at, m.id) < ({given(after.started_at)}, {given(after.id)}::uuid)")
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}{_RESTRICTED} FROM messages AS m WHERE {' AND '.join(conditions)}"  # noqa: S608
        f" ORDER BY m.created_at DESC, m.id DESC LIMIT {given(limit)}",
        *arguments,
    )
    return [MessageRow(**dict(row)) for row in rows]


async def newest_of_threads(
    connection: Connection, agent_id: AgentId | None, *, after: Place | None = None, limit: int
) -> list[tuple[MessageRow, int]]:
    """The newest message of each thread, newest first, and how many of its thread nobody read."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS}{_RESTRICTED}, (SELECT count(*) FROM messages AS u WHERE u.thread_id = m.thread_id"  # noqa: S608
        "  AND u.direction = 'inbound' AND u.state = 'received' AND u.read_at IS NULL) AS unread"
        " FROM messages AS m WHERE m.thread_id IS NOT NULL AND m.state <> 'receiving' AND m.erased_at IS NULL"
        " AND NOT EXISTS (SELECT 1 FROM messages AS n WHERE n.thread_id = m.thread_id AND n.state <> 'receiving'"
        "  AND (n.created_at, n.id) > (m.created_at, m.id))"
        " AND ($1::uuid IS NULL OR m.agent_id = $1 OR m.peer_agent_id = $1 OR EXISTS (SELECT 1 FROM messages AS a"
        "  WHERE a.thread_id = m.thread_id AND $1 IN (a.agent_id, a.peer_agent_id)))"
        " AND ($2::timestamptz IS NULL OR (m.created_at, m.id) < ($2, $3::uuid)) ORDER BY m.created_at DESC, m.id DESC LIMIT $4",
        agent_id,
        None if after is None else after.started_at,
        None if after is None else after.id,
        limit,
    )
    return [(MessageRow(**{name: value for name, value in row.items() if name != "unread"}), row["unread"]) for row in rows]


_HOLD: Final = "SELECT 1 FROM messages WHERE id = ANY($1::uuid[]) AND parts > 1 ORDER BY id FOR NO KEY UPDATE"
_FOLD: Final = """
WITH folded AS (
    SELECT p.message_id,
        CASE WHEN bool_or(p.state = 'failed') THEN 'failed' WHEN bool_or(p.state = 'expired') THEN 'expired'
             WHEN bool_and(p.state = 'delivered') THEN 'delivered' WHEN bool_or(p.state = 'unknown') THEN 'unknown'
             WHEN bool_and(p.state IN ('submitted', 'delivered')) THEN 'submitted' ELSE 'queued' END AS state,
        coalesce(min(p.error) FILTER (WHERE p.state IN ('failed', 'expired')),
                 CASE WHEN bool_or(p.state = 'failed') THEN 'failed' END) AS error
    FROM message_parts AS p WHERE p.message_id = ANY($1::uuid[]) GROUP BY p.message_id
), was AS (
    SELECT m.id, m.state FROM messages AS m JOIN folded AS f ON f.message_id = m.id ORDER BY m.id FOR UPDATE OF m
)
UPDATE messages AS m SET state = f.state, error = f.error,
    submitted_at = CASE WHEN f.state IN ('submitted', 'delivered', 'unknown') THEN coalesce(m.submitted_at, $2) ELSE m.submitted_at END,
    ended_at = CASE WHEN f.state IN ('delivered', 'failed', 'expired') THEN $2 END
FROM folded AS f JOIN was ON was.id = f.message_id
WHERE m.id = f.message_id AND was.state <> f.state AND m.erased_at IS NULL
RETURNING m.id, m.state, m.error, m.direction, m.channel, m.agent_id, m.number_id, m.batch_id
"""


async def fold(connection: Connection, ids: Sequence[UUID], at: datetime) -> list[Advanced]:
    """Bring these messages into the state that their parts say; returns those that changed.

    One part that failed or expired fails the whole, since nobody can read the rest for it; it is delivered when all its parts are.
    """
    # First, and by a statement of its own: who ends another part at the same time is waited for, and what they wrote is seen then.
    await connection.execute(_HOLD, list(ids))
    return [Advanced(**dict(row)) for row in await connection.fetch(_FOLD, list(ids), at)]


async def follow(connection: Connection, parts: Mapping[UUID, tuple[str, str | None]], at: datetime) -> list[Advanced]:
    """Bring messages of one part into its state, (state, error) by their ids; in the transaction that wrote the parts."""
    ids = sorted(parts)
    rows = await connection.fetch(
        "UPDATE messages AS m SET state = f.state, error = CASE WHEN f.state = 'failed' THEN coalesce(f.error, 'failed') ELSE f.error END,"
        " submitted_at = CASE WHEN f.state IN ('submitted', 'delivered', 'unknown') THEN coalesce(m.submitted_at, $4)"
        "  ELSE m.submitted_at END,"
        " ended_at = CASE WHEN f.state IN ('delivered', 'failed', 'expired') THEN $4 END"
        " FROM unnest($1::uuid[], $2::text[], $3::text[]) AS f (id, state, error)"
        " WHERE m.id = f.id AND m.state <> f.state AND m.erased_at IS NULL"
        " RETURNING m.id, m.state, m.error, m.direction, m.channel, m.agent_id, m.number_id, m.batch_id",
        ids,
        [parts[each][0] for each in ids],
        [parts[each][1] if parts[each][0] in ("failed", "expired") else None for each in ids],
        at,
    )
    return [Advanced(*row) for row in rows]


async def conclude(connection: Connection, message_id: UUID, state: str, error: str | None, at: datetime) -> Advanced | None:
    """Bring a message without parts at a carrier (one to a colleague's phone) into a final state; None if it was in one already."""
    row = await connection.fetchrow(
        "UPDATE messages SET state = $2, error = $3, ended_at = $4 WHERE id = $1 AND state IN ('queued', 'submitted', 'unknown')"
        " AND erased_at IS NULL RETURNING id, state, error, direction, channel, agent_id, number_id, batch_id",
        message_id,
        state,
        error,
        at,
    )
    return None if row is None else Advanced(**dict(row))


async def call_back(
    connection: Connection, remote_index: bytes, number_id: UUID | None, spared: str, error: str, at: datetime
) -> list[Advanced]:
    """Fail every message to this number of which no part has left or is leaving; those that `spared` sent go on. Returns which failed.

    `number_id`: of those that one number of ours sends alone.
    """
    rows = await connection.fetch(
        "WITH waiting AS (SELECT m.id FROM messages AS m WHERE m.remote_index = $1 AND m.direction = 'outbound' AND m.state = 'queued'"
        "  AND m.sent_by IS DISTINCT FROM $2 AND ($5::uuid IS NULL OR m.number_id = $5)"
        "  AND EXISTS (SELECT 1 FROM message_parts AS p WHERE p.message_id = m.id)"
        "  AND NOT EXISTS (SELECT 1 FROM message_parts AS p WHERE p.message_id = m.id AND p.state <> 'queued') FOR UPDATE OF m),"
        " gone AS (DELETE FROM message_parts AS p USING waiting AS w WHERE p.message_id = w.id AND p.state = 'queued'"
        "  RETURNING p.message_id)"
        " UPDATE messages AS m SET state = 'failed', error = $3, ended_at = $4 WHERE m.id IN (SELECT message_id FROM gone)"
        " RETURNING m.id, m.state, m.error, m.direction, m.channel, m.agent_id, m.number_id, m.batch_id",
        remote_index,
        spared,
        error,
        at,
        number_id,
    )
    return [Advanced(**dict(row)) for row in rows]


async def mark_read(connection: Connection, message_id: UUID, at: datetime | None) -> bool:
    """Somebody read it, or it is to count as new again; False where there is no such inbound message."""
    query = (
        "UPDATE messages SET read_at = CASE WHEN $2::timestamptz IS NULL THEN NULL ELSE coalesce(read_at, $2) END"
        " WHERE id = $1 AND direction = 'inbound' AND erased_at IS NULL"
    )
    return bool(await connection.execute(query, message_id, at) == "UPDATE 1")


# Messages that arrive in parts.


@dataclass(frozen=True, slots=True)
class Arriving:
    """A message of which parts are here; held until the transaction ends."""

    id: UUID
    sealed_with: UUID
    total: int


@dataclass(frozen=True, slots=True)
class InboundPart:
    """A part that is here, closed."""

    position: int
    total: int
    payload_sealed: bytes = field(repr=False)
    payload_index: bytes = field(repr=False)


async def arriving(connection: Connection, assembly_index: bytes) -> Arriving | None:
    """The message that this part belongs to, if another one of it came before."""
    row = await connection.fetchrow(
        "SELECT id, sealed_with, parts AS total FROM messages WHERE assembly_index = $1 AND erased_at IS NULL AND sealed_with IS NOT NULL"
        " FOR UPDATE",
        assembly_index,
    )
    return None if row is None else Arriving(**dict(row))


async def arriving_by_id(connection: Connection, message_id: UUID) -> Arriving | None:
    """One that still arrives, whoever else may be at it."""
    row = await connection.fetchrow(
        "SELECT id, sealed_with, parts AS total FROM messages WHERE id = $1 AND state = 'receiving' AND sealed_with IS NOT NULL"
        " FOR UPDATE SKIP LOCKED",
        message_id,
    )
    return None if row is None else Arriving(**dict(row))


async def add_part(connection: Connection, org_id: OrgId, message_id: UUID, part: InboundPart, at: datetime) -> bool:
    """Keep a part; False where one of its position is here already."""
    status = await connection.execute(
        "INSERT INTO message_inbound_parts (org_id, message_id, position, total, payload_sealed, payload_index, received_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        org_id,
        message_id,
        part.position,
        part.total,
        part.payload_sealed,
        part.payload_index,
        at,
    )
    return bool(status == "INSERT 0 1")


async def parts_of(connection: Connection, message_id: UUID) -> list[InboundPart]:
    """The parts that are here, in their order."""
    rows = await connection.fetch(
        "SELECT position, total, payload_sealed, payload_index FROM message_inbound_parts WHERE message_id = $1 ORDER BY position",
        message_id,
    )
    return [InboundPart(**dict(row)) for row in rows]


async def give_up_waiting(connection: Connection, message_id: UUID) -> None:
    """Another message comes under the same reference: no further part is meant for this one."""
    await connection.execute("UPDATE messages SET assembly_index = NULL WHERE id = $1", message_id)


async def complete(
    connection: Connection, message_id: UUID, body_sealed: bytes, at: datetime, *, keyword: str | None, is_incomplete: bool, is_binary: bool
) -> Advanced | None:
    """It is whole, or as whole as it becomes; its parts go."""
    row = await connection.fetchrow(
        "UPDATE messages SET state = 'received', body_sealed = $2, ended_at = $3, keyword = $4, is_incomplete = $5, is_binary = $6,"
        " assembly_index = NULL WHERE id = $1 AND state = 'receiving' AND erased_at IS NULL"
        " RETURNING id, state, error, direction, channel, agent_id, number_id, batch_id",
        message_id,
        body_sealed,
        at,
        keyword,
        is_incomplete,
        is_binary,
    )
    await connection.execute("DELETE FROM message_inbound_parts WHERE message_id = $1", message_id)
    return None if row is None else Advanced(**dict(row))


async def left_arriving(connection: Connection, before: datetime) -> list[tuple[OrgId, UUID]]:
    """Messages whose last part came before a time; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, message_id FROM messages_left_arriving($1)", before)
    return [(OrgId(row["org_id"]), row["message_id"]) for row in rows]
