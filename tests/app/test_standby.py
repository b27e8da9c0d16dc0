"""The keyring's copy in the second zone, with real servers: in step, away, back, made anew, and gone on from after a loss."""

import asyncio
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.app import standby
from hushwire.app.config import Config, load
from hushwire.app.databases import Databases
from hushwire.app.deployment import Administration, administration
from hushwire.app.failover import promote
from hushwire.app.folders import Folders, Zone2, account, prepare, prepare_zone2
from hushwire.app.postgres import SUPERUSER
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.core.ids import OrgId
from hushwire.store.roles import OWNER
from hushwire.vault.buckets import DataKey
from hushwire.vault.renewal import renew_bucket
from hushwire.vault.tombstones import Tombstone
from hushwire.vault.unseal import Why
from tests.polling import until
from tests.store.rows import add_org

WHY = Why("api-key:7", "customer-service")


@dataclass(frozen=True, slots=True)
class Place:
    """A data folder and its second zone."""

    config: Config
    folders: Folders
    zone2: Zone2

    def databases(self) -> Databases:
        owner = account("nobody")
        prepare(self.folders, owner)
        prepare_zone2(self.folders, self.zone2, owner)
        return Databases(self.config, self.folders, owner)

    def state(self) -> str:
        return str(json.loads(self.folders.zone2_state.read_bytes())["state"])


@pytest.fixture
def place(data_folder: Path) -> Place:
    config = load(None, {"HUSHWIRE_DATA__DIR": str(data_folder / "data"), "HUSHWIRE_ZONE2__DIR": str(data_folder / "zone2"),
                         "HUSHWIRE_CONFIG": ""})  # fmt: skip
    return Place(config, Folders(config.data.dir), Zone2(data_folder / "zone2"))


@asynccontextmanager
async def started(place: Place) -> AsyncIterator[Databases]:
    databases = place.databases()
    try:
        await databases.start()
        yield databases
    finally:
        await databases.stop()


@asynccontextmanager
async def keyring(databases: Databases) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    connection = await asyncpg.connect(databases.keyring_dsn(OWNER))
    try:
        yield connection
    finally:
        await connection.close()


async def commit(databases: Databases, value: int) -> float:
    """Commit a row and return how long that took, in seconds."""
    async with keyring(databases) as connection:
        await connection.execute("CREATE TABLE IF NOT EXISTS kept (value integer)")
        begun = time.monotonic()
        await connection.execute("INSERT INTO kept VALUES ($1)", value)
        return time.monotonic() - begun


async def copied(databases: Databases) -> list[int]:
    """What the copy's server shows."""
    assert databases.copy is not None
    connection = await asyncpg.connect(databases.copy._standby.dsn(SUPERUSER))
    try:
        return [row[0] for row in await connection.fetch("SELECT value FROM kept ORDER BY value")]
    finally:
        await connection.close()


async def test_a_commit_of_the_keyring_is_in_the_second_zone_when_it_returns(place: Place) -> None:
    async with started(place) as databases:
        await until(lambda: place.state() == "in-sync", timeout_s=30, what="in sync")
        await commit(databases, 1)
        async with keyring(databases) as connection:
            assert await connection.fetchval("SHOW synchronous_standby_names") == standby.APPLICATION
            assert await connection.fetchval("SELECT second_zone_lacks(pg_current_wal_lsn())") <= 0
        assert await until(lambda: copied(databases), what="the copy shows it") == [1]
        assert os.stat(place.zone2.keyring).st_mode & 0o777 == 0o700
        assert os.stat(place.zone2.passwords).st_mode & 0o777 == 0o600
        password = json.loads((place.folders.postgres / "keyring.json").read_bytes())["hushwire_replica"]
        assert not [path for path in place.zone2.keyring.rglob("*") if path.is_file() and password.encode() in path.read_bytes()]


