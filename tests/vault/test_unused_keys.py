"""Keys that were made ready and never used are destroyed in the end, and none that a gateway may still hand out."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from hushwire.services.unused_keys import LOOKED_AT_TWICE_WITHIN_S, OLD_AFTER, OLD_AFTER_WITH_DEAD_NODES, UnusedKeys
from hushwire.vault import pool
from hushwire.vault.buckets import KeyKind
from hushwire.vault.pool import KeyPool
from tests.recorded import Chance, House, house
from tests.store.rows import insert

__all__ = ["house"]


async def age(house: House, key: UUID, by: timedelta) -> None:
    """Have the keyring's clock say that the key was made so long ago."""
    async with (await house.db("keyring", "owner")).organisation(house.org) as connection:
        await connection.execute("UPDATE data_keys SET created_at = created_at - $2::interval WHERE id = $1", key, by)


async def made(house: House, kind: KeyKind, old: timedelta = OLD_AFTER + timedelta(hours=1)) -> UUID:
    key = await (await house.keyring("gateway")).new_data_key(house.org, kind, uuid4())
    await age(house, key.id, old)
    return key.id


async def exists(house: House, kind: KeyKind, key: UUID) -> bool:
    return await (await house.keyring("api")).fingerprint(house.org, kind, key) is not None


async def swept(house: House) -> UnusedKeys:
    """Two looks of one worker, far enough apart."""
    sweeper = UnusedKeys(await house.main("worker"), await house.keyring("worker"), house.clock)
    assert await sweeper.sweep() == 0
    house.clock.ahead += timedelta(seconds=LOOKED_AT_TWICE_WITHIN_S)
    await house.beat()
    await sweeper.sweep()
    return sweeper


async def test_a_key_that_no_call_and_no_recording_ever_used_is_destroyed_and_those_in_use_are_kept(house: House) -> None:
    recording = await house.record()
    await age(house, recording, OLD_AFTER * 2)
    call_key = await made(house, "call")
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await insert(connection, "calls", id=uuid4(), org_id=house.org, node_id=house.node, direction="outbound", state="ended",
                     started_at=house.clock.now(), sealed_with=call_key)  # fmt: skip
    unused = [await made(house, "recording"), await made(house, "call")]
    contact = await made(house, "contact")
    await swept(house)
    assert [await exists(house, kind, key) for kind, key in zip(("recording", "call"), unused, strict=True)] == [False, False]  # type: ignore[arg-type]
    assert await exists(house, "recording", recording)
    assert await exists(house, "call", call_key)
    assert await exists(house, "contact", contact), "kinds that are not made ahead are not this job's"


async def test_a_young_key_and_one_seen_only_once_are_left_alone(house: House) -> None:
    young, old = await made(house, "recording", OLD_AFTER - timedelta(hours=1)), await made(house, "recording")
    sweeper = UnusedKeys(await house.main("worker"), await house.keyring("worker"), house.clock)
    for _ in range(3):
        assert await sweeper.sweep() == 0
    house.clock.ahead += timedelta(seconds=LOOKED_AT_TWICE_WITHIN_S)
    assert await sweeper.sweep() == 1
    assert await exists(house, "recording", young)
    assert not await exists(house, "recording", old)


async def test_a_key_that_is_used_between_the_two_looks_is_kept(house: House) -> None:
    key = await made(house, "call")
    sweeper = UnusedKeys(await house.main("worker"), await house.keyring("worker"), house.clock)
    await sweeper.sweep()
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await insert(connection, "calls", id=uuid4(), org_id=house.org, node_id=house.node, direction="outbound", state="ended",
                     started_at=house.clock.now(), sealed_with=key)  # fmt: skip
    house.clock.ahead += timedelta(seconds=LOOKED_AT_TWICE_WITHIN_S)
    assert await sweeper.sweep() == 0
    assert await exists(house, "call", key)


async def test_while_a_known_node_is_dead_keys_wait_longer(house: House) -> None:
    waiting = await made(house, "recording")
    old = await made(house, "recording", OLD_AFTER_WITH_DEAD_NODES + timedelta(hours=1))
    async with (await house.main("gateway")).transaction() as connection:
        await connection.execute("UPDATE nodes SET seen_at = seen_at - interval '1 day'")
    sweeper = UnusedKeys(await house.main("worker"), await house.keyring("worker"), house.clock)
    await sweeper.sweep()
    house.clock.ahead += timedelta(seconds=LOOKED_AT_TWICE_WITHIN_S)
    assert await sweeper.sweep() == 1
    assert await exists(house, "recording", waiting)
    assert not await exists(house, "recording", old)


@pytest.mark.parametrize("jump", [pool.KEPT_FOR, timedelta(days=3650), -timedelta(days=3650)])
async def test_a_living_pool_never_hands_out_a_key_that_is_old_enough_to_be_swept(house: House, jump: timedelta) -> None:
    assert timedelta(seconds=LOOKED_AT_TWICE_WITHIN_S) > pool.KEPT_FOR
    assert 10 * pool.KEPT_FOR < OLD_AFTER
    ready = KeyPool(await house.keyring("gateway"), house.clock, Chance(), size=3)
    await ready.prepare(house.org, "recording")
    assert ready.ready(house.org, "recording") == 3
    house.clock.ahead += jump
    assert ready.ready(house.org, "recording") == 0
    assert ready.take(house.org, "recording") is None
    await ready.prepare(house.org, "recording")
    assert ready.take(house.org, "recording") is not None
    await ready.close()
