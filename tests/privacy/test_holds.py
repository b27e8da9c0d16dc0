"""Legal holds: what they cover refuses erasure by every way, also what came later; a release runs what was refused."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from hushwire.core.ids import RecordingId
from hushwire.core.personal import Personal
from hushwire.privacy import audit
from hushwire.privacy.selection import Selector
from hushwire.services.erasure import Erased, Held
from hushwire.services.erasure_operations import Operation
from hushwire.services.holds import Holds, Unfit, Wanted
from hushwire.store.holds import HoldRow
from hushwire.vault.unseal import Why
from tests.called import Called, add_agent, called
from tests.recorded import Chance, House, house

__all__ = ["house"]

ANNA, BERT = "+493023125001", "+493023125002"
WHO = {"actor": "api-key:1", "reason": "data-subject-request"}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


async def holds(house: House) -> Holds:
    return Holds(await house.main("api"), await house.keyring("api"), house.clock, Chance())


async def hold(house: House, scope: Any, **more: Any) -> HoldRow:
    wanted = Wanted(scope, "litigation", Personal("Landgericht Berlin, 12 O 34/26"), **more)
    placed = await (await holds(house)).place(house.org, wanted, actor="api-key:2")
    assert isinstance(placed, HoldRow)
    return placed


async def release(house: House, held: HoldRow) -> None:
    assert await (await holds(house)).release(house.org, held.id, actor="api-key:3")


async def erase(house: House, selector: Selector) -> Operation:
    return await (await house.erasures()).erase_matching(house.org, selector, **WHO)


async def refused(house: House, each: Called) -> bool:
    erasures = await house.erasures()
    outcomes = [
        await erasures.erase(house.org, each.recording, **WHO),
        await erasures.erase_object(house.org, "call", each.call, **WHO),
    ]
    is_held = [isinstance(outcome, Held) for outcome in outcomes]
    assert len(set(is_held)) == 1
    assert is_held[0] == await house.key_exists(each.recording)
    return is_held[0]


async def test_a_held_recording_refuses_erasure_changes_nothing_and_notes_the_wish_once(house: House) -> None:
    each = await called(house, ANNA)
    held = await hold(house, "recording", object_id=each.recording)
    erasures = await house.erasures()
    outcome = await erasures.erase(house.org, each.recording, **WHO)
    assert isinstance(outcome, Held)
    assert (outcome.hold_id, outcome.reason) == (held.id, "litigation")
    assert await erasures.erase(house.org, each.recording, **WHO) == outcome
    assert not (await house.row(each.recording)).is_gone
    assert await house.key_exists(each.recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM erasure_ledger") == 0
        assert await connection.fetchval("SELECT count(*) FROM erasure_operations WHERE state = 'deferred'") == 1


@pytest.mark.parametrize("scope", ["recording", "call", "number", "agent", "range", "organisation"])
async def test_each_scope_keeps_a_call_together_with_its_recording_and_nothing_else(house: House, scope: str) -> None:
    agent = await add_agent(house)
    mine = await called(house, ANNA, at=NOON, agent_id=agent)
    other = await called(house, BERT, at=NOON - timedelta(hours=1))
    more: dict[str, Any] = {
        "recording": {"object_id": mine.recording},
        "call": {"object_id": mine.call},
        "number": {"number": Personal("030 23125001")},
        "agent": {"object_id": agent},
        "range": {"since": NOON, "until": NOON + timedelta(seconds=1)},
        "organisation": {},
    }[scope]
    await hold(house, scope, **more)
    assert await refused(house, mine)
    assert await refused(house, other) is (scope == "organisation")


async def test_a_hold_covers_what_comes_later(house: House) -> None:
    await hold(house, "number", number=Personal(ANNA))
    assert await refused(house, await called(house, ANNA))
    assert not await refused(house, await called(house, BERT))


async def test_a_call_is_kept_for_a_recording_that_falls_into_a_held_time_though_it_began_before(house: House) -> None:
    each = await called(house, ANNA, at=NOON, recorded_at=NOON + timedelta(minutes=2))
    await hold(house, "range", since=NOON + timedelta(minutes=1))
    assert await refused(house, each)


async def test_in_bulk_what_is_free_is_erased_and_the_rest_is_deferred_until_the_release(house: House) -> None:
    free, kept = await called(house, ANNA), await called(house, ANNA)
    held = await hold(house, "call", object_id=kept.call)
    operation = await erase(house, Selector(number=Personal(ANNA)))
    assert (operation.row.state, operation.row.deferred) == ("deferred", 2)
    assert operation.receipt is not None
    assert not await house.key_exists(free.recording)
    assert await house.key_exists(kept.recording)
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert await house.key_exists(kept.recording)
    await release(house, held)
    await upkeep.carry_on()
    assert not await house.key_exists(kept.recording)
    erasures = await house.erasures()
    newest, old = await erasures.operations.listed(house.org)
    assert (newest.row.follows, newest.row.actor) == (operation.id, f"hold-release:{held.id}")
    assert newest.receipt is not None
    assert old.row.state == "done"
    assert (old.row.selector, old.row.selector_sealed) == (None, None)
    for row in (old.row, newest.row):
        assert await (await house.keyring("api")).fingerprint(house.org, "case", row.id) is None


async def test_a_release_erases_what_was_refused_and_not_what_came_after_the_wish(house: House) -> None:
    before = await called(house, ANNA)
    held = await hold(house, "number", number=Personal(ANNA))
    await erase(house, Selector(number=Personal(ANNA)))
    house.clock.ahead += timedelta(hours=2)
    after = await called(house, ANNA)
    await release(house, held)
    await (await house.upkeep()).carry_on()
    assert not await house.key_exists(before.recording)
    assert await house.key_exists(after.recording)


async def test_a_single_refused_recording_is_erased_when_its_hold_is_released_and_has_its_receipt(house: House) -> None:
    each = await called(house, ANNA)
    held = await hold(house, "recording", object_id=each.recording)
    assert isinstance(await (await house.erasures()).erase(house.org, each.recording, **WHO), Held)
    await release(house, held)
    await (await house.upkeep()).carry_on()
    assert not await house.key_exists(each.recording)
    assert isinstance(await (await house.erasures()).erase(house.org, each.recording, **WHO), Erased)


async def test_with_two_holds_the_release_of_one_is_not_enough(house: House) -> None:
    each = await called(house, ANNA)
    first, second = await hold(house, "number", number=Personal(ANNA)), await hold(house, "call", object_id=each.call)
    await erase(house, Selector(number=Personal(ANNA)))
    await release(house, first)
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert await house.key_exists(each.recording)
    await release(house, second)
    await upkeep.carry_on()
    assert not await house.key_exists(each.recording)


async def test_what_a_hold_says_of_people_is_sealed_and_its_placing_and_release_are_in_the_audit_log(house: House) -> None:
    held = await hold(house, "number", number=Personal(ANNA), note=Personal("Anna Muster against Acme"))
    await release(house, held)
    service = await holds(house)
    opened = await service.get(house.org, held.id, Why("api-key:1", "audit"))
    assert opened is not None
    assert (opened.authority, opened.note, opened.number) == (
        "Landgericht Berlin, 12 O 34/26",
        "Anna Muster against Acme",
        ANNA,
    )
    async with (await house.main("api")).organisation(house.org) as connection:
        stored = str([dict(row) for row in await connection.fetch("SELECT * FROM legal_holds")])
        actions = [row["action"] for row in await connection.fetch("SELECT action FROM audit_log ORDER BY position")]
    assert "23125001" not in stored
    assert "Muster" not in stored
    assert actions == ["hold.placed", "hold.released"]
    assert (await audit.verify(await house.main("api"), house.org)).is_whole


async def test_a_hold_on_what_is_not_the_organisations_is_refused(house: House) -> None:
    foreign = await called(house, ANNA)
    other = await house.another("globex")
    service = await holds(house)
    cases: list[tuple[Any, UUID]] = [("recording", foreign.recording), ("call", foreign.call), ("agent", uuid4())]
    for scope, object_id in cases:
        placed = await service.place(other, Wanted(scope, "tax", Personal("a"), object_id=object_id), actor="api-key:1")
        assert isinstance(placed, Unfit)
    assert isinstance(await (await house.erasures()).erase(house.org, RecordingId(foreign.recording), **WHO), Erased)
