"""Rows of webhooks and of what they are told. In a transaction of the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.events import FeedEvent, feed_event

_COLUMNS: Final = (
    "id, url_sealed, kinds, grants, signs, secret_sealed, former_sealed, former_until, state, created_at, updated_at,"
    " (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook_id = webhooks.id AND d.state = 'waiting') AS waiting,"
    " (SELECT count(*) FROM webhook_deliveries AS d WHERE d.webhook_id = webhooks.id AND d.state = 'dead') AS dead"
)


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """One webhook. `waiting` and `dead` count its deliveries."""

    id: UUID
    url_sealed: bytes = field(repr=False)
    kinds: tuple[str, ...]
    grants: tuple[str, ...]
    signs: str
    secret_sealed: bytes = field(repr=False)
    former_sealed: bytes | None = field(repr=False)
    former_until: datetime | None
    state: str
    created_at: datetime
    updated_at: datetime
    waiting: int = 0
    dead: int = 0


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """One event on its way to one webhook."""

    id: UUID
    event: FeedEvent
    state: str
    attempts: int
    due_at: datetime
    ended_at: datetime | None
    status: int | None
    failure: str | None


@dataclass(frozen=True, slots=True)
class Attempted:
    """What became of one try. `due_at`: when the next one follows, if any does."""

    id: UUID
    state: str
    at: datetime
    due_at: datetime
    status: int | None
    failure: str | None


async def lock(connection: Connection) -> None:
    """One change of the organisation's webhooks at a time, so that their number is bounded."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('webhooks:' || current_org()::text, 0))")


async def count(connection: Connection) -> int:
    """How many the organisation has."""
    return int(await connection.fetchval("SELECT count(*) FROM webhooks"))


async def add(connection: Connection, org_id: OrgId, row: WebhookRow) -> None:
    """A new one."""
    await connection.execute(
        "INSERT INTO webhooks (id, org_id, url_sealed, kinds, grants, signs, secret_sealed, created_at, updated_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
        row.id,
        org_id,
        row.url_sealed,
        list(row.kinds),
        list(row.grants),
        row.signs,
        row.secret_sealed,
        row.created_at,
    )


async def get(connection: Connection, webhook_id: UUID, *, for_update: bool = False) -> WebhookRow | None:
    """One."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM webhooks WHERE id = $1{' FOR UPDATE' if for_update else ''}", webhook_id)  # noqa: S608
    return None if row is None else _webhook(row)


async def listed(connection: Connection) -> list[WebhookRow]:
    """All, oldest first."""
    return [_webhook(row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM webhooks ORDER BY id")]  # noqa: S608


async def change(
    connection: Connection, webhook_id: UUID, now: datetime, *, url: bytes, kinds: Sequence[str], grants: Sequence[str], state: str
) -> None:
    """Its new settings, whole."""
    await connection.execute(
        "UPDATE webhooks SET url_sealed = $2, kinds = $3, grants = $4, state = $5, updated_at = $6 WHERE id = $1",
        webhook_id,
        url,
        list(kinds),
        list(grants),
        state,
        now,
    )


async def change_secret(connection: Connection, webhook_id: UUID, now: datetime, secret: bytes, former_until: datetime) -> None:
    """A new secret; the one before signs besides until then."""
    await connection.execute(
        "UPDATE webhooks SET former_sealed = secret_sealed, former_until = $3, secret_sealed = $2, updated_at = $4 WHERE id = $1",
        webhook_id,
        secret,
        former_until,
        now,
    )


async def remove(connection: Connection, webhook_id: UUID) -> bool:
    """It, and what it was to be told."""
    return await connection.execute("DELETE FROM webhooks WHERE id = $1", webhook_id) == "DELETE 1"


async def pause_granted(connection: Connection, now: datetime) -> int:
    """Pause those that are told numbers or words: after a restore nobody knows which had been removed. Returns how many."""
    status: str = await connection.execute(
        "UPDATE webhooks SET state = 'paused', updated_at = $1 WHERE state = 'active' AND grants <> '{}'", now
    )
    return int(status.rpartition(" ")[2])


async def note_gone(connection: Connection, webhook_id: UUID, now: datetime) -> None:
    """Its server wants nothing more."""
    await connection.execute("UPDATE webhooks SET state = 'gone', updated_at = $2 WHERE id = $1", webhook_id, now)


async def deliveries(connection: Connection, webhook_id: UUID, *, state: str | None, before: int | None, limit: int) -> list[DeliveryRow]:
    """What it is and was told, newest first."""
    rows = await connection.fetch(
        "SELECT d.id AS delivery_id, d.state, d.attempts, d.due_at, d.ended_at, d.status, d.failure,"
        " e.position, e.id, e.kind, e.subject, e.at, e.fields"
        " FROM webhook_deliveries AS d JOIN events AS e ON e.org_id = d.org_id AND e.position = d.position"
        " WHERE d.webhook_id = $1 AND ($2::text IS NULL OR d.state = $2) AND ($3::bigint IS NULL OR d.position < $3)"
        " ORDER BY d.position DESC LIMIT $4",
        webhook_id,
        state,
        before,
        limit,
    )
    return [_delivery(row) for row in rows]


async def again(connection: Connection, webhook_id: UUID, delivery_id: UUID, now: datetime) -> bool | None:
    """Let a dead one be tried anew; False where it is not dead, None where there is none."""
    found = await connection.fetchval(
        "SELECT state FROM webhook_deliveries WHERE id = $1 AND webhook_id = $2 FOR UPDATE", delivery_id, webhook_id
    )
    if found is None:
        return None
    tag = await connection.execute(
        "UPDATE webhook_deliveries SET state = 'waiting', attempts = 0, due_at = $2, ended_at = NULL WHERE id = $1 AND state = 'dead'",
        delivery_id,
        now,
    )
    return tag == "UPDATE 1"


async def due(connection: Connection, moment: datetime) -> list[tuple[OrgId, UUID]]:
    """Webhooks that are to be told something now; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, webhook_id FROM webhooks_due($1)", moment)
    return [(OrgId(row["org_id"]), row["webhook_id"]) for row in rows]


