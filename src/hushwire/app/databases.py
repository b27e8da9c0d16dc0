"""Both databases, embedded or elsewhere: started, with roles and newest schema, and how each role reaches them."""

import asyncio
import os
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import structlog

from hushwire.app.config import Config
from hushwire.app.folders import Account, Folders
from hushwire.app.postgres import SUPERUSER, Cluster, Name, Passwords
from hushwire.app.sources import SystemRandom
from hushwire.app.standby import KeyringCopy, Standby
from hushwire.app.wiring import bucket_folders, key_provider, second_zone
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.store import roles
from hushwire.store.database import Database
from hushwire.store.migrate import migrate
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import OpenedRoot, open_root

_WAIT_FOR_UP_S: Final = 60.0
_POLL_S: Final = 0.1
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server that somebody else runs. `admin` is the configured DSN: its user may create roles."""

    name: Name
    admin: str
    folders: Folders

    @property
    def database(self) -> str:
        return urlsplit(self.admin).path.lstrip("/") or ("hushwire" if self.name == "main" else "hushwire_keys")

    def passwords(self) -> dict[str, str]:
        return Passwords.kept(self.folders.postgres / f"{self.name}-server.json", roles.LOGIN_ROLES).by_role

    def admin_dsn(self, database: str) -> str:
        return urlunsplit(urlsplit(self.admin)._replace(path=f"/{database}"))

    def dsn(self, role: str, database: str | None = None) -> str:
        parts = urlsplit(self.admin)
        place = parts.netloc.rpartition("@")[2]
        login = f"{role}:{quote(self.passwords()[role], safe='')}@{place}"
        return urlunsplit(parts._replace(netloc=login, path=f"/{database or self.database}"))


class Databases:
    """The main database and the keyring of one deployment."""

    def __init__(self, config: Config, folders: Folders, owner: Account | None) -> None:
        self._main = _place("main", config.database.dsn, folders, owner)
        zone2 = second_zone(config)
        self._keyring = _place("keyring", config.keyring.dsn, folders, owner, is_copied=zone2 is not None)
        self._copy: KeyringCopy | None = None
        if zone2 is not None and isinstance(self._keyring, Cluster):
            standby = Standby(self._keyring, folders, zone2, owner, roles.LOGIN_ROLES)
            self._copy = KeyringCopy(self._keyring, standby, folders, zone2)
        self._config = config
        self._folders = folders

    @property
    def clusters(self) -> list[Cluster]:
        """The embedded servers, but for the keyring's copy."""
        return [place for place in (self._main, self._keyring) if isinstance(place, Cluster)]

    @property
    def copy(self) -> KeyringCopy | None:
        """The keyring's copy in the second zone, if there is one of ours."""
        return self._copy

    def main_dsn(self, role: str, database: str | None = None) -> str:
        """How a role reaches the main database, or another one of its server."""
        return self._main.dsn(role, database)

    def keyring_dsn(self, role: str) -> str:
        """How a role reaches the keyring."""
        return self._keyring.dsn(role)

    @property
    def main_database(self) -> str:
        """The name of the main database."""
        return self._main.database

    def main_admin_dsn(self, database: str = "postgres") -> str:
        """How the main database's administrator reaches a database of its server."""
        return self._main.dsn(SUPERUSER, database) if isinstance(self._main, Cluster) else self._main.admin_dsn(database)

    def main_login_dsn(self, role: str, password: str) -> str:
        """How a role with this password reaches the main database."""
        parts = urlsplit(self.main_admin_dsn(self.main_database))
        place = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{role}:{quote(password, safe='')}@{place}"))

    async def start(self) -> None:
        """Start the embedded servers, both at once; bring roles and schema of both databases up to date."""
        if self._copy is not None:
            self._copy.refuse_if_lost()
        await asyncio.gather(*(cluster.start() for cluster in self.clusters))
        if self._copy is not None:
            await self._copy.begin()
        await asyncio.gather(_prepare(self._main), _prepare(self._keyring))
        if self._copy is not None:
            await self._copy.start()

    async def stop(self) -> None:
        """Stop the embedded servers."""
        if self._copy is not None:
            await self._copy.stop_watching()
        await asyncio.gather(*(cluster.stop() for cluster in self.clusters))
        if self._copy is not None:
            await self._copy.stop()

    async def wait(self) -> None:
        """Return when the servers, which another process is starting, answer with a finished schema. Raises Unavailable."""
        try:
            async with asyncio.timeout(_WAIT_FOR_UP_S):
                while not await self._is_set_up():  # noqa: ASYNC110 (another process's doing: there is no event to wait for)
                    await asyncio.sleep(_POLL_S)
        except TimeoutError:
            raise Unavailable("hushwire runs on this data folder, but its database does not answer") from None

    async def _is_set_up(self) -> bool:
        try:
            connection = await asyncpg.connect(self.keyring_dsn(roles.OWNER), timeout=5)
            try:
                return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM signing_keys)"))
            finally:
                await connection.close()
        except (OSError, TimeoutError, asyncpg.PostgresError):
            return False

    async def open_root(self) -> OpenedRoot:
        """The root key of these databases, made now if there is no data at all; the deployment's keys with it."""
        main = await Database.connect(self.main_dsn(roles.OWNER), max_size=1)
        try:
            keyring = await Database.connect(self.keyring_dsn(roles.OWNER), max_size=2)
            try:
                opened = await self._open_root(main, keyring)
                has_zone2 = self._config.zone2.dir is not None
                keys = opened.key.role_keys(opener=True, buckets=bucket_folders(self._config, self._folders), is_confirmed=has_zone2)
                view = Keyring(keyring, keys)
                await view.establish()
                await self.discard_old_root(view)
                return opened
            finally:
                await keyring.close()
        finally:
            await main.close()

    async def discard_old_root(self, keyring: Keyring) -> None:
        """Destroy what a rotation left beside the root key, once the second zone is under the new one too."""
        provider = key_provider(self._config, self._folders, os.environ)
        if not provider.beside():
            return
        try:
            await keyring.confirm_zones()
        except Unavailable:
            _log.error("root_key.old_one_kept", where=provider.where, reason="the second zone is away")
            return
        provider.discard()
        _log.warning("root_key.old_one_destroyed", where=provider.where)

    async def _open_root(self, main: Database, keyring: Database) -> OpenedRoot:
        return await open_root(key_provider(self._config, self._folders, os.environ), keyring, main, SystemRandom())


