"""Rows of conferences' rooms: which gateway has a room. Within the entered organisation, unless it is said otherwise."""

from datetime import timedelta
from uuid import UUID

from hushwire.core.ids import NodeId, OrgId
from hushwire.store.database import Connection


async def claim(
    connection: Connection, org_id: OrgId, room: str, opening: UUID, node_id: NodeId, within: timedelta, silent: NodeId | None = None
) -> NodeId:
    """The gateway that has the room from now on: one that was heard of so lately, else `node_id`. One that is `silent` loses it."""
    taken = await connection.fetchval(
        "INSERT INTO conference_rooms AS r (org_id, room, node_id, opening, opened_at) VALUES ($1, $2, $3, $4, now())"
        " ON CONFLICT (org_id, room) DO UPDATE SET node_id = $3, opening = $4, opened_at = now()"
        " WHERE r.node_id = $3 OR r.node_id = $6"
        " OR NOT EXISTS (SELECT FROM nodes WHERE id = r.node_id AND seen_at > now() - $5::interval) RETURNING node_id",
        org_id,
        room,
        node_id,
        opening,
        within,
        silent,
    )
    if taken is None:
        taken = await connection.fetchval("SELECT node_id FROM conference_rooms WHERE room = $1", room)
    return node_id if taken is None else NodeId(taken)


async def free(connection: Connection, opening: UUID) -> None:
    """The room that was opened by this name is over."""
    await connection.execute("DELETE FROM conference_rooms WHERE opening = $1", opening)


async def of_node(connection: Connection, node_id: NodeId) -> list[tuple[OrgId, UUID]]:
    """What a gateway has by its rows, of all organisations."""
    rows = await connection.fetch("SELECT org_id, opening FROM rooms_opened_by($1)", node_id)
    return [(OrgId(row["org_id"]), row["opening"]) for row in rows]
