"""Going on from the second zone after the first keyring was lost: `hushwire keys promote`.

    secrets copied -> cluster copied beside -> promoted beside -> renamed into its place

Until the last step the data folder has no keyring, so a promotion that is killed anywhere is simply done again; the second zone is only
read. At the next start the copy there follows the keyring that was made from it, or is made anew.
"""

import asyncio
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import structlog

from hushwire.app.config import Config
from hushwire.app.folders import Account, Folders, Zone2, account, give, holder, locked, prepare, prepare_zone2, write_secret
from hushwire.app.postgres import COPIED_SETTINGS, SUPERUSER, Cluster
from hushwire.app.standby import Standby
from hushwire.app.wiring import second_zone
from hushwire.core.errors import ConfigError
from hushwire.store import roles

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Promoted:
    """What became of it. `secrets`: bucket secrets that the data folder lacked and has again."""

    secrets: int


async def promote(config: Config, *, is_stale_accepted: bool = False) -> Promoted:
    """Put the second zone's copy of the keyring and of the buckets' secrets in the place of the lost ones.

    Raises ConfigError where nothing is lost, hushwire runs, there is no copy, or (unless `is_stale_accepted`) the copy may lack
    something.
    """
    zone2 = second_zone(config)
    if zone2 is None:
        raise ConfigError("[zone2] dir: is not set, so there is no copy to go on from")
    if config.keyring.dsn is not None:
        raise ConfigError("[keyring] dsn: the keyring is on a server of your own: promote its standby there, and name it in [keyring] dsn")
    folders, owner = Folders(config.data.dir), account(config.run.user)
    prepare(folders, owner)
    with locked(folders) as is_ours:
        if not is_ours:
            raise ConfigError(f"[data] dir: hushwire (process {holder(folders)}) is using {folders.root}: end it first")
        prepare_zone2(folders, zone2, owner)
        if not folders.postgres.joinpath("keyring.json").exists() and zone2.passwords.exists():
            write_secret(folders.postgres / "keyring.json", zone2.passwords.read_bytes())
        primary = Cluster("keyring", folders, owner, roles.LOGIN_ROLES, is_copied=True)
        if primary.exists:
            raise ConfigError(f"the keyring in {folders.postgres / 'keyring'} is there: nothing to promote")
        standby = Standby(primary, folders, zone2, owner, roles.LOGIN_ROLES)
        standby.restore_aside()
        if not standby.exists:
            raise ConfigError(f"{zone2.keyring} holds no copy of the keyring")
        _refuse_stale(folders, is_stale_accepted)
        await standby.end_leftover()
        copied = await asyncio.to_thread(_copy_secrets, folders, zone2, owner)
        await asyncio.to_thread(_copy_cluster, folders, zone2, owner)
        await _make_primary(folders, owner)
        os.rename(folders.postgres / "keyring.promoted", folders.postgres / "keyring")
        _sync(folders.postgres)
        _log.warning("zone2.promoted", secrets=copied)
        return Promoted(copied)


def _refuse_stale(folders: Folders, is_accepted: bool) -> None:
    try:
        known = json.loads(folders.zone2_state.read_bytes())
        if known["state"] == "in-sync" or is_accepted:
            return
        since = f"it was away from {known['since']} on"
    except (OSError, ValueError, KeyError, TypeError):
        if is_accepted:
            return
        since = f"{folders.zone2_state} is lost too"
    raise ConfigError(
        f"whether the copy has everything is not known ({since}): keys made since then may be missing, and with them what they open; "
        "erasures since then are carried out again. If there is no better copy, go on with --accept-stale"
    )


def _copy_secrets(folders: Folders, zone2: Zone2, owner: Account | None) -> int:
    """The buckets' secrets that the data folder lacks; those that don't belong to a living bucket are found by the worker."""
    copied = 0
    for path in zone2.buckets.iterdir():
        place = folders.buckets / path.name
        if path.suffix == "" and not place.exists():
            new = place.with_suffix(".new")
            write_secret(new, path.read_bytes())
            os.replace(new, place)
            copied += 1
    if owner:
        give(folders.buckets, owner)
    _sync(folders.buckets)
    return copied


def _copy_cluster(folders: Folders, zone2: Zone2, owner: Account | None) -> None:
    new = folders.postgres / "keyring.promoted"
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(zone2.keyring, new, ignore=shutil.ignore_patterns("postmaster.pid", "postmaster.opts"))
    (new / "standby.signal").touch()
    if owner:
        give(new, owner)
    for path in (new, *new.rglob("*")):
        if not path.is_symlink():
            _sync(path)


async def _make_primary(folders: Folders, owner: Account | None) -> None:
    """Let the server itself end its being a copy: it replays what it has, and writes a history of its own from there."""
    beside = _Beside(folders, owner)
    await beside.start()
    try:
        connection = await asyncpg.connect(beside.dsn(SUPERUSER, "postgres"))
        try:
            if await connection.fetchval("SELECT pg_is_in_recovery()") and not await connection.fetchval("SELECT pg_promote(true, 60)"):
                raise ConfigError(f"the copy could not be promoted: {folders.postgres / 'keyring.log'} says why")
            await connection.execute("CHECKPOINT")
        finally:
            await connection.close()
    finally:
        await beside.stop()


class _Beside(Cluster):
    """The copied cluster, before it takes its place: it follows nobody."""

    def __init__(self, folders: Folders, owner: Account | None) -> None:
        super().__init__("keyring", folders, owner, roles.LOGIN_ROLES, is_copied=True)
        self._data = folders.postgres / "keyring.promoted"
        self._settings = self._settings | COPIED_SETTINGS | {"primary_conninfo": "", "synchronous_standby_names": "", "hot_standby": "on"}


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
