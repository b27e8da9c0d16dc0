"""Gateways among themselves and with the API: heartbeats, the fence of media control, and commands for live calls."""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from hushwire.core.ids import CallId, NodeId, OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Command:
    """What the API asks of the node that holds a call."""

    id: UUID
    org_id: OrgId
    call_id: CallId
    action: str
    created_at: datetime
    details: dict[str, str]


async def next_epoch(connection: Connection) -> int:
    """A number greater than every epoch before: who has the greatest controls the media process."""
    epoch: int = await connection.fetchval("SELECT nextval('media_epoch')")
    return epoch


async def beat(
    connection: Connection,
    node_id: NodeId,
    started_at: datetime,
    media_instance: UUID | None,
    quality: str | None = None,
    *,
    sip: str | None = None,
    registrar: str | None = None,
) -> None:
    """A sign of life, at the database's own time: whoever judges its age asks the same clock.

    `quality` and `registrar` are JSON, for metrics; `sip` is where other gateways find this one, a SIP URI.
    """
    await connection.execute(
        "INSERT INTO nodes (id, started_at, seen_at, media_instance, quality, sip, registrar)"
        " VALUES ($1, $2, now(), $3, $4::jsonb, $5, $6::jsonb) ON CONFLICT (id) DO UPDATE SET started_at = $2, seen_at = now(),"
        " media_instance = $3, quality = $4::jsonb, sip = $5, registrar = $6::jsonb",
        node_id,
        started_at,
        media_instance,
        quality,
        sip,
        registrar,
    )


async def neighbours(connection: Connection, node_id: NodeId, within: timedelta) -> list[tuple[NodeId, str]]:
    """Other gateways that gave a sign of life so lately, and the SIP URIs where they are found."""
    rows = await connection.fetch(
        "SELECT id, sip FROM nodes WHERE id <> $1 AND sip IS NOT NULL AND seen_at > now() - $2::interval", node_id, within
    )
    return [(NodeId(row["id"]), row["sip"]) for row in rows]


async def told_registrar(connection: Connection, within: timedelta) -> list[dict[str, int]]:
    """What gateways that live count of bindings and alarms."""
    rows = await connection.fetch("SELECT registrar FROM nodes WHERE registrar IS NOT NULL AND seen_at > now() - $1::interval", within)
    return [json.loads(row["registrar"]) for row in rows]


async def told_quality(connection: Connection) -> list[dict[str, Any]]:
    """How the calls of each gateway sounded, as it last said."""
    rows = await connection.fetch("SELECT quality FROM nodes WHERE quality IS NOT NULL")
    return [json.loads(row["quality"]) for row in rows]


async def count_alive(connection: Connection, within: timedelta) -> int:
    """Nodes that gave a sign of life so lately."""
    count: int = await connection.fetchval("SELECT count(*) FROM nodes WHERE seen_at > now() - $1::interval", within)
    return count


async def count_dead(connection: Connection, unseen_for: timedelta) -> int:
    """Nodes that are known and gave no sign of life for so long."""
    count: int = await connection.fetchval("SELECT count(*) FROM nodes WHERE seen_at <= now() - $1::interval", unseen_for)
    return count


async def open_commands(connection: Connection, node_id: NodeId) -> list[tuple[OrgId, UUID]]:
    """Commands that wait for this node, oldest first; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, command_id FROM open_commands($1)", node_id)
    return [(OrgId(row["org_id"]), row["command_id"]) for row in rows]


async def command(connection: Connection, command_id: UUID) -> Command | None:
    """A command of the entered organisation that is not done yet."""
    row = await connection.fetchrow(
        "SELECT id, org_id, call_id, action, created_at, details FROM node_commands WHERE id = $1 AND done_at IS NULL", command_id
    )
    return None if row is None else Command(**{**dict(row), "details": json.loads(row["details"] or "{}")})


async def finish_command(connection: Connection, command_id: UUID, now: datetime, outcome: str) -> None:
    """Tell whoever waits how it went: `ok`, or why not."""
    await connection.execute(
        "UPDATE node_commands SET done_at = $2, outcome = $3 WHERE id = $1 AND done_at IS NULL", command_id, now, outcome
    )
