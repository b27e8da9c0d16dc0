"""The outbox: domain events written in the transaction that they tell of, taken out by the projections."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

import orjson

from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_ADD: Final = (
    "INSERT INTO outbox (id, org_id, kind, subject, at, fields) VALUES ($1, $2, $3, $4, $5, $6::jsonb) ON CONFLICT (id) DO NOTHING"
)
_ADD_ALL: Final = (
    "INSERT INTO outbox (id, org_id, kind, subject, at, fields)"
    " SELECT (e->>0)::uuid, (e->>1)::uuid, e->>2, (e->>3)::uuid, (e->>4)::timestamptz, e->5"
    " FROM jsonb_array_elements($1::jsonb) WITH ORDINALITY AS all_events (e, place) ORDER BY place ON CONFLICT (id) DO NOTHING"
)


async def add(connection: Connection, event: DomainEvent) -> None:
    """Write the event in the caller's transaction; writing the same id again changes nothing."""
    await connection.execute(_ADD, *_row(event))


async def add_all(connection: Connection, events: Sequence[DomainEvent]) -> None:
    """Write several in their order."""
    if len(events) == 1:
        await add(connection, events[0])
    elif events:
        # One text for all: of an array's items each would be asked what it is, which costs more than to write it.
        said = [(str(one.id), str(one.org_id), one.kind, str(one.subject), one.at, one.fields) for one in events]
        await connection.execute(_ADD_ALL, orjson.dumps(said).decode())


def _row(event: DomainEvent) -> tuple[UUID, UUID, str, UUID, datetime, str]:
    return event.id, event.org_id, event.kind.value, event.subject, event.at, orjson.dumps(event.fields).decode()


async def take(connection: Connection, limit: int) -> list[DomainEvent]:
    """The organisation's oldest events, removed with the caller's transaction: what is projected in it happens exactly once.

    Only events below the transaction horizon are taken, so one that commits late is never passed over by a later one.
    """
    rows = await connection.fetch(
        "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE xid < outbox_horizon() ORDER BY xid, seq LIMIT $1)"
        " RETURNING xid, seq, id, org_id, kind, subject, at, fields",
        limit,
    )
    rows = sorted(rows, key=lambda row: (row["xid"], row["seq"]))
    return [
        DomainEvent(
            id=row["id"],
            org_id=row["org_id"],
            kind=EventKind(row["kind"]),
            subject=row["subject"],
            at=row["at"],
            fields=json.loads(row["fields"]),
        )
        for row in rows
    ]


async def organisations(connection: Connection) -> list[OrgId]:
    """Organisations with events below the horizon; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT orgs_with_events()")]
