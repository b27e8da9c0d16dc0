"""`hushwire restore`: an older main database, made to follow what ended since, and only then put in the place of the present one.

    check file, root key, keyring -> fill `<name>_restoring` -> count rows -> migrate -> replay tombstones -> swap names -> drop the old one

Nothing is served meanwhile, and the database that is served is never one that was not replayed: both names change in one transaction,
so whoever kills this at any moment leaves the old database or the finished new one. What it leaves besides is dropped by the next
start (`drop_leftovers`).
"""

import asyncio
import hmac
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import asyncpg
import structlog

from hushwire.app import backup, dumps
from hushwire.app.backup import Checked
from hushwire.app.config import Config
from hushwire.app.databases import Databases
from hushwire.app.folders import Account, Folders, account, give, holder, locked, prepare
from hushwire.app.sources import SystemClock
from hushwire.app.wiring import bucket_folders, key_provider
from hushwire.core.errors import ConfigError, KeyUnavailable, Unavailable
from hushwire.services import backups
from hushwire.services.object_copies import ObjectCopies
from hushwire.services.replay import Backup, Followed, Replay
from hushwire.store import roles
from hushwire.store.database import Database
from hushwire.store.migrate import migrate, migrations
from hushwire.vault import tombstones
from hushwire.vault.archive import Reader, SealingKey
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey

LATEST: Final = "latest"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Source:
    """A backup to restore, and how it can be read as often as needed."""

    name: str
    path: Path | None
    place: backups.Place | None

    def read(self) -> Iterator[bytes]:
        if self.path is not None:
            return backups.read_file(self.path)
        assert self.place is not None
        return self.place.read(self.name)


@dataclass(frozen=True, slots=True)
class Restored:
    """The main database is this backup's, followed up to now."""

    name: str
    checked: Checked
    followed: Followed
    objects: int
    seconds: float
    replay_seconds: float


def source_of(config: Config, file: str, to: str | None) -> Source:
    """The file, or the newest backup of the place. Raises ConfigError if there is none."""
    if file != LATEST and (path := Path(file)).is_file():
        return Source(path.name, path, None)
    place = backup.place_of(config, to)
    found = place.found()
    if file == LATEST:
        if not found:
            raise ConfigError(f"{place.where}: holds no backup")
        return Source(found[-1].name, None, place)
    if file not in {each.name for each in found}:
        raise ConfigError(f"{file}: is neither a file nor a backup in {place.where} (hushwire backup list)")
    return Source(file, None, place)


async def restore(config: Config, source: Source, *, yes: bool) -> Restored:
    """Put the backup in the place of the main database.

    Raises ConfigError, KeyUnavailable, Unavailable or ArchiveError, with what to do: then nothing was changed.
    """
    clock = SystemClock()
    began = clock.monotonic()
    folders, owner = Folders(config.data.dir), account(config.run.user)
    provider = key_provider(config, folders, os.environ)
    root = provider.load()
    if root is None:
        raise KeyUnavailable(
            f"the root key is missing: {provider.where} does not exist, and without it no backup opens. Put it back from your safe copy"
        )
    sealing = root.sealing_key()
    tools = dumps.programs(config.backup.programs, config.database.dsn)
    checked = await asyncio.to_thread(backup.check, tools, sealing, source.read())
    _refuse_newer(checked)
    with locked(folders) as is_ours:
        if not is_ours:
            raise ConfigError(f"hushwire is running (process {holder(folders)}): end it first; nothing may serve while it is restored")
        prepare(folders, owner)
        databases = Databases(config, folders, owner)
        try:
            await databases.start()
            work = _Work(config, folders, databases, root, sealing, tools, source, checked, clock, owner)
            await work.look(yes=yes)
            followed, replay_seconds = await work.carry_out()
            objects = await work.bring_objects_back()
        finally:
            await databases.stop()
    seconds = clock.monotonic() - began
    _log.warning("restore.done", backup=source.name, rows=checked.rows, replayed=followed.tombstones, seconds=round(seconds, 1))
    return Restored(source.name, checked, followed, objects, seconds, replay_seconds)


