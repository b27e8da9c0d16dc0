"""Rows of breach cases, and what was read with a credential in a window."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, incident_id, actor, since, until, registered_at, registered_by, note_sealed, state, computed_at, counts, first_at,"
    " last_at, notice_id, noticed_at"
)


@dataclass(frozen=True, slots=True)
class Incident:
    """The operator's case over all organisations."""

    id: UUID
    actor: str
    since: datetime
    until: datetime
    registered_at: datetime
    note_sealed: bytes | None = field(repr=False)
    spread_at: datetime | None
    affected: int | None


@dataclass(frozen=True, slots=True)
class BreachRow:
    """One organisation's case."""

    id: UUID
    org_id: OrgId
    incident_id: UUID
    actor: str
    since: datetime
    until: datetime
    registered_at: datetime
    registered_by: str
    note_sealed: bytes | None = field(repr=False)
    state: str
    computed_at: datetime | None
    counts: dict[str, Any] | None
    first_at: datetime | None
    last_at: datetime | None
    notice_id: UUID | None
    noticed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the list of cases."""

    registered_at: datetime
    id: UUID


@dataclass(frozen=True, slots=True)
class Read:
    """One record that was read."""

    kind: str
    object_id: UUID
    accesses: int
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Person:
    """A number outside of what was read: one call that says it, where there is one, and how many records concern it."""

    remote_index: bytes = field(repr=False)
    call_id: UUID | None
    was_diverted_to: bool
    """The call says it as where it went on to."""
    records: int


async def put_incident(connection: Connection, new: Incident) -> Incident:
    """The incident of this credential and window: the new one, or the one that stands already."""
    await connection.execute(
        "INSERT INTO breach_incidents (id, actor, since, until, registered_at, note_sealed) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (actor, since, until) DO NOTHING",
        new.id,
        new.actor,
        new.since,
        new.until,
        new.registered_at,
        new.note_sealed,
    )
    row = await connection.fetchrow(
        "SELECT id, actor, since, until, registered_at, note_sealed, spread_at, affected FROM breach_incidents"
        " WHERE actor = $1 AND since = $2 AND until = $3",
        new.actor,
        new.since,
        new.until,
    )
    assert row is not None
    return Incident(**dict(row))


async def open_incidents(connection: Connection) -> list[Incident]:
    """Incidents that have not reached every organisation yet."""
    rows = await connection.fetch(
        "SELECT id, actor, since, until, registered_at, note_sealed, spread_at, affected FROM breach_incidents"
        " WHERE spread_at IS NULL ORDER BY registered_at, id"
    )
    return [Incident(**dict(row)) for row in rows]


async def note_spread(connection: Connection, incident_id: UUID, at: datetime, affected: int) -> None:
    """Each affected organisation has its case, the note included."""
    await connection.execute(
        "UPDATE breach_incidents SET spread_at = $2, affected = $3, note_sealed = NULL WHERE id = $1 AND spread_at IS NULL",
        incident_id,
        at,
        affected,
    )


async def read_by(connection: Connection, actor: str, since: datetime, until: datetime) -> list[OrgId]:
    """Organisations where the credential read something; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT orgs_read_by($1, $2, $3)", actor, since, until)]


async def open_cases(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Cases whose notice does not stand yet; across tenants, ids only."""
    return [(OrgId(row["org_id"]), row["breach_id"]) for row in await connection.fetch("SELECT org_id, breach_id FROM open_breaches()")]


async def insert(connection: Connection, new: BreachRow) -> bool:
    """Register a case; False if the organisation has it already."""
    made = await connection.fetchval(
        "INSERT INTO breaches (id, org_id, incident_id, actor, since, until, registered_at, registered_by, note_sealed, state)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'registered') ON CONFLICT (org_id, actor, since, until) DO NOTHING RETURNING true",
        new.id,
        new.org_id,
        new.incident_id,
        new.actor,
        new.since,
        new.until,
        new.registered_at,
        new.registered_by,
        new.note_sealed,
    )
    return made is not None


async def of_window(connection: Connection, actor: str, since: datetime, until: datetime) -> BreachRow | None:
    """The case of a credential and window."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM breaches WHERE actor = $1 AND since = $2 AND until = $3",  # noqa: S608 (ours)
        actor,
        since,
        until,
    )
    return None if row is None else _row(row)


