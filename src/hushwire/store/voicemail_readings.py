"""Rows by which a gateway asks for a message to be heard by phone, and the worker answers. In a transaction of the organisation."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId, RecordingId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Question:
    """One message that its owner wants to hear, in this codec, sealed to this key."""

    id: UUID
    org_id: OrgId
    agent_id: AgentId
    recording_id: RecordingId
    codec: str
    public_key: bytes = field(repr=False)
    asked_at: datetime
    for_caller: bool = False
    """A greeting that somebody who calls the agent is to hear."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The message, sealed; or why not."""

    sealed: bytes | None = field(repr=False)
    refusal: str | None


async def ask(connection: Connection, question: Question) -> None:
    """Write the question; the database tells workers."""
    await connection.execute(
        "INSERT INTO voicemail_readings (id, org_id, agent_id, recording_id, codec, public_key, asked_at, for_caller)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        question.id,
        question.org_id,
        question.agent_id,
        question.recording_id,
        question.codec,
        question.public_key,
        question.asked_at,
        question.for_caller,
    )


async def take(connection: Connection, question_id: UUID) -> Answer | None:
    """The answer, and the row is gone; None while there is none."""
    row = await connection.fetchrow(
        "DELETE FROM voicemail_readings WHERE id = $1 AND answered_at IS NOT NULL RETURNING sealed, refusal", question_id
    )
    return None if row is None else Answer(row["sealed"], row["refusal"])


async def forget(connection: Connection, question_id: UUID) -> None:
    """Nobody waits for it any more."""
    await connection.execute("DELETE FROM voicemail_readings WHERE id = $1", question_id)


async def waiting(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Questions that nobody has answered; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, reading_id FROM voicemail_to_read()")
    return [(OrgId(row["org_id"]), row["reading_id"]) for row in rows]


async def left(connection: Connection, before: datetime) -> list[tuple[OrgId, UUID]]:
    """Questions that were asked before a time, by gateways that are gone; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, reading_id FROM voicemail_left_unread($1)", before)
    return [(OrgId(row["org_id"]), row["reading_id"]) for row in rows]


async def get(connection: Connection, question_id: UUID) -> Question | None:
    """One that waits, of an owner whose message or greeting it is and who may still hear it; held until the transaction ends."""
    row = await connection.fetchrow(
        "SELECT q.id, q.org_id, q.agent_id, q.recording_id, q.codec, q.public_key, q.asked_at, q.for_caller FROM voicemail_readings AS q"
        " WHERE q.id = $1 AND q.answered_at IS NULL"
        " AND EXISTS (SELECT 1 FROM agents AS a WHERE a.id = q.agent_id AND NOT a.suspended)"
        " AND ((NOT q.for_caller AND EXISTS (SELECT 1 FROM voicemail_messages AS m"
        "                                    WHERE m.recording_id = q.recording_id AND m.agent_id = q.agent_id))"
        "      OR EXISTS (SELECT 1 FROM voicemail_greetings AS g WHERE g.recording_id = q.recording_id AND g.agent_id = q.agent_id"
        "                 AND (g.state = 'used' OR (g.state = 'draft' AND NOT q.for_caller)))) FOR UPDATE SKIP LOCKED",
        question_id,
    )
    return None if row is None else Question(**dict(row))


async def answer(connection: Connection, question_id: UUID, at: datetime, given: Answer) -> None:
    """Answer it; the database tells the gateway."""
    await connection.execute(
        "UPDATE voicemail_readings SET answered_at = $2, sealed = $3, refusal = $4 WHERE id = $1",
        question_id,
        at,
        given.sealed,
        given.refusal,
    )
