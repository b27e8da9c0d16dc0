"""Commands to the node of a live call, as the one who asks sees them."""

import json
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import CallId, NodeId, OrgId
from hushwire.store.database import Connection


async def ask(
    connection: Connection,
    command_id: UUID,
    org_id: OrgId,
    node: NodeId,
    call: CallId,
    action: str,
    at: datetime,
    details: Mapping[str, str] | None = None,
) -> None:
    """Write the command; the database tells the node. `details`: what the action needs, ids and codes alone."""
    await connection.execute(
        "INSERT INTO node_commands (id, org_id, node_id, call_id, action, created_at, details) VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb)",
        command_id,
        org_id,
        node,
        call,
        action,
        at,
        None if details is None else json.dumps(dict(details)),
    )


async def outcome(connection: Connection, command_id: UUID) -> str | None:
    """`ok`, or why not; None while the node has not answered."""
    found: str | None = await connection.fetchval(
        "SELECT coalesce(outcome, 'ok') FROM node_commands WHERE id = $1 AND done_at IS NOT NULL", command_id
    )
    return found
