"""Everything that a selector means, erased at once: by number, agent, time and ids, with one receipt that proves each of them."""

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.core.errors import MalformedError, Unavailable
from hushwire.core.ids import CallId, RecordingId
from hushwire.core.personal import Personal
from hushwire.privacy import audit, receipts, selection
from hushwire.privacy.selection import Selector
from hushwire.services.contacts import Contacts, ContactView, PhoneNumber, Values
from hushwire.services.erasure import Erased, Held, Pending
from hushwire.services.erasure_operations import Operation
from hushwire.services.holds import Holds, Wanted
from hushwire.store import ledger, recordings
from hushwire.store.holds import HoldRow
from hushwire.vault.unseal import Why
from tests.called import add_agent, called
from tests.privacy.test_erasure import entry_of, gateway, published_keys
from tests.recorded import Chance, House, house
from tests.store.rows import NOW, insert

__all__ = ["house"]

ANNA, BERT = "+493023125001", "+493023125002"
WHO = {"actor": "api-key:1", "reason": "data-subject-request"}


async def erase(house: House, selector: Selector, **more: Any) -> Operation:
    return await (await house.erasures()).erase_matching(house.org, selector, **(WHO | more))


async def calls(house: House) -> Mapping[UUID, Any]:
    async with (await house.main("api")).organisation(house.org) as connection:
        return {row["id"]: row for row in await connection.fetch("SELECT * FROM calls")}


def counts(operation: Operation) -> dict[str, int]:
    return {kind: progress.unreadable for kind, progress in operation.counts.items()}


async def test_a_number_takes_its_calls_and_their_recordings_and_nothing_of_anybody_else(house: House) -> None:
    mine = [await called(house, ANNA) for _ in range(3)]
    other = await called(house, BERT)
    operation = await erase(house, Selector(number=Personal(ANNA)))
    assert counts(operation) == {"call": 3, "recording": 3}
    assert operation.is_unreadable
    rows = await calls(house)
    for each in mine:
        assert not await house.key_exists(each.recording)
        assert await (await house.keyring("api")).fingerprint(house.org, "call", each.key) is None
        row = rows[each.call]
        assert (row["sealed_with"], row["remote_sealed"], row["remote_index"], row["local_sealed"]) == (None,) * 4
        assert row["erased_at"] is not None
        assert (row["direction"], row["state"]) == ("outbound", "ended")  # what remains is the billing row
    assert await house.key_exists(other.recording)
    assert rows[other.call]["remote_index"] is not None


@pytest.mark.parametrize("typed", ["030 23125001", "+49 (30) 23125001", "004930 23125001"])
async def test_a_number_is_found_however_it_is_typed(house: House, typed: str) -> None:
    await called(house, ANNA)
    assert counts(await erase(house, Selector(number=Personal(typed)))) == {"call": 1, "recording": 1}


async def test_an_agent_takes_what_it_did_on_either_side_and_leaves_its_account(house: House) -> None:
    agent, colleague = await add_agent(house), await add_agent(house)
    await called(house, ANNA, agent_id=agent)
    await called(house, ANNA, agent_id=colleague, peer_agent_id=agent)
    await called(house, ANNA, agent_id=colleague)
    assert counts(await erase(house, Selector(agent=agent))) == {"call": 2, "recording": 2}
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM agents") == 2


async def test_a_time_takes_what_began_in_it_and_a_part_that_began_later_falls_with_its_whole(house: House) -> None:
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    before = await called(house, ANNA, at=noon - timedelta(seconds=1))
    within = await called(house, ANNA, at=noon, recorded_at=noon + timedelta(seconds=30))
    after = await called(house, ANNA, at=noon + timedelta(seconds=20))
    assert counts(await erase(house, Selector(since=noon, until=noon + timedelta(seconds=20)))) == {"call": 1, "recording": 1}
    assert [await house.key_exists(each.recording) for each in (before, within, after)] == [True, False, True]


async def test_given_together_all_must_hold(house: House) -> None:
    agent = await add_agent(house)
    both = await called(house, ANNA, agent_id=agent)
    await called(house, ANNA)
    await called(house, BERT, agent_id=agent)
    assert counts(await erase(house, Selector(number=Personal(ANNA), agent=agent))) == {"call": 1, "recording": 1}
    assert not await house.key_exists(both.recording)


