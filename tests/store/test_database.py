"""The pool: transactions as an organisation or as none, notifications, and a server that goes away."""

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from hushwire.core.errors import Unavailable
from hushwire.core.ids import OrgId
from hushwire.store.database import Database
from tests.databases import Databases
from tests.store.rows import add_agent, add_command, add_org, add_trunk


async def test_a_transaction_of_an_organisation_sees_its_rows_and_one_of_none_sees_nothing(databases: Databases) -> None:
    owner = await databases.connect("main")
    org = await add_org(owner, "acme")
    api = await databases.connect("main", "api")
    async with api.organisation(org) as connection:
        assert await connection.fetchval("SELECT slug FROM orgs") == "acme"
    async with api.transaction() as connection:
        assert await connection.fetch("SELECT * FROM orgs") == []


async def test_the_organisation_does_not_outlive_its_transaction_on_a_pooled_connection(databases: Databases) -> None:
    owner = await databases.connect("main")
    org = await add_org(owner, "acme")
    one = await databases.connect("main", "api", max_size=1)
    async with one.organisation(org) as connection:
        assert len(await connection.fetch("SELECT id FROM orgs")) == 1
    async with one.session() as connection:
        assert await connection.fetch("SELECT id FROM orgs") == []
        await connection.execute(f"SET hushwire.org = '{org}'")
    async with one.session() as connection:
        assert await connection.fetch("SELECT id FROM orgs") == []


async def test_what_a_transaction_set_for_its_session_is_gone_after_commit_and_after_rollback(databases: Databases) -> None:
    owner = await databases.connect("main")
    org = await add_org(owner, "acme")
    one = await databases.connect("main", "api", max_size=1)

    async def set_and(outcome: type[Exception] | None) -> None:
        async with one.transaction() as connection:
            await connection.execute(f"SET hushwire.org = '{org}'")
            await connection.execute("SELECT pg_advisory_lock(1)")
            async with connection.transaction():
                assert len(await connection.fetch("SELECT id FROM orgs")) == 1
            if outcome:
                raise outcome

    await set_and(None)
    with pytest.raises(_OnPurpose):
        await set_and(_OnPurpose)
    async with one.transaction() as connection:
        assert await connection.fetch("SELECT id FROM orgs") == []
        assert not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory')")


