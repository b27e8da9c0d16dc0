"""Teams, what teams and agents narrow, and numbers that a rule does not hold for. Everything runs as the organisation.

Every change here raises the version of the organisation's rules, and tells the gateways: the database sees to that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from asyncpg import Record

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_LEVEL: Final = "id, team_id, agent_id, countries, classes, short_codes, terms, hours, time_zone"


@dataclass(frozen=True, slots=True)
class TeamRow:
    """A team; an agent is of one at most."""

    id: UUID
    name: str
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class LevelRow:
    """What a team or an agent (one of both) narrows. None: as the level above has it. `terms` and `hours` as `policy.terms` writes them."""

    id: UUID
    team_id: UUID | None
    agent_id: UUID | None
    countries: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    short_codes: tuple[str, ...] | None = None
    terms: str = "{}"
    hours: str = "[]"
    time_zone: str | None = None


@dataclass(frozen=True, slots=True)
class ExceptionRow:
    """A number or prefix that is excepted; which one, its country and the reason are sealed together."""

    id: UUID
    kind: str
    said_sealed: bytes = field(repr=False)
    remote_index: bytes | None
    ends_at: datetime | None
    created_at: datetime
    created_by: str


async def teams(connection: Connection) -> list[TeamRow]:
    """Every team, by name."""
    rows = await connection.fetch(
        "SELECT id, name, ARRAY(SELECT m.agent_id FROM team_members AS m WHERE m.team_id = t.id ORDER BY m.agent_id) AS members"
        " FROM teams AS t ORDER BY name"
    )
    return [TeamRow(row["id"], row["name"], tuple(row["members"])) for row in rows]


async def put_team(connection: Connection, org_id: OrgId, row: TeamRow, now: datetime) -> None:
    """Insert or change. Who was of another team is of this one now, and of no other."""
    await connection.execute(
        "INSERT INTO teams (id, org_id, name, created_at, updated_at) VALUES ($1, $2, $3, $4, $4)"
        " ON CONFLICT (id) DO UPDATE SET name = EXCLUDED.name, updated_at = EXCLUDED.updated_at",
        row.id,
        org_id,
        row.name,
        now,
    )
    await connection.execute("DELETE FROM team_members WHERE team_id = $1 AND NOT agent_id = ANY($2::uuid[])", row.id, list(row.members))
    await connection.execute(
        "INSERT INTO team_members (org_id, team_id, agent_id) SELECT $1, $2, agent_id FROM unnest($3::uuid[]) AS t (agent_id)"
        " ON CONFLICT (agent_id) DO UPDATE SET team_id = EXCLUDED.team_id WHERE team_members.team_id <> EXCLUDED.team_id",
        org_id,
        row.id,
        sorted(set(row.members)),
    )


async def remove_team(connection: Connection, team_id: UUID) -> bool:
    """Its members are of no team from now on, and what it narrowed is narrowed no more. False where there is no such team."""
    return await connection.execute("DELETE FROM teams WHERE id = $1", team_id) == "DELETE 1"


async def levels(connection: Connection) -> list[LevelRow]:
    """What teams and agents narrow."""
    rows = await connection.fetch(f"SELECT {_LEVEL} FROM rule_levels")  # noqa: S608 (ours)
    return [_level(row) for row in rows]


async def levels_of(connection: Connection, agent_id: UUID) -> list[LevelRow]:
    """What the agent's team and the agent itself narrow."""
    rows = await connection.fetch(
        f"SELECT {_LEVEL} FROM rule_levels"  # noqa: S608 (ours)
        " WHERE agent_id = $1 OR team_id = (SELECT team_id FROM team_members WHERE agent_id = $1)",
        agent_id,
    )
    return [_level(row) for row in rows]


async def level_of(connection: Connection, *, team_id: UUID | None = None, agent_id: UUID | None = None) -> LevelRow | None:
    """What one team or agent narrows."""
    row = await connection.fetchrow(
        f"SELECT {_LEVEL} FROM rule_levels WHERE team_id = $1 OR agent_id = $2",  # noqa: S608 (ours)
        team_id,
        agent_id,
    )
    return None if row is None else _level(row)


