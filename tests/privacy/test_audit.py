"""The audit log against an administrator of the database who edits it."""

import asyncio
import contextlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from hushwire.core.ids import OrgId
from hushwire.privacy import audit
from hushwire.privacy.audit import Fault, Head
from hushwire.store import audit as table
from hushwire.store.audit import AuditRow
from hushwire.store.database import Database
from tests.databases import Databases
from tests.store.rows import add_org

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def chain(databases: Databases, count: int = 6) -> tuple[Database, OrgId, Head]:
    org = await add_org(await databases.connect("main", "owner"), "acme")
    db = await databases.connect("main", "api")
    head = Head(0, b"")
    for n in range(count):
        async with db.organisation(org) as connection:
            head = await audit.append(
                connection, org, NOON + timedelta(seconds=n), "api-key:1", "thing.done", f"thing:{n}", {"n": n, "ok": True}
            )
    return db, org, head


async def tamper(databases: Databases, statement: str, *arguments: Any) -> None:
    """As a superuser, whom neither grants nor row-level security bind."""
    connection = await asyncpg.connect(databases.dsn("main", "administrator"))
    try:
        await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def verdict(db: Database, org: OrgId, **more: Any) -> tuple[int | None, Fault | None]:
    result = await audit.verify(db, org, **more)
    return result.broken_at, result.kind


async def rows_of(connection: Any) -> list[AuditRow]:
    return [row async for row in table.rows(connection)]


async def rewrite(databases: Databases, db: Database, org: OrgId, first: int, last: int) -> None:
    """Another actor in row `first`, and every hash to row `last` made anew: by somebody who knows how."""
    async with db.organisation(org) as connection:
        rows = await rows_of(connection)
    previous = rows[first - 1].previous
    for row in rows[first - 1 : last]:
        false = replace(row, actor="api-key:mallory" if row.position == first else row.actor, previous=previous)
        previous = audit.link(false)
        await tamper(
            databases, "UPDATE audit_log SET actor = $2, previous = $3, hash = $4 WHERE position = $1",
            row.position, false.actor, false.previous, previous,
        )  # fmt: skip


async def test_an_untouched_chain_is_whole(databases: Databases) -> None:
    db, org, head = await chain(databases)
    result = await audit.verify(db, org, known=head)
    assert result.is_whole
    assert (result.rows, result.head) == (6, head)
    assert [one.is_whole for one in await audit.verify_all(db)] == [True]


async def test_an_empty_log_is_whole(databases: Databases) -> None:
    db, org, _ = await chain(databases, 0)
    assert (await audit.verify(db, org)).is_whole


@pytest.mark.parametrize(
    "change",
    [
        "SET actor = 'api-key:2'",
        "SET action = 'thing.undone'",
        "SET object = 'thing:9'",
        "SET at = at + interval '1 microsecond'",
        'SET fields = \'{"n": 2, "ok": false}\'',
        "SET fields = '{\"n\": 2}'",
        "SET hash = sha256('x')",
        "SET previous = sha256('x')",
    ],
)
async def test_an_altered_row_is_found(databases: Databases, change: str) -> None:
    db, org, _ = await chain(databases)
    await tamper(databases, f"UPDATE audit_log {change} WHERE position = 3")
    result = await audit.verify(db, org)
    assert (result.broken_at, result.kind) == (3, Fault.ALTERED)


async def test_a_row_taken_out_is_found(databases: Databases) -> None:
    db, org, _ = await chain(databases)
    await tamper(databases, "DELETE FROM audit_log WHERE position = 3")
    assert await verdict(db, org) == (3, Fault.REMOVED)
    await tamper(databases, "UPDATE audit_log SET position = position - 1 WHERE position > 3")
    assert await verdict(db, org) == (3, Fault.REMOVED)


async def test_the_first_row_taken_out_is_found(databases: Databases) -> None:
    db, org, _ = await chain(databases)
    await tamper(databases, "DELETE FROM audit_log WHERE position = 1")
    assert await verdict(db, org) == (1, Fault.REMOVED)


