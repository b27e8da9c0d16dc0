"""Emergency calls that an organisation's contacts have to be told of."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import CallId, OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class EmergencyRow:
    """One of them."""

    agent_id: UUID | None
    started_at: datetime
    end_reason: str | None


async def untold(connection: Connection) -> list[tuple[OrgId, CallId]]:
    """Those of every organisation that nobody was told of, the oldest first. No organisation is entered."""
    rows = await connection.fetch("SELECT org_id, call_id FROM emergencies_untold() LIMIT 1000")
    return [(OrgId(row["org_id"]), CallId(row["call_id"])) for row in rows]


async def claim(connection: Connection, call_id: UUID, now: datetime) -> EmergencyRow | None:
    """Mark a call as told of; None if somebody else did."""
    row = await connection.fetchrow(
        "UPDATE calls SET emergency_told_at = $2 WHERE id = $1 AND emergency_told_at IS NULL RETURNING agent_id, started_at, end_reason",
        call_id,
        now,
    )
    return None if row is None else EmergencyRow(**dict(row))


async def countries(connection: Connection) -> list[tuple[str | None, bool | None]]:
    """Country and mark of every trunk."""
    return [(row["country"], row["emergency"]) for row in await connection.fetch("SELECT country, emergency FROM trunks")]
