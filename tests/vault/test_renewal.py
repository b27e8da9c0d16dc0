"""Renewal ends a bucket for good: survivors open, what was erased does not, not even from copies with the root key in hand."""

import asyncio
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import BucketId, OrgId
from hushwire.vault import keyring as keyring_module
from hushwire.vault import renewal
from hushwire.vault.bucket_secrets import BucketSecrets
from hushwire.vault.buckets import DataKey, fingerprint_of
from hushwire.vault.keyring import Keyring
from hushwire.vault.renewal import buckets_of, buckets_to_renew, renew_bucket, renew_due
from tests.polling import until
from tests.vault.conftest import WHY, Vault


async def _bucket_row(keyring: Keyring, org: OrgId, bucket: BucketId) -> Any:
    async with keyring.db.organisation(org) as connection:
        return await connection.fetchrow("SELECT * FROM buckets WHERE id = $1", bucket)


async def test_survivors_open_and_copies_of_what_was_erased_are_useless_even_with_the_root_key(vault: Vault, tmp_path: Path) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    erased, kept = await gateway.new_data_keys(vault.org, "recording", [uuid4(), uuid4()])
    old = await gateway.current_bucket(vault.org)
    async with worker.db.organisation(vault.org) as connection:
        stolen = await connection.fetchval("SELECT sealed FROM data_keys WHERE id = $1", erased.id)
        stolen_private = await connection.fetchval("SELECT private_sealed FROM buckets WHERE id = $1", old.id)
    # Until the renewal a thief with the keyring's files, the root key and the secret opens it: so the attempt below proves something.
    thief = BucketSecrets(vault.folder, vault.root.opener_wrap())
    assert thief.open(vault.org, old.id, stolen_private).open(stolen, "recording", erased.id).key == erased.key

    await worker.destroy_data_key(vault.org, "recording", erased.id)
    assert await buckets_to_renew(worker) == [(vault.org, old.id)]
    done = await renew_due(worker)
    assert [(entry.old, entry.moved) for entry in done] == [(old.id, 1)]

    with pytest.raises(KeyUnavailable):
        thief.open(vault.org, old.id, stolen_private)
    row = await _bucket_row(worker, vault.org, old.id)
    assert row["private_sealed"] is None
    assert row["destroyed_at"] is not None
    assert not (vault.folder / str(old.id)).exists()
    for role in ("api", "worker"):
        assert await (await vault.keyring(role)).open_data_key(vault.org, "recording", kept.id, WHY) == kept  # type: ignore[arg-type]
    assert await buckets_to_renew(worker) == []
    assert await renew_bucket(worker, vault.org, old.id) == renewal.Renewal(old.id, 0)


async def test_a_gateway_that_still_knows_the_old_bucket_seals_to_the_new_one(vault: Vault) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    await gateway.new_data_key(vault.org, "recording", uuid4())
    old = await gateway.current_bucket(vault.org)
    await renew_bucket(worker, vault.org, old.id)
    late = await gateway.new_data_key(vault.org, "recording", uuid4())
    found = await gateway.fingerprint(vault.org, "recording", late.id)
    assert found is not None
    assert found.bucket_id != old.id
    assert await (await vault.keyring("api")).open_data_key(vault.org, "recording", late.id, WHY) == late


