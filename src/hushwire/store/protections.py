"""Rows that protect people, and the keyring's copy of them. Every function runs in a transaction of the organisation."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Protecting:
    """A table of the main database. `key`: the column that its rows are named by; `in_force`: SQL that is true of what protects now.

    `said`: SQL of the row as JSON.
    """

    table: str
    key: str
    type: Literal["uuid", "bytea"] = "uuid"
    in_force: str = "true"
    said: str = "to_jsonb(t)"


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A table that narrows calls. `puts`: statements that have rows ($1: as JSON) stand as they were kept, whatever stands there.

    `is_exact`: what is not kept goes, since without a row less may be allowed than with one.
    """

    what: Protecting
    puts: tuple[str, ...]
    is_exact: bool = False


KINDS: Final = (
    Protecting("unrecorded_numbers", "id"),
    Protecting("do_not_call", "number_index", "bytea"),
    Protecting("restricted_subjects", "id", in_force="lifted_at IS NULL"),
    Protecting("legal_holds", "id", in_force="released_at IS NULL"),
)
_OF_ORG: Final = ("terms", "hours", "short_codes", "time_zone", "four_eyes", "telemarketing_hours", "risk_packs_off")
_SAID_OF_ORG: Final = ", ".join(f"'{name}', {name}" for name in ("id", *_OF_ORG))
_LIMIT_KEY: Final = "convert_to(level || ' ' || subject_id::text, 'UTF8')"
_KEPT: Final = "unnest($1::text[]) AS s (said), jsonb_populate_record(NULL::{table}, s.said::jsonb) AS k"
NARROWING: Final = (
    Narrowing(
        Protecting("orgs", "id", said=f"jsonb_build_object({_SAID_OF_ORG})"),
        ("UPDATE orgs AS o SET " + ", ".join(f"{name} = k.{name}" for name in _OF_ORG) + " FROM {kept} WHERE o.id = k.id",),  # noqa: S608 (ours)
    ),
    Narrowing(
        Protecting("teams", "id"),
        (
            "DELETE FROM teams AS t USING {kept} WHERE t.name = k.name AND t.id <> k.id",
            "INSERT INTO teams SELECT k.* FROM {kept} ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        ),
    ),
    Narrowing(
        Protecting("team_members", "agent_id"),
        (
            "INSERT INTO team_members SELECT k.* FROM {kept} WHERE EXISTS (SELECT 1 FROM agents AS a WHERE a.id = k.agent_id)"
            " AND EXISTS (SELECT 1 FROM teams AS t WHERE t.id = k.team_id) ON CONFLICT (agent_id) DO UPDATE SET team_id = excluded.team_id",
        ),
    ),
    Narrowing(
        Protecting("rule_levels", "id"),
        (
            "DELETE FROM rule_levels AS l USING {kept} WHERE l.id = k.id OR l.team_id = k.team_id OR l.agent_id = k.agent_id",
            "INSERT INTO rule_levels SELECT k.* FROM {kept} WHERE EXISTS (SELECT 1 FROM agents AS a WHERE a.id = k.agent_id)"
            " OR EXISTS (SELECT 1 FROM teams AS t WHERE t.id = k.team_id)",
        ),
    ),
    Narrowing(
        Protecting("fraud_limits", _LIMIT_KEY, "bytea"),
        (
            "INSERT INTO fraud_limits SELECT k.* FROM {kept} ON CONFLICT (org_id, level, subject_id)"
            " DO UPDATE SET bounds = excluded.bounds, updated_at = excluded.updated_at",
        ),
        is_exact=True,
    ),
)
"""In the order in which they are put back."""
_EVERY: Final = 1 << 40
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
        f"SELECT {what.key} AS key, ({what.said})::text AS said FROM {what.table} AS t"  # noqa: S608 (names are ours)
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


async def put_back(connection: Connection, narrowing: Narrowing, kept: Rows) -> int:
    """Have rules stand as they were kept; returns how many rows were others."""
    what = narrowing.what
    there = await page(connection, what, None, _EVERY)
    changed = [said for key, said in kept.items() if there.get(key) != said]
    for put in narrowing.puts if changed else ():
        await connection.execute(put.format(kept=_KEPT.format(table=what.table)), changed)
    gone = list(there.keys() - kept.keys()) if narrowing.is_exact else []
    if gone:
        await connection.execute(f"DELETE FROM {what.table} WHERE {what.key} = ANY($1::{what.type}[])", gone)  # noqa: S608 (ours)
    return len(changed) + len(gone)


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