async def get(connection: Connection, breach_id: UUID, *, for_update: bool = False) -> BreachRow | None:
    """One case."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM breaches WHERE id = $1{' FOR UPDATE' if for_update else ''}", breach_id)  # noqa: S608
    return None if row is None else _row(row)


async def listed(connection: Connection, *, after: Place | None = None, limit: int = 50) -> list[BreachRow]:
    """Cases, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM breaches WHERE ($1::timestamptz IS NULL OR (registered_at, id) < ($1, $2::uuid))"  # noqa: S608 (ours)
        " ORDER BY registered_at DESC, id DESC LIMIT $3",
        None if after is None else after.registered_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in rows]


async def compute(connection: Connection, row: BreachRow, at: datetime) -> dict[str, Any]:
    """What was read, into `breach_records`; counts and times into the case. In the caller's transaction, which holds the case."""
    # A credential may have read millions: then this takes longer than a query of the API may otherwise.
    await connection.execute("SET LOCAL statement_timeout = '120s'")
    await connection.execute("DELETE FROM breach_records WHERE breach_id = $1", row.id)
    await connection.execute(
        "INSERT INTO breach_records (org_id, breach_id, kind, object_id, accesses, first_at, last_at)"
        " SELECT $1, $2, split_part(object, ':', 1), split_part(object, ':', 2)::uuid, count(*), min(at), max(at) FROM access_log"
        " WHERE org_id = $1 AND actor = $3 AND at >= $4 AND at < $5 AND object ~ '^[a-z-]+:[0-9a-f-]{36}$' GROUP BY object",
        row.org_id,
        row.id,
        row.actor,
        row.since,
        row.until,
    )
    kinds = await connection.fetch(
        "SELECT kind, count(*) AS records, sum(accesses)::bigint AS accesses, min(first_at) AS first_at, max(last_at) AS last_at"
        " FROM breach_records WHERE breach_id = $1 GROUP BY kind ORDER BY kind",
        row.id,
    )
    people = await connection.fetchrow(
        f"WITH touched AS MATERIALIZED ({_TOUCHED})"  # noqa: S608 (ours)
        " SELECT (SELECT count(DISTINCT remote_index) FROM touched) AS numbers,"
        " (SELECT count(*) FROM touched WHERE remote_index IS NULL) AS unknown,"
        " (SELECT count(DISTINCT agent) FROM (SELECT agent_id AS agent FROM touched UNION ALL SELECT peer_agent_id FROM touched"
        "  UNION ALL SELECT object_id FROM breach_records WHERE breach_id = $1 AND kind = 'agent') AS all_agents) AS agents",
        row.id,
    )
    assert people is not None
    records = {kind["kind"]: kind["records"] for kind in kinds}
    counts = {
        "accesses": sum(kind["accesses"] for kind in kinds),
        "persons": people["numbers"] + records.get("contact", 0),
        "agents": people["agents"],
        "unknown": people["unknown"],
        "records": records,
    }
    await connection.execute(
        "UPDATE breaches SET state = 'computed', computed_at = $2, counts = $3::jsonb, first_at = $4, last_at = $5 WHERE id = $1",
        row.id,
        at,
        json.dumps(counts),
        min((kind["first_at"] for kind in kinds), default=None),
        max((kind["last_at"] for kind in kinds), default=None),
    )
    return counts


