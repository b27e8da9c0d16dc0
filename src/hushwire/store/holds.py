"""Rows of legal holds. Runs as the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, scope, object_id, number_sealed, number_indexes, since, until, reason, authority_sealed, note_sealed, placed_at,"
    " placed_by, released_at, released_by"
)


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One hold; in force until `released_at`."""

    id: UUID
    org_id: OrgId
    scope: str
    object_id: UUID | None
    number_sealed: bytes | None = field(repr=False)
    number_indexes: Sequence[bytes] | None = field(repr=False)
    since: datetime | None
    until: datetime | None
    reason: str
    authority_sealed: bytes = field(repr=False)
    note_sealed: bytes | None = field(repr=False)
    placed_at: datetime
    placed_by: str
    released_at: datetime | None = None
    released_by: str | None = None


async def add(connection: Connection, row: HoldRow) -> None:
    """A new hold. The ledger must be locked, so that no erasure passes it by."""
    names = _COLUMNS.split(", ")
    places = ", ".join(f"${place}" for place in range(1, len(names) + 1))
    await connection.execute(
        f"INSERT INTO legal_holds ({_COLUMNS}) VALUES ({places})",  # noqa: S608
        *(getattr(row, name) for name in names),
    )


async def get(connection: Connection, hold_id: UUID) -> HoldRow | None:
    """The row, or None."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM legal_holds WHERE id = $1", hold_id)  # noqa: S608
    return None if row is None else _row(row)


async def listed(connection: Connection, *, after: UUID | None = None, limit: int = 50) -> list[HoldRow]:
    """Holds, newest first."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM legal_holds WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2",  # noqa: S608
        after,
        limit,
    )
    return [_row(row) for row in rows]


async def release(connection: Connection, hold_id: UUID, at: datetime, actor: str) -> bool:
    """Ends a hold; False if it had ended."""
    tag = await connection.execute(
        "UPDATE legal_holds SET released_at = $2, released_by = $3 WHERE id = $1 AND released_at IS NULL", hold_id, at, actor
    )
    return tag == "UPDATE 1"


async def released_with(connection: Connection, indexes: Sequence[bytes]) -> list[UUID]:
    """Released holds that name a number with one of these blind indexes."""
    rows = await connection.fetch(
        "SELECT id FROM legal_holds WHERE released_at IS NOT NULL AND number_indexes && $1::bytea[] FOR UPDATE", list(indexes)
    )
    return [row["id"] for row in rows]


async def forget_words(connection: Connection, ids: Sequence[UUID]) -> None:
    """What holds say of people is gone, except that there was a hold; what stays sealed opens under no key."""
    await connection.execute(
        "UPDATE legal_holds SET number_sealed = NULL, number_indexes = NULL, note_sealed = NULL WHERE id = ANY($1::uuid[])", ids
    )


async def reason_of(connection: Connection, hold_id: UUID) -> str:
    """The code of a hold's reason."""
    return str(await connection.fetchval("SELECT reason FROM legal_holds WHERE id = $1", hold_id))


def _row(row: Any) -> HoldRow:
    return HoldRow(**dict(row))
