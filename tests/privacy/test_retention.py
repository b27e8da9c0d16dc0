"""Retention carried out, on real databases: rules, holds, batches, and clocks that jump."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hushwire.core.personal import Personal
from hushwire.privacy import audit, receipts
from hushwire.privacy.retention import Rule
from hushwire.services.holds import Holds, Wanted
from hushwire.services.retention import RetentionRules, RetentionRuns, Setting
from hushwire.store.recordings import Recording
from tests.called import add_agent, called
from tests.privacy.test_erasure import published_keys
from tests.recorded import Chance, House, house

__all__ = ["house"]

ANNA = "+493023125001"


async def rules(house: House, *wanted: Rule, most_percent: int | None = 100) -> RetentionRules:
    made = RetentionRules(await house.main("api"), house.clock, Chance())
    assert isinstance(await made.put(house.org, wanted, most_percent, actor="api-key:1"), Setting)
    return made


async def run(house: House) -> int:
    main = await house.main("worker")
    made = RetentionRules(main, house.clock, Chance())
    return await RetentionRuns(main, made, await house.erasures("worker"), house.clock, Chance()).run_all()


async def days_pass(house: House, days: int) -> int:
    """With a run every half day, as a worker lives through them."""
    erased = 0
    for _ in range(2 * days):
        house.clock.ahead += timedelta(hours=12)
        erased += await run(house)
    return erased


async def pending(house: House) -> Any:
    setting = await RetentionRules(await house.main("api"), house.clock, Chance()).setting(house.org)
    return setting.state


async def test_each_class_is_kept_by_its_own_rule_and_what_no_rule_names_stays(house: House) -> None:
    each = await called(house, ANNA, at=house.clock.now())
    await rules(house, Rule("call", 3), Rule("recording", 6))
    assert await days_pass(house, 3) == 0
    assert await days_pass(house, 1) == 1
    assert await house.key_exists(each.recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        row = await connection.fetchrow("SELECT remote_sealed, erased_at FROM calls WHERE id = $1", each.call)
    assert row is not None
    assert row["remote_sealed"] is None
    assert await days_pass(house, 3) == 1
    assert not await house.key_exists(each.recording)
    assert isinstance(await house.row(each.recording), Recording)


async def test_without_a_rule_nothing_is_ever_erased(house: House) -> None:
    each = await called(house, ANNA)
    await rules(house)
    assert await days_pass(house, 10) == 0
    assert await house.key_exists(each.recording)


async def test_an_agents_own_rule_concerns_its_things_alone(house: House) -> None:
    agent = await add_agent(house)
    own, other = await called(house, ANNA, agent_id=agent), await called(house, ANNA)
    await rules(house, Rule("recording", 1, agent))
    assert await days_pass(house, 3) == 1
    assert not await house.key_exists(own.recording)
    assert await house.key_exists(other.recording)


async def test_what_is_held_outlives_its_rule_until_the_release(house: House) -> None:
    each = await called(house, ANNA)
    await rules(house, Rule("recording", 1))
    service = Holds(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    held = await service.place(house.org, Wanted("number", "tax", Personal("office"), number=Personal(ANNA)), actor="api-key:1")
    assert await days_pass(house, 4) == 0
    assert await house.key_exists(each.recording)
    await service.release(house.org, held.id, actor="api-key:1")  # type: ignore[union-attr]
    assert await run(house) == 1


async def test_each_batch_has_a_receipt_that_verifies_and_the_audit_log_says_that_retention_did_it(house: House) -> None:
    await called(house, ANNA)
    await rules(house, Rule("recording", 1), Rule("call", 1))
    assert await days_pass(house, 2) == 2
    keys = await published_keys(house)
    found = await (await house.erasures()).operations.listed(house.org)
    assert len(found) == 2
    for each in found:
        assert (each.row.actor, each.row.reason) == ("system:retention", "retention")
        assert each.receipt is not None
        assert receipts.verify(each.receipt, keys).is_valid
    assert (await audit.verify(await house.main("api"), house.org)).is_whole


async def test_a_preview_says_what_would_go_and_changes_nothing(house: House) -> None:
    each = await called(house, ANNA)
    made = await rules(house, Rule("recording", 1), most_percent=20)
    assert (await made.preview(house.org)).classes["recording"].due == 0
    later = await made.preview(house.org, house.clock.now() + timedelta(days=3))
    assert (later.classes["recording"].due, later.classes["recording"].batches, later.classes["recording"].total) == (1, 1, 1)
    assert later.classes["recording"].oldest == (await house.row(each.recording)).started_at
    assert later.classes["call"].due == 0
    assert await house.key_exists(each.recording)


@pytest.mark.parametrize("jump", [timedelta(days=3653), timedelta(days=1, minutes=1)])
async def test_a_clock_that_jumps_ahead_erases_nothing_before_a_person_says_so(house: House, jump: timedelta) -> None:
    each = await called(house, ANNA)
    made = await rules(house, Rule("recording", 0))
    house.clock.ahead += jump
    for _ in range(3):
        assert await run(house) == 0
    state = await pending(house)
    assert (state.pending_reason, state.pending_count) == ("clock-ahead", 1)
    assert await house.key_exists(each.recording)
    assert await made.confirm(house.org, state.pending_id, actor="api-key:1")
    assert await run(house) == 1
    assert not await house.key_exists(each.recording)
    assert (await pending(house)).pending_id is None


async def test_a_clock_that_comes_back_after_a_jump_needs_no_word_and_erased_nothing(house: House) -> None:
    each = await called(house, ANNA)
    await rules(house, Rule("recording", 30))
    house.clock.ahead += timedelta(days=3653)
    assert await run(house) == 0
    house.clock.ahead -= timedelta(days=3653)
    assert await run(house) == 0
    assert (await pending(house)).pending_id is None
    assert await house.key_exists(each.recording)


async def test_a_clock_that_goes_back_erases_nothing_and_is_told(house: House) -> None:
    await called(house, ANNA)
    await rules(house, Rule("recording", 30))
    assert await days_pass(house, 2) == 0
    house.clock.ahead -= timedelta(days=2)
    assert await run(house) == 0
    assert (await pending(house)).pending_reason == "clock-back"


async def test_a_confirmation_of_one_jump_is_none_of_the_next(house: House) -> None:
    await called(house, ANNA)
    made = await rules(house, Rule("recording", 3650))
    house.clock.ahead += timedelta(days=400)
    assert await run(house) == 0
    await made.confirm(house.org, (await pending(house)).pending_id, actor="api-key:1")
    house.clock.ahead += timedelta(days=3653)
    assert await run(house) == 0
    state = await pending(house)
    assert (state.pending_reason, state.confirmed_at) == ("clock-ahead", None)


async def test_a_large_share_at_once_waits_for_a_second_word(house: House) -> None:
    for _ in range(3):
        await called(house, ANNA, at=house.clock.now() - timedelta(days=3))
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute(
            "INSERT INTO calls (id, org_id, node_id, direction, state, started_at)"
            " SELECT gen_random_uuid(), $1, $2, 'outbound', 'ended', $3 FROM generate_series(1, 100)",
            house.org, house.node, house.clock.now() - timedelta(days=3),
        )  # fmt: skip
    made = await rules(house, Rule("call", 1), most_percent=20)
    assert await run(house) == 0
    state = await pending(house)
    assert (state.pending_reason, state.pending_count) == ("large-share", 103)
    await made.confirm(house.org, state.pending_id, actor="api-key:1")
    assert await run(house) == 103


async def test_two_workers_at_once_erase_each_thing_once(house: House) -> None:
    for _ in range(4):
        await called(house, ANNA, at=house.clock.now() - timedelta(days=3))
    await rules(house, Rule("recording", 1))
    assert sorted(await asyncio.gather(run(house), run(house))) in ([0, 4], [4, 4])
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM erasure_ledger") == 4
