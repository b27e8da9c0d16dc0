"""Every recording is found by the number of everybody outside whose voice may be in it: to be erased, held, restricted and given out."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from hushwire.calls import events
from hushwire.calls.model import EndReason
from hushwire.core.ids import RecordingId
from hushwire.core.personal import Personal
from hushwire.media.model import MediaRefused
from hushwire.media.wire import Status
from hushwire.privacy import receipts
from hushwire.privacy.erasable import RECORDING
from hushwire.privacy.selection import Selector
from hushwire.sdp.offer_answer import Srtp
from hushwire.services.phone_numbers import REMOTE
from hushwire.services.restrictions import Restrictions
from hushwire.sip import effects as sip
from hushwire.store import erasable, recordings, subject
from hushwire.store.calls import add_parties
from hushwire.store.recordings import RecordingFilter
from hushwire.store.subject import Subject
from tests.databases import Databases
from tests.polling import until
from tests.privacy.test_erasure import published_keys
from tests.privacy.test_holds import hold
from tests.recorded import Chance, House
from tests.services.running import ANNA_NUMBER, FAR_NUMBER, NODE, ROOT, World, local_media, need_program, running
from tests.services.test_diversion import MOBILE, forward
from tests.services.test_masking import DRIVER, RIDER, call, give_proxies, session
from tests.services.test_masking import answered as both_answered
from tests.services.test_transfers import Heard, refer, row_of, settled, to_carrier

pytestmark = need_program
CONSULTED = "+493023125998"
WHO = {"actor": "api-key:1", "reason": "data-subject-request"}


@pytest.fixture
async def world(databases: Databases, tmp_path: Path) -> AsyncIterator[World]:
    async with running(databases, tmp_path) as made:
        yield made


def house_of(world: World) -> House:
    """The same deployment, as its API sees it."""
    (world.folder / "store").mkdir(exist_ok=True)
    return House(world.databases, ROOT, world.folder, world.organisation.id, NODE)


def index_of(world: World, number: str) -> bytes:
    return world.organisation.keys.index(REMOTE, number)


async def found(world: World, number: str) -> set[UUID]:
    """The recordings that an access request of this number, and a search for it, find."""
    house, index = house_of(world), index_of(world, number)
    async with (await house.main("api")).organisation(house.org) as connection:
        held = {each.kind: each.count for each in await subject.held(connection, Subject((index,), (), ()))}
        listed = await recordings.find(connection, RecordingFilter(remote_index=index))
    assert held["recording"] == len(listed)
    return {each.id for each in listed}


async def closed(world: World, count: int) -> list[Any]:
    async def all_closed() -> Any:
        rows = await world.rows("recordings", "started_at, segment")
        return rows if len(rows) == count and all(row["state"] == "closed" for row in rows) else None

    return await until(all_closed, timeout_s=10, what=f"{count} recordings are closed")


async def ended(world: World) -> Any:
    """The only call is ended once it is recorded; its recording."""
    (live,) = world.gateway.calling.table.calls.values()
    await until(lambda: live.recording is not None and live.recording.is_running, what="it is recorded")
    world.gateway.calling.feed(live, events.Stopped(EndReason.HANGUP))
    (row,) = await closed(world, 1)
    return row


async def transferred(world: World) -> tuple[UUID, UUID, UUID]:
    """Anna talked with one outside party, consulted another and left the two together: the three recordings."""
    anna = await world.peer("anna")
    first, near, _ = await to_carrier(world, anna)
    second, consulted, other_far = await to_carrier(world, anna, CONSULTED)
    refer(anna, near, CONSULTED, replaces=consulted)
    await Heard(anna).until(lambda heard: heard.is_over and len(heard.ended) == 2, "both of anna's dialogs are over")
    await settled(first)
    world.carrier.endpoint.bye(other_far)
    await Heard(world.carrier).until(lambda heard: heard.ended, "the other one is told")
    await row_of(world, first, state="ended")
    rows = await closed(world, 3)
    by_call = {(row["call_id"], row["segment"]): row["id"] for row in rows}
    return by_call[first.id, 0], by_call[second.id, 0], by_call[first.id, 1]


async def test_who_was_consulted_erases_the_segment_in_which_two_carriers_parties_talk(world: World) -> None:
    alone, consultation, together = await transferred(world)
    assert await found(world, CONSULTED) == {consultation, together}
    assert await found(world, FAR_NUMBER) == {alone, together}
    house = house_of(world)
    operation = await (await house.erasures()).erase_matching(house.org, Selector(number=Personal(CONSULTED)), **WHO)
    assert {kind: each.unreadable for kind, each in operation.counts.items()} == {"call": 1, "recording": 2}
    assert [await house.key_exists(each) for each in (alone, consultation, together)] == [True, False, False]
    assert {row["object_id"] for row in await world.rows("erasure_ledger") if row["kind"] == "recording"} == {consultation, together}
    assert operation.receipt is not None
    result = receipts.verify(operation.receipt, await published_keys(house))
    assert result.is_valid
    assert result.operation is not None
    assert result.operation.items == 3
    assert await found(world, CONSULTED) == set()
    await (await house.upkeep()).carry_on()
    rows = {row["id"]: row for row in await world.rows("recordings")}
    assert (rows[together]["state"], rows[together]["remote_index"], rows[together]["further_indexes"]) == ("erased", None, None)
    assert rows[alone]["state"] == "closed"
    assert house.ciphertext(alone)
    assert not house.ciphertext(together)


async def test_a_restriction_and_a_hold_of_who_was_consulted_cover_that_segment_too(world: World) -> None:
    alone, consultation, together = await transferred(world)
    house = house_of(world)
    restrictions = Restrictions(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    assert await restrictions.restrict_number(house.org, CONSULTED, actor="test") is not None
    standing = [(await house.row(RecordingId(each))).is_restricted for each in (alone, consultation, together)]
    assert standing == [False, True, True]
    await hold(house, "number", number=Personal(CONSULTED))
    await (await house.erasures()).erase_matching(house.org, Selector(number=Personal(FAR_NUMBER)), **WHO)
    assert await house.key_exists(together)


async def test_both_parties_of_a_call_that_was_diverted_out_find_its_recording(world: World) -> None:
    await forward(world, "anna", always=MOBILE)
    world.carrier.user = FAR_NUMBER
    world.carrier.invite(f"sip:{ANNA_NUMBER}@127.0.0.1:{world.port}", srtp=Srtp.NEVER)
    await world.carrier.expect(sip.Progress)
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
    row = await ended(world)
    for number in (FAR_NUMBER, MOBILE):
        assert await found(world, number) == {row["id"]}
    house = house_of(world)
    await (await house.erasures()).erase_matching(house.org, Selector(number=Personal(MOBILE), kinds=frozenset({"recording"})), **WHO)
    assert not await house.key_exists(row["id"])


async def test_both_parties_of_a_masked_call_find_its_recording(world: World) -> None:
    await give_proxies(world)
    made = await session(world, RIDER, DRIVER)
    call(world, RIDER, made.number)
    await both_answered(world.carrier)
    row = await ended(world)
    for number in (RIDER, DRIVER):
        assert await found(world, number) == {row["id"]}


async def test_a_transfer_that_comes_to_nothing_leaves_no_voice_in_a_segment_that_does_not_name_it(world: World) -> None:
    anna = await world.peer("anna")
    first, near, _ = await to_carrier(world, anna)
    second, consulted, _ = await to_carrier(world, anna, CONSULTED)
    client = world.gateway.link.client
    move = client.move_leg

    async def refuses(from_bridge: UUID, from_leg: int, to_bridge: UUID, to_leg: int) -> None:
        if from_bridge == second.id:
            raise MediaRefused(Status.STATE, "not now")
        await move(from_bridge, from_leg, to_bridge, to_leg)

    client.move_leg = refuses  # type: ignore[method-assign]
    refer(anna, near, CONSULTED, replaces=consulted)
    await Heard(anna).until(lambda heard: heard.is_over, "anna is told that it came to nothing")
    client.move_leg = move  # type: ignore[method-assign]
    assert first.recording is not None
    assert await found(world, FAR_NUMBER) >= {first.recording.id}
    assert first.recording.id not in await found(world, CONSULTED)
    agents = {row["id"]: row["agent_id"] for row in await world.rows("recordings")}
    assert agents[first.recording.id] == world.organisation.by_username["anna"].id


async def test_a_party_that_is_named_later_finds_the_recording_as_long_as_it_is_not_erased(world: World) -> None:
    anna = await world.peer("anna")
    live, _, _ = await to_carrier(world, anna)
    assert live.recording is not None
    recording = RecordingId(live.recording.id)
    for _ in range(2):  # safe to repeat
        async with world.owner.organisation(world.organisation.id) as connection:
            await add_parties(connection, recording, [index_of(world, FAR_NUMBER), index_of(world, CONSULTED)])
    (row,) = await world.rows("recordings")
    assert row["further_indexes"] == [index_of(world, CONSULTED)]
    assert await found(world, CONSULTED) == {recording}
    async with world.owner.organisation(world.organisation.id) as connection:
        assert await erasable.empty(connection, RECORDING, [recording], row["started_at"]) == 1
        await add_parties(connection, recording, [index_of(world, CONSULTED)])
    (row,) = await world.rows("recordings")
    assert (row["remote_index"], row["further_indexes"]) == (None, None)


async def test_who_a_colleague_forwards_a_transferred_call_to_finds_the_segment_that_has_their_voice(world: World) -> None:
    anna = await world.peer("anna")
    await forward(world, "ben", always=MOBILE)
    live, near, _ = await to_carrier(world, anna)
    refer(anna, near, "102")
    world.carrier.accept(await world.carrier.expect(sip.RequestReceived), local=local_media(43000, keys=False))
    await Heard(anna).until(lambda heard: heard.is_over and heard.ended, "the transfer is done")
    await settled(live)
    assert live.recording is not None
    assert await found(world, MOBILE) == {live.recording.id}
    assert len(await found(world, FAR_NUMBER)) == 2
