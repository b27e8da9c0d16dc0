"""Rows of retention: an organisation's rules, and what retention last believed and waits for. Runs as the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.erasable import Erasable


@dataclass(frozen=True, slots=True)
class RuleRow:
    """One rule; `agent_id` None: every agent."""

    id: UUID
    kind: str
    agent_id: UUID | None
    keep_days: int
    changed_at: datetime
    changed_by: str


@dataclass(frozen=True, slots=True)
class StateRow:
    """What retention last believed, and what it waits for."""

    last_seen_at: datetime
    most_percent: int
    pending_id: UUID | None
    pending_reason: str | None
    pending_at: datetime | None
    pending_count: int | None
    confirmed_at: datetime | None
    confirmed_by: str | None


async def rules(connection: Connection) -> list[RuleRow]:
    """All rules of the organisation."""
    rows = await connection.fetch(
        "SELECT id, class AS kind, agent_id, keep_days, changed_at, changed_by FROM retention_rules ORDER BY class, agent_id NULLS FIRST"
    )
    return [RuleRow(**dict(row)) for row in rows]


async def put_rules(connection: Connection, org_id: OrgId, wanted: Sequence[RuleRow]) -> None:
    """These instead of all that there are."""
    await connection.execute("DELETE FROM retention_rules")
    await connection.executemany(
        "INSERT INTO retention_rules (id, org_id, class, agent_id, keep_days, changed_at, changed_by) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(row.id, org_id, row.kind, row.agent_id, row.keep_days, row.changed_at, row.changed_by) for row in wanted],
    )


async def state(connection: Connection) -> StateRow | None:
    """The row, or None where retention was never set up."""
    row = await connection.fetchrow(
        "SELECT last_seen_at, most_percent, pending_id, pending_reason, pending_at, pending_count, confirmed_at, confirmed_by"
        " FROM retention_state"
    )
    return None if row is None else StateRow(**dict(row))


async def set_up(connection: Connection, org_id: OrgId, now: datetime, most_percent: int | None) -> None:
    """Make the row, or change the share."""
    await connection.execute(
        "INSERT INTO retention_state (org_id, last_seen_at, most_percent) VALUES ($1, $2, coalesce($3, 20))"
        " ON CONFLICT (org_id) DO UPDATE SET most_percent = coalesce($3, retention_state.most_percent)",
        org_id,
        now,
        most_percent,
    )


async def wait_for(connection: Connection, pending_id: UUID, reason: str, at: datetime, count: int) -> None:
    """Nothing goes before a person confirms it."""
    await connection.execute(
        "UPDATE retention_state SET pending_id = $1, pending_reason = $2, pending_at = $3, pending_count = $4, confirmed_at = NULL,"
        " confirmed_by = NULL",
        pending_id,
        reason,
        at,
        count,
    )


async def confirm(connection: Connection, pending_id: UUID, at: datetime, actor: str) -> bool:
    """A person has said so; False if nothing waits under this id."""
    tag = await connection.execute(
        "UPDATE retention_state SET confirmed_at = coalesce(confirmed_at, $2), confirmed_by = coalesce(confirmed_by, $3)"
        " WHERE pending_id = $1",
        pending_id,
        at,
        actor,
    )
    return tag == "UPDATE 1"


async def saw(connection: Connection, now: datetime) -> None:
    """Retention has looked at this time, and nothing waits any more."""
    await connection.execute(
        "UPDATE retention_state SET last_seen_at = $1, pending_id = NULL, pending_reason = NULL, pending_at = NULL, pending_count = NULL,"
        " confirmed_at = NULL, confirmed_by = NULL",
        now,
    )


async def organisations(connection: Connection) -> list[OrgId]:
    """Organisations whose retention was set up; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT orgs_with_retention()")]


async def total(connection: Connection, what: Erasable) -> int:
    """How many things of a kind are held."""
    return int(await connection.fetchval(f"SELECT count(*) FROM {what.table} WHERE erased_at IS NULL"))  # noqa: S608
