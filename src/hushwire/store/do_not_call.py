"""Rows of the do-not-call set: keyed indexes, never numbers. Every function runs in a transaction of the organisation."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

MARK: Final = "system:opted-out"
"""Who adds marks: a number that asked for no more messages is listed twice, as every entry and under an index of marks. A mark is what
only its owner lifts."""
_ADD: Final = (
    "INSERT INTO do_not_call (org_id, number_index, added_at, added_by)"
    " SELECT $1, i, $3, $4 FROM unnest($2::bytea[]) AS t (i) ON CONFLICT DO NOTHING"
)


async def lock(connection: Connection) -> None:
    """One change of the organisation's set at a time, so that its size is known."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('do-not-call:' || current_org()::text, 0))")


async def add(connection: Connection, org_id: OrgId, indexes: Sequence[bytes], at: datetime, actor: str) -> int:
    """List these; returns how many were not listed before. Gateways are told."""
    return _count(await connection.execute(_ADD, org_id, list(indexes), at, actor))


async def remove(connection: Connection, indexes: Sequence[bytes]) -> int:
    """List these no more; returns how many were listed."""
    return _count(await connection.execute("DELETE FROM do_not_call WHERE number_index = ANY ($1::bytea[])", list(indexes)))


async def missing(connection: Connection, indexes: Sequence[bytes]) -> int:
    """How many of these are not listed."""
    query = "SELECT count(*) FROM unnest($1::bytea[]) AS t (i) WHERE NOT EXISTS (SELECT 1 FROM do_not_call WHERE number_index = i)"
    return int(await connection.fetchval(query, list(indexes)))


async def binds(connection: Connection, agent_id: UUID) -> bool:
    """Whether the set holds for this agent's calls."""
    return bool(await connection.fetchval("SELECT telemarketing FROM agents WHERE id = $1", agent_id))


async def has(connection: Connection, index: bytes) -> bool:
    """Whether this one is listed."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM do_not_call WHERE number_index = $1)", index))


async def among(connection: Connection, indexes: Sequence[bytes]) -> set[bytes]:
    """Which of these are listed."""
    rows = await connection.fetch("SELECT number_index FROM do_not_call WHERE number_index = ANY ($1::bytea[])", list(indexes))
    return {row["number_index"] for row in rows}


async def remove_added_by(connection: Connection, index: bytes, actor: str) -> int:
    """List this no more where `actor` listed it; returns how many rows went."""
    return _count(await connection.execute("DELETE FROM do_not_call WHERE number_index = $1 AND added_by = $2", index, actor))


async def size(connection: Connection) -> tuple[int, datetime | None]:
    """How many are listed, and when the newest was."""
    row = await connection.fetchrow("SELECT count(*) AS n, max(added_at) AS newest FROM do_not_call WHERE added_by <> $1", MARK)
    assert row is not None
    return row["n"], row["newest"]


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
