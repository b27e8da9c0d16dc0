"""What `hushwire doctor` says of keys: the second zone, and renewals that are under way."""

import asyncio
import json
import os
from collections.abc import Iterator

import asyncpg

from hushwire.app.config import Config
from hushwire.app.databases import Databases
from hushwire.app.folders import Folders, account
from hushwire.app.wiring import second_zone
from hushwire.core.errors import HushwireError
from hushwire.store import roles

_PATIENCE_S = 5
_UNDER_WAY = (
    "SELECT id, state, survivors, moved, (SELECT count(*) FROM data_keys AS k WHERE k.bucket_id = b.id) AS keys FROM buckets AS b"
    " WHERE state = 'renewing' OR (state = 'destroyed' AND destroyed_at IS NULL) ORDER BY created_at"
)


def examine(config: Config, folders: Folders, *, is_running: bool) -> Iterator[tuple[str, bool, str]]:
    """Name, whether it is right, and words."""
    yield ("second zone", *_zone(config, folders, is_running=is_running))
    if is_running or config.keyring.dsn is not None:
        yield from asyncio.run(_asked(config, folders))


def _zone(config: Config, folders: Folders, *, is_running: bool) -> tuple[bool, str]:
    zone2 = second_zone(config)
    if zone2 is None:
        return True, "THERE IS NONE: the loss of this disk loses every key; set [zone2] dir"
    if not zone2.mark.exists():
        return not folders.zone2_mark.exists(), f"{zone2.root}: " + (
            "is away (is it mounted?)" if folders.zone2_mark.exists() else "made at the first start"
        )
    where = str(zone2.root)
    if folders.root.exists() and os.stat(folders.root).st_dev == os.stat(zone2.root).st_dev:
        where += " (on the data folder's own disk: that helps against the loss of a folder, not of the disk)"
    if config.keyring.dsn is not None:
        return True, where
    try:
        known = json.loads(folders.zone2_state.read_bytes())
        state, since = str(known["state"]), str(known["since"])
    except PermissionError:
        return True, f"{where}: this user may not see its state"
    except (OSError, ValueError, KeyError):
        return True, f"{where}: no copy yet"
    if state == "in-sync":
        return True, f"{where}: in sync since {since}" if is_running else f"{where}: was in sync when hushwire ended"
    return False, (
        f"{where}: the keyring's copy is AWAY since {since}: erasures and renewals wait for it; {zone2.root / 'keyring.log'} says why"
    )


async def _asked(config: Config, folders: Folders) -> list[tuple[str, bool, str]]:
    """What the keyring itself says, asked as its owner and, for the state of replication on a server of others, as its administrator."""
    said: list[tuple[str, bool, str]] = []
    try:
        databases = Databases(config, folders, account(config.run.user))
        if config.keyring.dsn is not None:
            said.append(("keyring's standby", *await _standby(config.keyring.dsn, is_needed=config.zone2.dir is not None)))
        connection = await asyncpg.connect(databases.keyring_dsn(roles.OWNER), timeout=_PATIENCE_S)
        try:
            said += await _renewals(connection)
        finally:
            await connection.close()
    except (HushwireError, asyncpg.PostgresError, OSError, TimeoutError) as error:
        said.append(("keyring", False, str(error) if isinstance(error, HushwireError) else f"does not answer ({type(error).__name__})"))
    return said


async def _standby(dsn: str, *, is_needed: bool) -> tuple[bool, str]:
    connection = await asyncpg.connect(dsn, timeout=_PATIENCE_S)
    try:
        rows = await connection.fetch("SELECT application_name, state, sync_state FROM pg_stat_replication ORDER BY application_name")
    finally:
        await connection.close()
    found = ", ".join(f"{row['application_name']}: {row['state']}, {row['sync_state']}" for row in rows) or "none is connected"
    synchronous = any(row["sync_state"] in ("sync", "quorum") for row in rows)
    named = any(row["application_name"] == "hushwire_zone2" and row["state"] == "streaming" for row in rows)
    if is_needed and not named:
        return False, f"{found}; with [zone2] dir, erasures wait for a standby whose application_name is hushwire_zone2"
    return synchronous or not is_needed, found if synchronous else f"{found}; none of them is synchronous"


async def _renewals(connection: "asyncpg.Connection[asyncpg.Record]") -> list[tuple[str, bool, str]]:
    said = []
    for org_id in {row["org_id"] for row in await connection.fetch("SELECT org_id FROM bucket_ids()")}:
        async with connection.transaction():
            await connection.execute("SELECT set_config('hushwire.org', $1, true)", str(org_id))
            for row in await connection.fetch(_UNDER_WAY):
                if row["state"] == "renewing":
                    words = f"bucket {row['id']}: {row['moved']} of {row['survivors']} survivors moved, {row['keys']} to go"
                else:
                    words = f"bucket {row['id']}: its secret is still to be destroyed"
                said.append(("renewal", True, words))
    return said or [("renewals", True, "none under way")]
