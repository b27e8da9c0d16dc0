"""Rows of agents' own greetings. Every function runs in a transaction of the organisation.

A greeting is played while its state is `used`, its recording has ended, and no erasure of it is entered.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId, NodeId, OrgId, RecordingId
from hushwire.store.database import Connection

_THERE: Final = "r.state IN ('closed', 'crashed', 'stored') AND erasing_recording(r.id) IS NULL"
_JOINED: Final = "voicemail_greetings AS g JOIN recordings AS r ON r.id = g.recording_id"


@dataclass(frozen=True, slots=True)
class Greeting:
    """What an agent's callers hear. Its id is the recording's."""

    id: RecordingId
    made_at: datetime
    duration_ms: int | None


async def begin(connection: Connection, org_id: OrgId, recording_id: RecordingId, agent_id: AgentId, at: datetime) -> None:
    """One is being recorded."""
    await connection.execute(
        "INSERT INTO voicemail_greetings (org_id, recording_id, agent_id, made_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
        org_id,
        recording_id,
        agent_id,
        at,
    )


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A greeting that was given as a file, sealed and closed."""

    id: RecordingId
    agent_id: AgentId
    node_id: NodeId
    spool_name: str
    region: str
    made_at: datetime
    duration_ms: int
    frames: int
    size_bytes: int
    digest: bytes = field(repr=False)
    key_fingerprint: bytes = field(repr=False)
    custody: str
    custody_version: int
    key_good_until: datetime | None


async def place(connection: Connection, org_id: OrgId, given: Uploaded) -> bool:
    """Have it be the agent's greeting, and the one before go; False, and nothing is written, if its key was sealed under a custody
    that the organisation has changed since.
    """
    tag = await connection.execute(
        "INSERT INTO recordings (org_id, id, agent_id, node_id, state, spool_name, region, lawful_basis, started_at, ended_at, duration_ms,"
        " frames, size_bytes, digest, key_fingerprint, custody)"
        " SELECT $1, $2, $3, $4, 'closed', $5, $6, 'contract', $7, $16, $8, $9, $10, $11, $12, $13"
        " WHERE custody_admits($14, $15)",
        org_id, given.id, given.agent_id, given.node_id, given.spool_name, given.region, given.made_at, given.duration_ms, given.frames,
        given.size_bytes, given.digest, given.key_fingerprint, given.custody, given.custody_version, given.key_good_until,
        given.made_at + timedelta(milliseconds=given.duration_ms),
    )  # fmt: skip
    if tag != "INSERT 0 1":
        return False
    await begin(connection, org_id, given.id, given.agent_id, given.made_at)
    return await keep(connection, given.agent_id, given.id)


async def used(connection: Connection, agent: AgentId) -> Greeting | None:
    """The one that the agent's callers hear."""
    row = await connection.fetchrow(
        f"SELECT g.recording_id AS id, g.made_at, r.duration_ms FROM {_JOINED}"  # noqa: S608
        f" WHERE g.agent_id = $1 AND g.state = 'used' AND {_THERE}",
        agent,
    )
    return None if row is None else Greeting(**dict(row))


async def may_be_heard(connection: Connection, agent: AgentId, recording_id: UUID, *, by_callers: bool) -> bool:
    """Whether this greeting may be played now: to its owner also while it is a draft."""
    found: bool = await connection.fetchval(
        f"SELECT EXISTS (SELECT 1 FROM {_JOINED} WHERE g.recording_id = $1 AND g.agent_id = $2"  # noqa: S608
        f" AND (g.state = 'used' OR (g.state = 'draft' AND NOT $3)) AND {_THERE})",
        recording_id,
        agent,
        by_callers,
    )
    return found


async def keep(connection: Connection, agent: AgentId, recording_id: UUID) -> bool:
    """Let a draft be played from now on, and the one before go; False, and nothing changes, where it is not there any more."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('greeting:' || $1::text, 0))", str(agent))
    if not await may_be_heard(connection, agent, recording_id, by_callers=False):
        return False
    await connection.execute(
        "UPDATE voicemail_greetings SET state = 'over' WHERE agent_id = $1 AND state = 'used' AND recording_id <> $2", agent, recording_id
    )
    await connection.execute("UPDATE voicemail_greetings SET state = 'used' WHERE recording_id = $1", recording_id)
    return True


async def discard(connection: Connection, agent: AgentId, recording_id: UUID) -> None:
    """A draft is to go."""
    await connection.execute(
        "UPDATE voicemail_greetings SET state = 'over' WHERE recording_id = $1 AND agent_id = $2 AND state = 'draft'", recording_id, agent
    )


async def remove(connection: Connection, agent: AgentId) -> None:
    """The one that is played is to go."""
    await connection.execute("UPDATE voicemail_greetings SET state = 'over' WHERE agent_id = $1 AND state = 'used'", agent)


async def to_erase(connection: Connection, drafts_before: datetime) -> list[tuple[OrgId, RecordingId]]:
    """What is to go, and drafts of before a time; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, recording_id FROM greetings_to_erase($1)", drafts_before)
    return [(OrgId(row["org_id"]), RecordingId(row["recording_id"])) for row in rows]


async def owner(connection: Connection, recording_id: RecordingId) -> AgentId | None:
    """Whose it is; None where it is no greeting, or none any more."""
    found: AgentId | None = await connection.fetchval("SELECT agent_id FROM voicemail_greetings WHERE recording_id = $1", recording_id)
    return found


async def hold(connection: Connection, recording_id: RecordingId) -> None:
    """It may not be erased: nobody hears it, and what keeps it says when it goes."""
    await connection.execute("UPDATE voicemail_greetings SET state = 'held' WHERE recording_id = $1", recording_id)
