"""kill -9 between any two steps of an erasure, and of shipping: whoever comes next finishes it."""

import contextlib
from datetime import timedelta

import pytest

from hushwire.core.ids import RecordingId
from hushwire.privacy import audit, receipts
from hushwire.services.erasure import Erased
from hushwire.services.recordings import Gone, Missing
from hushwire.store import ledger
from tests.privacy.test_erasure import WHO, entry_of, published_keys
from tests.recorded import Fate, House, Killed, house

__all__ = ["house"]


async def walk(house: House, recording: RecordingId, fate: Fate) -> None:
    """The whole path in one process that may die at any border."""
    erasures = await house.erasures("api", fate)
    assert isinstance(await erasures.erase(house.org, recording, **WHO), Erased)
    upkeep = await house.upkeep(fate)
    await upkeep.carry_on()
    await upkeep.renew_buckets(at_once=True)


async def check_invariants(house: House, recording: RecordingId) -> bool:
    """What must hold at every moment. True if the erasure was entered."""
    entry = await entry_of(house, recording)
    if not await house.key_exists(recording):
        assert entry is not None, "something was destroyed before the ledger knew"
    if not house.ciphertext(recording):
        assert not await house.key_exists(recording), "ciphertext went before its key"
    if entry is None:
        return False
    assert isinstance(await (await house.recordings()).get(house.org, recording), Gone)
    if entry.receipt is not None:
        assert not await house.key_exists(recording), "a receipt for a key that is there"
    if entry.swept_at is not None:
        assert not house.ciphertext(recording), "swept, yet there"
    return True


@pytest.mark.parametrize("shipped", [False, True])
async def test_killed_between_any_two_steps_an_erasure_is_finished_by_the_next_worker(house: House, shipped: bool) -> None:
    keys = await published_keys(house)
    kill_at = 0
    while True:
        kill_at += 1
        recording = await house.record()
        if shipped:
            await (await house.shipping()).ship_all()
        fate = Fate(kill_at)
        try:
            await walk(house, recording, fate)
        except Killed:
            if not await check_invariants(house, recording):
                await (await house.erasures()).erase(house.org, recording, **WHO)
            upkeep = await house.upkeep()
            await upkeep.carry_on()
            await upkeep.renew_buckets(at_once=True)
        else:
            assert fate.passed < kill_at
            break
        entry = await entry_of(house, recording)
        assert entry is not None
        assert entry.closed_at is not None, f"left open when killed at border {kill_at}"
        assert house.ciphertext(recording) == []
        again = await (await house.erasures()).erase(house.org, recording, **WHO)
        assert isinstance(again, Erased)
        assert receipts.verify(again.receipt, keys).is_valid
    assert kill_at > 25
    await check_one_of_each(house, kill_at)


async def check_one_of_each(house: House, count: int) -> None:
    chain = await audit.verify(await house.main("api"), house.org)
    assert chain.is_whole
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM audit_log WHERE action = 'recording.erased'") == count
        assert await connection.fetchval("SELECT count(*) FROM outbox WHERE kind = 'recording.erased'") == count
        assert [entry.position for entry in await ledger.listed(connection, limit=1000)] == list(range(count, 0, -1))


async def test_killed_between_any_two_steps_shipping_loses_nothing_and_is_finished_by_the_next_worker(house: House) -> None:
    kill_at = 0
    while True:
        kill_at += 1
        for state in ("closed", "crashed"):
            recording = await house.record(state=state)
            house.clock.ahead += timedelta(seconds=6)  # nobody writes to it any more
            fate = Fate(kill_at)
            try:
                assert await (await house.shipping(fate)).ship(house.org, recording)
            except Killed:
                assert house.ciphertext(recording)
                await (await house.shipping()).ship_all()
                await (await house.shipping()).tidy_spool()
            row = await house.row(recording)
            assert row.state == "stored"
            assert row.is_cut is (state == "crashed")
            (path,) = house.ciphertext(recording)
            assert path.is_relative_to(house.store)
        if fate.passed < kill_at:
            break
    assert kill_at > 8


async def test_a_recording_erased_while_it_is_shipped_is_in_no_store_afterwards(house: House) -> None:
    """Whatever the order: erasure entered before, between or after the steps of shipping."""
    for kill_at in range(1, 14):
        recording = await house.record()
        with contextlib.suppress(Killed):
            await (await house.shipping(Fate(kill_at))).ship(house.org, recording)
        assert isinstance(await (await house.erasures()).erase(house.org, recording, **WHO), Erased)
        assert await (await house.shipping()).ship(house.org, recording) is False
        await (await house.upkeep()).carry_on()
        assert house.ciphertext(recording) == []
        assert not isinstance(await (await house.recordings()).get(house.org, recording), Missing)