async def test_swapped_rows_are_found(databases: Databases) -> None:
    db, org, _ = await chain(databases)
    await tamper(databases, "UPDATE audit_log SET position = -position WHERE position IN (3, 4)")
    await tamper(databases, "UPDATE audit_log SET position = CASE position WHEN -3 THEN 4 ELSE 3 END WHERE position < 0")
    assert await verdict(db, org) == (3, Fault.REORDERED)


async def test_a_row_moved_to_the_end_is_found(databases: Databases) -> None:
    db, org, _ = await chain(databases)
    await tamper(databases, "UPDATE audit_log SET position = 7 WHERE position = 3")
    assert await verdict(db, org) == (3, Fault.REORDERED)


@pytest.mark.parametrize("has_fitting_hash", [False, True])
async def test_a_row_put_in_is_found(databases: Databases, has_fitting_hash: bool) -> None:
    db, org, _ = await chain(databases)
    await tamper(databases, "UPDATE audit_log SET position = -position - 1 WHERE position >= 4")
    await tamper(databases, "UPDATE audit_log SET position = -position WHERE position < 0")
    async with db.organisation(org) as connection:
        third = (await rows_of(connection))[2]
    false = replace(third, position=4, object="thing:99", previous=third.hash, hash=b"x" * 32)
    async with db.organisation(org) as connection:
        await table.insert(connection, replace(false, hash=audit.link(false)) if has_fitting_hash else false)
    assert await verdict(db, org) == (4, Fault.INSERTED)


@pytest.mark.parametrize("position", [0, -5])
async def test_a_row_put_in_before_the_first_is_found(databases: Databases, position: int) -> None:
    db, org, _ = await chain(databases)
    await tamper(
        databases,
        "INSERT INTO audit_log SELECT org_id, $1, at, actor, action, object, fields, previous, hash FROM audit_log WHERE position = 1",
        position,
    )
    assert await verdict(db, org) == (position, Fault.INSERTED)


async def test_a_row_altered_with_its_hash_made_anew_is_found_and_named(databases: Databases) -> None:
    db, org, _ = await chain(databases)
    await rewrite(databases, db, org, 3, 3)
    assert await verdict(db, org) == (3, Fault.ALTERED)


async def test_a_missing_end_is_found_by_a_head_kept_elsewhere(databases: Databases) -> None:
    db, org, head = await chain(databases)
    await tamper(databases, "DELETE FROM audit_log WHERE position > 4")
    assert (await audit.verify(db, org)).is_whole
    assert await verdict(db, org, known=head) == (5, Fault.TRUNCATED)


async def test_a_chain_that_was_rewritten_from_some_row_on_is_found_by_a_head_kept_elsewhere(databases: Databases) -> None:
    db, org, head = await chain(databases)
    await tamper(databases, "DELETE FROM audit_log WHERE position > 4")
    for n in range(2):
        async with db.organisation(org) as connection:
            await audit.append(connection, org, NOON, "api-key:1", "another.thing", f"thing:{n}")
    assert (await audit.verify(db, org)).is_whole
    assert await verdict(db, org, known=head) == (6, Fault.REWRITTEN)


async def test_a_rolled_back_transaction_leaves_no_row(databases: Databases) -> None:
    db, org, _ = await chain(databases, 1)
    with contextlib.suppress(RuntimeError):
        async with db.organisation(org) as connection:
            await audit.append(connection, org, NOON, "api-key:1", "thing.done", "thing:1")
            raise RuntimeError
    async with db.organisation(org) as connection:
        assert (await audit.append(connection, org, NOON, "api-key:1", "thing.done", "thing:2")).position == 2


async def test_concurrent_appends_make_one_chain(databases: Databases) -> None:
    db, org, _ = await chain(databases, 0)

    async def append(n: int) -> None:
        async with db.organisation(org) as connection:
            await audit.append(connection, org, NOON, "api-key:1", "thing.done", f"thing:{n}")

    await asyncio.gather(*(append(n) for n in range(40)))
    result = await audit.verify(db, org)
    assert result.is_whole
    assert result.rows == 40


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"])
@pytest.mark.parametrize("role", ["api", "worker"])
async def test_the_application_can_neither_change_nor_remove_rows(databases: Databases, role: Any, statement: str) -> None:
    _, org, _ = await chain(databases, 1)
    db = await databases.connect("main", role)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with db.organisation(org) as connection:
            await connection.execute(statement)
