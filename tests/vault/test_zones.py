"""The buckets' secrets in two zones: made in both, healed from either, and never back once destroyed."""

import asyncio
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import structlog

from hushwire.core.errors import KeyUnavailable, Unavailable
from hushwire.core.ids import BucketId
from hushwire.vault import bucket_secrets, renewal
from hushwire.vault.bucket_secrets import BucketSecrets
from hushwire.vault.keyring import Keyring
from hushwire.vault.renewal import buckets_to_renew, renew_bucket, renew_due
from hushwire.vault.zones import NOBODYS_AFTER_S, tidy_secrets
from tests.vault.conftest import WHY, Vault


@pytest.fixture
async def zones(vault: Vault, tmp_path: Path) -> Vault:
    """A vault whose secrets lie in two zones (the database is one for both: its copy has tests of its own)."""
    second = tmp_path / "zone2"
    second.mkdir(mode=0o700)
    made = replace(vault, second=second)
    await tidy_secrets(await made.keyring("worker"))
    return made


async def _current(vault: Vault) -> BucketId:
    return (await (await vault.keyring("worker")).current_bucket(vault.org)).id


def _files(vault: Vault) -> list[set[str]]:
    assert vault.second is not None
    return [{path.name for path in folder.iterdir()} for folder in (vault.folder, vault.second)]


async def test_a_second_zone_that_is_added_later_gets_every_living_secret(zones: Vault) -> None:
    current = await _current(zones)
    assert _files(zones) == [{str(current)}] * 2
    one, two = [folder / str(current) for folder in (zones.folder, zones.second)]  # type: ignore[operator]
    assert one.read_bytes() == two.read_bytes()
    assert os.stat(two).st_mode & 0o777 == 0o600


async def test_a_new_bucket_has_its_secret_in_both_zones_before_its_row_exists(zones: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[set[str]]] = []
    made = BucketSecrets.make

    def looking(self: BucketSecrets, *arguments: Any) -> Any:
        result = made(self, *arguments)
        seen.append(_files(zones))
        return result

    monkeypatch.setattr(BucketSecrets, "make", looking)
    old = await _current(zones)
    await renew_bucket(await zones.keyring("worker"), zones.org, old)
    new = await _current(zones)
    assert seen == [[{str(old), str(new)}] * 2]
    assert _files(zones) == [{str(new)}] * 2


@pytest.mark.parametrize("lost", [0, 1])
async def test_a_secret_that_one_zone_lost_or_garbled_still_opens_and_is_healed_from_the_other(zones: Vault, lost: int) -> None:
    made = await (await zones.keyring("gateway")).new_data_key(zones.org, "recording", uuid4())
    path = (zones.folder, zones.second)[lost] / str(await _current(zones))  # type: ignore[operator]
    for harm in (path.unlink, lambda: path.write_bytes(bytes(32)), lambda: path.write_bytes(b"short")):
        harm()
        assert await (await zones.keyring("api")).open_data_key(zones.org, "recording", made.id, WHY) == made
        assert await tidy_secrets(await zones.keyring("worker")) == 1
        assert await tidy_secrets(await zones.keyring("worker")) == 0
        assert len({(folder / path.name).read_bytes() for folder in (zones.folder, zones.second)}) == 1  # type: ignore[operator, union-attr]
    assert _files(zones) == [{path.name}] * 2


async def test_a_secret_lost_in_both_zones_is_told(zones: Vault) -> None:
    for folder in (zones.folder, zones.second):
        (folder / str(await _current(zones))).unlink()  # type: ignore[operator]
    with structlog.testing.capture_logs() as logs:
        assert await tidy_secrets(await zones.keyring("worker")) == 0
    assert "vault.bucket_secret_lost" in [entry["event"] for entry in logs]


@pytest.mark.parametrize("border", ["first zone", "second zone"])
async def test_a_renewal_killed_between_the_zones_is_finished_and_the_rest_is_not_healed_back(
    zones: Vault, monkeypatch: pytest.MonkeyPatch, border: str
) -> None:
    old = await _current(zones)
    await (await zones.keyring("gateway")).new_data_key(zones.org, "recording", uuid4())

    class Killed(BaseException):
        pass

    synced = bucket_secrets._sync_folder
    doomed = zones.folder if border == "first zone" else zones.second

    def dying(folder: Path) -> None:
        synced(folder)
        if folder == doomed and not (folder / str(old)).exists():
            raise Killed

    with monkeypatch.context() as killing:
        killing.setattr(bucket_secrets, "_sync_folder", dying)
        with pytest.raises(Killed):
            await renew_bucket(await zones.keyring("worker"), zones.org, old)
    again = await zones.keyring("worker")
    assert await tidy_secrets(again) == 0
    async with again.db.organisation(zones.org) as connection:
        assert await connection.fetchval("SELECT destroyed_at FROM buckets WHERE id = $1", old) is None
    await renew_due(again)
    async with again.db.organisation(zones.org) as connection:
        assert await connection.fetchval("SELECT destroyed_at FROM buckets WHERE id = $1", old) is not None
    assert _files(zones) == [{str(await _current(zones))}] * 2