async def test_a_constraint_that_fails_at_commit_is_the_callers_error_and_the_connection_is_clean(databases: Databases) -> None:
    owner = await databases.connect("main", max_size=1)
    async with owner.session() as connection:
        await connection.execute("CREATE TABLE late (x int UNIQUE DEFERRABLE INITIALLY DEFERRED)")

    async def fail_at_commit() -> None:
        async with owner.organisation(OrgId(uuid4())) as connection:
            await connection.execute("INSERT INTO late VALUES (1), (1)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await fail_at_commit()
    async with owner.transaction() as connection:
        assert await connection.fetchval("SELECT count(*) FROM late") == 0
        assert await connection.fetchval("SELECT current_org()") is None


class _OnPurpose(Exception):
    pass


async def test_an_exception_rolls_the_transaction_back_and_the_pool_goes_on(databases: Databases) -> None:
    owner = await databases.connect("main", max_size=1)
    org = await add_org(owner, "acme")

    async def fail_after_a_row() -> None:
        async with owner.organisation(org) as connection:
            await add_agent(connection, org)
            raise _OnPurpose

    with pytest.raises(_OnPurpose):
        await fail_after_a_row()
    async with owner.organisation(org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM agents") == 0


async def test_a_query_that_the_server_refuses_is_the_callers_error_and_not_an_outage(databases: Databases) -> None:
    owner = await databases.connect("main")
    with pytest.raises(asyncpg.UndefinedTableError):
        async with owner.transaction() as connection:
            await connection.execute("SELECT * FROM nothing")


async def test_a_server_that_is_not_there_is_unavailable(databases: Databases) -> None:
    with pytest.raises(Unavailable):
        await Database.connect("postgresql://nobody@/main?host=/nonexistent")


async def test_a_pool_with_no_free_connection_is_unavailable_after_its_timeout(databases: Databases) -> None:
    one = await Database.connect(databases.dsn("main", "api"), max_size=1, acquire_timeout_s=0.1)
    try:
        async with one.transaction():
            with pytest.raises(Unavailable):
                async with one.transaction():
                    raise AssertionError("two transactions on one connection")
    finally:
        await one.close()


async def test_a_connection_cut_by_the_server_is_unavailable_once_and_the_next_transaction_works(databases: Databases) -> None:
    one = await databases.connect("main", "api", max_size=1)

    async def query_until_cut() -> None:
        async with one.transaction() as connection:
            await _cut(databases, await connection.fetchval("SELECT pg_backend_pid()"))
            while True:
                await connection.fetchval("SELECT 1")

    with pytest.raises(Unavailable):
        await query_until_cut()
    async with one.transaction() as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_changes_of_rules_reach_listeners_with_the_organisation_and_raise_its_version(databases: Databases) -> None:
    owner = await databases.connect("main")
    gateway = await databases.connect("main", "gateway")
    heard: asyncio.Queue[str] = asyncio.Queue()
    await gateway.listen("hushwire_rules", heard.put_nowait)
    org = await add_org(owner, "acme")
    assert await _next(heard) == str(org)
    versions = [await _version(gateway, org)]
    api = await databases.connect("main", "api")
    statements = [
        "UPDATE orgs SET allowed_countries = '{DE,AT}'",
        "UPDATE agents SET suspended = true",
        "INSERT INTO numbers (id, org_id, number_sealed, number_index, lookup, created_at)"
        " VALUES (gen_random_uuid(), current_org(), 's', 'i', 'l', now())",
        "DELETE FROM numbers",
    ]
    async with api.organisation(org) as connection:
        await add_agent(connection, org)
    for statement in statements:
        async with api.organisation(org) as connection:
            await connection.execute(statement)
        assert await _next(heard) == str(org)
    versions.append(await _version(gateway, org))
    assert versions == [1, 6]
    async with api.organisation(org) as connection:
        await connection.execute("UPDATE orgs SET allowed_countries = '{DE,AT}'")
    assert await _version(gateway, org) == 6
    async with owner.transaction() as connection:
        await add_trunk(connection)
    while (payload := await _next(heard)) != "":
        assert payload == str(org)


async def test_a_command_wakes_its_node_and_its_outcome_wakes_who_asked(databases: Databases) -> None:
    owner = await databases.connect("main")
    org, node = await add_org(owner, "acme"), uuid4()
    api, gateway = await databases.connect("main", "api"), await databases.connect("main", "gateway")
    commands: asyncio.Queue[str] = asyncio.Queue()
    done: asyncio.Queue[str] = asyncio.Queue()
    await gateway.listen("hushwire_commands", commands.put_nowait)
    await api.listen("hushwire_done", done.put_nowait)
    async with api.organisation(org) as connection:
        command = await add_command(connection, org, node)
    assert await _next(commands) == str(node)
    async with gateway.transaction() as connection:
        found = await connection.fetchrow("SELECT * FROM open_commands($1)", node)
    assert found is not None
    assert tuple(found) == (org, command)
    async with gateway.organisation(org) as connection:
        await connection.execute("UPDATE node_commands SET done_at = now(), outcome = 'ok' WHERE id = $1", command)
    assert await _next(done) == str(command)
    async with gateway.transaction() as connection:
        assert await connection.fetchrow("SELECT * FROM open_commands($1)", node) is None


async def test_a_listener_that_lost_its_connection_comes_back_and_says_look_again(databases: Databases) -> None:
    owner = await databases.connect("main")
    gateway = await databases.connect("main", "gateway")
    heard: asyncio.Queue[str] = asyncio.Queue()
    await gateway.listen("hushwire_rules", heard.put_nowait)
    administrator = await asyncpg.connect(databases.dsn("main", "administrator"))
    try:
        await administrator.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'LISTEN%' AND usename = 'hushwire_gateway'"
        )
    finally:
        await administrator.close()
    assert await _next(heard) == ""
    org = await add_org(owner, "acme")
    assert await _next(heard) == str(org)


async def test_a_callback_that_fails_does_not_silence_the_others(databases: Databases) -> None:
    owner = await databases.connect("main")
    heard: asyncio.Queue[str] = asyncio.Queue()

    def fail(payload: str) -> None:
        raise ValueError

    await owner.listen("hushwire_rules", fail)
    await owner.listen("hushwire_rules", heard.put_nowait)
    org = await add_org(owner, "acme")
    assert await _next(heard) == str(org)


async def _next(heard: "asyncio.Queue[str]") -> str:
    async with asyncio.timeout(10):
        return await heard.get()


async def _version(database: Database, org: OrgId) -> int:
    async with database.transaction() as connection:
        version: int = await connection.fetchval("SELECT version FROM rules_versions() WHERE org_id = $1", org)
    return version


async def _cut(databases: Databases, pid: int) -> None:
    administrator = await asyncpg.connect(databases.dsn("main", "administrator"))
    try:
        await administrator.execute("SELECT pg_terminate_backend($1)", pid)
    finally:
        await administrator.close()