_TOUCHED: Final = (
    "SELECT c.remote_index, c.agent_id, c.peer_agent_id FROM breach_records AS b JOIN calls AS c ON c.id = b.object_id"
    " WHERE b.breach_id = $1 AND b.kind = 'call'"
    " UNION ALL SELECT c.diverted_to_index, c.agent_id, c.peer_agent_id FROM breach_records AS b JOIN calls AS c ON c.id = b.object_id"
    " WHERE b.breach_id = $1 AND b.kind = 'call' AND c.diverted_to_index IS NOT NULL"
    " UNION ALL SELECT r.remote_index, r.agent_id, r.peer_agent_id FROM breach_records AS b JOIN recordings AS r ON r.id = b.object_id"
    " WHERE b.breach_id = $1 AND b.kind = 'recording'"
    " UNION ALL SELECT unnest(r.further_indexes), r.agent_id, r.peer_agent_id"
    " FROM breach_records AS b JOIN recordings AS r ON r.id = b.object_id WHERE b.breach_id = $1 AND b.kind = 'recording'"
)


async def note_noticed(connection: Connection, breach_id: UUID, notice_id: UUID, at: datetime) -> None:
    """The notice stands in the outbox."""
    await connection.execute(
        "UPDATE breaches SET state = 'noticed', notice_id = $2, noticed_at = $3 WHERE id = $1", breach_id, notice_id, at
    )


async def records(connection: Connection, breach_id: UUID, *, after: tuple[str, UUID] | None = None, limit: int = 50) -> list[Read]:
    """What was read, by kind and id."""
    rows = await connection.fetch(
        "SELECT kind, object_id, accesses, first_at, last_at FROM breach_records WHERE breach_id = $1"
        " AND ($2::text IS NULL OR (kind, object_id) > ($2, $3::uuid)) ORDER BY kind, object_id LIMIT $4",
        breach_id,
        None if after is None else after[0],
        None if after is None else after[1],
        limit,
    )
    return [Read(**dict(row)) for row in rows]


async def persons(connection: Connection, breach_id: UUID, *, after: bytes | None = None, limit: int = 50) -> list[Person]:
    """Distinct numbers outside of what was read, by blind index: who was erased since is not among them."""
    rows = await connection.fetch(
        f"SELECT t.remote_index, c.id AS call_id, coalesce(c.was_diverted_to, false) AS was_diverted_to, t.records FROM ("  # noqa: S608 (ours)
        f" SELECT remote_index, count(*) AS records FROM ({_TOUCHED}) AS touched"
        " WHERE remote_index IS NOT NULL AND ($2::bytea IS NULL OR remote_index > $2) GROUP BY remote_index ORDER BY remote_index LIMIT $3"
        ") AS t LEFT JOIN LATERAL ("
        " (SELECT id, false AS was_diverted_to FROM calls"
        "  WHERE remote_index = t.remote_index AND remote_sealed IS NOT NULL AND masking_session_id IS NULL LIMIT 1)"
        " UNION ALL (SELECT id, true FROM calls WHERE diverted_to_index = t.remote_index AND diverted_to_sealed IS NOT NULL LIMIT 1)"
        " LIMIT 1) AS c ON true ORDER BY t.remote_index",
        breach_id,
        after,
        limit,
    )
    return [Person(**dict(row)) for row in rows]


async def is_revoked(connection: Connection, actor: str) -> bool:
    """Whether a credential of the organisation opens nothing any more; one that is not the organisation's counts as such."""
    kind, _, credential = actor.partition(":")
    if kind == "api-key":
        return not await connection.fetchval(
            "SELECT EXISTS (SELECT 1 FROM api_keys WHERE id = $1 AND revoked_at IS NULL)", UUID(credential)
        )
    return not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM agents WHERE id = $1 AND NOT suspended)", UUID(credential))


def _row(found: Any) -> BreachRow:
    fields = dict(found)
    fields["counts"] = json.loads(fields["counts"]) if isinstance(fields["counts"], str) else fields["counts"]
    return BreachRow(**fields)
