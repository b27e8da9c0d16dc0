"""Rows that protect people, and the keyring's copy of them. Every function runs in a transaction of the organisation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Protecting:
    """A table of the main database. `key`: the column that its rows are named by; `in_force`: SQL that is true of what protects now."""

    table: str
    key: str
    type: Literal["uuid", "bytea"] = "uuid"
    in_force: str = "true"


KINDS: Final = (
    Protecting("unrecorded_numbers", "id"),
    Protecting("do_not_call", "number_index", "bytea"),
    Protecting("restricted_subjects", "id", in_force="lifted_at IS NULL"),
    Protecting("legal_holds", "id", in_force="released_at IS NULL"),
)
Rows = dict[bytes, str]
"""By their key, in its order: the row as JSON."""


async def to_keep(connection: Connection) -> list[OrgId]:
    """Organisations whose protections the keyring does not have as they are; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT protections_to_keep()")]


async def changes(connection: Connection) -> int:
    """How often they were changed in this main database."""
    return int(await connection.fetchval("SELECT coalesce((SELECT changes FROM protections), 0)"))


async def note_kept(connection: Connection, org_id: OrgId, upto: int) -> None:
    """The keyring has them as of `upto` changes."""
    await connection.execute("UPDATE protections SET kept = greatest(kept, $2) WHERE org_id = $1", org_id, upto)


async def overtake(connection: Connection, org_id: OrgId, upto: int) -> None:
    """This database was behind the keyring and has now what it has: from here on its count leads again."""
    await connection.execute(
        "INSERT INTO protections AS p (org_id, changes) VALUES ($1, $2 + 1)"
        " ON CONFLICT (org_id) DO UPDATE SET changes = greatest(p.changes, $2) + 1",
        org_id,
        upto,
    )


async def page(connection: Connection, what: Protecting, after: bytes | None, limit: int) -> Rows:
    """The next rows in force after a key."""
    place: object = after if after is None or what.type == "bytea" else UUID(bytes=after)
    rows = await connection.fetch(
        f"SELECT {what.key} AS key, to_jsonb(t)::text AS said FROM {what.table} AS t"  # noqa: S608 (names are ours)
        f" WHERE {what.in_force} AND ($1::{what.type} IS NULL OR {what.key} > $1) ORDER BY {what.key} LIMIT $2",
        place,
        limit,
    )
    return {row["key"].bytes if isinstance(row["key"], UUID) else row["key"]: row["said"] for row in rows}


async def bring_back(connection: Connection, what: Protecting, rows: Collection[str]) -> int:
    """Put rows into the main database that it does not have; returns how many."""
    tag: str = await connection.execute(
        f"INSERT INTO {what.table} SELECT (jsonb_populate_record(NULL::{what.table}, said::jsonb)).*"  # noqa: S608 (names are ours)
        " FROM unnest($1::text[]) AS t (said) ON CONFLICT DO NOTHING",
        list(rows),
    )
    return int(tag.rpartition(" ")[2])


# In the keyring.


async def lock(connection: Connection, org_id: OrgId) -> None:
    """One writer of the organisation's copy at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('protections:' || $1, 0))", str(org_id))


async def kept_changes(connection: Connection) -> int:
    """As of how many changes the keyring has them."""
    return int(await connection.fetchval("SELECT coalesce((SELECT changes FROM protections_kept), 0)"))


async def has_organisation(connection: Connection) -> bool:
    """False once its keys were destroyed: nothing is kept for it any more."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM org_keys)"))


async def kept_page(connection: Connection, what: Protecting, after: bytes | None, upto: bytes | None, limit: int | None = None) -> Rows:
    """The keyring's rows after a key, and up to another."""
    rows = await connection.fetch(
        "SELECT id, convert_from(fields, 'UTF8') AS said FROM kept_protections WHERE kind = $1 AND ($2::bytea IS NULL OR id > $2)"
        " AND ($3::bytea IS NULL OR id <= $3) ORDER BY id LIMIT $4",
        what.table,
        after,
        upto,
        limit,
    )
    return {row["id"]: row["said"] for row in rows}


async def put(connection: Connection, org_id: OrgId, what: Protecting, rows: Mapping[bytes, str]) -> None:
    """Keep these."""
    await connection.execute(
        "INSERT INTO kept_protections (org_id, kind, id, fields)"
        " SELECT $1, $2, id, convert_to(said, 'UTF8') FROM unnest($3::bytea[], $4::text[]) AS t (id, said)"
        " ON CONFLICT (org_id, kind, id) DO UPDATE SET fields = excluded.fields",
        org_id,
        what.table,
        list(rows),
        list(rows.values()),
    )


async def drop(connection: Connection, what: Protecting, keys: Collection[bytes]) -> None:
    """Keep these no more."""
    await connection.execute("DELETE FROM kept_protections WHERE kind = $1 AND id = ANY($2::bytea[])", what.table, list(keys))


async def note_kept_changes(connection: Connection, org_id: OrgId, upto: int) -> None:
    """The keyring has them as of `upto` changes."""
    await connection.execute(
        "INSERT INTO protections_kept (org_id, changes) VALUES ($1, $2) ON CONFLICT (org_id) DO UPDATE SET changes = excluded.changes",
        org_id,
        upto,
    )
