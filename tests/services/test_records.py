"""Rows of calls while the database is away, restarting or refusing: nothing is lost, nothing overtakes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import asyncpg

from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import CallId, NodeId, OrgId
from hushwire.services.records import Records, StepWrite
from hushwire.store import calls as rows
from hushwire.store.calls import CallAnswer, CallEnd, NewCall, Step
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


async def test_steps_of_many_calls_that_are_written_together_leave_the_rows_that_each_would_alone(
    databases: Databases, tmp_path: Path
) -> None:
    world = await build(databases, tmp_path)
    org_id: OrgId = world.directory.default_organisation.id  # type: ignore[union-attr]
    records, seen, at = Records(world.db), list[str](), datetime.now(UTC)
    waiting = []
    for number in range(3):  # each whole before the next: what is written together must not be sorted by call
        call = CallId(uuid4())
        new = NewCall(call, None, None, None, NodeId(uuid4()), None, "outbound", "ringing", at)
        steps = [
            (Step.BEGIN, rows.begun(org_id, new)),
            (Step.ANSWER, rows.answered(CallAnswer(call, at, None, {}, {}))),
            (Step.END, rows.ended(CallEnd(call, "ended", at, number, 200, "hangup", None))),
        ]
        for step, row in steps:
            event = DomainEvent(uuid4(), org_id, EventKind.CALL_STARTED, call, at, {"step": step.name})
            waiting.append(records.write(org_id, step.name, StepWrite(step, row, (event,))))
        waiting.append(records.write(org_id, "between", note(seen, "between")))
    assert all(await asyncio.gather(*waiting))
    async with world.db.organisation(org_id) as connection:
        found = await connection.fetch("SELECT state, duration_ms, answered_at IS NOT NULL FROM calls ORDER BY duration_ms")
        told = await connection.fetch("SELECT fields->>'step' FROM outbox WHERE kind = 'call.started' ORDER BY seq")
    assert [tuple(row) for row in found] == [("ended", 0, True), ("ended", 1, True), ("ended", 2, True)]
    assert [row[0] for row in told] == 3 * ["BEGIN", "ANSWER", "END"]
