"""Tombstones: what ended and must stay ended, kept in the keyring, whatever older state the main database is restored to.

A tombstone of an erasure is written in the transaction that destroys the key, so neither exists without the other; it is copied to
the second zone with the keyring, synchronously. It holds ids and what a replay needs, never personal data.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection, Database

Fields = Mapping[str, str | int | bool | list[str] | None]


@dataclass(frozen=True, slots=True)
class Tombstone:
    """One thing that ended. `id`: of an erasure, its ledger entry's; `object`: what ended; `fields`: for the replay."""

    id: UUID
    kind: str
    object: UUID
    at: datetime
    fields: Fields = field(default_factory=dict)


async def bury(connection: Connection, org_id: OrgId, tombstones: Sequence[Tombstone]) -> None:
    """Write them in the caller's transaction of the keyring; those that stand already stay as they are."""
    await connection.execute(
        "INSERT INTO tombstones (id, org_id, kind, object, at, fields)"
        " SELECT id, $1, kind, object, at, fields::jsonb"
        " FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::timestamptz[], $6::text[]) AS t (id, kind, object, at, fields)"
        " ON CONFLICT DO NOTHING",
        org_id,
        [tombstone.id for tombstone in tombstones],
        [tombstone.kind for tombstone in tombstones],
        [tombstone.object for tombstone in tombstones],
        [tombstone.at for tombstone in tombstones],
        [json.dumps(dict(tombstone.fields)) for tombstone in tombstones],
    )


async def write(keyring: Database, org_id: OrgId, tombstones: Sequence[Tombstone]) -> None:
    """Write them in a transaction of their own, committed before this returns."""
    if tombstones:
        async with keyring.organisation(org_id) as connection:
            await bury(connection, org_id, tombstones)


def new_id() -> UUID:
    """The id of a tombstone that is not an erasure's."""
    return UUID(bytes=secrets.token_bytes(16), version=4)


@dataclass(frozen=True, slots=True)
class Buried:
    """A tombstone as it stands in the keyring; `seq` rises from one to the next."""

    seq: int
    tombstone: Tombstone


async def organisations_after(connection: Connection, place: int) -> dict[OrgId, int]:
    """How many tombstones each organisation has beyond a place; across tenants, for the owner."""
    rows = await connection.fetch("SELECT org_id, tombstones FROM tombstones_after($1)", place)
    return {OrgId(row["org_id"]): row["tombstones"] for row in rows}


async def last_place(connection: Connection) -> int:
    """The place of the newest tombstone of all, 0 if there is none; for the owner."""
    return int(await connection.fetchval("SELECT last_tombstone()"))


async def settled_place(connection: Connection, moment: datetime) -> int:
    """The place up to which every tombstone was written before `moment`."""
    return int(await connection.fetchval("SELECT tombstones_settled($1)", moment))


async def kinds_after(connection: Connection, place: int) -> set[str]:
    """The kinds that the organisation's tombstones beyond a place have."""
    return {row["kind"] for row in await connection.fetch("SELECT DISTINCT kind FROM tombstones WHERE seq > $1", place)}


async def after(connection: Connection, place: int, kind: str, limit: int) -> list[Buried]:
    """The organisation's next tombstones of one kind beyond a place, in order."""
    rows = await connection.fetch(
        "SELECT seq, id, kind, object, at, fields FROM tombstones WHERE seq > $1 AND kind = $2 ORDER BY seq LIMIT $3", place, kind, limit
    )
    return [Buried(row["seq"], Tombstone(row["id"], row["kind"], row["object"], row["at"], json.loads(row["fields"]))) for row in rows]


async def of_object(connection: Connection, kind: str, wanted: UUID) -> list[Buried]:
    """Every tombstone of one thing, in order."""
    rows = await connection.fetch(
        "SELECT seq, id, kind, object, at, fields FROM tombstones WHERE kind = $1 AND object = $2 ORDER BY seq", kind, wanted
    )
    return [Buried(row["seq"], Tombstone(row["id"], row["kind"], row["object"], row["at"], json.loads(row["fields"]))) for row in rows]


async def ended(connection: Connection, kinds: Iterable[str], wanted: Iterable[UUID]) -> set[UUID]:
    """Those of these things that the organisation's tombstones of these kinds tell of."""
    rows = await connection.fetch(
        "SELECT DISTINCT object FROM tombstones WHERE object = ANY($1::uuid[]) AND kind = ANY($2::text[])", list(wanted), sorted(kinds)
    )
    return {row[0] for row in rows}