async def test_while_a_zone_is_away_no_bucket_is_said_to_be_destroyed_and_none_is_made(zones: Vault, tmp_path: Path) -> None:
    worker, old = await zones.keyring("worker"), await _current(zones)
    assert zones.second is not None
    aside = shutil.move(zones.second, tmp_path / "unmounted")
    with pytest.raises(Unavailable):
        await renew_bucket(worker, zones.org, old)
    assert await _current(zones) == old
    assert {path.name for path in zones.folder.iterdir()} == {str(old)}
    shutil.move(aside, zones.second)

    await renew_until_retired(worker, zones, old)
    aside = shutil.move(zones.second, tmp_path / "unmounted")
    with pytest.raises(Unavailable):
        await renew_bucket(worker, zones.org, old)
    assert (zones.org, old) in await buckets_to_renew(worker)
    with pytest.raises(Unavailable):
        await tidy_secrets(worker)
    shutil.move(aside, zones.second)
    await renew_due(worker)
    assert (zones.org, old) not in await buckets_to_renew(worker)
    assert _files(zones) == [{str(await _current(zones))}] * 2


async def renew_until_retired(worker: Keyring, zones: Vault, old: BucketId) -> None:
    """Everything but the destruction of the secret."""
    await renewal._begin(worker, zones.org, old)
    while not await renewal._retire(worker, zones.org, old):
        await renewal._move_batch(worker, zones.org, old)


async def test_a_destroyed_secret_that_somebody_put_back_is_destroyed_again_and_told(zones: Vault) -> None:
    old = await _current(zones)
    secret = (zones.folder / str(old)).read_bytes()
    worker = await zones.keyring("worker")
    await renew_bucket(worker, zones.org, old)
    assert zones.second is not None
    (zones.second / str(old)).write_bytes(secret)
    with structlog.testing.capture_logs() as logs:
        assert await tidy_secrets(worker) == 1
    assert "vault.destroyed_secret_found" in [entry["event"] for entry in logs]
    assert _files(zones) == [{str(await _current(zones))}] * 2


async def test_healing_holds_up_the_renewal_so_that_nothing_is_copied_behind_its_back(
    zones: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy is slow, the renewal comes to its end meanwhile: it waits for the copy, and destroys it."""
    old = await _current(zones)
    (zones.folder / str(old)).unlink()
    copying, go_on = asyncio.Event(), asyncio.Event()
    loop, healed = asyncio.get_running_loop(), BucketSecrets.heal

    def slow(self: BucketSecrets, *arguments: Any) -> bool:
        loop.call_soon_threadsafe(copying.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return healed(self, *arguments)

    monkeypatch.setattr(BucketSecrets, "heal", slow)
    healing = asyncio.create_task(tidy_secrets(await zones.keyring("worker")))
    await copying.wait()
    renewing = asyncio.create_task(renew_bucket(await zones.keyring("worker"), zones.org, old))
    watching = await zones.databases.connect("keyring", "worker")
    async with watching.transaction() as connection, asyncio.timeout(10):
        waits = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)"
        while not await connection.fetchval(waits):  # noqa: ASYNC110 - what we wait for is in another process
            await asyncio.sleep(0.01)
    assert (zones.second / str(old)).exists()  # type: ignore[operator]
    go_on.set()
    assert await healing == 1
    await renewing
    assert _files(zones) == [{str(await _current(zones))}] * 2


async def test_a_secret_that_belongs_to_no_bucket_is_destroyed_after_a_day_and_not_before(zones: Vault) -> None:
    stray, worker = zones.folder / str(UUID(int=5)), await zones.keyring("worker")
    stray.write_bytes(bytes(32))
    assert await tidy_secrets(worker) == 0
    assert await tidy_secrets(worker, time.time() + NOBODYS_AFTER_S + 1) == 1
    assert not stray.exists()
    assert _files(zones) == [{str(await _current(zones))}] * 2


async def test_without_any_secret_nothing_opens_even_with_both_zones_there(zones: Vault) -> None:
    made = await (await zones.keyring("gateway")).new_data_key(zones.org, "recording", uuid4())
    for folder in (zones.folder, zones.second):
        for path in folder.iterdir():  # type: ignore[union-attr]
            path.unlink()
    with pytest.raises(KeyUnavailable):
        await (await zones.keyring("api")).open_data_key(zones.org, "recording", made.id, WHY)
