"""Embedded PostgreSQL: made, killed, recovered, stopped."""

import asyncio
import os
from pathlib import Path

import asyncpg
import pytest

from hushwire.app.folders import Folders, account, prepare
from hushwire.app.postgres import SUPERUSER, Cluster
from tests.polling import until


def cluster(folder: Path, name: str = "main") -> Cluster:
    folders, owner = Folders(folder), account("nobody")
    prepare(folders, owner)
    return Cluster(name, folders, owner, ("hushwire_owner",))  # type: ignore[arg-type]


async def value(server: Cluster, sql: str) -> object:
    connection = await asyncpg.connect(server.dsn(SUPERUSER, "postgres"))
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_a_cluster_is_made_started_and_stopped_and_listens_on_no_network(data_folder: Path) -> None:
    server = cluster(data_folder)
    await server.start()
    try:
        assert await value(server, "SELECT current_setting('listen_addresses')") == ""
        assert await value(server, "SELECT current_setting('password_encryption')") == "scram-sha-256"
        assert os.stat(data_folder / "pg" / "main.json").st_mode & 0o777 == 0o600
        process = server.process
    finally:
        await server.stop()
    assert process is not None
    assert process.returncode == 0


async def test_rows_survive_kill_9_of_the_server(data_folder: Path) -> None:
    server = cluster(data_folder)
    await server.start()
    try:
        await value(server, "CREATE TABLE kept AS SELECT 42 AS answer")
        assert server.process is not None
        server.process.kill()
        await server.process.wait()
        await server.start()
        assert await value(server, "SELECT answer FROM kept") == 42
    finally:
        await server.stop()


async def test_a_server_that_outlived_its_supervisor_is_stopped_before_a_new_one_starts(data_folder: Path) -> None:
    first = cluster(data_folder)
    await first.start()
    old = first.process
    assert old is not None
    second = cluster(data_folder)
    await second.start()
    try:
        await until(lambda: old.returncode is not None)
        assert await value(second, "SELECT 1") == 1
    finally:
        await second.stop()


async def test_a_pid_file_that_names_a_stranger_does_not_stop_the_start(data_folder: Path) -> None:
    server = cluster(data_folder)
    await server.start()
    await server.stop()
    (data_folder / "pg" / "main" / "postmaster.pid").write_text(f"{os.getpid()}\n/elsewhere\n")
    await server.start()
    await server.stop()


async def test_wrong_passwords_are_refused(data_folder: Path) -> None:
    server = cluster(data_folder)
    await server.start()
    try:
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.dsn(SUPERUSER, "postgres"), password="wrong")
    finally:
        await server.stop()


async def test_a_crash_while_the_cluster_is_made_leaves_nothing_half_made(data_folder: Path) -> None:
    server = cluster(data_folder, "keyring")
    half = data_folder / "pg" / "keyring.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18")
    await server.start()
    try:
        assert await value(server, "SELECT current_setting('wal_level')") == "minimal"
        assert not half.exists()
    finally:
        await server.stop()


async def test_statements_and_values_stay_out_of_the_servers_log(data_folder: Path) -> None:
    server = cluster(data_folder)
    await server.start()
    try:
        await value(server, "CREATE TABLE once (name text PRIMARY KEY)")
        connection = await asyncpg.connect(server.dsn(SUPERUSER, "postgres"))
        for _ in range(2):
            try:
                await connection.execute("INSERT INTO once VALUES ($1)", "marker-of-a-person")
            except asyncpg.UniqueViolationError:
                break
        await connection.close()
        await asyncio.sleep(0)
    finally:
        await server.stop()
    assert "marker-of-a-person" not in (data_folder / "pg" / "main.log").read_text()
