"""How many texts were accepted, as the fraud breaker counts them. Every function runs in a transaction of the organisation."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class TextsRow:
    """As `fraud_texts`: parts and millionths of a currency of the day, parts of the newest minute and of the one before."""

    parts: int
    spent_micros: int
    minute_parts: int
    before_parts: int


async def add(connection: Connection, org_id: OrgId, agent_id: AgentId | None, day: date, minute: int, parts: int, micros: int) -> TextsRow:
    """Count these parts, of an agent or (None) of the whole organisation; what that makes. The row is held until the transaction ends.

    A clock that is behind another process's counts for the newest minute.
    """
    row = await connection.fetchrow(
        "INSERT INTO fraud_texts AS t (org_id, agent_id, day, parts, spent_micros, minute, minute_parts, before_parts)"
        " VALUES ($1, $2, $3, $5, $6, $4, $5, 0) ON CONFLICT (org_id, coalesce(agent_id, org_id), day) DO UPDATE SET"
        " parts = t.parts + $5, spent_micros = t.spent_micros + $6, minute = greatest(t.minute, $4),"
        " minute_parts = CASE WHEN t.minute >= $4 THEN t.minute_parts ELSE 0 END + $5,"
        " before_parts = CASE WHEN t.minute >= $4 THEN t.before_parts WHEN t.minute = $4 - 1 THEN t.minute_parts ELSE 0 END"
        " RETURNING parts, spent_micros, minute_parts, before_parts",
        org_id,
        agent_id,
        day,
        minute,
        parts,
        micros,
    )
    assert row is not None
    return TextsRow(**dict(row))


async def forget(connection: Connection, agent_id: UUID | None, day: date) -> None:
    """Nothing of this day is held against an agent, or (None) against the organisation's programs, any more."""
    await connection.execute("DELETE FROM fraud_texts WHERE agent_id IS NOT DISTINCT FROM $1 AND day = $2", agent_id, day)


async def lapse(connection: Connection, before: date) -> int:
    """Remove what is of older days; how many rows."""
    return int((await connection.execute("DELETE FROM fraud_texts WHERE day < $1", before)).rpartition(" ")[2])
