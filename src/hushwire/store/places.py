"""Rows that may still tell of something that was erased: each place is asked after a sweep, by ids. Runs as the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hushwire.store.database import Connection
from hushwire.store.erasable import Erasable


@dataclass(frozen=True, slots=True)
class RowPlace:
    """A table that may name erased things.

    `count`: SQL that gives `id, n` for those of the uuids in $1 that it tells of. `clear`: SQL that removes these rows. A place that
    `must_be_empty` keeps an erasure open while it is not; the others hold pseudonyms only, and say how many are on their way out.
    """

    name: str
    count: str
    clear: str | None = None
    must_be_empty: bool = True


async def clear(connection: Connection, place: RowPlace, ids: Sequence[UUID]) -> None:
    """Removes what the place has of these things, if that is its way."""
    if place.clear is not None:
        await connection.execute(place.clear, ids)


async def ask(connection: Connection, place: RowPlace, ids: Sequence[UUID]) -> dict[UUID, int]:
    """How many rows of the place tell of each of these things; those that it knows nothing of are absent."""
    return {row["id"]: row["n"] for row in await connection.fetch(place.count, ids)}


async def still_personal(connection: Connection, what: Erasable, ids: Sequence[UUID]) -> dict[UUID, int]:
    """Whether a row of the thing itself has a value in a column that was emptied."""
    filled = " OR ".join(f"{column} IS NOT NULL" for column in what.emptied)
    rows = await connection.fetch(
        f"SELECT id, 1 AS n FROM {what.table} WHERE id = ANY($1::uuid[]) AND ({filled} OR erased_at IS NULL)",  # noqa: S608
        ids,
    )
    return {row["id"]: row["n"] for row in rows}
