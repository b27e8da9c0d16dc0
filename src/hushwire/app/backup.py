"""`hushwire backup`: the main database, sealed, streamed to the second zone, read back before it counts.

    snapshot --pg_dump--> frames --disk--> read back: every frame, the archive from front to end, rows of each table --rename--> backup

Only the main database is in it. The keyring is not: the second zone holds its newest state (docs/keys.md), and a history of it would
undo erasures. The root key and the buckets' secrets are in no backup.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
import structlog

from hushwire import __version__
from hushwire.app import dumps
from hushwire.app.config import Config
from hushwire.app.databases import Databases
from hushwire.app.dumps import Programs
from hushwire.core.clock import Clock, Random
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.core.ids import uuid7
from hushwire.services import backups
from hushwire.services.backups import Draft, Folder, Found, Place
from hushwire.store import roles
from hushwire.vault import tombstones
from hushwire.vault.archive import ArchiveError, Failure, Reader, SealingKey, Writer
from hushwire.vault.keyring import Keyring

FORMAT: Final = 1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup that was read from front to end: every frame authentic, the archive readable, the rows those of its manifest."""

    id: UUID
    made_at: datetime
    manifest: dict[str, Any]
    dump_bytes: int

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(self.manifest["tables"].values())


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that counts."""

    name: str
    where: str
    checked: Checked
    size_bytes: int
    seconds: float
    removed: tuple[str, ...]


def place_of(config: Config, to: str | None) -> Place:
    """Where backups go: `to`, else the second zone. Raises ConfigError if there is no such place."""
    if to is not None:
        return backups.open_place(to)
    if config.zone2.dir is None:
        raise ConfigError("there is no place for backups: set [zone2] dir to a folder on another disk, or name one with --to")
    return backups.open_place(str(config.zone2.dir / "backups"))


async def make(
    config: Config, databases: Databases, keyring: Keyring, sealing: SealingKey, place: Place, clock: Clock, random: Random, keep: int
) -> Made:
    """Make a backup, check it, and remove the oldest ones beyond `keep`.

    Raises Unavailable or ConfigError, with what to do; then no backup was made, and those that there are stay.
    """
    began = clock.monotonic()
    tools = dumps.programs(config.backup.programs, config.database.dsn)
    async with AsyncExitStack() as stack:
        if isinstance(place, Folder):
            stack.enter_context(place.alone())
        await asyncio.to_thread(place.tidy)
        now = clock.now()
        backup_id = uuid7(int(now.timestamp() * 1000), random.token_bytes(10))
        source = await stack.enter_async_context(_source(databases, keyring, config))
        writer = Writer(sealing, backup_id, now, random)
        name = backups.name_of(backup_id, now)
        draft = await asyncio.to_thread(place.begin, name)
        try:
            frames = _frames(writer, source.manifest, dumps.dump(tools, source.dsn, source.snapshot))
            size = await _in_thread(_write, draft, frames)
            checked = await _in_thread(check, tools, sealing, draft.read())
            if checked.manifest != source.manifest:
                raise Unavailable(f"{place.where}: gave back another backup than it was given. No backup was made")
            await asyncio.to_thread(draft.commit)
        except ArchiveError as error:
            raise Unavailable(f"{place.where}: what was written can't be read back: {error}. No backup was made") from None
        finally:
            await asyncio.to_thread(draft.drop)
    removed = await asyncio.to_thread(retain, place, keep)
    seconds = clock.monotonic() - began
    _log.info("backup.made", backup_id=str(backup_id), size_bytes=size, rows=checked.rows, seconds=round(seconds, 1), removed=len(removed))
    return Made(name, place.where, checked, size, seconds, removed)


def check(tools: Programs, sealing: SealingKey, data: Iterable[bytes]) -> Checked:
    """Read a backup from front to end. Raises ArchiveError, Unavailable if the archive in it can't be read, ConfigError if it is newer."""
    reader = Reader(sealing)
    counted = dumps.count_rows(tools, _opened(reader, data))
    manifest = reader.finish()
    assert reader.header is not None
    if manifest.get("format") != FORMAT or not isinstance(manifest.get("tables"), dict):
        raise ConfigError("the backup was made by a newer hushwire: use that version")
    if counted != manifest["tables"]:
        wrong = sorted(name for name in counted.keys() | manifest["tables"].keys() if counted.get(name) != manifest["tables"].get(name))
        raise ArchiveError(Failure.DIGEST_MISMATCH, f"the rows of {', '.join(wrong)} are not as many as were backed up")
    return Checked(reader.header.id, reader.header.made_at, manifest, reader.dumped)


def retain(place: Place, keep: int) -> tuple[str, ...]:
    """Remove the oldest backups beyond `keep`; returns their names."""
    old: list[Found] = place.found()[:-keep]
    for each in old:
        place.remove(each.name)
    return tuple(each.name for each in old)


@dataclass(frozen=True, slots=True)
class _Source:
    """A moment of the main database that stays as it is while this lasts."""

    dsn: str
    snapshot: str
    manifest: dict[str, Any]


@asynccontextmanager
async def _source(databases: Databases, keyring: Keyring, config: Config) -> Any:
    identity = (await keyring.deployment()).identity()
    async with keyring.db.transaction() as connection:
        last = await tombstones.last_place(connection)
    async with roles.backup_login(databases.main_admin_dsn(), databases.main_database) as password:
        dsn = databases.main_login_dsn(roles.BACKUP, password)
        connection = await asyncpg.connect(dsn)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                snapshot: str = await connection.fetchval("SELECT pg_export_snapshot()")
                names = [row[0] for row in await connection.fetch(_TABLES)]
                manifest: dict[str, Any] = {
                    "format": FORMAT,
                    "hushwire": __version__,
                    "postgresql": connection.get_server_version().major,
                    "region": config.data.region,
                    "deployment": identity.hex(),
                    "tombstones": last,
                    "migrations": [row[0] for row in await connection.fetch("SELECT name FROM schema_migrations ORDER BY name")],
                    "tables": {name: await connection.fetchval(f'SELECT count(*) FROM public."{name}"') for name in names},  # noqa: S608
                }
                yield _Source(dsn, snapshot, manifest)
        finally:
            await connection.close()


_TABLES: Final = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname"


def _frames(writer: Writer, manifest: dict[str, Any], dump: Iterator[bytes]) -> Iterator[bytes]:
    yield writer.header
    yield writer.manifest(manifest)
    for piece in dump:
        yield writer.dump(piece)
    yield writer.end()


def _write(draft: Draft, frames: Iterator[bytes]) -> int:
    size = 0
    for frame in frames:
        draft.write(frame)
        size += len(frame)
    draft.complete()
    return size


def _opened(reader: Reader, data: Iterable[bytes]) -> Iterator[bytes]:
    for piece in data:
        yield from reader.feed(piece)
    reader.finish()


async def _in_thread(work: Any, *arguments: Any) -> Any:
    """A long piece of blocking work. If we are cancelled it is waited for, so that nothing is taken from under it."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