async def put_level(connection: Connection, org_id: OrgId, row: LevelRow, now: datetime) -> None:
    """Insert, or change what the team or agent narrows."""
    subject = "team_id" if row.agent_id is None else "agent_id"
    await connection.execute(
        "INSERT INTO rule_levels"  # noqa: S608 (ours)
        " (id, org_id, team_id, agent_id, countries, classes, short_codes, terms, hours, time_zone, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)"
        f" ON CONFLICT ({subject}) DO UPDATE SET countries = EXCLUDED.countries, classes = EXCLUDED.classes,"
        " short_codes = EXCLUDED.short_codes, terms = EXCLUDED.terms, hours = EXCLUDED.hours, time_zone = EXCLUDED.time_zone,"
        " updated_at = EXCLUDED.updated_at",
        row.id,
        org_id,
        row.team_id,
        row.agent_id,
        _listed(row.countries),
        _listed(row.classes),
        _listed(row.short_codes),
        row.terms,
        row.hours,
        row.time_zone,
        now,
    )


async def remove_level(connection: Connection, *, team_id: UUID | None = None, agent_id: UUID | None = None) -> bool:
    """The team or agent narrows nothing any more."""
    return await connection.execute("DELETE FROM rule_levels WHERE team_id = $1 OR agent_id = $2", team_id, agent_id) == "DELETE 1"


async def exceptions(connection: Connection) -> list[ExceptionRow]:
    """Every exception that holds, the oldest first; those that have ended too, and none that waits for a second person."""
    rows = await connection.fetch(
        "SELECT id, kind, said_sealed, remote_index, ends_at, created_at, created_by FROM number_exceptions WHERE waits_for IS NULL"
        " ORDER BY created_at, id"
    )
    return [ExceptionRow(**dict(row)) for row in rows]


async def count_exceptions(connection: Connection) -> int:
    """How many there are, those that wait too."""
    return int(await connection.fetchval("SELECT count(*) FROM number_exceptions"))


async def waits(connection: Connection, exception_id: UUID) -> bool:
    """Whether there is such an exception that waits for a second person."""
    return bool(await connection.fetchval("SELECT waits_for IS NOT NULL FROM number_exceptions WHERE id = $1", exception_id))


async def let_hold(connection: Connection, exception_id: UUID) -> None:
    """It waits no more."""
    await connection.execute("UPDATE number_exceptions SET waits_for = NULL WHERE id = $1", exception_id)


async def remove_unagreed(connection: Connection, now: datetime) -> None:
    """Those that wait for nobody any more: what was proposed was rejected, has lapsed, or is outdated."""
    await connection.execute(
        "DELETE FROM number_exceptions AS e WHERE e.waits_for IS NOT NULL AND NOT EXISTS (SELECT 1 FROM rule_proposals AS p"
        " WHERE p.subject = 'exception:' || e.id::text AND p.state = 'open' AND p.expires_at > $1)",
        now,
    )


async def put_exception(connection: Connection, org_id: OrgId, row: ExceptionRow, *, waits: bool = False) -> None:
    """Add one; `waits`: it does not hold before a second person agrees."""
    await connection.execute(
        "INSERT INTO number_exceptions (id, org_id, kind, said_sealed, remote_index, ends_at, created_at, created_by, waits_for)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        row.id,
        org_id,
        row.kind,
        row.said_sealed,
        row.remote_index,
        row.ends_at,
        row.created_at,
        row.created_by,
        row.id if waits else None,
    )


async def remove_exception(connection: Connection, exception_id: UUID) -> bool:
    """Take one back. False where there is no such exception."""
    return await connection.execute("DELETE FROM number_exceptions WHERE id = $1", exception_id) == "DELETE 1"


async def forget_numbers(connection: Connection, indexes: Sequence[bytes]) -> None:
    """Take back exceptions for whole numbers (blind indexes of `calls.remote`): their person is erased."""
    await connection.execute("DELETE FROM number_exceptions WHERE remote_index = ANY($1::bytea[])", list(indexes))


async def remove_exceptions(connection: Connection) -> int:
    """Take back all of them: after a restore nobody knows which had been taken back, or whose erasure it undid. Returns how many."""
    status: str = await connection.execute("DELETE FROM number_exceptions")
    return int(status.rpartition(" ")[2])


def _level(row: Record) -> LevelRow:
    said: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return LevelRow(**said)


def _listed(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(values)
