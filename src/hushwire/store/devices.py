"""Rows of agents' devices. Runs as the organisation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A device as people see it."""

    id: UUID
    login: str
    name_sealed: bytes = field(repr=False)
    is_handed_out: bool
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class AgentRow:
    """What a credential is made for: the agent, and its organisation's slug."""

    slug: str
    username_sealed: bytes = field(repr=False)
    has_own: bool
    created_at: datetime


async def agent(connection: Connection, agent_id: UUID, *, for_update: bool = False) -> AgentRow | None:
    """The agent; None where there is none."""
    query = (
        "SELECT (SELECT slug FROM orgs) AS slug, username_sealed, ha1_sealed IS NOT NULL AS has_own, created_at FROM agents WHERE id = $1"
    )
    row = await connection.fetchrow(f"{query} FOR NO KEY UPDATE" if for_update else query, agent_id)
    return None if row is None else AgentRow(**dict(row))


async def add(
    connection: Connection,
    org_id: OrgId,
    device_id: UUID,
    agent_id: UUID,
    login: str,
    name_sealed: bytes,
    ha1_sealed: bytes | None,
    now: datetime,
    expires_at: datetime | None,
) -> None:
    """A new device."""
    await connection.execute(
        "INSERT INTO devices (id, org_id, agent_id, login, name_sealed, ha1_sealed, created_at, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        device_id,
        org_id,
        agent_id,
        login,
        name_sealed,
        ha1_sealed,
        now,
        expires_at,
    )


async def of_agent(connection: Connection, agent_id: UUID) -> list[DeviceRow]:
    """The agent's devices, oldest first; revoked and expired ones among them."""
    rows = await connection.fetch(
        "SELECT id, login, name_sealed, ha1_sealed IS NOT NULL AS is_handed_out, created_at, expires_at, revoked_at FROM devices"
        " WHERE agent_id = $1 ORDER BY id",
        agent_id,
    )
    return [DeviceRow(**dict(row)) for row in rows]


async def forget_expired(connection: Connection, agent_id: UUID, before: datetime) -> None:
    """Remove what expired before a moment: nothing refers to it any more."""
    await connection.execute("DELETE FROM devices WHERE agent_id = $1 AND expires_at < $2", agent_id, before)


async def count_live(connection: Connection, agent_id: UUID, now: datetime) -> int:
    """How many devices the agent has that are neither revoked nor expired."""
    count: int = await connection.fetchval(
        "SELECT count(*) FROM devices WHERE agent_id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $2)", agent_id, now
    )
    return count


async def sealed_credential(connection: Connection, agent_id: AgentId | UUID, device_id: UUID) -> bytes | bool:
    """What digest needs of a device or, where its id is the agent's, of the agent itself; held until the transaction ends.

    False where there is no such device; True where it has no credential (any more).
    """
    if device_id == agent_id:
        row = await connection.fetchrow("SELECT ha1_sealed FROM agents WHERE id = $1 FOR NO KEY UPDATE", agent_id)
    else:
        row = await connection.fetchrow("SELECT ha1_sealed FROM devices WHERE id = $1 AND agent_id = $2 FOR UPDATE", device_id, agent_id)
    if row is None:
        return False
    return True if row["ha1_sealed"] is None else bytes(row["ha1_sealed"])


async def login(connection: Connection, agent_id: UUID, device_id: UUID, now: datetime) -> str | None:
    """The user name of a device that is neither revoked nor expired."""
    found: str | None = await connection.fetchval(
        "SELECT login FROM devices WHERE id = $1 AND agent_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)",
        device_id,
        agent_id,
        now,
    )
    return found


async def revoke(connection: Connection, agent_id: UUID, device_id: UUID, now: datetime) -> bool:
    """Take the credential away, and the bindings that were made with it; whether that changed anything."""
    if device_id == agent_id:
        done = await connection.execute(
            "UPDATE agents SET ha1_sealed = NULL, updated_at = $2 WHERE id = $1 AND ha1_sealed IS NOT NULL", agent_id, now
        )
        await connection.execute("DELETE FROM registrations WHERE agent_id = $1 AND device_id IS NULL", agent_id)
    else:
        done = await connection.execute(
            "UPDATE devices SET ha1_sealed = NULL, revoked_at = $3 WHERE id = $1 AND agent_id = $2 AND revoked_at IS NULL",
            device_id,
            agent_id,
            now,
        )
        await connection.execute("DELETE FROM registrations WHERE device_id = $1", device_id)
    return done != "UPDATE 0"


async def names(connection: Connection, device_ids: Iterable[UUID]) -> dict[UUID, bytes]:
    """The sealed names of these devices, revoked ones among them."""
    rows = await connection.fetch("SELECT id, name_sealed FROM devices WHERE id = ANY($1::uuid[])", list(device_ids))
    return {row["id"]: row["name_sealed"] for row in rows}
