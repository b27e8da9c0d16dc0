"""Tombstones: what ended and must stay ended, kept in the keyring, whatever older state the main database is restored to.

A tombstone of an erasure is written in the transaction that destroys the key, so neither exists without the other; it is copied to
the second zone with the keyring, synchronously. It holds ids and what a replay needs, never personal data.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

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
