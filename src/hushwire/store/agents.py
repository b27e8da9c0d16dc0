"""Changing what stands of an agent, as the organisation's own administrators do it."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.store.database import Connection


async def set_suspended(connection: Connection, agent_id: UUID, suspended: bool, now: datetime) -> bool | None:
    """Suspend or resume; whether that changed anything, None where there is no such agent.

    The row's version tells the gateways. Registrations of a suspended agent go with it: its phones register anew afterwards.
    """
    before: bool | None = await connection.fetchval("SELECT suspended FROM agents WHERE id = $1 FOR UPDATE", agent_id)
    if before is None or before is suspended:
        return None if before is None else False
    await connection.execute("UPDATE agents SET suspended = $2, updated_at = $3 WHERE id = $1", agent_id, suspended, now)
    if suspended:
        await connection.execute("DELETE FROM registrations WHERE agent_id = $1", agent_id)
    return True


@dataclass(frozen=True, slots=True)
class Display:
    """What an agent is shown and reached as, sealed."""

    extension_sealed: bytes | None = field(repr=False)
    extension_index: bytes | None = field(repr=False)
    caller_id_sealed: bytes | None = field(repr=False)


async def display(connection: Connection, agent_id: UUID) -> Display | None:
    """As it stands, held until the transaction ends; None where there is no such agent."""
    row = await connection.fetchrow(
        "SELECT extension_sealed, extension_index, caller_id_sealed FROM agents WHERE id = $1 FOR UPDATE", agent_id
    )
    return None if row is None else Display(**dict(row))


async def set_display(connection: Connection, agent_id: UUID, display: Display, now: datetime) -> None:
    """Another extension or caller id. Raises UniqueViolationError for an extension that another agent has."""
    await connection.execute(
        "UPDATE agents SET extension_sealed = $2, extension_index = $3, caller_id_sealed = $4, updated_at = $5 WHERE id = $1",
        agent_id,
        display.extension_sealed,
        display.extension_index,
        display.caller_id_sealed,
        now,
    )


@dataclass(frozen=True, slots=True)
class SealedForwarding:
    """An agent's wishes for calls that it does not take, closed; None: none."""

    sealed: bytes | None = field(repr=False)


async def forwarding(connection: Connection, agent_id: UUID) -> SealedForwarding | None:
    """As it stands; None where there is no such agent."""
    row = await connection.fetchrow("SELECT forwarding_sealed FROM agents WHERE id = $1", agent_id)
    return None if row is None else SealedForwarding(row[0])


async def is_group(connection: Connection, dialled: str) -> bool:
    """Whether it is a ring group's extension."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM ring_groups WHERE dialled = $1)", dialled))


async def set_forwarding(connection: Connection, agent_id: UUID, sealed: bytes | None, now: datetime) -> None:
    """Other wishes."""
    await connection.execute("UPDATE agents SET forwarding_sealed = $2, updated_at = $3 WHERE id = $1", agent_id, sealed, now)


async def set_hides_identity(connection: Connection, agent_id: UUID, hides_identity: bool, now: datetime) -> None:
    """Whether its calls hide its number."""
    await connection.execute("UPDATE agents SET hides_identity = $2, updated_at = $3 WHERE id = $1", agent_id, hides_identity, now)


async def set_media_ports(connection: Connection, agent_id: UUID, media_ports: str, now: datetime) -> None:
    """Whether its media shares UDP ports: auto, shared or own."""
    await connection.execute("UPDATE agents SET media_ports = $2, updated_at = $3 WHERE id = $1", agent_id, media_ports, now)
