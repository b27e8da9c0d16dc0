"""Commands to the node of a live call, as the one who asks sees them."""

from datetime import datetime
from uuid import UUID

from hushwire.core.ids import CallId, NodeId, OrgId
from hushwire.store.database import Connection


async def ask(connection: Connection, command_id: UUID, org_id: OrgId, node: NodeId, call: CallId, action: str, at: datetime) -> None:
    """Write the command; the database tells the node."""
    await connection.execute(
        "INSERT INTO node_commands (id, org_id, node_id, call_id, action, created_at) VALUES ($1, $2, $3, $4, $5, $6)",
        command_id,
        org_id,
        node,
        call,
        action,
        at,
    )


async def outcome(connection: Connection, command_id: UUID) -> str | None:
    """`ok`, or why not; None while the node has not answered."""
    found: str | None = await connection.fetchval(
        "SELECT coalesce(outcome, 'ok') FROM node_commands WHERE id = $1 AND done_at IS NOT NULL", command_id
    )
    return found