async def test_while_the_copy_is_stuck_commits_wait_no_longer_than_a_moment_and_it_catches_up_when_it_is_back(place: Place) -> None:
    async with started(place) as databases:
        await commit(databases, 1)
        await until(lambda: place.state() == "in-sync", timeout_s=30, what="in sync")
        assert databases.copy is not None
        pids = [databases.copy.pid, *children(databases.copy.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)  # type: ignore[arg-type]
        try:
            assert await commit(databases, 2) < 2 * standby.AWAY_AFTER_S
            assert place.state() == "away"
            assert await commit(databases, 3) < 0.5
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)  # type: ignore[arg-type]
        await until(lambda: place.state() == "in-sync", timeout_s=30, what="the copy is back")
        assert await until(lambda: copied(databases)) == [1, 2, 3]


def children(pid: int | None) -> list[int]:
    return [int(line) for line in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def test_a_copy_that_died_is_started_again_and_follows(place: Place) -> None:
    async with started(place) as databases:
        assert databases.copy is not None
        old = databases.copy.pid
        assert old is not None
        os.kill(old, signal.SIGKILL)
        await commit(databases, 1)
        await until(lambda: databases.copy.pid not in (None, old), timeout_s=20)  # type: ignore[union-attr]
        await until(lambda: place.state() == "in-sync", timeout_s=20)
        await commit(databases, 2)
        assert await until(lambda: copied(databases)) == [1, 2]


async def test_a_copy_that_lacks_log_which_is_gone_is_made_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standby, "ANEW_AFTER_S", 3.0)
    async with started(place) as databases:
        await commit(databases, 1)
    databases = place.databases()
    # The keyring alone goes on for longer than it keeps its log.
    primary = databases.clusters[1]
    primary._settings = primary._settings | {"wal_keep_size": "0", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    await primary.start()
    admin = await asyncpg.connect(primary.dsn(SUPERUSER))
    await admin.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
    await admin.execute("SELECT pg_reload_conf()")
    await admin.execute("INSERT INTO kept VALUES (2)")
    for _ in range(4):
        await admin.execute("SELECT pg_switch_wal()")
        await admin.execute("CHECKPOINT")
        await admin.execute("CREATE TABLE IF NOT EXISTS filler AS SELECT 1 AS x")
        await admin.execute("INSERT INTO filler SELECT x FROM generate_series(1, 1000) AS x")
    await admin.close()
    await primary.stop()
    async with started(place) as databases:
        await until(lambda: place.state() == "in-sync", timeout_s=30, what="a new copy in sync")
        assert await until(lambda: copied(databases)) == [1, 2]


@dataclass(slots=True)
class Kept:
    """A deployment with one organisation and a key."""

    org: OrgId
    key: DataKey


async def fill(means: Administration) -> Kept:
    org = await add_org(means.main, "acme")
    await means.keyring.create_organisation(org)
    return Kept(org, await means.keyring.new_data_key(org, "recording", uuid4()))


async def test_an_erasure_is_not_said_to_be_done_while_the_second_zone_does_not_know_of_it(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hushwire.vault.keyring._CONFIRMED_WITHIN_S", 1.0)
    async with administration(place.config) as means:
        kept = await fill(means)
        survivor = await means.keyring.new_data_key(kept.org, "recording", uuid4())
        bucket = (await means.keyring.current_bucket(kept.org)).id
        status = int((place.zone2.keyring / "postmaster.pid").read_text().splitlines()[0])
        pids = [status, *children(status)]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            stone = Tombstone(uuid4(), "recording", kept.key.id, means.clock.now())
            with pytest.raises(Unavailable, match="second zone"):
                await means.keyring.destroy_data_key(kept.org, "recording", kept.key.id, stone)
            assert await means.keyring.open_many(kept.org, "recording", [kept.key.id], WHY) == {}
            with pytest.raises(Unavailable, match="second zone"):
                await renew_bucket(means.keyring, kept.org, bucket)
            assert (place.folders.buckets / str(bucket)).exists()
            made = await means.keyring.new_data_key(kept.org, "recording", uuid4())
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        await until(lambda: place.state() == "in-sync", timeout_s=30)
        assert await means.keyring.destroy_data_key(kept.org, "recording", kept.key.id, stone) is None
        await renew_bucket(means.keyring, kept.org, bucket)
        assert not (place.folders.buckets / str(bucket)).exists()
        found = await means.keyring.open_many(kept.org, "recording", [survivor.id, made.id], WHY)
        assert found == {survivor.id: survivor, made.id: made}


async def test_a_lost_keyring_is_never_replaced_by_a_new_one_and_its_copy_goes_on_in_its_place(place: Place) -> None:
    async with administration(place.config) as means:
        kept = await fill(means)
        gone = await means.keyring.new_data_key(kept.org, "recording", uuid4())
        await means.keyring.destroy_data_key(kept.org, "recording", gone.id)
    shutil.rmtree(place.folders.postgres / "keyring")
    shutil.rmtree(place.folders.buckets)
    with pytest.raises(ConfigError, match="hushwire keys promote"):
        async with administration(place.config):
            pass
    assert not (place.folders.postgres / "keyring").exists()
    await promote(place.config)
    async with administration(place.config) as means:
        assert await means.keyring.open_many(kept.org, "recording", [kept.key.id, gone.id], WHY) == {kept.key.id: kept.key}
        await until(lambda: place.state() == "in-sync", timeout_s=30, what="the second zone follows the promoted keyring")
    with pytest.raises(ConfigError, match="is there"):
        await promote(place.config)


async def test_a_promotion_that_is_killed_anywhere_can_be_done_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from hushwire.app import failover

    async with administration(place.config) as means:
        kept = await fill(means)
    shutil.rmtree(place.folders.postgres / "keyring")
    shutil.rmtree(place.folders.buckets)

    class Killed(BaseException):
        pass

    for step in ("_copy_secrets", "_copy_cluster", "_make_primary"):
        with monkeypatch.context() as killing:
            real = getattr(failover, step)

            def dying(*arguments: object, real: object = real) -> object:
                result = real(*arguments)  # type: ignore[operator]
                if asyncio.iscoroutine(result):

                    async def finish() -> None:
                        await result
                        raise Killed

                    return finish()
                raise Killed

            killing.setattr(failover, step, dying)
            with pytest.raises(Killed):
                await promote(place.config)
        assert not (place.folders.postgres / "keyring").exists()
    await promote(place.config)
    async with administration(place.config) as means:
        assert await means.keyring.open_data_key(kept.org, "recording", kept.key.id, WHY) == kept.key


async def test_a_copy_that_was_away_when_the_keyring_was_lost_is_promoted_only_on_a_word(place: Place) -> None:
    async with administration(place.config) as means:
        kept = await fill(means)
    shutil.rmtree(place.folders.postgres / "keyring")
    place.folders.zone2_state.write_text('{"state": "away", "since": "2026-01-02T03:04:05+00:00"}')
    with pytest.raises(ConfigError, match="2026-01-02T03:04:05"):
        await promote(place.config)
    await promote(place.config, is_stale_accepted=True)
    async with administration(place.config) as means:
        assert await means.keyring.open_data_key(kept.org, "recording", kept.key.id, WHY) == kept.key


async def test_after_the_loss_of_the_whole_data_folder_copy_root_key_and_main_database_are_enough(place: Place) -> None:
    async with administration(place.config) as means:
        kept = await fill(means)
    safe = place.folders.root.with_name("safe")
    safe.mkdir()
    for name in ("keys", "pg/main", "pg/main.json"):
        (safe / name).parent.mkdir(exist_ok=True)
        shutil.move(place.folders.root / name, safe / name)
    shutil.rmtree(place.folders.root)
    for name in ("keys", "pg/main", "pg/main.json"):
        (place.folders.root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(safe / name, place.folders.root / name)
    await promote(place.config, is_stale_accepted=True)
    async with administration(place.config) as means:
        assert await means.keyring.open_data_key(kept.org, "recording", kept.key.id, WHY) == kept.key


async def test_a_data_folder_whose_second_zone_is_no_longer_named_does_not_start(place: Place) -> None:
    async with administration(place.config):
        pass
    without = load(None, {"HUSHWIRE_DATA__DIR": str(place.config.data.dir), "HUSHWIRE_CONFIG": ""})
    with pytest.raises(ConfigError, match=r"\[zone2\] dir"):
        async with administration(without):
            pass
    assert UUID(place.zone2.mark.read_text().strip())