async def claim(connection: Connection, webhook_id: UUID, now: datetime, until: datetime, limit: int) -> list[DeliveryRow]:
    """What is due, oldest first, this worker's until then: committed, so that another one tries it again should this process die."""
    rows = await connection.fetch(
        "UPDATE webhook_deliveries AS d SET attempts = attempts + 1, due_at = $3 FROM events AS e"
        " WHERE e.org_id = d.org_id AND e.position = d.position AND d.id IN ("
        "  SELECT w.id FROM webhook_deliveries AS w WHERE w.webhook_id = $1 AND w.state = 'waiting' AND w.due_at <= $2"
        "  ORDER BY w.due_at, w.position LIMIT $4 FOR UPDATE SKIP LOCKED)"
        " RETURNING d.id AS delivery_id, d.state, d.attempts, d.due_at, d.ended_at, d.status, d.failure,"
        " e.position, e.id, e.kind, e.subject, e.at, e.fields",
        webhook_id,
        now,
        until,
        limit,
    )
    return sorted((_delivery(row) for row in rows), key=lambda row: row.event.position)


async def note(connection: Connection, attempts: Sequence[Attempted]) -> None:
    """What became of them; one that ended meanwhile stays as it is."""
    await connection.executemany(
        "UPDATE webhook_deliveries SET state = $2, ended_at = CASE WHEN $2 = 'waiting' THEN NULL ELSE $3::timestamptz END,"
        " due_at = $4, status = $5, failure = $6 WHERE id = $1 AND state = 'waiting'",
        [(one.id, one.state, one.at, one.due_at, one.status, one.failure) for one in attempts],
    )


async def remove_delivered(connection: Connection, before: datetime) -> int:
    """Remove what was delivered earlier; returns how many."""
    tag = await connection.execute("DELETE FROM webhook_deliveries WHERE state = 'delivered' AND ended_at < $1", before)
    return int(tag.rpartition(" ")[2])


def _webhook(row: Any) -> WebhookRow:
    values = dict(row)
    return WebhookRow(**(values | {"kinds": tuple(values["kinds"]), "grants": tuple(values["grants"])}))


def _delivery(row: Any) -> DeliveryRow:
    read = row.__getitem__
    return DeliveryRow(
        read("delivery_id"),
        feed_event(row),
        read("state"),
        read("attempts"),
        read("due_at"),
        read("ended_at"),
        read("status"),
        read("failure"),
    )
