"""The feed of events: what left the outbox, numbered without gaps in the order of commits. In a transaction of the organisation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.events import DomainEvent
from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

CHANNEL: Final = "hushwire_events"


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """One event with its place."""

    position: int
    id: UUID
    kind: str
    subject: UUID
    at: datetime
    fields: dict[str, str | int | bool | None]


async def add(connection: Connection, org_id: OrgId, events: Sequence[DomainEvent]) -> None:
    """Number them and hand them to the webhooks that want them; others of the organisation wait until the transaction ends.

    One that was numbered before (a gateway wrote it again after a crash) is not numbered again.
    """
    known = {row[0] for row in await connection.fetch("SELECT id FROM events WHERE id = ANY($1::uuid[])", [event.id for event in events])}
    events = [event for event in events if event.id not in known]
    if not events:
        return
    last: int = await connection.fetchval(
        "INSERT INTO event_feeds (org_id, last) VALUES ($1, $2)"
        " ON CONFLICT (org_id) DO UPDATE SET last = event_feeds.last + excluded.last RETURNING last",
        org_id,
        len(events),
    )
    first = last - len(events) + 1
    await connection.execute(
        "INSERT INTO events (org_id, position, id, kind, subject, at, fields)"
        " SELECT $1, place + $2 - 1, id, kind, subject, at, fields::jsonb"
        " FROM unnest($3::uuid[], $4::text[], $5::uuid[], $6::timestamptz[], $7::text[])"
        " WITH ORDINALITY AS e (id, kind, subject, at, fields, place)",
        org_id,
        first,
        [event.id for event in events],
        [event.kind.value for event in events],
        [event.subject for event in events],
        [event.at for event in events],
        [json.dumps(event.fields) for event in events],
    )
    await connection.execute(
        "INSERT INTO webhook_deliveries (id, org_id, webhook_id, position, due_at)"
        " SELECT gen_random_uuid(), e.org_id, w.id, e.position, e.at FROM events AS e JOIN webhooks AS w ON w.state <> 'gone'"
        " AND w.kinds && ARRAY[e.kind, split_part(e.kind, '.', 1) || '.*', '*'] WHERE e.position >= $1",
        first,
    )


async def bounds(connection: Connection) -> tuple[int, int]:
    """The oldest number that is still there (one more than the newest: none is), and the newest that was given."""
    last: int = await connection.fetchval("SELECT last FROM event_feeds") or 0
    oldest: int | None = await connection.fetchval("SELECT min(position) FROM events")
    return (last + 1 if oldest is None else oldest, last)


async def after(connection: Connection, position: int, limit: int) -> list[FeedEvent]:
    """The next events behind a number, oldest first."""
    rows = await connection.fetch(
        "SELECT position, id, kind, subject, at, fields FROM events WHERE position > $1 ORDER BY position LIMIT $2", position, limit
    )
    return [feed_event(row) for row in rows]


async def remove_before(connection: Connection, moment: datetime) -> int:
    """Remove what is older, with its deliveries; returns how many events."""
    return int((await connection.execute("DELETE FROM events WHERE at < $1", moment)).rpartition(" ")[2])


def feed_event(row: Any) -> FeedEvent:
    """An event of a row that has its columns."""
    read = row.__getitem__
    return FeedEvent(read("position"), read("id"), read("kind"), read("subject"), read("at"), json.loads(read("fields")))
