"""What each role process is handed: configuration, databases as its own role, its share of the keys, clocks, and a way to end.

`hushwire up` passes DSNs in the environment and keys through a pipe; a role that runs alone reads its own configuration and
derives its share from the key provider.
"""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from hushwire.app.config import Config
from hushwire.app.folders import Folders, Zone2, write_secret
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.core.ids import NodeId, uuid7
from hushwire.store.database import BY_KEY, Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.providers import EnvironmentProvider, FileProvider, Provider
from hushwire.vault.root import BucketFolders, RoleKeys, chosen
from hushwire.vault.unseal import AccessLog

Role = Literal["gateway", "api", "worker", "sms"]
KEYS_FD: Final = "HUSHWIRE_KEYS_FD"
READY_FD: Final = "HUSHWIRE_READY_FD"


@dataclass(slots=True)
class Wired:
    """One role's means. `stop` is set when the process is asked to end, `drain` when it may first let its calls end."""

    role: Role
    config: Config
    folders: Folders
    node_id: NodeId
    clock: SystemClock
    random: SystemRandom
    keys: RoleKeys = field(repr=False)
    main: Database = field(repr=False)
    keyring_db: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    stop: asyncio.Event = field(default_factory=asyncio.Event)
    drain: asyncio.Event = field(default_factory=asyncio.Event)

    def ready(self, addresses: Mapping[str, Sequence[str]] | None = None) -> None:
        """Tell the supervisor that this role serves, and where (port 0 in the configuration becomes a real one here)."""
        if (number := os.environ.pop(READY_FD, None)) is not None:
            with os.fdopen(int(number), "wb") as pipe:
                pipe.write(json.dumps({name: list(listed) for name, listed in (addresses or {}).items()}).encode())


@asynccontextmanager
async def wired(role: Role, config: Config, *, pool_size: int = 8) -> AsyncIterator[Wired]:
    """Connect everything that a role needs and close it at the end. SIGTERM and SIGINT set `stop`."""
    if config.database.dsn is None or config.keyring.dsn is None:
        raise ConfigError(
            f"hushwire {role} runs alone only with a server of its own: set [database] dsn and [keyring] dsn, or run hushwire up"
        )
    folders = Folders(config.data.dir)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        main = await Database.connect(config.database.dsn, max_size=pool_size, settings=BY_KEY if role == "sms" else None)
        stack.push_async_callback(main.close)
        keyring_db = await Database.connect(config.keyring.dsn, max_size=max(2, pool_size // 2))
        stack.push_async_callback(keyring_db.close)
        keys = await role_keys(role, config, folders, keyring_db)
        clock, random = SystemClock(), SystemRandom()
        yield Wired(
            role=role,
            config=config,
            folders=folders,
            node_id=node_id(folders),
            clock=clock,
            random=random,
            keys=keys,
            main=main,
            keyring_db=keyring_db,
            # The gateway opens nothing, so it has nothing to note and no right to.
            keyring=Keyring(keyring_db, keys, None if role == "gateway" else AccessLog(main, clock, random)),
            stop=stop,
        )


async def role_keys(role: Role, config: Config, folders: Folders, keyring_db: Database) -> RoleKeys:
    """The keys from the supervisor's pipe, else this role's share of the provider's root key. KeyUnavailable if there is neither."""
    if (number := os.environ.pop(KEYS_FD, None)) is not None:
        return RoleKeys.from_fd(int(number))
    provider = key_provider(config, folders, os.environ)
    keys = [key for key in (await asyncio.to_thread(provider.load), *await asyncio.to_thread(provider.beside)) if key is not None]
    if not keys:
        raise KeyUnavailable(f"the root key is missing: {provider.where} does not exist")
    async with keyring_db.transaction() as connection:
        fingerprint = await connection.fetchval("SELECT fingerprint FROM root_key")
    root = None if fingerprint is None else chosen(keys, fingerprint)
    if root is None:
        raise KeyUnavailable(f"{provider.where} does not hold the root key of this keyring")
    return root.role_keys(opener=role != "gateway", buckets=bucket_folders(config, folders), is_confirmed=config.zone2.dir is not None)


def second_zone(config: Config) -> Zone2 | None:
    """The folder of `[zone2] dir`, if there is one."""
    return None if config.zone2.dir is None else Zone2(config.zone2.dir)


def bucket_folders(config: Config, folders: Folders) -> BucketFolders:
    """Where the buckets' secrets lie: in the data folder, and once more in the second zone."""
    zone2 = second_zone(config)
    return BucketFolders(folders.buckets, None if zone2 is None else zone2.buckets)


def key_provider(config: Config, folders: Folders, environ: Mapping[str, str]) -> Provider:
    """Where `[keys] provider` says that the root key lives."""
    return FileProvider(folders.root_key) if config.keys.provider == "file" else EnvironmentProvider(environ)


def node_id(folders: Folders) -> NodeId:
    """This data folder's name among the nodes, made at the first start and kept."""
    path: Path = folders.root / "node"
    try:
        return NodeId(UUID(path.read_text(encoding="ascii").strip()))
    except FileNotFoundError:
        clock, random = SystemClock(), SystemRandom()
        made = uuid7(int(clock.now().timestamp() * 1000), random.token_bytes(10))
        write_secret(path, f"{made}\n".encode())
        os.chmod(path, 0o644)
        return NodeId(made)
    except ValueError:
        raise ConfigError(f"{path}: does not hold an id: remove it, and a new one is made") from None
