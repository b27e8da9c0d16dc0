"""Keys are ready before a call needs them, and were committed before they are handed out."""

import asyncio
import secrets
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.vault.pool import KeyPool
from hushwire.vault.renewal import renew_bucket
from tests.vault.conftest import WHY, Vault


class _Clock:
    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


async def test_a_taken_key_is_committed_and_its_id_is_a_uuid_of_version_7(vault: Vault) -> None:
    pool = KeyPool(await vault.keyring("gateway"), _Clock(), secrets, size=4)
    await pool.prepare(vault.org, "recording")
    taken = pool.take(vault.org, "recording")
    assert taken is not None
    assert taken.id.version == 7
    assert taken.id.int >> 80 == int(_Clock().now().timestamp() * 1000)
    assert await (await vault.keyring("api")).open_data_key(vault.org, "recording", taken.id, WHY) == taken
    await pool.close()


async def test_the_first_take_gives_nothing_and_the_pool_fills_behind_it(vault: Vault) -> None:
    pool = KeyPool(await vault.keyring("gateway"), _Clock(), secrets, size=4)
    assert pool.take(vault.org, "call") is None
    async with asyncio.timeout(10):
        await asyncio.gather(*pool._tasks)
    assert pool.ready(vault.org, "call") == 4
    assert pool.take(vault.org, "call") is not None
    await pool.close()


async def test_no_key_is_handed_out_twice_and_the_unused_ones_come_back(vault: Vault) -> None:
    pool = KeyPool(await vault.keyring("gateway"), _Clock(), secrets, size=4)
    keys = [await pool.take_or_make(vault.org, "recording") for _ in range(25)]
    unused = await pool.close()
    ids = [key.id for key in keys] + [key.id for _, key in unused]
    assert len(set(ids)) == len(ids)
    api = await vault.keyring("api")
    found = await api.open_many(vault.org, "recording", ids, WHY)
    assert set(found) == set(ids)


async def test_an_organisation_without_a_bucket_gets_no_key_and_no_wait(vault: Vault) -> None:
    pool = KeyPool(await vault.keyring("gateway"), _Clock(), secrets)
    stranger = OrgId(uuid4())
    assert pool.take(stranger, "recording") is None
    with pytest.raises(KeyUnavailable):
        await pool.take_or_make(stranger, "recording")
    await pool.close()


async def test_keys_of_a_bucket_renewed_meanwhile_are_still_good(vault: Vault) -> None:
    gateway = await vault.keyring("gateway")
    pool = KeyPool(gateway, _Clock(), secrets, size=3)
    await pool.prepare(vault.org, "recording")
    await renew_bucket(await vault.keyring("worker"), vault.org, (await gateway.current_bucket(vault.org)).id)
    taken = pool.take(vault.org, "recording")
    assert taken is not None
    assert await (await vault.keyring("api")).open_data_key(vault.org, "recording", taken.id, WHY) == taken
    await pool.close()


async def test_a_slot_that_was_found_empty_grows_up_to_its_limit(vault: Vault) -> None:
    pool = KeyPool(await vault.keyring("gateway"), _Clock(), secrets, size=2, most=7)
    sizes = []
    for _ in range(4):
        while pool.take(vault.org, "call") is not None:
            pass
        async with asyncio.timeout(10):
            await asyncio.gather(*pool._tasks)
        sizes.append(pool.ready(vault.org, "call"))
    assert sizes == [2, 4, 7, 7]
    await pool.close()