def _refuse_newer(checked: Checked) -> None:
    known = {migration.name for migration in migrations("main")}
    newer = sorted(set(checked.manifest["migrations"]) - known)
    if newer:
        raise ConfigError(
            f"the backup was made by a newer hushwire ({checked.manifest['hushwire']}, {', '.join(newer)}): restore it with that version"
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """One restore, with the servers up and nothing else running."""

    config: Config
    folders: Folders
    databases: Databases
    root: RootKey
    sealing: SealingKey
    tools: dumps.Programs
    source: Source
    checked: Checked
    clock: SystemClock
    owner: Account | None

    async def look(self, *, yes: bool) -> None:
        """Raise what speaks against it, before anything is changed."""
        keyring = await Database.connect(self.databases.keyring_dsn(roles.OWNER), max_size=2)
        try:
            await self._look_at_keyring(keyring)
        finally:
            await keyring.close()
        connection = await asyncpg.connect(self.databases.main_admin_dsn(self.databases.main_database))
        try:
            others = await connection.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
            if others:
                raise ConfigError(
                    f"{others} session(s) are open on the main database: end every hushwire and every tool that uses it first"
                )
            rows: int = await connection.fetchval("SELECT count(*) FROM orgs")
        finally:
            await connection.close()
        if rows and not yes:
            raise ConfigError(
                f"the main database holds {rows} organisation(s): everything that happened since "
                f"{self.checked.made_at:%Y-%m-%d %H:%M:%S} UTC would be lost but what ended. Say --yes to replace it"
            )

    async def _look_at_keyring(self, db: Database) -> None:
        async with db.transaction() as connection:
            fingerprint: bytes | None = await connection.fetchval("SELECT fingerprint FROM root_key")
            last = await tombstones.last_place(connection)
        if fingerprint is None:
            raise KeyUnavailable("the keyring is empty: bring back its newest state first (the second zone's copy, docs/keys.md)")
        if not hmac.compare_digest(fingerprint, self.root.fingerprint()):
            raise KeyUnavailable(
                "the root key does not belong to this keyring: put back the key, or the keyring, that belongs to the other"
            )
        keyring = Keyring(db, self.root.role_keys(opener=True, buckets=bucket_folders(self.config, self.folders)))
        if (await keyring.deployment()).identity().hex() != self.checked.manifest["deployment"]:
            raise KeyUnavailable("the backup is another deployment's: its keys are not in this keyring")
        if last < self.checked.manifest["tombstones"]:
            raise KeyUnavailable(
                "the keyring is older than the backup: bring back its newest state (the second zone's copy). Older ones undo erasures"
            )

    async def carry_out(self) -> tuple[Followed, float]:
        """Fill, count, migrate, replay, swap."""
        restoring = f"{self.databases.main_database}_restoring"
        await drop_leftovers(self.databases)
        admin = self.databases.main_admin_dsn()
        await roles.ensure_database(admin, restoring)
        try:
            target = self.databases.main_admin_dsn(restoring)
            await asyncio.to_thread(dumps.restore, self.tools, target, self._archive())
            await self._count(target)
            owner = self.databases.main_dsn(roles.OWNER, restoring)
            await migrate(owner, "main")
            began = self.clock.monotonic()
            followed = await self._replay(owner)
            replay_seconds = self.clock.monotonic() - began
        except BaseException:
            await drop_leftovers(self.databases)
            raise
        await _swap(admin, self.databases.main_database, restoring)
        await drop_leftovers(self.databases)
        return followed, replay_seconds

    async def bring_objects_back(self) -> int:
        """Sealed objects that the store lost and the second zone has, but for what was erased; what fails is told, and the worker's."""
        if not (urls := self.config.copy_urls()):
            return 0
        main = await Database.connect(self.databases.main_dsn(roles.OWNER), max_size=2)
        try:
            keyring = await Database.connect(self.databases.keyring_dsn(roles.OWNER), max_size=2)
            try:
                copies = ObjectCopies(main, keyring, Blobs.open(self.config.store_urls()), Blobs.open(urls))
                objects = await copies.bring_back()
            finally:
                await keyring.close()
        finally:
            await main.close()
        if self.owner is not None:
            for region in self.config.store_urls().values():
                if objects and region.startswith("file:"):
                    give(Path(unquote(urlsplit(region).path)), self.owner)
        return objects

    def _archive(self) -> Iterator[bytes]:
        reader = Reader(self.sealing)
        for piece in self.source.read():
            yield from reader.feed(piece)
        if reader.finish() != self.checked.manifest:
            raise ConfigError("the backup changed while it was read")

    async def _count(self, dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for name, rows in self.checked.manifest["tables"].items():
                if await connection.fetchval(f'SELECT count(*) FROM public."{name}"') != rows:  # noqa: S608 (names of the authentic manifest)
                    raise Unavailable(f"the table {name} does not hold the rows that were backed up: nothing was changed")
        finally:
            await connection.close()

    async def _replay(self, owner_dsn: str) -> Followed:
        main = await Database.connect(owner_dsn, max_size=2)
        try:
            keyring = await Database.connect(self.databases.keyring_dsn(roles.OWNER), max_size=2)
            try:
                return await Replay(main, keyring, self.clock).run(Backup(self.checked.id, self.checked.made_at))
            finally:
                await keyring.close()
        finally:
            await main.close()


async def _swap(admin: str, served: str, restoring: str) -> None:
    """Both names in one transaction: there is always one database of the served name, and it is whole."""
    connection = await asyncpg.connect(admin)
    try:
        async with connection.transaction():
            await connection.execute(f'ALTER DATABASE "{served}" RENAME TO "{served}_replaced"')
            await connection.execute(f'ALTER DATABASE "{restoring}" RENAME TO "{served}"')
    except asyncpg.ObjectInUseError:
        raise ConfigError(
            "somebody opened a session on the main database meanwhile: end it, and restore again. Nothing was changed"
        ) from None
    finally:
        await connection.close()


async def drop_leftovers(databases: Databases) -> None:
    """Drop what a restore that was killed left: a database half filled, or the one that was replaced."""
    connection = await asyncpg.connect(databases.main_admin_dsn())
    try:
        for suffix in ("_restoring", "_replaced"):
            await connection.execute(f'DROP DATABASE IF EXISTS "{databases.main_database}{suffix}" WITH (FORCE)')
    finally:
        await connection.close()
