"""Rows of parked calls: whose slot it is over all gateways. Within the entered organisation, unless it is said otherwise."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Parked:
    """A call in a slot."""

    slot: str
    node_id: NodeId
    call_id: CallId


async def taken(connection: Connection, node_id: NodeId, within: timedelta) -> set[str]:
    """Slots in which other gateways, heard of so lately, hold calls."""
    rows = await connection.fetch(
        "SELECT slot FROM parked_calls JOIN nodes ON nodes.id = node_id WHERE node_id <> $1 AND seen_at > now() - $2::interval",
        node_id,
        within,
    )
    return {row["slot"] for row in rows}


async def claim(connection: Connection, org_id: OrgId, slot: str, parked: tuple[NodeId, CallId], within: timedelta) -> bool:
    """Have the slot be this call's. False where another gateway, heard of so lately, holds a call there."""
    node_id, call_id = parked
    row = await connection.fetchval(
        "INSERT INTO parked_calls AS p (org_id, slot, node_id, call_id, parked_at) VALUES ($1, $3, $4, $5, now())"
        " ON CONFLICT (org_id, slot) DO UPDATE SET node_id = $4, call_id = $5, parked_at = now()"
        " WHERE p.node_id = $4 OR NOT EXISTS (SELECT FROM nodes WHERE id = p.node_id AND seen_at > now() - $2::interval) RETURNING true",
        org_id,
        within,
        slot,
        node_id,
        call_id,
    )
    return bool(row)


async def free(connection: Connection, slot: str, node_id: NodeId, call_id: CallId) -> None:
    """The call is in the slot no more."""
    await connection.execute("DELETE FROM parked_calls WHERE slot = $1 AND node_id = $2 AND call_id = $3", slot, node_id, call_id)


async def forget(connection: Connection, node_id: NodeId, call_id: CallId) -> None:
    """The call, which this gateway held, is in no slot any more."""
    await connection.execute("DELETE FROM parked_calls WHERE node_id = $1 AND call_id = $2", node_id, call_id)


async def elsewhere(connection: Connection, node_ids: Sequence[UUID]) -> list[Parked]:
    """The calls that these gateways hold in slots."""
    rows = await connection.fetch("SELECT slot, node_id, call_id FROM parked_calls WHERE node_id = ANY($1)", list(node_ids))
    return [Parked(row["slot"], NodeId(row["node_id"]), CallId(row["call_id"])) for row in rows]


async def of_node(connection: Connection, node_id: NodeId) -> list[tuple[OrgId, CallId]]:
    """What a gateway holds by its rows, of all organisations."""
    rows = await connection.fetch("SELECT org_id, call_id FROM calls_parked_by($1)", node_id)
    return [(OrgId(row["org_id"]), CallId(row["call_id"])) for row in rows]


async def ringing(connection: Connection, node_ids: Sequence[UUID]) -> list[tuple[CallId, NodeId, AgentId | None]]:
    """Calls that ring on these gateways, the oldest first, and at whose phones; None: at a group's."""
    rows = await connection.fetch(
        "SELECT id, node_id, CASE WHEN direction = 'inbound' THEN agent_id ELSE peer_agent_id END AS called FROM calls"
        " WHERE state = 'ringing' AND node_id = ANY($1) AND direction IN ('inbound', 'internal') AND joined_as IS NULL ORDER BY started_at",
        list(node_ids),
    )
    return [(CallId(row["id"]), NodeId(row["node_id"]), None if row["called"] is None else AgentId(row["called"])) for row in rows]


async def talking(connection: Connection, agent_id: AgentId, node_ids: Sequence[UUID]) -> list[NodeId]:
    """The gateways, of these, on which an agent is in a call; that of the newest call first."""
    rows = await connection.fetch(
        "SELECT node_id FROM calls WHERE state = 'active' AND node_id = ANY($1) AND (agent_id = $2 OR peer_agent_id = $2)"
        " AND direction IN ('outbound', 'inbound', 'internal') ORDER BY started_at DESC",
        list(node_ids),
        agent_id,
    )
    return [NodeId(row["node_id"]) for row in rows]
