"""Rows of calls that the API asks for in an agent's name: asked, taken by one gateway once, done. In a transaction of the organisation."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.store.database import Connection

CHANNEL: Final = "hushwire_call_requests"
DONE_CHANNEL: Final = "hushwire_done"
SILENT_S: Final = 60.0
"""A gateway that took a request and said nothing for so long is gone with it."""


@dataclass(frozen=True, slots=True)
class CallRequest:
    """One request. `room_id`: the conference into which the number is called, whose gateway is `node_wanted`."""

    id: UUID
    org_id: OrgId
    agent_id: AgentId
    destination_sealed: bytes = field(repr=False)
    answers_itself: bool = False
    is_telemarketing: bool = False
    room_id: CallId | None = None
    node_wanted: NodeId | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one: `ok`, or a code of the catalogue of refusals; and the call, where there is a row of it."""

    outcome: str
    call_id: CallId | None


async def ask(connection: Connection, wanted: CallRequest, at: datetime, within_s: float) -> None:
    """Write it; gateways are told with the caller's commit. Its time runs by the database's clock, as every gateway sees it."""
    await connection.execute(
        "INSERT INTO call_requests (id, org_id, agent_id, room_id, node_wanted, destination_sealed, answers_itself, is_telemarketing,"
        " asked_at, take_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))",
        wanted.id,
        wanted.org_id,
        wanted.agent_id,
        wanted.room_id,
        wanted.node_wanted,
        wanted.destination_sealed,
        wanted.answers_itself,
        wanted.is_telemarketing,
        at,
        within_s,
    )


async def is_agent(connection: Connection, agent_id: AgentId) -> bool:
    """Whether the organisation has this agent."""
    return bool(await connection.fetchval("SELECT true FROM agents WHERE id = $1", agent_id))


async def open_for(connection: Connection, node: NodeId) -> list[tuple[OrgId, UUID]]:
    """What this gateway may take now: by turns over organisations, of each the oldest first; across tenants, ids only."""
    return [(OrgId(row[0]), row[1]) for row in await connection.fetch("SELECT org_id, request_id FROM call_requests_open($1)", node)]


async def left_by(connection: Connection, node: NodeId) -> list[tuple[OrgId, UUID]]:
    """What this gateway took and has not finished; across tenants, ids only."""
    return [(OrgId(row[0]), row[1]) for row in await connection.fetch("SELECT org_id, request_id FROM call_requests_left($1)", node)]


async def take(connection: Connection, request_id: UUID, node: NodeId, at: datetime) -> CallRequest | None:
    """Take it, and with it the number out of the row; None where another gateway has it, or its time is over.

    It is taken once the caller's transaction is committed: nothing may be done for it before.
    """
    row = await connection.fetchrow(
        "SELECT id, org_id, agent_id, destination_sealed, answers_itself, is_telemarketing, room_id, node_wanted FROM call_requests"
        " WHERE id = $1 AND done_at IS NULL AND node_id IS NULL AND take_by > now() FOR UPDATE SKIP LOCKED",
        request_id,
    )
    if row is None:
        return None
    await connection.execute(
        "UPDATE call_requests SET node_id = $2, taken_at = $3, destination_sealed = NULL WHERE id = $1", request_id, node, at
    )
    return CallRequest(**dict(row))


async def finish(connection: Connection, request_id: UUID, outcome: str, call_id: CallId | None, at: datetime) -> None:
    """Say what became of it."""
    await connection.execute(
        "UPDATE call_requests SET done_at = $2, outcome = $3, call_id = $4 WHERE id = $1 AND done_at IS NULL",
        request_id,
        at,
        outcome,
        call_id,
    )


async def withdraw(connection: Connection, request_id: UUID, outcome: str, at: datetime) -> bool:
    """Take it back, and the number out of its row; False where a gateway has it, or had."""
    tag = await connection.execute(
        "UPDATE call_requests SET done_at = $2, outcome = $3, destination_sealed = NULL"
        " WHERE id = $1 AND done_at IS NULL AND node_id IS NULL",
        request_id,
        at,
        outcome,
    )
    return tag == "UPDATE 1"


async def done(connection: Connection, request_id: UUID) -> Done | None:
    """What became of it; None while nobody said."""
    row = await connection.fetchrow(
        "SELECT coalesce(outcome, 'orphaned') AS outcome, call_id FROM call_requests"
        " WHERE id = $1 AND (done_at IS NOT NULL OR taken_at < now() - make_interval(secs => $2))",
        request_id,
        SILENT_S,
    )
    return None if row is None else Done(row["outcome"], row["call_id"])