async def test_recordings_alone_are_erased_and_their_calls_stay(house: House) -> None:
    each = await called(house, ANNA)
    assert counts(await erase(house, Selector(number=Personal(ANNA), kinds=frozenset({"recording"})))) == {"recording": 1}
    assert (await calls(house))[each.call]["remote_index"] is not None


async def test_ids_take_what_they_name_and_ids_of_nobody_take_nothing(house: House) -> None:
    first, second = await called(house, ANNA), await called(house, ANNA)
    objects = {"recording": [first.recording, uuid4()], "call": [second.call]}
    assert counts(await erase(house, Selector(objects=objects))) == {"call": 1, "recording": 2}
    nothing = await erase(house, Selector(objects={"recording": [uuid4()]}))
    assert nothing.receipt is not None
    result = receipts.verify(nothing.receipt, await published_keys(house))
    assert result.is_valid
    assert result.operation is not None
    assert (result.operation.items, result.operation.ledger_first, result.operation.ledger_last) == (0, 0, 0)


async def test_another_organisations_things_are_not_reached(house: House) -> None:
    each = await called(house, ANNA)
    other = await house.another("globex")
    erasures = await house.erasures()
    for selector in (Selector(number=Personal(ANNA)), Selector(objects={"call": [each.call], "recording": [each.recording]})):
        operation = await erasures.erase_matching(other, selector, **WHO)
        assert operation.counts == {}
        assert await erasures.operation(house.org, operation.id) is None
    assert await house.key_exists(each.recording)


