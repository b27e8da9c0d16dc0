"""Rows of messages in mailboxes. Every function runs in a transaction of the organisation.

A message is there once its recording has ended, and until the recording's erasure is entered; nothing that was not said is one.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import AgentId, CallId, OrgId, RecordingId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_THERE: Final = (
    "NOT m.is_empty AND m.erase_asked_at IS NULL AND r.state IN ('closed', 'crashed', 'stored') AND erasing_recording(r.id) IS NULL"
)
_JOINED: Final = "voicemail_messages AS m JOIN recordings AS r ON r.id = m.recording_id"
_COLUMNS: Final = (
    "m.recording_id AS id, m.agent_id, r.call_id, m.left_at, r.duration_ms, m.speech_ms, m.read_at, r.custody,"
    " (r.state = 'crashed' OR (r.state = 'stored' AND r.frames IS NULL)) AS is_cut,"
    " is_restricted(r.remote_index, r.id, r.call_id) OR any_is_restricted(r.further_indexes) AS is_restricted"
)


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Its id is the recording's. `is_cut`: who wrote it died, and its beginning is there."""

    id: RecordingId
    agent_id: AgentId
    call_id: CallId
    left_at: datetime
    duration_ms: int | None
    speech_ms: int | None
    read_at: datetime | None
    custody: str
    is_cut: bool
    is_restricted: bool


async def begin(connection: Connection, org_id: OrgId, recording_id: RecordingId, agent_id: AgentId, at: datetime) -> None:
    """A message is being taken."""
    await connection.execute(
        "INSERT INTO voicemail_messages (org_id, recording_id, agent_id, left_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        org_id,
        recording_id,
        agent_id,
        at,
    )


async def finish(connection: Connection, recording_id: RecordingId, speech_ms: int, *, is_empty: bool) -> None:
    """So much was said in it."""
    await connection.execute(
        "UPDATE voicemail_messages SET speech_ms = $2, is_empty = $3 WHERE recording_id = $1 AND speech_ms IS NULL",
        recording_id,
        speech_ms,
        is_empty,
    )


async def counts(connection: Connection, agents: Collection[AgentId]) -> dict[AgentId, tuple[int, int]]:
    """(not heard, heard) of each agent that has messages."""
    rows = await connection.fetch(
        f"SELECT m.agent_id, count(*) FILTER (WHERE m.read_at IS NULL) AS unread, count(*) AS n FROM {_JOINED}"  # noqa: S608
        f" WHERE m.agent_id = ANY($1::uuid[]) AND {_THERE} GROUP BY m.agent_id",
        list(agents),
    )
    return {AgentId(row["agent_id"]): (row["unread"], row["n"] - row["unread"]) for row in rows}


async def find(
    connection: Connection, *, agent: AgentId | None = None, unread: bool | None = None, after: Place | None = None, limit: int = 50
) -> list[Message]:
    """Messages newest first."""
    conditions, arguments = [_THERE], list[Any]()

    def where(condition: str, *values: Any) -> None:
        conditions.append(condition.format(*(f"${len(arguments) + n + 1}" for n in range(len(values)))))
        arguments.extend(values)

    if agent is not None:
        where("m.agent_id = {0}", agent)
    if unread is not None:
        where("m.read_at IS NULL" if unread else "m.read_at IS NOT NULL")
    if after is not None:
        where("(m.left_at, m.recording_id) < ({0}, {1})", after.started_at, after.id)
    wanted = f"{' AND '.join(conditions)} ORDER BY m.left_at DESC, m.recording_id DESC LIMIT {int(limit)}"
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM {_JOINED} WHERE {wanted}", *arguments)  # noqa: S608
    return [Message(**dict(row)) for row in rows]


async def get(connection: Connection, recording_id: UUID) -> Message | None:
    """One message, if it is there."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM {_JOINED} WHERE m.recording_id = $1 AND {_THERE}", recording_id)  # noqa: S608
    return None if row is None else Message(**dict(row))


async def is_known(connection: Connection, recording_id: UUID) -> bool:
    """Whether a recording is or was somebody's message."""
    found: bool = await connection.fetchval("SELECT EXISTS (SELECT 1 FROM voicemail_messages WHERE recording_id = $1)", recording_id)
    return found


async def mark(connection: Connection, recording_id: UUID, at: datetime | None) -> None:
    """It was heard, first at this time; None: it counts as new again."""
    await connection.execute(
        "UPDATE voicemail_messages SET read_at = CASE WHEN $2::timestamptz IS NULL THEN NULL ELSE coalesce(read_at, $2) END"
        " WHERE recording_id = $1 AND read_at IS DISTINCT FROM $2",
        recording_id,
        at,
    )


async def playlist(connection: Connection, agent: AgentId, limit: int) -> list[tuple[UUID, bool]]:
    """What an agent hears of its mailbox, and whether it was heard before: new messages first, the oldest of each first."""
    rows = await connection.fetch(
        f"SELECT m.recording_id, m.read_at IS NOT NULL AS is_read FROM {_JOINED} WHERE m.agent_id = $1 AND {_THERE}"  # noqa: S608
        " ORDER BY m.read_at IS NOT NULL, m.left_at, m.recording_id LIMIT $2",
        agent,
        limit,
    )
    return [(row["recording_id"], row["is_read"]) for row in rows]


async def is_there(connection: Connection, agent: AgentId, recording_id: UUID) -> bool:
    """Whether the agent may hear this message now."""
    found: bool = await connection.fetchval(
        f"SELECT EXISTS (SELECT 1 FROM {_JOINED} WHERE m.recording_id = $1 AND m.agent_id = $2 AND {_THERE})",  # noqa: S608
        recording_id,
        agent,
    )
    return found


async def ask_erasure(connection: Connection, agent: AgentId, recording_id: UUID, at: datetime) -> None:
    """Its owner wants it gone: it is none from now on."""
    await connection.execute(
        "UPDATE voicemail_messages SET erase_asked_at = $3 WHERE recording_id = $1 AND agent_id = $2 AND erase_asked_at IS NULL",
        recording_id,
        agent,
        at,
    )


async def to_erase(connection: Connection) -> list[tuple[OrgId, RecordingId]]:
    """Messages in which nothing was said, and those that their owners deleted by phone; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, recording_id FROM messages_to_erase()")
    return [(OrgId(row["org_id"]), RecordingId(row["recording_id"])) for row in rows]


async def who_asked(connection: Connection, recording_id: RecordingId) -> AgentId | None:
    """The owner that deleted it by phone; None where nothing was said in it."""
    found: AgentId | None = await connection.fetchval(
        "SELECT agent_id FROM voicemail_messages WHERE recording_id = $1 AND erase_asked_at IS NOT NULL", recording_id
    )
    return found


async def keep(connection: Connection, recording_id: RecordingId) -> None:
    """It may not be erased, so it is a message after all."""
    await connection.execute("UPDATE voicemail_messages SET is_empty = false, erase_asked_at = NULL WHERE recording_id = $1", recording_id)
