"""One deployment from the outside: run it (`up`), or reach into it as its owner, beside a running one or alone."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from hushwire.app import certificates, processes, scheduled, shaken, supervisor
from hushwire.app.config import Config
from hushwire.app.databases import Databases
from hushwire.app.folders import Account, Folders, account, holder, locked, prepare, prepare_zone2
from hushwire.app.restore import drop_leftovers
from hushwire.app.sources import SystemClock, SystemRandom
from hushwire.app.wiring import bucket_folders, key_provider, node_id, second_zone
from hushwire.core.errors import ConfigError
from hushwire.services.replay import Followed, Replay
from hushwire.store import roles
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.root import RootKey
from hushwire.vault.unseal import AccessLog

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Up:
    """What a person who just started hushwire wants to know."""

    addresses: dict[str, list[str]]
    authority: Path | None
    new_root_key: str | None


async def up(config: Config, log_form: str, on_up: Callable[[Up], None], stop: asyncio.Event | None = None) -> None:
    """Run every role until SIGINT or SIGTERM (or `stop`). Raises ConfigError if another hushwire uses the data folder.

    SIGTERM lets calls end first, for `[limits] drain_s` at most; said twice, or SIGINT, it ends now.
    """
    stop, drain = stop or asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGTERM, lambda: (stop if drain.is_set() or not config.limits.drain_s else drain).set())
    processes.no_core_dumps()
    folders = Folders(config.data.dir)
    owner = account(config.run.user)
    supervisor.check_reachable(owner)
    supervisor.media_program()
    prepare(folders, owner)
    with locked(folders) as is_ours:
        if not is_ours:
            raise ConfigError(
                f"[data] dir: another hushwire (process {holder(folders)}) is using {folders.root}: end it, or use another folder"
            )
        _prepare_zone2(config, folders, owner)
        if config.zone2.dir is None:
            _log.warning("zone2.none", advice="set [zone2] dir: the loss of this disk would lose every key")
        served = certificates.ensure(config, folders, owner, SystemClock().now())
        trunk_authorities = certificates.ensure_trunk_authorities(config, folders, owner)
        trunk_certificate = certificates.ensure_trunk_certificate(config, folders, owner)
        if served.is_new:
            _log.info("certificate.made", path=str(served.chain))
        node_id(folders)
        databases = Databases(config, folders, owner)
        try:
            await databases.start()
            root = await databases.open_root()
            new_key = key_provider(config, folders, {}).where if root.is_new else None
            if new_key:
                _log.warning("root_key.made", where=new_key, advice="keep a copy in a safe place: without it nothing stored can be opened")
            await drop_leftovers(databases)
            await followed(databases)
            if stop.is_set() or drain.is_set():
                return
            settled = shaken.settled(certificates.settled(config, served, trunk_authorities, trunk_certificate), folders, owner)
            keeper = supervisor.Supervisor(settled, folders, owner, databases, root.key, log_form)
            backing_up = asyncio.create_task(scheduled.keep_backed_up(config, SystemClock()), name="backups")
            try:
                await keeper.run(stop, drain, lambda addresses: on_up(Up(addresses, served.authority, new_key)))
            finally:
                backing_up.cancel()
                await asyncio.gather(backing_up, return_exceptions=True)
        finally:
            await databases.stop()


def _prepare_zone2(config: Config, folders: Folders, owner: Account | None) -> None:
    zone2 = second_zone(config)
    if zone2 is not None:
        prepare_zone2(folders, zone2, owner)
    elif folders.zone2_mark.exists():
        raise ConfigError(
            f"[zone2] dir: {folders.root} has a second zone, and the configuration does not name it: what is erased would live on there. "
            f"Name it; or destroy it for good, and then remove {folders.zone2_mark}"
        )


async def followed(databases: Databases) -> Followed:
    """Make the main database follow the keyring's tombstones: nothing may serve before. Raises what `Replay.run` raises."""
    async with AsyncExitStack() as stack:
        main = await Database.connect(databases.main_dsn(roles.OWNER), max_size=2)
        stack.push_async_callback(main.close)
        keyring = await Database.connect(databases.keyring_dsn(roles.OWNER), max_size=2)
        stack.push_async_callback(keyring.close)
        return await Replay(main, keyring, SystemClock()).run()


@dataclass(frozen=True, slots=True)
class Administration:
    """The deployment as its owner sees it: both databases and the keys."""

    config: Config
    databases: Databases
    root: RootKey
    main: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    clock: SystemClock
    random: SystemRandom


@asynccontextmanager
async def administration(config: Config, *, is_alone: bool = False) -> AsyncIterator[Administration]:
    """Reach the databases of a running `up`, or start the embedded ones for as long as this lasts.

    `is_alone`: only where hushwire does not run on this data folder; raises ConfigError if it does.
    """
    folders = Folders(config.data.dir)
    owner = account(config.run.user)
    async with AsyncExitStack() as stack:
        is_ours = stack.enter_context(locked(folders))
        if is_alone and not is_ours:
            raise ConfigError(f"hushwire (process {holder(folders)}) is running: end it first; this takes a second or two")
        databases = Databases(config, folders, owner)
        if is_ours:
            prepare(folders, owner)
            _prepare_zone2(config, folders, owner)
            stack.push_async_callback(databases.stop)
            await databases.start()
        elif databases.clusters:
            await databases.wait()
        root = await databases.open_root()
        if root.is_new:
            _log.warning("root_key.made", where=key_provider(config, folders, {}).where, advice="keep a copy in a safe place")
        main = await Database.connect(databases.main_dsn(roles.OWNER), max_size=2)
        stack.push_async_callback(main.close)
        keyring_db = await Database.connect(databases.keyring_dsn(roles.OWNER), max_size=2)
        stack.push_async_callback(keyring_db.close)
        keys = root.key.role_keys(opener=True, buckets=bucket_folders(config, folders), is_confirmed=config.zone2.dir is not None)
        clock, random = SystemClock(), SystemRandom()
        keyring = Keyring(keyring_db, keys, AccessLog(main, clock, random))
        yield Administration(config, databases, root.key, main, keyring, clock, random)
