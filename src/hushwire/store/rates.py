"""Rows of trunks' rate tables: the operator's."""

from collections.abc import Mapping
from uuid import UUID

from hushwire.core.ids import TrunkId
from hushwire.policy.rating import Rate
from hushwire.store.database import Connection

_PORTION = 2_000


async def portion(connection: Connection, trunk_id: TrunkId, after: str) -> list[tuple[str, Rate]]:
    """The next rates behind a prefix, in its order."""
    rows = await connection.fetch(
        "SELECT prefix, currency, minute_micros, connection_micros, first_s, next_s FROM trunk_rates"
        ' WHERE trunk_id = $1 AND prefix COLLATE "C" > $2 ORDER BY prefix COLLATE "C" LIMIT $3',
        trunk_id,
        after,
        _PORTION,
    )
    return [
        (row["prefix"], Rate(row["currency"], row["minute_micros"], row["connection_micros"], row["first_s"], row["next_s"]))
        for row in rows
    ]


async def trunk_named(connection: Connection, name: str) -> UUID | None:
    """The trunk of this name."""
    found: UUID | None = await connection.fetchval("SELECT id FROM trunks WHERE name = $1", name)
    return found


async def put(connection: Connection, trunk_id: UUID, rates: Mapping[str, Rate]) -> bool:
    """Put these in place of a trunk's rates; whether that changed anything. Gateways are told."""
    await connection.execute("SELECT 1 FROM trunks WHERE id = $1 FOR UPDATE", trunk_id)
    wanted = [(p, r.currency, r.minute_micros, r.connection_micros, r.first_s, r.next_s) for p, r in sorted(rates.items())]
    known = await connection.fetch(
        "SELECT prefix, currency, minute_micros, connection_micros, first_s, next_s FROM trunk_rates WHERE trunk_id = $1"
        ' ORDER BY prefix COLLATE "C"',
        trunk_id,
    )
    if [tuple(row) for row in known] == wanted:
        return False
    await connection.execute("DELETE FROM trunk_rates WHERE trunk_id = $1", trunk_id)
    await connection.executemany(
        "INSERT INTO trunk_rates (trunk_id, prefix, currency, minute_micros, connection_micros, first_s, next_s)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(trunk_id, *one) for one in wanted],
    )
    await connection.execute("UPDATE trunks SET rates_version = rates_version + 1 WHERE id = $1", trunk_id)
    return True
