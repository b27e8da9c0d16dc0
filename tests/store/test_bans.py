"""Rows of bans: who looks at them wakes nobody."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from hushwire.store import bans
from tests.databases import Databases


async def test_looking_for_bans_that_are_over_wakes_the_gateways_only_where_one_is(databases: Databases) -> None:
    gateway, other = await databases.connect("main", "gateway"), await databases.connect("main", "gateway")
    heard: asyncio.Queue[str] = asyncio.Queue()
    await other.listen("hushwire_bans", heard.put_nowait)
    now = datetime.now(UTC)
    async with gateway.transaction() as connection:
        await bans.remove_ended(connection, now)
    async with gateway.transaction() as connection:
        await connection.execute("SELECT pg_notify('hushwire_bans', 'first')")
    async with asyncio.timeout(10):
        assert await heard.get() == "first"
    over = bans.BanRow(uuid4(), b"index", b"sealed", "scanning", now - timedelta(hours=2), now - timedelta(hours=1))
    for wanted in (True, False):
        async with gateway.transaction() as connection:
            if wanted:
                await bans.put(connection, over)
        async with gateway.transaction() as connection:
            await bans.remove_ended(connection, now)
    async with gateway.transaction() as connection:
        await connection.execute("SELECT pg_notify('hushwire_bans', 'last')")
    told = []
    async with asyncio.timeout(10):
        while (payload := await heard.get()) != "last":
            told.append(payload)
    assert told == ["", ""], "one for the ban, one for its end"