async def test_a_renewal_waits_for_keys_on_their_way_into_the_bucket_and_loses_none(vault: Vault) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    old = await gateway.current_bucket(vault.org)
    made, secret = uuid4(), bytes(range(32))
    key = DataKey(made, "recording", secret, fingerprint_of(secret, made))
    async with gateway.db.organisation(vault.org) as connection:
        await connection.execute(
            "INSERT INTO data_keys (id, org_id, bucket_id, kind, sealed, fingerprint, created_at)"
            " VALUES ($1, $2, $3, 'recording', $4, $5, now())",
            made,
            vault.org,
            old.id,
            old.seal(key),
            key.fingerprint,
        )
        renewing = asyncio.create_task(renew_bucket(worker, vault.org, old.id))
        async with worker.db.transaction() as watcher, asyncio.timeout(10):
            waits = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)"
            while not await watcher.fetchval(waits):  # noqa: ASYNC110 - what we wait for is in another process
                await asyncio.sleep(0.01)
        assert not renewing.done()
    assert (await renewing).moved == 1
    assert (await (await vault.keyring("api")).open_data_key(vault.org, "recording", made, WHY)) == key


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["begin", "first batch", "all batches", "retire", "secret"])
async def test_a_renewal_stopped_after_any_step_goes_on_to_the_same_end(vault: Vault, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    monkeypatch.setattr(renewal, "_BATCH", 2)
    gateway = await vault.keyring("gateway")
    keys = await gateway.new_data_keys(vault.org, "recording", [uuid4() for _ in range(5)])
    old = await gateway.current_bucket(vault.org)
    worker = await vault.keyring("worker")
    await worker.destroy_data_key(vault.org, "recording", keys[0].id)

    with monkeypatch.context() as killing:
        _kill_after(killing, step)
        with pytest.raises(_Killed):
            await renew_bucket(worker, vault.org, old.id)
    again = await vault.keyring("worker")
    assert (vault.org, old.id) in await buckets_to_renew(again)
    await renew_due(again)

    row = await _bucket_row(again, vault.org, old.id)
    assert (row["state"], row["private_sealed"]) == ("destroyed", None)
    assert not (vault.folder / str(old.id)).exists()
    api = await vault.keyring("api")
    assert await api.open_many(vault.org, "recording", [key.id for key in keys], WHY) == {key.id: key for key in keys[1:]}
    assert await buckets_to_renew(again) == []
    assert len(list(vault.folder.iterdir())) == 1


def _kill_after(killing: pytest.MonkeyPatch, step: str) -> None:
    batches = 0

    def stopping(function: Any, due: Any) -> Any:
        async def run(*arguments: Any) -> Any:
            result = await function(*arguments)
            if due(result):
                raise _Killed
            return result

        return run

    def count(moved: int | None) -> bool:
        nonlocal batches
        batches += 1
        return moved is None or (step == "first batch" and batches == 1)

    if step == "begin":
        killing.setattr(renewal, "_begin", stopping(renewal._begin, lambda _: True))
    elif step in ("first batch", "all batches"):
        killing.setattr(renewal, "_move_batch", stopping(renewal._move_batch, count))
    elif step == "retire":
        killing.setattr(renewal, "_retire", stopping(renewal._retire, lambda _: True))
    else:
        destroy = BucketSecrets.destroy

        def destroy_and_die(self: BucketSecrets, bucket_id: BucketId) -> None:
            destroy(self, bucket_id)
            raise _Killed

        killing.setattr(BucketSecrets, "destroy", destroy_and_die)


async def test_a_key_erased_while_its_bucket_is_renewed_stays_erased(vault: Vault) -> None:
    gateway, worker, api = await vault.keyring("gateway"), await vault.keyring("worker"), await vault.keyring("api")
    keys = await gateway.new_data_keys(vault.org, "recording", [uuid4() for _ in range(40)])
    old = await gateway.current_bucket(vault.org)
    erased = keys[::2]

    async def erase() -> None:
        for key in erased:
            await api.destroy_data_key(vault.org, "recording", key.id)

    await asyncio.gather(renew_bucket(worker, vault.org, old.id), erase())
    await renew_due(worker)
    left = await (await vault.keyring("api")).open_many(vault.org, "recording", [key.id for key in keys], WHY)
    assert left == {key.id: key for key in keys[1::2]}
    async with worker.db.organisation(vault.org) as connection:
        rows = await connection.fetch("SELECT state, erasures FROM buckets WHERE state <> 'destroyed'")
    assert [tuple(row) for row in rows] == [("current", 0)]


async def test_two_renewals_at_once_lose_nothing(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    keys = await gateway.new_data_keys(vault.org, "recording", [uuid4() for _ in range(30)])
    old = await gateway.current_bucket(vault.org)
    await asyncio.gather(*[renew_bucket(await vault.keyring("worker"), vault.org, old.id) for _ in range(3)])
    assert await (await vault.keyring("api")).open_many(vault.org, "recording", [key.id for key in keys], WHY) == {
        key.id: key for key in keys
    }
    assert len(list(vault.folder.iterdir())) == 1


async def test_a_bucket_whose_survivors_do_not_open_is_not_destroyed(vault: Vault, tmp_path: Path) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    made = await gateway.new_data_key(vault.org, "recording", uuid4())
    old = await gateway.current_bucket(vault.org)
    aside = shutil.move(vault.folder / str(old.id), tmp_path / "aside")
    with pytest.raises(KeyUnavailable):
        await renew_bucket(worker, vault.org, old.id)
    assert (await _bucket_row(worker, vault.org, old.id))["private_sealed"] is not None
    shutil.move(aside, vault.folder / str(old.id))
    await renew_bucket(worker, vault.org, old.id)
    assert await (await vault.keyring("api")).open_data_key(vault.org, "recording", made.id, WHY) == made


async def test_a_data_key_that_does_not_open_is_told_and_holds_up_no_renewal(vault: Vault) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    broken, kept = await gateway.new_data_keys(vault.org, "recording", [uuid4(), uuid4()])
    old = await gateway.current_bucket(vault.org)
    async with worker.db.organisation(vault.org) as connection:
        await connection.execute("UPDATE data_keys SET sealed = set_byte(sealed, 40, 255 - get_byte(sealed, 40)) WHERE id = $1", broken.id)
    with structlog.testing.capture_logs() as logs:
        await renew_bucket(worker, vault.org, old.id)
    told = [entry for entry in logs if entry["event"] == "vault.data_key_does_not_open"]
    assert [(entry["org_id"], entry["data_key_id"]) for entry in told] == [(str(vault.org), str(broken.id))]
    assert (await _bucket_row(worker, vault.org, old.id))["state"] == "destroyed"
    api = await vault.keyring("api")
    assert await api.open_data_key(vault.org, "recording", kept.id, WHY) == kept
    with pytest.raises(KeyUnavailable):
        await api.open_data_key(vault.org, "recording", broken.id, WHY)
    gone = await api.destroy_data_key(vault.org, "recording", broken.id)
    assert gone is not None
    assert gone.fingerprint == broken.fingerprint


async def test_a_bucket_whose_public_key_was_replaced_is_not_destroyed(vault: Vault) -> None:
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    await gateway.new_data_key(vault.org, "recording", uuid4())
    old = await gateway.current_bucket(vault.org)
    async with worker.db.organisation(vault.org) as connection:
        await connection.execute("UPDATE buckets SET public_key = $2 WHERE id = $1", old.id, bytes(32))
    with pytest.raises(KeyUnavailable):
        await renew_bucket(worker, vault.org, old.id)
    assert (await _bucket_row(worker, vault.org, old.id))["private_sealed"] is not None


async def test_another_process_forgets_a_destroyed_buckets_private_key_by_itself(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    assert keyring_module._PRIVATE_CACHE_S <= 5.0
    monkeypatch.setattr(keyring_module, "_PRIVATE_CACHE_S", 0.1)
    worker, api = await vault.keyring("worker"), await vault.keyring("api")
    made = await (await vault.keyring("gateway")).new_data_key(vault.org, "recording", uuid4())
    old = await worker.current_bucket(vault.org)
    await api.open_data_key(vault.org, "recording", made.id, WHY)
    assert set(api._private) == {old.id}
    await renew_bucket(worker, vault.org, old.id)
    await until(lambda: not api._private, what="the private key is forgotten without a further opening")


async def test_another_organisations_bucket_can_not_be_renewed_from_here(vault: Vault) -> None:
    worker = await vault.keyring("worker")
    old = await worker.current_bucket(vault.org)
    with pytest.raises(KeyUnavailable):
        await renew_bucket(worker, OrgId(uuid4()), old.id)
    assert (await _bucket_row(worker, vault.org, old.id))["state"] == "current"


async def test_progress_is_shown_while_survivors_move_and_stays_right_after_a_kill(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renewal, "_BATCH", 2)
    gateway, worker = await vault.keyring("gateway"), await vault.keyring("worker")
    keys = await gateway.new_data_keys(vault.org, "recording", [uuid4() for _ in range(9)])
    old = await gateway.current_bucket(vault.org)
    await worker.destroy_data_key(vault.org, "recording", keys[0].id)
    with monkeypatch.context() as killing:
        _kill_after(killing, "first batch")
        with pytest.raises(_Killed):
            await renew_bucket(worker, vault.org, old.id)
    new, shown = await buckets_of(await vault.keyring("api"), vault.org)
    assert (shown.id, shown.state, shown.keys, shown.erasures, shown.survivors, shown.moved) == (old.id, "renewing", 6, 1, 8, 2)
    assert shown.progress == 0.25
    assert (new.state, new.keys, new.survivors, new.progress, new.destroyed_at) == ("current", 2, None, None, None)
    # One of the survivors is erased meanwhile: it is never moved, and the renewal ends all the same.
    await worker.destroy_data_key(vault.org, "recording", max(key.id for key in keys[1:]))
    await renew_due(await vault.keyring("worker"))
    shown = (await buckets_of(await vault.keyring("api"), vault.org))[-1]
    assert (shown.state, shown.keys, shown.survivors, shown.moved, shown.progress) == ("destroyed", 0, 8, 7, 1.0)
    assert shown.destroyed_at is not None
    assert [bucket.id for bucket in await buckets_of(await vault.keyring("api"), vault.org, after=new.id)] == [old.id]
    assert await buckets_of(await vault.keyring("api"), OrgId(uuid4())) == []


async def test_no_row_is_locked_while_survivors_are_sealed_so_an_erasure_does_not_wait(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, worker, api = await vault.keyring("gateway"), await vault.keyring("worker"), await vault.keyring("api")
    erased, kept = await gateway.new_data_keys(vault.org, "recording", [uuid4(), uuid4()])
    old = await gateway.current_bucket(vault.org)
    sealing, go_on = asyncio.Event(), asyncio.Event()
    loop, reseal = asyncio.get_running_loop(), renewal._reseal

    def slow(*arguments: Any) -> Any:
        loop.call_soon_threadsafe(sealing.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return reseal(*arguments)

    monkeypatch.setattr(renewal, "_reseal", slow)
    renewing = asyncio.create_task(renew_bucket(worker, vault.org, old.id))
    await sealing.wait()
    async with asyncio.timeout(5):
        assert await api.destroy_data_key(vault.org, "recording", erased.id) is not None
    go_on.set()
    assert (await renewing).moved == 1
    assert await api.open_many(vault.org, "recording", [erased.id, kept.id], WHY) == {kept.id: kept}


async def test_a_renewal_that_another_one_overtook_between_two_looks_just_ends(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, slow, fast = await vault.keyring("gateway"), await vault.keyring("worker"), await vault.keyring("worker")
    made = await gateway.new_data_key(vault.org, "recording", uuid4())
    old = await gateway.current_bucket(vault.org)
    opened = slow.private_bucket

    async def overtaken(*arguments: Any) -> Any:
        assert (await renew_bucket(fast, vault.org, old.id)).moved == 1
        return await opened(*arguments)

    monkeypatch.setattr(slow, "private_bucket", overtaken)
    assert (await renew_bucket(slow, vault.org, old.id)).moved == 0
    assert await (await vault.keyring("api")).open_data_key(vault.org, "recording", made.id, WHY) == made
