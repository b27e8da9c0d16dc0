"""Rows of calls while the database is away, restarting or refusing: nothing is lost, nothing overtakes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg

from hushwire.core.ids import OrgId
from hushwire.services.records import Records
from hushwire.store.database import Connection
from tests.databases import Databases
from tests.services.location import build


def note(seen: list[str], name: str) -> Callable[[Connection], Awaitable[object]]:
    async def write(connection: Connection) -> None:
        await connection.fetchval("SELECT 1")
        seen.append(name)

    return write


async def cut(databases: Databases, *, allow: bool) -> None:
    """Close the database to everybody, or open it again."""
    administrator = await asyncpg.connect(databases.cluster.dsn("postgres"))
    try:
        name = databases.names["main"]
        await administrator.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {str(allow).lower()}")
        if not allow:
            await administrator.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
    finally:
        await administrator.close()


async def test_writes_keep_their_order_through_an_outage(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    org_id: OrgId = world.directory.default_organisation.id  # type: ignore[union-attr]
    records, seen = Records(world.db), list[str]()
    await cut(databases, allow=False)
    waiting = [records.write(org_id, name, note(seen, name)) for name in ("begin", "answer", "end")]
    assert await records.drain(0.5) == 3
    assert seen == []
    await cut(databases, allow=True)
    async with asyncio.timeout(10):
        assert await asyncio.gather(*waiting) == [True, True, True]
    assert seen == ["begin", "answer", "end"]
    assert records.waiting == 0


async def test_a_write_that_the_database_forbids_is_reported_and_holds_nothing_back(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    org_id: OrgId = world.directory.default_organisation.id  # type: ignore[union-attr]
    records, seen = Records(world.db), list[str]()

    async def forbidden(connection: Connection) -> None:
        await connection.execute("DELETE FROM audit_log")

    refused = records.write(org_id, "forbidden", forbidden)
    after = records.write(org_id, "after", note(seen, "after"))
    beside = records.write(org_id, "beside", note(seen, "beside"))
    assert [await refused, await after, await beside] == [False, True, True]
    assert sorted(seen) == ["after", "beside"]
