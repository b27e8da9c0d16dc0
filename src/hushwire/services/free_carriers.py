"""Which sub-processors nothing stands against for an organisation: carriers of calls and of texts that are one are used only then."""

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from hushwire.privacy.agreement import Standing, Subprocessor, barred
from hushwire.store import agreement
from hushwire.store.database import Connection


async def free_subprocessors(connection: Connection, residency: str, now: datetime) -> frozenset[str]:
    """Their names, in a transaction of the organisation. A day that comes raises the organisation's version (the worker sees to it)."""
    listed = await agreement.subprocessors(connection)
    standings, safeguarded = await agreement.barred_facts(connection, now)
    standing = {name: Standing(active_from, objected) for name, active_from, objected in standings}
    return frozenset(
        row.name
        for row in listed
        if barred(
            Subprocessor(row.id, row.name, row.country, row.safeguard, row.withdrawn_at is not None),
            standing.get(row.name),
            residency,
            safeguarded,
            now,
        )
        is None
    )


async def barred_centres(connection: Connection, centres: Iterable[UUID], now: datetime) -> set[UUID]:
    """Which of these carriers of texts must get none of the organisation's."""
    rows = await connection.fetch(
        "SELECT id, settings ->> 'subprocessor' AS subprocessor FROM message_centres"
        " WHERE id = ANY($1::uuid[]) AND settings ->> 'subprocessor' IS NOT NULL",
        list(set(centres)),
    )
    if not rows:
        return set()
    residency = await connection.fetchval("SELECT residency FROM orgs")
    free = await free_subprocessors(connection, residency, now)
    return {row["id"] for row in rows if row["subprocessor"] not in free}
