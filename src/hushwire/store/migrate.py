"""Plain SQL files, each applied once: advisory lock, one transaction a file, checksum of what was applied."""

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final, Literal

import asyncpg
import structlog

from hushwire.core.errors import ConfigError

Folder = Literal["main", "keyring"]

_LOCK: Final = 0x6877_6D69_6772  # "hwmigr"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file. `checksum` is the SHA-256 of its bytes."""

    name: str
    sql: str
    checksum: bytes


def migrations(folder: Folder) -> list[Migration]:
    """The files of one database, in order of their names."""
    found = []
    for entry in resources.files("hushwire.store").joinpath("migrations", folder).iterdir():
        if entry.name.endswith(".sql"):
            data = entry.read_bytes()
            found.append(Migration(entry.name.removesuffix(".sql"), data.decode(), hashlib.sha256(data).digest()))
    return sorted(found, key=lambda migration: migration.name)


async def migrate(dsn: str, folder: Folder) -> list[str]:
    """Apply what is missing, as `hushwire_owner`, and return the names applied; several runners at once apply each once.

    The roles must exist (`roles.ensure_roles`). Raises ConfigError if a file changed after it was applied, or if the database
    has been migrated by a newer hushwire than this one.
    """
    wanted = migrations(folder)
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET client_min_messages = warning")
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations"
            " (name text PRIMARY KEY, checksum bytea NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT name, checksum FROM schema_migrations")}
        _check(folder, wanted, applied)
        done = []
        for migration in wanted:
            if migration.name in applied:
                continue
            async with connection.transaction():
                await connection.execute(migration.sql)
                await connection.execute(
                    "INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
                )
            _log.info("store.migrated", database=folder, migration=migration.name)
            done.append(migration.name)
        return done
    finally:
        await connection.close()


def _check(folder: Folder, wanted: list[Migration], applied: dict[str, bytes]) -> None:
    known = {migration.name: migration.checksum for migration in wanted}
    newer = sorted(set(applied) - set(known))
    if newer:
        raise ConfigError(f"the {folder} database was migrated by a newer hushwire ({', '.join(newer)}): run that version")
    changed = sorted(name for name, checksum in applied.items() if known[name] != checksum)
    if changed:
        raise ConfigError(f"migrations of the {folder} database changed after they were applied: {', '.join(changed)}")
