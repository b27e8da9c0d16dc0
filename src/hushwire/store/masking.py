"""Rows of masked sessions and their parties. Runs as the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.store.database import Connection

_SESSION = "SELECT s.id, s.agent_id, s.number_id, n.number_sealed, s.created_at, s.expires_at, s.ended_at"
_FROM = " FROM masking_sessions AS s JOIN numbers AS n ON n.id = s.number_id"


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session, with its proxy number sealed. Its parties are not of it."""

    id: UUID
    agent_id: AgentId
    number_id: UUID
    number_sealed: bytes = field(repr=False)
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class PartyRow:
    """One party of a session that goes on."""

    id: UUID
    session_id: UUID
    number_id: UUID
    number_sealed: bytes = field(repr=False)
    remote_index: bytes = field(repr=False)
    agent_id: AgentId
    expires_at: datetime


async def lock(connection: Connection) -> None:
    """One change of the organisation's sessions at a time, so that a proxy number is free until it is taken."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('masking:' || current_org()::text, 0))")


async def free_number(connection: Connection, indexes: Sequence[bytes]) -> UUID | None:
    """A proxy number that none of these parties is in a session of, the least used one first."""
    found: UUID | None = await connection.fetchval(
        "SELECT n.id FROM numbers AS n WHERE n.masks"
        " AND NOT EXISTS (SELECT 1 FROM masking_parties AS p WHERE p.number_id = n.id AND p.remote_index = ANY($1::bytea[]))"
        " ORDER BY (SELECT max(s.created_at) FROM masking_sessions AS s WHERE s.number_id = n.id) NULLS FIRST, n.id LIMIT 1",
        list(indexes),
    )
    return found


async def is_own_number(connection: Connection, number_indexes: Sequence[bytes]) -> bool:
    """Whether one of these (`numbers.number`) is a proxy number of the organisation."""
    return bool(
        await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM numbers WHERE masks AND number_index = ANY($1::bytea[]))", list(number_indexes)
        )
    )


async def agent_is_there(connection: Connection, agent_id: UUID) -> bool:
    """Whether the agent is one of the organisation that is not suspended."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM agents WHERE id = $1 AND NOT suspended)", agent_id))


async def count(connection: Connection) -> int:
    """Sessions that go on."""
    return int(await connection.fetchval("SELECT count(*) FROM masking_sessions WHERE ended_at IS NULL"))


async def add(
    connection: Connection,
    org_id: OrgId,
    session_id: UUID,
    agent_id: UUID,
    number_id: UUID,
    now: datetime,
    expires_at: datetime,
    parties: Sequence[tuple[UUID, bytes, bytes]],
) -> None:
    """A session; `parties` are (id, sealed number, blind index). Gateways are told once it is committed."""
    await connection.execute(
        "INSERT INTO masking_sessions (org_id, id, agent_id, number_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        org_id,
        session_id,
        agent_id,
        number_id,
        now,
        expires_at,
    )
    await connection.executemany(
        "INSERT INTO masking_parties (org_id, id, session_id, number_id, number_sealed, remote_index) VALUES ($1, $2, $3, $4, $5, $6)",
        [(org_id, party_id, session_id, number_id, sealed, index) for party_id, sealed, index in parties],
    )


async def get(connection: Connection, session_id: UUID) -> SessionRow | None:
    """One session."""
    row = await connection.fetchrow(f"{_SESSION}{_FROM} WHERE s.id = $1", session_id)
    return None if row is None else SessionRow(**dict(row))


async def listed(connection: Connection, *, after: UUID | None, limit: int) -> list[SessionRow]:
    """Sessions, newest first."""
    rows = await connection.fetch(
        f"{_SESSION}{_FROM} WHERE $1::uuid IS NULL OR s.id < $1 ORDER BY s.id DESC LIMIT $2",
        after,
        limit,
    )
    return [SessionRow(**dict(row)) for row in rows]


async def end(connection: Connection, session_id: UUID, now: datetime) -> bool:
    """Forget its parties; False if it was over already."""
    await connection.execute("DELETE FROM masking_parties WHERE session_id = $1", session_id)
    tag = await connection.execute("UPDATE masking_sessions SET ended_at = $2 WHERE id = $1 AND ended_at IS NULL", session_id, now)
    return tag == "UPDATE 1"


async def end_expired(connection: Connection, now: datetime) -> list[UUID]:
    """Forget the parties of sessions whose time is over; returns which."""
    rows = await connection.fetch(
        "UPDATE masking_sessions SET ended_at = expires_at WHERE ended_at IS NULL AND expires_at <= $1 RETURNING id", now
    )
    ids = [row["id"] for row in rows]
    if ids:
        await connection.execute("DELETE FROM masking_parties WHERE session_id = ANY($1::uuid[])", ids)
    return ids


async def end_of_numbers(connection: Connection, indexes: Sequence[bytes]) -> int:
    """End every session with one of these parties (blind indexes of `calls.remote`): the person is erased. Returns how many."""
    rows = await connection.fetch(
        "UPDATE masking_sessions SET ended_at = now() WHERE ended_at IS NULL AND id IN"
        " (SELECT session_id FROM masking_parties WHERE remote_index = ANY($1::bytea[])) RETURNING id",
        list(indexes),
    )
    await connection.execute("DELETE FROM masking_parties WHERE session_id = ANY($1::uuid[])", [row["id"] for row in rows])
    return len(rows)


async def end_all(connection: Connection, now: datetime) -> int:
    """End every session: after a restore nobody knows whose erasure it undid."""
    rows = await connection.fetch("UPDATE masking_sessions SET ended_at = $1 WHERE ended_at IS NULL RETURNING id", now)
    await connection.execute("DELETE FROM masking_parties")
    return len(rows)


async def versions(connection: Connection) -> dict[OrgId, int]:
    """The version of each organisation's sessions, where it ever had one. No organisation is entered."""
    return {OrgId(row["org_id"]): row["version"] for row in await connection.fetch("SELECT org_id, version FROM masking_versions()")}


async def parties(connection: Connection) -> list[PartyRow]:
    """The parties of every session that goes on."""
    rows = await connection.fetch(
        "SELECT p.id, p.session_id, p.number_id, p.number_sealed, p.remote_index, s.agent_id, s.expires_at"
        " FROM masking_parties AS p JOIN masking_sessions AS s ON s.id = p.session_id"
    )
    return [PartyRow(**dict(row)) for row in rows]
