"""Rows of messages on their way to agents' phones, and of the questions for what they say. In a transaction of the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.store.database import Connection

CHANNEL: Final = "hushwire_texts"
READ_CHANNEL: Final = "hushwire_texts_read"
KEPT_FOR: Final = timedelta(days=7)
"""So long a message waits for a phone of its agent; it stays in the list of messages in any case."""


@dataclass(frozen=True, slots=True)
class Due:
    """One message that this gateway is to bring now. `sender_id`: the colleague who wrote it; None: it came from outside."""

    message_id: UUID
    attempts: int
    sender_id: AgentId | None
    at: datetime


@dataclass(frozen=True, slots=True)
class Question:
    """Messages that a gateway is about to bring to an agent, to be sealed to this key."""

    id: UUID
    org_id: OrgId
    agent_id: AgentId
    message_ids: tuple[UUID, ...]
    public_key: bytes = field(repr=False)
    asked_at: datetime


async def add_all(
    connection: Connection,
    org_id: OrgId,
    texts: Sequence[tuple[UUID, UUID]],
    at: datetime,
    expires_at: datetime | None = None,
    claimed_until: datetime | None = None,
) -> None:
    """Bring these (message, agent) to the agents' phones. Gateways are told with the caller's commit.

    `claimed_until`: whoever writes this brings them itself, by then.
    """
    await connection.execute(
        "INSERT INTO text_deliveries (org_id, message_id, agent_id, due_at, expires_at, claimed_until, attempts)"
        " SELECT $1, message_id, agent_id, $4, $5, $6, CASE WHEN $6::timestamptz IS NULL THEN 0 ELSE 1 END"
        " FROM unnest($2::uuid[], $3::uuid[]) AS w (message_id, agent_id) ON CONFLICT DO NOTHING",
        org_id,
        [message for message, _ in texts],
        [agent for _, agent in texts],
        at,
        expires_at or at + KEPT_FOR,
        claimed_until,
    )


async def count(connection: Connection, agent_id: AgentId) -> int:
    """How many wait for an agent."""
    return int(await connection.fetchval("SELECT count(*) FROM text_deliveries WHERE agent_id = $1", agent_id))


async def due(connection: Connection, agents: Sequence[AgentId], now: datetime) -> list[tuple[OrgId, AgentId]]:
    """For whom of these something is due. In a transaction of no organisation."""
    rows = await connection.fetch("SELECT org_id, agent_id FROM texts_due($1, $2)", list(agents), now)
    return [(OrgId(row["org_id"]), AgentId(row["agent_id"])) for row in rows]


async def hurry(connection: Connection, agent_id: AgentId, now: datetime) -> None:
    """A phone of the agent came: what waits for its next try is tried now. What a gateway is bringing stays with it."""
    await connection.execute(
        "UPDATE text_deliveries SET due_at = $2 WHERE agent_id = $1 AND due_at > $2 AND (claimed_until IS NULL OR claimed_until <= $2)",
        agent_id,
        now,
    )


async def claim(connection: Connection, agent_id: AgentId, now: datetime, until: datetime, limit: int) -> list[Due]:
    """What is due for an agent, oldest first, this gateway's until then."""
    rows = await connection.fetch(
        "UPDATE text_deliveries AS d SET attempts = d.attempts + 1, claimed_until = $3 FROM messages AS m"
        " WHERE m.id = d.message_id AND d.agent_id = $1 AND d.message_id IN ("
        "  SELECT w.message_id FROM text_deliveries AS w JOIN messages AS o ON o.id = w.message_id"
        "  WHERE w.agent_id = $1 AND w.due_at <= $2 AND w.expires_at > $2 AND (w.claimed_until IS NULL OR w.claimed_until <= $2)"
        "  ORDER BY o.created_at, w.message_id LIMIT $4 FOR UPDATE OF w SKIP LOCKED)"
        " RETURNING d.message_id, d.attempts, CASE WHEN m.direction = 'internal' THEN m.agent_id END AS sender_id, m.created_at AS at",
        agent_id,
        now,
        until,
        limit,
    )
    return sorted((Due(**dict(row)) for row in rows), key=lambda one: (one.at, one.message_id))