@pytest.mark.parametrize(
    "selector",
    [
        Selector(),
        Selector(kinds=frozenset({"recording"})),
        Selector(number=Personal("anna")),
        Selector(objects={"trunk": [UUID(int=1)]}),
        Selector(agent=UUID(int=1), kinds=frozenset({"trunk"})),
        Selector(everything=True, agent=UUID(int=1)),
    ],
)
async def test_a_selector_that_can_not_be_meant_changes_nothing(house: House, selector: Selector) -> None:
    each = await called(house, ANNA)
    with pytest.raises(MalformedError):
        await erase(house, selector)
    assert await house.key_exists(each.recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM erasure_operations") == 0


async def test_the_receipt_verifies_offline_and_each_thing_is_proven_to_be_in_it(house: House) -> None:
    mine = [await called(house, ANNA) for _ in range(5)]
    operation = await erase(house, Selector(number=Personal(ANNA)))
    keys = await published_keys(house)
    assert operation.receipt is not None
    result = receipts.verify(operation.receipt, keys)
    assert result.is_valid
    assert result.operation is not None
    assert (result.operation.counts, result.operation.items, result.operation.scope) == ({"call": 5, "recording": 5}, 10, "number")
    assert (result.operation.ledger_first, result.operation.ledger_last) == (1, 10)
    assert operation.selector_salt is not None
    assert result.operation.selector_commitment == selection.commitment(operation.selector_salt, Selector(number=Personal(ANNA)))
    erasures = await house.erasures()
    for each in mine:
        for kind, object_id in (("call", each.call), ("recording", each.recording)):
            proof = await erasures.receipt_of(house.org, kind, object_id)
            assert proof is not None
            item = receipts.verify(proof, keys)
            assert item.is_valid
            assert item.item is not None
            assert (item.item.item.kind, item.item.item.object_id) == (kind, object_id)
            assert item.operation == result.operation
    chain = await audit.verify(await house.main("api"), house.org)
    assert chain.is_whole
    assert chain.head == audit.Head(result.operation.audit_position, result.operation.audit_head)


async def test_the_audit_log_rewritten_contradicts_the_receipt_of_an_operation(house: House) -> None:
    await called(house, ANNA)
    await erase(house, Selector(number=Personal(ANNA)))
    administrator = await asyncpg.connect(house.databases.dsn("main", "administrator"))
    await administrator.execute("DELETE FROM audit_log WHERE position = (SELECT max(position) FROM audit_log)")
    await administrator.close()
    assert not (await audit.verify(await house.main("api"), house.org)).is_whole


async def test_a_recording_erased_in_bulk_answers_a_later_wish_with_its_proof(house: House) -> None:
    each = await called(house, ANNA)
    await erase(house, Selector(number=Personal(ANNA)))
    erasures = await house.erasures()
    again = await erasures.erase(house.org, RecordingId(each.recording), **WHO)
    assert isinstance(again, Erased)
    assert again == await erasures.erase(house.org, RecordingId(each.recording), **WHO)
    assert receipts.verify(again.receipt, await published_keys(house)).is_valid


async def test_a_call_erased_by_itself_takes_its_recording_and_answers_with_a_proof_each_time(house: House) -> None:
    each = await called(house, ANNA)
    erasures = await house.erasures()
    outcome = await erasures.erase_object(house.org, "call", each.call, **WHO)
    assert isinstance(outcome, Erased)
    assert await erasures.erase_object(house.org, "call", each.call, **WHO) == outcome
    assert receipts.verify(outcome.receipt, await published_keys(house)).is_valid
    assert not await house.key_exists(each.recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM erasure_operations") == 1


async def test_nothing_of_the_person_stays_in_the_operation_once_it_is_carried_out(house: House) -> None:
    await called(house, ANNA)
    operation = await erase(house, Selector(number=Personal(ANNA)), note="Mrs Anna Muster called us")
    async with (await house.main("api")).organisation(house.org) as connection:
        row = await connection.fetchrow("SELECT * FROM erasure_operations WHERE id = $1", operation.id)
    assert row is not None
    assert (row["selector"], row["selector_sealed"], row["note_sealed"]) == (None, None, None)
    assert await (await house.keyring("api")).fingerprint(house.org, "case", operation.id) is None
    assert operation.receipt is not None
    assert b"23125001" not in operation.receipt + json.dumps(dict(row), default=str).encode()


async def test_what_came_after_the_wish_is_not_meant_by_it(house: House) -> None:
    await called(house, ANNA)
    later = await called(house, ANNA, at=house.clock.now() + timedelta(seconds=60))
    assert counts(await erase(house, Selector(number=Personal(ANNA)))) == {"call": 1, "recording": 1}
    assert await house.key_exists(later.recording)


async def test_a_late_writer_brings_nothing_of_a_call_back(house: House) -> None:
    each = await called(house, ANNA)
    await erase(house, Selector(number=Personal(ANNA)))
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute(
            "UPDATE calls SET remote_sealed = 's', remote_index = 'i', local_sealed = 'l', sealed_with = id, erased_at = NULL"
            " WHERE id = $1",
            each.call,
        )
    row = (await calls(house))[each.call]
    assert (row["sealed_with"], row["remote_sealed"], row["remote_index"], row["local_sealed"]) == (None,) * 4
    assert row["erased_at"] is not None


async def test_live_recordings_are_stopped_all_at_once_before_their_keys_are_destroyed(house: House) -> None:
    live = [await called(house, ANNA, state="live") for _ in range(3)]
    done = await called(house, ANNA)
    async with gateway(house) as commands:
        operation = await erase(house, Selector(number=Personal(ANNA)), within_s=5)
    assert len(commands) == 3
    assert operation.is_unreadable
    assert counts(operation) == {"call": 4, "recording": 4}
    assert not any([await house.key_exists(each.recording) for each in (*live, done)])


async def test_a_live_recording_that_nobody_confirms_keeps_nothing_else_and_the_worker_goes_on(house: House) -> None:
    live, done = await called(house, ANNA, state="live"), await called(house, ANNA)
    operation = await erase(house, Selector(number=Personal(ANNA)), within_s=0.05)
    assert operation.receipt is None
    assert await house.key_exists(live.recording)
    assert not await house.key_exists(done.recording)
    assert (await house.row(RecordingId(live.recording))).is_gone
    async with gateway(house):
        await (await house.upkeep()).carry_on()
        async with (await house.main("gateway")).organisation(house.org) as connection:
            await connection.execute("UPDATE recordings SET state = 'closed' WHERE state = 'live'")
        await (await house.upkeep()).carry_on()
    assert not await house.key_exists(live.recording)
    view = await (await house.erasures()).operation(house.org, operation.id)
    assert view is not None
    assert view.receipt is not None


async def test_with_the_keyring_away_the_operation_stands_and_the_worker_carries_it_out(house: House) -> None:
    each = await called(house, ANNA)
    erasures = await house.erasures()

    async def away(*_: object) -> None:
        raise Unavailable("away")

    erasures._keyring.destroy_keys = away  # type: ignore[method-assign, assignment]
    operation = await erasures.erase_matching(house.org, Selector(number=Personal(ANNA)), **WHO)
    assert not operation.is_unreadable
    assert isinstance(await (await house.erasures()).erase(house.org, RecordingId(each.recording), **WHO, wait_s=0), Pending)
    await (await house.upkeep()).carry_on()
    view = await (await house.erasures()).operation(house.org, operation.id)
    assert view is not None
    assert view.is_unreadable
    assert not await house.key_exists(each.recording)


async def test_two_wishes_for_the_same_at_once_share_the_things_and_lose_none(house: House) -> None:
    mine = [await called(house, ANNA) for _ in range(8)]
    both = await asyncio.gather(*(erase(house, Selector(number=Personal(ANNA))) for _ in range(2)))
    assert sum(sum(counts(operation).values()) for operation in both) == 16
    assert not any([await house.key_exists(each.recording) for each in mine])
    async with (await house.main("api")).organisation(house.org) as connection:
        entries = await ledger.listed(connection, limit=100)
    assert [entry.position for entry in entries] == list(range(16, 0, -1))


async def test_an_operation_is_done_when_everything_is_swept_proven_absent_and_renewed(house: House) -> None:
    each = await called(house, ANNA)
    await (await house.shipping()).ship_all()
    operation = await erase(house, Selector(number=Personal(ANNA)))
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert house.ciphertext(each.recording) == []
    entry = await entry_of(house, RecordingId(each.recording))
    assert entry is not None
    assert entry.evidence is not None
    assert (entry.evidence["spool"], entry.evidence["stores"]) == (0, {"*": 0})
    assert entry.evidence["rows"].pop("outbox") == 2  # events that name ids, on their way out
    assert entry.evidence["rows"].keys() >= {"recordings", "idempotency", "derivatives", "documents", "notices", "disclosures"}
    assert not any(entry.evidence["rows"].values())
    await upkeep.renew_buckets(at_once=True)
    view = await (await house.erasures()).operation(house.org, operation.id)
    assert view is not None
    assert (view.row.state, view.counts["recording"].closed, view.counts["call"].closed) == ("done", 1, 1)


async def test_answers_kept_for_repeated_requests_that_name_it_go_with_it(house: House) -> None:
    each = await called(house, ANNA)
    async with (await house.main("api")).organisation(house.org) as connection:
        for key, answer in (("names-it", {"id": str(each.call)}), ("another", {"id": str(uuid4())})):
            await connection.execute(
                "INSERT INTO idempotency (org_id, key, request_hash, status, response, created_at)"
                " VALUES ($1, $2, 'h', 200, $3::jsonb, now())",
                house.org, key, json.dumps(answer),
            )  # fmt: skip
    await erase(house, Selector(objects={"call": [CallId(each.call)]}))
    await (await house.upkeep()).carry_on()
    async with (await house.main("api")).organisation(house.org) as connection:
        assert [row["key"] for row in await connection.fetch("SELECT key FROM idempotency")] == ["another"]
        assert (await recordings.get(connection, RecordingId(each.recording))) is not None


async def contact(house: House, name: str, *numbers: str) -> UUID:
    service = Contacts(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    values = Values(name=name, numbers=tuple(PhoneNumber("mobile", number) for number in numbers))
    made = await service.create(house.org, values, Why("api-key:1", "customer-service"))
    assert isinstance(made, ContactView)
    return made.row.id


async def test_a_number_takes_the_contact_that_has_it(house: House) -> None:
    mine, other = await contact(house, "Anna", ANNA, "+493023125009"), await contact(house, "Bert", BERT)
    house.clock.ahead += timedelta(minutes=1)
    assert counts(await erase(house, Selector(number=Personal(ANNA)))) == {"contact": 1}
    async with (await house.main("api")).organisation(house.org) as connection:
        rows = {row["id"]: row for row in await connection.fetch("SELECT * FROM contacts")}
        numbers = [row["contact_id"] for row in await connection.fetch("SELECT contact_id FROM contact_numbers")]
    assert (rows[mine]["sealed_with"], rows[mine]["name_sealed"], rows[mine]["name_index"]) == (None, None, None)
    assert rows[other]["name_sealed"] is not None
    assert numbers == [other]
    await (await house.upkeep()).carry_on()
    async with (await house.main("api")).organisation(house.org) as connection:
        entry = await ledger.by_object(connection, "contact", mine)
    assert entry is not None
    assert entry.evidence is not None
    assert entry.evidence["rows"]["contacts"] == 0


async def test_a_contact_takes_every_call_with_one_of_its_numbers(house: House) -> None:
    person = await contact(house, "Anna", ANNA, BERT)
    for number in (ANNA, BERT, "+493023125003"):
        await called(house, number)
    house.clock.ahead += timedelta(minutes=1)
    assert counts(await erase(house, Selector(contact=person))) == {"call": 2, "contact": 1, "recording": 2}


async def export_with(house: House, *recordings: UUID) -> UUID:
    """A finished bundle in the store that contains these recordings."""
    key = await (await house.keyring("api")).new_data_key(house.org, "document", uuid4())
    object_key = f"documents/{house.org}/{key.id}.hwx"
    (house.folder / "bundle").write_bytes(b"sealed")
    await house.blobs().put_file("eu", object_key, house.folder / "bundle")
    async with (await house.main("owner")).organisation(house.org) as connection:
        await insert(
            connection, "documents", id=key.id, org_id=house.org, kind="export", state="ready", region="eu", created_at=NOW,
            key_fingerprint=key.fingerprint, object_key=object_key, token_hash=b"token",
        )  # fmt: skip
        for place, recording in enumerate(recordings):
            row = {"document_id": key.id, "position": place, "kind": "recording", "object_id": recording}
            await insert(connection, "document_contents", org_id=house.org, **row)
    return key.id


async def document_is_there(house: House, document: UUID) -> bool:
    async with (await house.main("api")).organisation(house.org) as connection:
        state = await connection.fetchval("SELECT state FROM documents WHERE id = $1", document)
    is_key = await (await house.keyring("api")).fingerprint(house.org, "document", document) is not None
    assert is_key == (state != "erased")
    return is_key


@pytest.mark.parametrize("in_bulk", [False, True])
async def test_a_bundle_falls_with_anything_that_it_contains_and_is_swept(house: House, in_bulk: bool) -> None:
    first, second = await called(house, ANNA), await called(house, BERT)
    bundle, other = await export_with(house, first.recording, second.recording), await export_with(house, second.recording)
    if in_bulk:
        assert counts(await erase(house, Selector(objects={"recording": [first.recording]}))) == {"document": 1, "recording": 1}
    else:
        assert isinstance(await (await house.erasures()).erase(house.org, first.recording, **WHO), Erased)
    assert [await document_is_there(house, each) for each in (bundle, other)] == [False, True]
    assert await house.key_exists(second.recording)
    assert len(house.ciphertext(bundle)) == 1
    await (await house.upkeep()).carry_on()
    assert house.ciphertext(bundle) == []
    assert len(house.ciphertext(other)) == 1
    async with (await house.main("api")).organisation(house.org) as connection:
        entry, cause = await ledger.by_object(connection, "document", bundle), await ledger.by_recording(connection, first.recording)
        assert await connection.fetchval("SELECT count(*) FROM document_contents WHERE document_id = $1", bundle) == 0
    assert entry is not None
    assert cause is not None
    assert entry.caused_by == cause.id
    assert entry.evidence is not None
    assert entry.evidence["stores"] == {"*": 0}


async def test_what_a_held_bundle_contains_is_held_too(house: House) -> None:
    each = await called(house, ANNA)
    bundle = await export_with(house, each.recording)
    service = Holds(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    assert isinstance(
        await service.place(house.org, Wanted("document", "tax", Personal("office"), object_id=bundle), actor="api-key:1"), HoldRow
    )
    assert isinstance(await (await house.erasures()).erase(house.org, each.recording, **WHO), Held)
    assert await house.key_exists(each.recording)
