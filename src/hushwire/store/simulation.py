"""What an organisation's agents called outside, each number once: what a simulation of other rules judges again."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class CalledRow:
    """One number as one agent called it: how often, and the newest call, whose key opens the number."""

    agent_id: UUID | None
    calls: int
    call_id: UUID
    started_at: datetime
    sealed_with: UUID
    remote_sealed: bytes = field(repr=False)


async def called(connection: Connection, since: datetime, *, agent_id: UUID | None = None, limit: int) -> Sequence[CalledRow]:
    """The numbers that were called most first, refused attempts among them. Neither what is restricted nor masked calls, whose number is a
    proxy's."""
    rows = await connection.fetch(
        "WITH newest AS (SELECT agent_id, remote_index, count(*) AS calls, (array_agg(id ORDER BY started_at DESC, id DESC))[1] AS id"
        " FROM calls WHERE direction = 'outbound' AND started_at >= $1 AND ($2::uuid IS NULL OR agent_id = $2)"
        " AND remote_index IS NOT NULL AND remote_sealed IS NOT NULL AND sealed_with IS NOT NULL AND masking_session_id IS NULL"
        " GROUP BY agent_id, remote_index)"
        " SELECT c.agent_id, n.calls, c.id AS call_id, c.started_at, c.sealed_with, c.remote_sealed"
        " FROM newest AS n JOIN calls AS c USING (id)"
        " WHERE NOT is_restricted(c.remote_index, c.id) ORDER BY n.calls DESC, c.id DESC LIMIT $3",
        since,
        agent_id,
        limit,
    )
    return [CalledRow(**dict(row)) for row in rows]