def _place(name: Name, dsn: str | None, folders: Folders, owner: Account | None, *, is_copied: bool = False) -> Cluster | Server:
    return Cluster(name, folders, owner, roles.LOGIN_ROLES, is_copied=is_copied) if dsn is None else Server(name, dsn, folders)


async def _prepare(place: Cluster | Server) -> None:
    name: Name = "main" if place.name == "main" else "keyring"
    if isinstance(place, Cluster):
        admin, here = place.dsn(SUPERUSER, "postgres"), place.dsn(SUPERUSER)
    else:
        admin, here = place.admin_dsn("postgres"), place.admin_dsn(place.database)
    try:
        await roles.ensure_roles(admin, place.passwords())
        await roles.ensure_database(admin, place.database)
        if isinstance(place, Server):
            await _give_to_owner(here, place.database)
        await migrate(place.dsn(roles.OWNER), name)
    except asyncpg.InsufficientPrivilegeError as error:
        section = "database" if place.name == "main" else "keyring"
        raise ConfigError(f"[{section}] dsn: its user must be allowed to create roles and databases ({type(error).__name__})") from None
    except (OSError, TimeoutError, asyncpg.PostgresConnectionError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        raise Unavailable(f"the {place.name} database does not let us in ({type(error).__name__})") from None


async def _give_to_owner(dsn: str, database: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        quoted = '"' + database.replace('"', '""') + '"'
        await connection.execute(f"ALTER DATABASE {quoted} OWNER TO {roles.OWNER}")
    finally:
        await connection.close()
