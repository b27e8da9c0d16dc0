"""Rows of an organisation that ends. Runs as the organisation."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg

from hushwire.core.ids import CallId, NodeId, OrgId, RecordingId
from hushwire.store.database import Connection
from hushwire.store.erasable import Erasable


class StillReferred(Exception):
    """Rows of another table have to go first."""


async def note_erased(connection: Connection, at: datetime) -> None:
    """No gateway knows it any more, no call begins, and reads answer 410."""
    await connection.execute("UPDATE orgs SET erased_at = $1, rules_version = rules_version + 1 WHERE erased_at IS NULL", at)


async def forget_name(connection: Connection, org_id: OrgId, at: datetime) -> None:
    """The organisation's row stays as what its proofs belong to."""
    await connection.execute(
        "UPDATE orgs SET slug = $1, name = '', outside_prefix = NULL, updated_at = $2 WHERE slug <> $1", f"erased-{org_id}", at
    )


async def live(connection: Connection) -> tuple[list[tuple[NodeId, CallId]], list[tuple[RecordingId, NodeId]]]:
    """Calls that go on, with their nodes; and recordings that are being made."""
    calls = await connection.fetch("SELECT id, node_id FROM calls WHERE state IN ('ringing', 'active')")
    recordings = await connection.fetch("SELECT id, node_id FROM recordings WHERE state = 'live'")
    return (
        [(NodeId(row["node_id"]), CallId(row["id"])) for row in calls],
        [(RecordingId(row["id"]), NodeId(row["node_id"])) for row in recordings],
    )


async def spooled(connection: Connection) -> list[tuple[RecordingId, NodeId]]:
    """Recordings whose file may be in the spool of their node."""
    rows = await connection.fetch("SELECT id, node_id FROM recordings WHERE erased_at IS NULL AND state <> 'stored' ORDER BY id")
    return [(RecordingId(row["id"]), NodeId(row["node_id"])) for row in rows]


async def counts(connection: Connection, kinds: Mapping[str, Erasable]) -> dict[str, int]:
    """How many things of each kind there are that were not erased before."""
    found = {}
    for kind, what in kinds.items():
        number = await connection.fetchval(f"SELECT count(*) FROM {what.table} WHERE erased_at IS NULL")  # noqa: S608
        if number:
            found[kind] = int(number)
    return found


async def unerased(connection: Connection, what: Erasable, after: UUID | None, limit: int) -> list[UUID]:
    """Some rows of a kind that still hold something, by id."""
    rows = await connection.fetch(
        f"SELECT id FROM {what.table} WHERE erased_at IS NULL AND ($1::uuid IS NULL OR id > $1) ORDER BY id LIMIT $2",  # noqa: S608
        after,
        limit,
    )
    return [row["id"] for row in rows]


async def remove(connection: Connection, table: str, most: int) -> int:
    """Removes some rows of a table; returns how many. Raises StillReferred while rows elsewhere refer to them."""
    try:
        return int(await connection.fetchval("SELECT remove_of_ended($1::text::regclass, $2)", table, most))
    except asyncpg.ForeignKeyViolationError:
        raise StillReferred from None
