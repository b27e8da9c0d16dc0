"""What an organisation has: agents with their live registrations, numbers, trunks. Personal columns come out sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import AgentId, NodeId, TrunkId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent."""

    id: AgentId
    username_sealed: bytes = field(repr=False)
    role: str
    extension_sealed: bytes | None = field(repr=False)
    caller_id_sealed: bytes | None = field(repr=False)
    suspended: bool
    media_ports: str
    hides_identity: bool
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A live registration of one device."""

    id: UUID
    agent_id: AgentId
    node_id: NodeId
    contact_sealed: bytes = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class NumberRow:
    """A number of the organisation, and whom it rings."""

    id: UUID
    number_sealed: bytes = field(repr=False)
    agent_id: AgentId | None
    created_at: datetime
    masks: bool


@dataclass(frozen=True, slots=True)
class TrunkRow:
    """A carrier of the deployment, without its credentials."""

    id: TrunkId
    name: str
    uri: str
    srtp: str
    keying: str
    media_ports: str
    priority: int
    weight: int
    trusted: bool = False
    signs: bool = False
    verify: str = "off"


_AGENT = (
    "SELECT id, username_sealed, role, extension_sealed, caller_id_sealed, suspended, media_ports, hides_identity, created_at FROM agents"
)


async def agents(connection: Connection, *, after: UUID | None = None, limit: int = 50) -> list[AgentRow]:
    """Agents by id, after one of them."""
    rows = await connection.fetch(f"{_AGENT} WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2", after, limit)
    return [AgentRow(**dict(row)) for row in rows]


async def agent(connection: Connection, agent_id: UUID) -> AgentRow | None:
    """One agent."""
    row = await connection.fetchrow(f"{_AGENT} WHERE id = $1", agent_id)
    return None if row is None else AgentRow(**dict(row))


async def agents_named(connection: Connection, username_indexes: Sequence[bytes]) -> dict[bytes, AgentId]:
    """The agents with these usernames (blind indexes), by them."""
    rows = await connection.fetch("SELECT username_index, id FROM agents WHERE username_index = ANY($1::bytea[])", list(username_indexes))
    return {row["username_index"]: AgentId(row["id"]) for row in rows}


async def agent_named(connection: Connection, username_index: bytes) -> AgentId | None:
    """The agent whose username has this blind index."""
    found: UUID | None = await connection.fetchval("SELECT id FROM agents WHERE username_index = $1", username_index)
    return None if found is None else AgentId(found)


async def agent_reached(connection: Connection, extension_index: bytes, username_index: bytes) -> UUID | None:
    """The agent whose extension or username it is; an extension goes first, as a gateway reads it."""
    found: UUID | None = await connection.fetchval(
        "SELECT id FROM agents WHERE extension_index = $1 OR username_index = $2 ORDER BY extension_index IS DISTINCT FROM $1 LIMIT 1",
        extension_index,
        username_index,
    )
    return found


async def usernames(connection: Connection, ids: set[UUID]) -> dict[UUID, bytes]:
    """Sealed usernames of these agents."""
    rows = await connection.fetch("SELECT id, username_sealed FROM agents WHERE id = ANY($1::uuid[])", list(ids))
    return {row["id"]: row["username_sealed"] for row in rows}


async def devices(connection: Connection, agents: list[AgentId], now: datetime) -> list[DeviceRow]:
    """Registrations of these agents that have not expired."""
    rows = await connection.fetch(
        "SELECT id, agent_id, node_id, contact_sealed, expires_at FROM registrations"
        " WHERE agent_id = ANY($1::uuid[]) AND expires_at > $2 ORDER BY expires_at DESC, id",
        agents,
        now,
    )
    return [DeviceRow(**dict(row)) for row in rows]


async def numbers(connection: Connection, *, after: UUID | None = None, limit: int = 50) -> list[NumberRow]:
    """Numbers by id, after one of them."""
    rows = await connection.fetch(
        "SELECT id, number_sealed, agent_id, created_at, masks FROM numbers WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
        after,
        limit,
    )
    return [NumberRow(**dict(row)) for row in rows]


async def trunks(connection: Connection, *, after: UUID | None = None, limit: int = 50) -> list[TrunkRow]:
    """Trunks by id, after one of them."""
    rows = await connection.fetch(
        "SELECT id, name, uri, srtp, keying, media_ports, priority, weight, trusted, signs, verify FROM trunks"
        " WHERE $1::uuid IS NULL OR id > $1 ORDER BY id LIMIT $2",
        after,
        limit,
    )
    return [TrunkRow(**dict(row)) for row in rows]
