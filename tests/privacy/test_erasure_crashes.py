"""kill -9 between any two steps of an erasure, and of shipping: whoever comes next finishes it."""

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args
from uuid import UUID

import pytest

from hushwire.core.ids import RecordingId
from hushwire.core.personal import Personal
from hushwire.privacy import audit, receipts
from hushwire.privacy.retention import Rule
from hushwire.privacy.selection import Selector
from hushwire.services.erasure import Erased, Erasures
from hushwire.services.holds import Holds, Wanted
from hushwire.services.recordings import Gone, Missing
from hushwire.services.retention import RetentionRules, RetentionRuns
from hushwire.store import ledger
from hushwire.store.holds import HoldRow
from tests.called import Called, add_agent, called
from tests.privacy.test_erasure import WHO, entry_of, published_keys
from tests.privacy.test_erasure_bulk import contact
from tests.recorded import Chance, Fate, House, Killed, house

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


Way = Literal["number", "agent", "contact", "time", "ids", "call", "hold", "retention"]


@dataclass(frozen=True, slots=True)
class Scene:
    """A person who must be gone in the end, and what they are erased by."""

    mine: Called
    selector: Selector


async def scene(house: House, way: Way, place: int) -> Scene:
    """A fresh person; with `hold`, one whose erasure waited for a hold that was just released."""
    number, agent = f"+4930231{place:05}", await add_agent(house)
    at = house.clock.now() - timedelta(days=400, hours=place)
    mine = await called(house, number, agent_id=agent, at=at)
    person = await contact(house, "Anna", number) if way == "contact" else UUID(int=0)
    house.clock.ahead += timedelta(seconds=1)
    by_number = Selector(number=Personal(number))
    both = Selector(objects={"recording": [mine.recording], "call": [mine.call]})
    selectors: dict[Way, Selector] = {
        "number": by_number,
        "agent": Selector(agent=agent),
        "contact": Selector(contact=person),
        "time": Selector(since=at, until=at + timedelta(minutes=1)),
        "ids": both,
        "call": Selector(objects={"call": [mine.call]}),
        "hold": by_number,
        "retention": both,
    }
    if way == "hold":
        service = Holds(await house.main("api"), await house.keyring("api"), house.clock, Chance())
        placed = await service.place(house.org, Wanted("call", "tax", Personal("office"), object_id=mine.call), actor="api-key:1")
        assert isinstance(placed, HoldRow)
        operation = await (await house.erasures()).erase_matching(house.org, selectors[way], **WHO, within_s=60)
        assert operation.row.state == "deferred"
        await service.release(house.org, placed.id, actor="api-key:1")
    return Scene(mine, selectors[way])


async def walk_selector(house: House, way: Way, found: Scene, fate: Fate) -> None:
    """The whole path in one process that may die at any border: what the API does, then the worker."""
    if way == "retention":
        main = await house.main("worker", fate)
        erasures = Erasures(main, await house.keyring("worker", fate), house.clock, Chance())
        rules = RetentionRules(main, house.clock, Chance())
        await RetentionRuns(main, rules, erasures, house.clock, Chance()).run_all()
    elif way == "call":
        await (await house.erasures("api", fate)).erase_object(house.org, "call", found.mine.call, **WHO)
    elif way != "hold":
        await (await house.erasures("api", fate)).erase_matching(house.org, found.selector, **WHO, within_s=60)
    upkeep = await house.upkeep(fate)
    await upkeep.carry_on()
    await upkeep.renew_buckets(at_once=True)


async def check_things(house: House, mine: Called) -> bool:
    """What must hold of a call and its recording at every moment. True if both were entered."""
    entered = []
    keyring = await house.keyring("api")
    for kind, object_id, key_id in (("recording", mine.recording, mine.recording), ("call", mine.call, mine.key)):
        is_key = bool(await keyring.fingerprints(house.org, [key_id]))
        async with (await house.main("api")).organisation(house.org) as connection:
            entry = await ledger.by_object(connection, kind, object_id)
        assert is_key or entry is not None, f"the key of a {kind} went before the ledger knew"
        if entry is not None and entry.unreadable_at is not None:
            assert not is_key, f"a {kind} is said to be unreadable, and its key is there"
        if entry is not None and entry.swept_at is not None:
            assert kind == "call" or not house.ciphertext(object_id)
        if entry is not None and kind == "recording":
            assert isinstance(await (await house.recordings()).get(house.org, mine.recording), Gone)
        entered.append(entry is not None)
    return all(entered)


@pytest.mark.parametrize("way", get_args(Way))
async def test_killed_between_any_two_steps_an_erasure_by_selector_is_finished_by_the_next_worker(house: House, way: Way) -> None:
    keys = await published_keys(house)
    bystander = await called(house, "+493029999999")
    if way == "retention":
        rules = RetentionRules(await house.main("api"), house.clock, Chance())
        await rules.put(house.org, [Rule("call", 300), Rule("recording", 300)], 100, actor="api-key:1")
    kill_at = 0
    while True:
        kill_at += 1
        found = await scene(house, way, kill_at)
        fate = Fate(kill_at)
        try:
            await walk_selector(house, way, found, fate)
        except Killed:
            await check_things(house, found.mine)
            upkeep = await house.upkeep()
            await upkeep.carry_on()
            if not await check_things(house, found.mine):
                # It died before it was entered, so whoever asked was told nothing: they ask again.
                await walk_selector(house, way, found, Fate())
            await upkeep.carry_on()
            await upkeep.renew_buckets(at_once=True)
        assert await check_things(house, found.mine)
        assert house.ciphertext(found.mine.recording) == []
        erasures = await house.erasures()
        for kind, object_id in (("recording", found.mine.recording), ("call", found.mine.call)):
            receipt = await erasures.receipt_of(house.org, kind, object_id)
            assert receipt is not None, f"no proof for the {kind} when killed at border {kill_at}"
            assert receipts.verify(receipt, keys).is_valid
        if fate.passed < kill_at:
            break
    assert kill_at > 25
    assert not await check_things(house, bystander)
    assert await house.key_exists(bystander.recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        rows = await connection.fetch("SELECT id, state, selector, selector_sealed, receipt FROM erasure_operations")
        assert {row["state"] for row in rows} == {"done"}
        assert all(row["selector"] is None and row["selector_sealed"] is None and row["receipt"] is not None for row in rows)
        assert await connection.fetchval("SELECT count(*) FROM erasure_ledger WHERE closed_at IS NULL OR evidence IS NULL") == 0
        left = await connection.fetchval("SELECT count(*) FROM calls WHERE erased_at IS NULL")
    assert left == 1
    assert (await audit.verify(await house.main("api"), house.org)).is_whole
    assert await (await house.keyring("api")).fingerprints(house.org, [row["id"] for row in rows]) == {}
