"""What agents were refused and asked for. Every function but the look-ups of the worker and the gateways runs as the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "id, agent_id, call_id, countries, state, asked_by, asked_at, expires_at, agreed_by, decided_by, decided_at, ends_at,"
    " noticed_at, told_at"
)
ASKABLE: Final = ("country", "several-countries")
"""Reasons of refusals that a permission for a country mends."""


@dataclass(frozen=True, slots=True)
class AccessRow:
    """One request; approved, it is the permission until `ends_at`. One that is open after `expires_at` has lapsed."""

    id: UUID
    agent_id: UUID
    call_id: UUID | None
    countries: tuple[str, ...]
    state: str
    asked_by: str
    asked_at: datetime
    expires_at: datetime
    agreed_by: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None
    ends_at: datetime | None = None
    noticed_at: datetime | None = None
    told_at: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether it can be decided."""
        return self.state == "open" and now < self.expires_at


@dataclass(frozen=True, slots=True)
class RefusedCall:
    """What an agent was refused: the call, why, and the (first) country."""

    call_id: UUID
    reason: str | None
    country: str | None
    agent_id: UUID | None


@dataclass(frozen=True, slots=True)
class GrantRow:
    """An agent may reach these countries until then."""

    agent_id: UUID
    countries: tuple[str, ...]
    ends_at: datetime


async def ask(connection: Connection, org_id: OrgId, row: AccessRow, most_open: int) -> bool:
    """Keep a new one; False where the same is open already, or the agent has asked for too much."""
    tag = await connection.execute(
        "INSERT INTO access_requests (id, org_id, agent_id, call_id, countries, asked_by, asked_at, expires_at)"
        " SELECT $1, $2, $3, $4, $5, $6, $7, $8 WHERE (SELECT count(*) < $9 AND coalesce(bool_and(other.countries <> $5), true)"
        " FROM access_requests AS other WHERE other.agent_id = $3 AND other.state = 'open' AND other.expires_at > $7)",
        row.id,
        org_id,
        row.agent_id,
        row.call_id,
        list(row.countries),
        row.asked_by,
        row.asked_at,
        row.expires_at,
        most_open,
    )
    return tag == "INSERT 0 1"


async def last_refused(connection: Connection, agent_id: UUID, since: datetime) -> RefusedCall | None:
    """The agent's newest call that was refused for its country."""
    row = await connection.fetchrow(
        "SELECT id AS call_id, verdict_reason AS reason, country, agent_id FROM calls WHERE agent_id = $1 AND started_at > $2"
        " AND state = 'refused' AND verdict_reason = ANY ($3::text[]) ORDER BY started_at DESC, id DESC LIMIT 1",
        agent_id,
        since,
        list(ASKABLE),
    )
    return None if row is None else RefusedCall(**dict(row))


async def refused_call(connection: Connection, call_id: UUID) -> RefusedCall | None:
    """A call of the organisation, refused or not."""
    query = "SELECT id AS call_id, verdict_reason AS reason, country, agent_id FROM calls WHERE id = $1 AND state = 'refused'"
    row = await connection.fetchrow(query, call_id)
    return None if row is None else RefusedCall(**dict(row))


async def get(connection: Connection, request_id: UUID, *, for_update: bool = False) -> AccessRow | None:
    """One of them; `for_update` holds it until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM access_requests WHERE id = $1" + (" FOR UPDATE" if for_update else "")  # noqa: S608
    row = await connection.fetchrow(query, request_id)
    return None if row is None else _row(row)


async def listed(connection: Connection, *, after: Place | None = None, limit: int = 50) -> Sequence[AccessRow]:
    """Newest first."""
    found = await connection.fetch(
        f"SELECT {_COLUMNS} FROM access_requests WHERE $1::timestamptz IS NULL OR (asked_at, id) < ($1, $2)"  # noqa: S608
        " ORDER BY asked_at DESC, id DESC LIMIT $3",
        None if after is None else after.started_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in found]


async def agree(connection: Connection, request_id: UUID, by: str, ends_at: datetime) -> None:
    """The first of two has agreed."""
    query = "UPDATE access_requests SET agreed_by = $2, ends_at = $3 WHERE id = $1 AND state = 'open'"
    await connection.execute(query, request_id, by, ends_at)


async def decide(connection: Connection, request_id: UUID, state: str, by: str, at: datetime, ends_at: datetime | None) -> None:
    """Approved until `ends_at`, rejected, or taken back."""
    await connection.execute(
        "UPDATE access_requests SET state = $2, decided_by = $3, decided_at = $4, ends_at = coalesce($5, ends_at) WHERE id = $1",
        request_id,
        state,
        by,
        at,
        ends_at,
    )


async def end_all(connection: Connection, now: datetime) -> int:
    """Take every permission back: after a restore nobody knows which had been. Returns how many."""
    status: str = await connection.execute(
        "UPDATE access_requests SET state = 'revoked', decided_by = 'operator', decided_at = $1, ends_at = $1"
        " WHERE state = 'approved' AND ends_at > $1",
        now,
    )
    return int(status.rpartition(" ")[2])


async def grants(connection: Connection, now: datetime, agent_id: UUID | None = None) -> list[GrantRow]:
    """The permissions that hold now, of the organisation or one agent."""
    rows = await connection.fetch(
        "SELECT agent_id, countries, ends_at FROM access_requests WHERE state = 'approved' AND ends_at > $1"
        " AND ($2::uuid IS NULL OR agent_id = $2)",
        now,
        agent_id,
    )
    return [GrantRow(row["agent_id"], tuple(row["countries"]), row["ends_at"]) for row in rows]


async def unnoticed(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Requests that no administrator was told of. No organisation is entered."""
    return [(OrgId(row[0]), row[1]) for row in await connection.fetch("SELECT org_id, request_id FROM access_requests_unnoticed()")]


async def note_noticed(connection: Connection, request_id: UUID, at: datetime) -> bool:
    """Administrators are being told; False if they were."""
    tag = await connection.execute("UPDATE access_requests SET noticed_at = $2 WHERE id = $1 AND noticed_at IS NULL", request_id, at)
    return tag == "UPDATE 1"


async def untold(connection: Connection, since: datetime) -> list[tuple[OrgId, UUID, UUID]]:
    """Decisions since then that their agent was not told of: organisation, request, agent. No organisation is entered."""
    rows = await connection.fetch("SELECT org_id, request_id, agent_id FROM access_requests_untold($1)", since)
    return [(OrgId(row[0]), row[1], row[2]) for row in rows]


async def note_told(connection: Connection, request_id: UUID, at: datetime) -> AccessRow | None:
    """The agent is being told: the request; None if it was told already."""
    query = f"UPDATE access_requests SET told_at = $2 WHERE id = $1 AND told_at IS NULL RETURNING {_COLUMNS}"  # noqa: S608
    row = await connection.fetchrow(query, request_id, at)
    return None if row is None else _row(row)


def _row(row: Any) -> AccessRow:
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return AccessRow(**found)
