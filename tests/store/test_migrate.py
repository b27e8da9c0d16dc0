"""Migrations and roles against a real server."""

import asyncio
import secrets

import asyncpg
import pytest

from hushwire.core.errors import ConfigError
from hushwire.store.migrate import migrate, migrations
from hushwire.store.roles import APPLICATION_ROLES, OWNER, ensure_database, ensure_roles, scram_verifier
from tests.databases import Cluster, Databases


@pytest.fixture
async def empty(postgres_cluster: Cluster) -> str:
    name = f"empty_{secrets.token_hex(4)}"
    await ensure_database(postgres_cluster.dsn("postgres"), name)
    return postgres_cluster.dsn(name, OWNER)


async def test_four_runners_at_once_apply_each_file_once(empty: str) -> None:
    applied = await asyncio.gather(*(migrate(empty, "main") for _ in range(4)))
    assert sorted(name for names in applied for name in names) == [migration.name for migration in migrations("main")]
    assert await migrate(empty, "main") == []


async def test_a_file_that_changed_after_it_was_applied_is_refused(empty: str) -> None:
    await migrate(empty, "keyring")
    connection = await asyncpg.connect(empty)
    await connection.execute("UPDATE schema_migrations SET checksum = 'other'")
    await connection.close()
    with pytest.raises(ConfigError, match="0001_keyring"):
        await migrate(empty, "keyring")


async def test_a_database_of_a_newer_version_is_refused(empty: str) -> None:
    await migrate(empty, "keyring")
    connection = await asyncpg.connect(empty)
    await connection.execute("INSERT INTO schema_migrations VALUES ('9999_future', 'sum')")
    await connection.close()
    with pytest.raises(ConfigError, match="9999_future"):
        await migrate(empty, "keyring")


async def test_roles_and_databases_are_made_once_and_the_second_time_changes_nothing(postgres_cluster: Cluster) -> None:
    administrator = postgres_cluster.dsn("postgres")
    name = f"again_{secrets.token_hex(4)}"
    assert await ensure_database(administrator, name) is True
    assert await ensure_database(administrator, name) is False
    await ensure_roles(administrator, {})
    connection = await asyncpg.connect(postgres_cluster.dsn(name, OWNER))
    await connection.close()


async def test_a_password_is_set_as_a_verifier_that_the_server_accepts(postgres_cluster: Cluster) -> None:
    role = APPLICATION_ROLES[2]
    await ensure_roles(postgres_cluster.dsn("postgres"), {role: postgres_cluster.passwords[role]})
    verifier = scram_verifier("a-secret")
    assert "a-secret" not in verifier
    assert verifier != scram_verifier("a-secret")
    for bad in ("", "with blank", "ümlaut"):
        with pytest.raises(ConfigError):
            scram_verifier(bad)


async def test_a_role_with_rights_that_undo_isolation_is_refused(postgres_cluster: Cluster) -> None:
    administrator = await asyncpg.connect(postgres_cluster.dsn("postgres"))
    try:
        await administrator.execute("ALTER ROLE hushwire_api BYPASSRLS")
        with pytest.raises(ConfigError, match="hushwire_api"):
            await ensure_roles(postgres_cluster.dsn("postgres"), {})
    finally:
        await administrator.execute("ALTER ROLE hushwire_api NOBYPASSRLS")
        await administrator.close()


async def test_a_stranger_may_not_connect(databases: Databases) -> None:
    administrator = await asyncpg.connect(databases.dsn("main", "administrator"))
    role = f"stranger_{secrets.token_hex(4)}"
    try:
        await administrator.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await asyncpg.connect(databases.dsn("main").replace(OWNER, role), password="x")
    finally:
        await administrator.execute(f"DROP ROLE {role}")
        await administrator.close()
