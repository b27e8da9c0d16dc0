"""Rows of the location service: one for each contact that a device registered.

Whoever changes a row stamps it with the transaction's id: other gateways read what changed since the horizon that they saw last.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import AgentId, NodeId, OrgId
from hushwire.store.database import Connection

CHANNEL: Final = "hushwire_registrations"


@dataclass(frozen=True, slots=True)
class RegistrationRow:
    """One binding; what it says of the device is sealed. `device_id` None: made with the agent's own password."""

    id: UUID
    agent_id: AgentId
    node_id: NodeId
    device_id: UUID | None
    contact_sealed: bytes = field(repr=False)
    contact_index: bytes = field(repr=False)
    call_id_hash: bytes = field(repr=False)
    cseq: int
    expires_at: datetime


_COLUMNS: Final = ", ".join(item.name for item in fields(RegistrationRow))


async def live(connection: Connection, now: datetime) -> list[RegistrationRow]:
    """The entered organisation's bindings of all nodes that have not lapsed."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM registrations WHERE expires_at > $1", now)  # noqa: S608 (names are ours)
    return [RegistrationRow(**dict(row)) for row in rows]


async def put(connection: Connection, org_id: UUID, rows: Sequence[RegistrationRow], now: datetime) -> None:
    """Insert bindings or write them anew. A contact that moved to another row takes that row's place."""
    if not rows:
        return
    ordered = sorted(rows, key=lambda row: row.id)
    await connection.execute(
        "DELETE FROM registrations AS r USING unnest($1::uuid[], $2::bytea[], $3::uuid[]) AS n (agent_id, contact_index, id)"
        " WHERE r.agent_id = n.agent_id AND r.contact_index = n.contact_index AND r.id <> n.id",
        [row.agent_id for row in ordered],
        [row.contact_index for row in ordered],
        [row.id for row in ordered],
    )
    await connection.execute(
        f"INSERT INTO registrations (org_id, created_at, {_COLUMNS})"  # noqa: S608 (names are ours)
        " SELECT $1, $2, * FROM unnest($3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::bytea[], $8::bytea[], $9::bytea[],"
        " $10::bigint[], $11::timestamptz[]) ON CONFLICT (id) DO UPDATE SET node_id = excluded.node_id, device_id = excluded.device_id,"
        " contact_sealed = excluded.contact_sealed, contact_index = excluded.contact_index, call_id_hash = excluded.call_id_hash,"
        " cseq = excluded.cseq, expires_at = excluded.expires_at, xid = pg_current_xact_id()",
        org_id,
        now,
        *([getattr(row, item.name) for row in ordered] for item in fields(RegistrationRow)),
    )


async def refresh(connection: Connection, node_id: NodeId, refreshed: Sequence[tuple[UUID, int, float]], now: datetime) -> None:
    """Another CSeq, and an end so many seconds from `now`, for bindings of this node that are otherwise as they were.

    Those that are another's by now stay.
    """
    if refreshed:
        # As three texts: the driver asks of each item of an array what kind of thing it is.
        ids, numbers, seconds = (",".join(map(str, column)) for column in zip(*sorted(refreshed), strict=True))
        await connection.execute(
            "UPDATE registrations AS r SET cseq = n.cseq, expires_at = $5::timestamptz + n.left_s * interval '1 second',"
            " xid = pg_current_xact_id() FROM unnest(string_to_array($2, ',')::uuid[], string_to_array($3, ',')::bigint[],"
            " string_to_array($4, ',')::float8[]) AS n (id, cseq, left_s) WHERE r.id = n.id AND r.node_id = $1",
            node_id,
            ids,
            numbers,
            seconds,
            now,
        )


async def end(connection: Connection, node_id: NodeId, ids: Sequence[UUID], now: datetime) -> None:
    """Bindings of the entered organisation are over, whoever's they were. They are emptied; expired rows are removed later."""
    if ids:
        await connection.execute(
            "UPDATE registrations SET contact_sealed = '', expires_at = $3, node_id = $1, xid = pg_current_xact_id()"
            " WHERE id = ANY($2::uuid[])",
            node_id,
            sorted(ids),
            now,
        )


async def tell(connection: Connection, node_id: NodeId) -> None:
    """Wake those who follow; what counts is the rows."""
    await connection.execute("SELECT pg_notify($1, $2)", CHANNEL, str(node_id))


async def horizon(connection: Connection) -> str:
    """From where `changed` has to go on later: every transaction before it is over."""
    found: str = await connection.fetchval("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")
    return found


async def changed(connection: Connection, since: str, follower: NodeId) -> dict[OrgId, list[UUID]]:
    """Ids of bindings that other nodes changed since that horizon, some of them twice; no organisation is entered."""
    found: dict[OrgId, list[UUID]] = {}
    for row in await connection.fetch("SELECT org_id, registration_id FROM changed_registrations($1::text::xid8, $2)", since, follower):
        found.setdefault(OrgId(row["org_id"]), []).append(row["registration_id"])
    return found


async def these(connection: Connection, ids: Sequence[UUID]) -> list[RegistrationRow]:
    """The entered organisation's bindings of these ids."""
    rows = await connection.fetch(f"SELECT {_COLUMNS} FROM registrations WHERE id = ANY($1::uuid[])", list(ids))  # noqa: S608 (ours)
    return [RegistrationRow(**dict(row)) for row in rows]
