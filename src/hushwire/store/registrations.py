"""Rows of the location service: one for each contact that a device registered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import AgentId, NodeId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class RegistrationRow:
    """One binding; what it says of the device is sealed."""

    id: UUID
    agent_id: AgentId
    node_id: NodeId
    device_id: UUID | None
    contact_sealed: bytes
    contact_index: bytes
    call_id_hash: bytes
    cseq: int
    expires_at: datetime


async def live(connection: Connection, node_id: NodeId, now: datetime) -> list[RegistrationRow]:
    """The entered organisation's bindings of this node that have not lapsed."""
    rows = await connection.fetch(
        "SELECT id, agent_id, node_id, device_id, contact_sealed, contact_index, call_id_hash, cseq, expires_at FROM registrations"
        " WHERE node_id = $1 AND expires_at > $2",
        node_id,
        now,
    )
    return [RegistrationRow(**dict(row)) for row in rows]


async def put(connection: Connection, org_id: UUID, rows: Sequence[RegistrationRow], now: datetime) -> None:
    """Insert or refresh bindings. A contact that moved to another row takes that row's place."""
    await connection.executemany(
        "INSERT INTO registrations"
        " (id, org_id, agent_id, node_id, contact_sealed, contact_index, call_id_hash, cseq, expires_at, created_at, device_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (agent_id, contact_index) DO UPDATE SET"
        " id = excluded.id, node_id = excluded.node_id, device_id = excluded.device_id,"
        " contact_sealed = excluded.contact_sealed, call_id_hash = excluded.call_id_hash,"
        " cseq = excluded.cseq, expires_at = excluded.expires_at",
        [
            (
                row.id,
                org_id,
                row.agent_id,
                row.node_id,
                row.contact_sealed,
                row.contact_index,
                row.call_id_hash,
                row.cseq,
                row.expires_at,
                now,
                row.device_id,
            )
            for row in rows
        ],
    )


async def remove(connection: Connection, ids: Sequence[UUID]) -> None:
    """Forget bindings of the entered organisation."""
    await connection.execute("DELETE FROM registrations WHERE id = ANY($1::uuid[])", list(ids))
