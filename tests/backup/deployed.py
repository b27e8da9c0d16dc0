"""A house as the commands find it: configuration, root key and second zone in a data folder, over the test's own databases."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from hushwire.app import config as configuration
from hushwire.app.backup import Made, make, place_of
from hushwire.app.config import Config
from hushwire.app.deployment import administration
from hushwire.app.restore import Restored, restore, source_of
from hushwire.store.database import Database
from hushwire.store.roles import LOGIN_ROLES
from tests.databases import Databases
from tests.polling import until
from tests.recorded import House, made_house


@dataclass(slots=True)
class Deployed:
    """A house, and the commands that a person runs on it."""

    house: House
    config: Config
    file: Path

    @property
    def backups(self) -> Path:
        assert self.config.zone2.dir is not None
        return self.config.zone2.dir / "backups"

    async def backup(self, to: str | None = None, keep: int = 14) -> Made:
        """`hushwire backup`."""
        async with administration(self.config) as means:
            place = place_of(self.config, to)
            return await make(
                self.config, means.databases, means.keyring, means.root.sealing_key(), place, self.house.clock, means.random, keep
            )

    async def restore(self, file: str = "latest", *, yes: bool = True) -> Restored:
        """`hushwire restore`, once everybody has let go of the database."""
        await self.let_go()
        return await restore(self.config, source_of(self.config, file, None), yes=yes)

    async def let_go(self) -> None:
        """The house's own connections to the main database are closed: it is a process that ended."""
        name = self.house.databases.names["main"]
        for database in [each for each in self.house.databases._open if f"/{name}?" in each._dsn]:
            await database.close()
            self.house.databases._open.remove(database)
        self.house._connected = {place: each for place, each in self.house._connected.items() if place[0] != "main"}
        connection = await asyncpg.connect(self.house.databases.cluster.dsn("postgres"))
        try:
            gone = "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'"
            await until(lambda: connection.fetchval(gone, name), what="nobody is connected")
        finally:
            await connection.close()

    async def command(self, *arguments: str, environment: dict[str, str] | None = None) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of the real command."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "hushwire", *arguments, "--config", str(self.file), stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE, env={**os.environ, **(environment or {})},
        )  # fmt: skip
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    async def database_names(self) -> set[str]:
        connection = await asyncpg.connect(self.house.databases.cluster.dsn("postgres"))
        try:
            mark = self.house.databases.names["main"]
            return {row[0] for row in await connection.fetch("SELECT datname FROM pg_database") if row[0].startswith(mark)}
        finally:
            await connection.close()

    async def rows(self) -> dict[str, list[str]]:
        """Every row of the main database, as text."""
        connection = await asyncpg.connect(self.house.databases.dsn("main", "administrator"))
        try:
            tables = await connection.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
            return {
                name: sorted(row[0] for row in await connection.fetch(f'SELECT to_jsonb(t)::text FROM public."{name}" AS t'))
                for (name,) in tables
            }
        finally:
            await connection.close()


async def make_deployed(databases: Databases, folder: Path) -> Deployed:
    data, zone2 = folder / "data", folder / "zone2"
    data.mkdir(mode=0o711)
    house = await made_house(databases, data)
    (data / "pg").mkdir()
    (data / "keys").mkdir(mode=0o700)
    for name in ("main", "keyring"):
        kept = {role: databases.cluster.passwords[role] for role in LOGIN_ROLES}
        _secret(data / "pg" / f"{name}-server.json", json.dumps(kept))
    _secret(data / "keys" / "root", house.root.to_text() + "\n")
    keyring: Database = await house.db("keyring", "owner")
    async with keyring.transaction() as connection:
        await connection.execute("INSERT INTO root_key (fingerprint) VALUES ($1)", house.root.fingerprint())
    for name in ("backups", "buckets"):
        (zone2 / name).mkdir(parents=True, mode=0o700)
    file = folder / "hushwire.toml"
    file.write_text(
        f'[data]\ndir = "{data}"\n[database]\ndsn = "{databases.dsn("main", "administrator")}"\n'
        f'[keyring]\ndsn = "{databases.dsn("keyring", "administrator")}"\n[zone2]\ndir = "{zone2}"\n'
    )
    return Deployed(house, configuration.load(file, {}), file)


def _secret(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


@pytest.fixture
async def deployed(databases: Databases, data_folder: Path) -> Deployed:
    return await make_deployed(databases, data_folder)


def manifest_tables(made: Any) -> dict[str, int]:
    tables: dict[str, int] = made.checked.manifest["tables"]
    return tables