async def later(connection: Connection, agent_id: AgentId, message_ids: Sequence[UUID], due_at: datetime) -> None:
    """They could not be brought: once more then."""
    await connection.execute(
        "UPDATE text_deliveries SET due_at = $3, claimed_until = NULL WHERE agent_id = $1 AND message_id = ANY($2::uuid[])",
        agent_id,
        list(message_ids),
        due_at,
    )


async def remove(connection: Connection, agent_id: AgentId, message_ids: Sequence[UUID]) -> None:
    """They were brought, or there is nothing to bring any more."""
    await connection.execute(
        "DELETE FROM text_deliveries WHERE agent_id = $1 AND message_id = ANY($2::uuid[])", agent_id, list(message_ids)
    )


async def overdue(connection: Connection, now: datetime) -> list[OrgId]:
    """Organisations with messages whose time is over. In a transaction of no organisation."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT texts_overdue($1)", now)]


async def expire(connection: Connection, now: datetime) -> list[tuple[UUID, bool]]:
    """Give up what nobody came for; returns which messages, and whether they are a colleague's."""
    rows = await connection.fetch(
        "DELETE FROM text_deliveries AS d USING messages AS m WHERE m.id = d.message_id AND d.expires_at <= $1"
        " RETURNING d.message_id, m.direction = 'internal' AS is_internal",
        now,
    )
    return [(row["message_id"], row["is_internal"]) for row in rows]


async def ask(connection: Connection, question: Question) -> None:
    """Write the question; the database tells workers."""
    await connection.execute(
        "INSERT INTO text_readings (id, org_id, agent_id, message_ids, public_key, asked_at) VALUES ($1, $2, $3, $4, $5, $6)",
        question.id,
        question.org_id,
        question.agent_id,
        list(question.message_ids),
        question.public_key,
        question.asked_at,
    )


async def take(connection: Connection, question_id: UUID) -> bytes | None:
    """The answer, and the row is gone; None while there is none."""
    found: bytes | None = await connection.fetchval(
        "DELETE FROM text_readings WHERE id = $1 AND answered_at IS NOT NULL RETURNING sealed", question_id
    )
    return found


async def forget(connection: Connection, question_id: UUID) -> None:
    """Nobody waits for it any more."""
    await connection.execute("DELETE FROM text_readings WHERE id = $1", question_id)


async def waiting(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Questions that nobody has answered; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, reading_id FROM texts_to_read()")
    return [(OrgId(row["org_id"]), row["reading_id"]) for row in rows]


async def left(connection: Connection, before: datetime) -> list[tuple[OrgId, UUID]]:
    """Questions that were asked before a time, by gateways that are gone; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, reading_id FROM texts_left_unread($1)", before)
    return [(OrgId(row["org_id"]), row["reading_id"]) for row in rows]


async def get(connection: Connection, question_id: UUID) -> Question | None:
    """One that waits, with those of its messages that are on their way to who asks; held until the transaction ends."""
    row = await connection.fetchrow(
        "SELECT q.id, q.org_id, q.agent_id, q.public_key, q.asked_at, ARRAY("
        "  SELECT d.message_id FROM text_deliveries AS d WHERE d.agent_id = q.agent_id AND d.message_id = ANY(q.message_ids)"
        "  ORDER BY d.message_id) AS message_ids"
        " FROM text_readings AS q WHERE q.id = $1 AND q.answered_at IS NULL"
        " AND EXISTS (SELECT 1 FROM agents AS a WHERE a.id = q.agent_id AND NOT a.suspended) FOR UPDATE SKIP LOCKED",
        question_id,
    )
    return None if row is None else Question(**(dict(row) | {"message_ids": tuple(row["message_ids"])}))


async def answer(connection: Connection, question_id: UUID, at: datetime, sealed: bytes) -> None:
    """Answer it; the database tells the gateway."""
    await connection.execute("UPDATE text_readings SET answered_at = $2, sealed = $3 WHERE id = $1", question_id, at, sealed)
