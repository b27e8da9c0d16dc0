"""The one erasure path, on real databases with the roles' own rights."""

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from hushwire.core.errors import KeyUnavailable, Unavailable
from hushwire.core.ids import OrgId, RecordingId
from hushwire.privacy import audit, receipts
from hushwire.privacy.canonical import canonical
from hushwire.services.erasure import Erased, NoRecording, Pending
from hushwire.services.recordings import Gone
from hushwire.services.recordings_shipping import alone
from hushwire.store import ledger, recordings
from hushwire.store.ledger import LedgerEntry
from hushwire.vault.renewal import renew_due
from hushwire.vault.unseal import Why
from tests.polling import until
from tests.recorded import House, house
from tests.store.rows import add_org

__all__ = ["house"]

WHO = {"actor": "api-key:1", "reason": "customer-request"}
WHY = Why("api-key:1", "customer-service")


async def entry_of(house: House, recording: RecordingId) -> LedgerEntry | None:
    async with (await house.main("api")).organisation(house.org) as connection:
        return await ledger.by_recording(connection, recording)


async def published_keys(house: House) -> bytes:
    keys = await (await house.keyring("api")).public_signing_keys()
    return json.dumps(receipts.published([(key.id, key.public_key) for key in keys])).encode()


async def erased(house: House, recording: RecordingId) -> bytes:
    outcome = await (await house.erasures()).erase(house.org, recording, **WHO)
    assert isinstance(outcome, Erased)
    return outcome.receipt


@asynccontextmanager
async def gateway(house: House, *, first_outcome: str | None = None, closes: bool = True) -> Any:
    """The node's side of `recording.wipe`, as its database role sees it: hears the command, wipes, closes the row, says so."""
    db = await house.main("gateway")
    rung = asyncio.Event()
    await db.listen("hushwire_commands", lambda _: rung.set())
    answers = [first_outcome] if first_outcome else []
    done: list[UUID] = []

    async def serve() -> None:
        while True:
            async with db.transaction() as connection:
                waiting = await connection.fetch("SELECT org_id, command_id FROM open_commands($1)", house.node)
            for org_id, command_id in waiting:
                outcome = answers.pop() if answers else "ok"
                async with db.organisation(OrgId(org_id)) as connection:
                    if outcome == "ok" and closes:
                        await connection.execute("UPDATE recordings SET state = 'closed' WHERE state = 'live'")
                    await connection.execute("UPDATE node_commands SET done_at = now(), outcome = $2 WHERE id = $1", command_id, outcome)
                done.append(command_id)
            await rung.wait()
            rung.clear()

    task = asyncio.create_task(serve())
    try:
        yield done
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_an_erasure_destroys_the_key_marks_the_row_and_hands_out_a_receipt_that_verifies_offline(house: House) -> None:
    recording = await house.record()
    before = await house.row(recording)
    result = receipts.verify(await erased(house, recording), await published_keys(house))
    assert result.is_valid
    assert result.erasure is not None
    assert not await house.key_exists(recording)
    row = await house.row(recording)
    assert (row.state, row.is_gone) == ("erased", True)
    entry = await entry_of(house, recording)
    assert entry is not None
    assert (result.erasure.recording_id, result.erasure.org_id) == (recording, house.org)
    assert (result.erasure.ledger_position, result.erasure.key_fingerprint) == (1, before.key_fingerprint)
    assert result.erasure.copies_unusable_by - result.erasure.requested_at == timedelta(hours=24)
    assert entry.commitment == receipts.commitment(entry.commitment_salt, recording, before.key_fingerprint, before.digest)
    chain = await audit.verify(await house.main("api"), house.org)
    assert chain.is_whole
    assert chain.head == audit.Head(result.erasure.audit_position, result.erasure.audit_head)


async def test_nothing_that_leads_to_a_person_stays_in_the_row_or_the_receipt(house: House) -> None:
    recording = await house.record()
    receipt = await erased(house, recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT remote_index FROM recordings WHERE id = $1", recording) is None
    assert b"blind" not in receipt


async def test_erasing_again_gives_the_same_receipt(house: House) -> None:
    recording = await house.record()
    first = await erased(house, recording)
    assert await erased(house, recording) == first
    assert await (await house.erasures()).receipt(house.org, recording) == first


async def test_many_at_once_give_one_entry_and_one_receipt(house: House) -> None:
    recording = await house.record()
    services = [await house.erasures(), await house.erasures("worker")]
    outcomes = await asyncio.gather(*(services[n % 2].erase(house.org, recording, **WHO) for n in range(8)))
    assert len({outcome.receipt for outcome in outcomes if isinstance(outcome, Erased)}) == 1
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM erasure_ledger") == 1
        assert await connection.fetchval("SELECT count(*) FROM audit_log WHERE action = 'recording.erased'") == 1


async def test_ledger_positions_count_without_gaps(house: House) -> None:
    made = [await house.record() for _ in range(5)]
    await asyncio.gather(*(erased(house, recording) for recording in made))
    entries = [await entry_of(house, recording) for recording in made]
    assert sorted(entry.position for entry in entries if entry) == [1, 2, 3, 4, 5]


async def test_what_is_not_there_or_another_organisations_is_not_found(house: House) -> None:
    erasures = await house.erasures()
    assert await erasures.erase(house.org, RecordingId(uuid4()), **WHO) == NoRecording()
    recording = await house.record()
    other = await add_org(await house.databases.connect("main", "owner"), "other")
    await (await house.keyring("owner")).create_organisation(other)
    assert await erasures.erase(other, recording, **WHO) == NoRecording()
    assert await house.key_exists(recording)


async def test_a_live_recording_is_stopped_and_confirmed_before_its_key_is_destroyed(house: House) -> None:
    recording = await house.record(state="live")
    async with gateway(house) as done:
        receipt = await erased(house, recording)
    assert len(done) == 1
    assert receipts.verify(receipt, await published_keys(house)).is_valid
    entry = await entry_of(house, recording)
    assert entry is not None
    assert entry.stopped_at is not None
    assert entry.unreadable_at is not None
    assert entry.stopped_at <= entry.unreadable_at


async def test_a_live_recording_that_nobody_confirms_is_pending_and_given_out_no_more(house: House) -> None:
    recording = await house.record(state="live")
    outcome = await (await house.erasures()).erase(house.org, recording, **WHO, wait_s=0.2)
    assert isinstance(outcome, Pending)
    assert outcome.retry_after_s > 0
    assert await house.key_exists(recording)
    assert isinstance(await (await house.recordings()).get(house.org, recording), Gone)
    async with gateway(house):
        await until(lambda: _is_stopped(house, recording))
        await (await house.upkeep()).carry_on()
    assert not await house.key_exists(recording)
    assert receipts.verify(await erased(house, recording), await published_keys(house)).is_valid


async def _is_stopped(house: House, recording: RecordingId) -> bool:
    row = await house.row(recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        wipe = await ledger.last_wipe(connection, row.call_id, house.clock.now() - timedelta(minutes=1))
    return wipe is not None and wipe.is_done


async def test_asking_again_while_pending_waits_for_the_same_command(house: House) -> None:
    recording = await house.record(state="live")
    erasures = await house.erasures()
    for _ in range(3):
        assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM node_commands") == 1


async def test_a_node_that_could_not_stop_it_is_asked_again(house: House) -> None:
    recording = await house.record(state="live")
    async with gateway(house, first_outcome="media-away") as done:
        await erased(house, recording)
    assert len(done) == 2


async def test_an_answer_is_not_believed_while_the_row_is_live(house: House) -> None:
    """A gateway that was just started knows nothing of a call that the media process still records."""
    recording = await house.record(state="live")
    erasures = await house.erasures()
    async with gateway(house, closes=False) as done:
        assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.5), Pending)
        assert len(done) == 1
    assert await house.key_exists(recording)


async def test_a_recording_that_ended_by_itself_meanwhile_needs_no_confirmation(house: House) -> None:
    recording = await house.record(state="live")
    erasures = await house.erasures()
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET state = 'closed' WHERE id = $1", recording)
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Erased)


def serving(monkeypatch: pytest.MonkeyPatch, for_: timedelta) -> None:
    """As if the database's server had been started so long ago."""

    async def told(_connection: object) -> timedelta:
        return for_

    monkeypatch.setattr(recordings, "serving_for", told)


async def test_a_node_unseen_for_longer_than_media_records_without_it_is_not_waited_for(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    serving(monkeypatch, timedelta(days=1))
    recording = await house.record(state="live")
    erasures = await house.erasures()
    await house.later(seconds=80)
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    await house.later(seconds=20)
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    await house.later(seconds=20)
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Erased)


async def test_clocks_of_two_machines_are_not_compared_when_a_node_is_judged(house: House) -> None:
    recording = await house.record(state="live")
    erasures = await house.erasures()
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    house.clock.ahead += timedelta(hours=1)  # this machine alone believes so
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)


async def test_after_an_outage_of_the_database_a_node_gets_time_to_answer(house: House) -> None:
    await house.later(hours=1)
    recording = await house.record(state="live")
    erasures = await house.erasures()
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    async with gateway(house):
        assert isinstance(await erasures.erase(house.org, recording, **WHO), Erased)


async def test_a_node_that_records_on_through_an_outage_is_waited_for_also_by_what_was_asked_before(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording = await house.record(state="live")
    erasures = await house.erasures()
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    await house.later(hours=1)
    serving(monkeypatch, timedelta(seconds=1))
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Pending)
    serving(monkeypatch, timedelta(seconds=100))
    assert isinstance(await erasures.erase(house.org, recording, **WHO, wait_s=0.05), Erased)


async def test_a_late_close_by_the_node_does_not_bring_an_erased_recording_back(house: House) -> None:
    recording = await house.record()
    await erased(house, recording)
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET state = 'closed', remote_index = 'again' WHERE id = $1", recording)
        assert tuple(await connection.fetchrow("SELECT state, remote_index FROM recordings WHERE id = $1", recording)) == ("erased", None)


@pytest.mark.parametrize("shipped", [False, True])
async def test_ciphertext_is_swept_from_spool_and_store_and_the_bucket_renewed_before_the_entry_closes(house: House, shipped: bool) -> None:
    recording, survivor = await house.record(), await house.record()
    if shipped:
        assert await (await house.shipping()).ship_all() == 2
    assert len(house.ciphertext(recording)) == 1
    await erased(house, recording)
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert house.ciphertext(recording) == []
    assert len(house.ciphertext(survivor)) == 1
    entry = await entry_of(house, recording)
    assert entry is not None
    assert entry.swept_at is not None
    assert entry.renewed_at is None
    assert await upkeep.renew_buckets() == 0
    await house.later(hours=13)
    assert await upkeep.renew_buckets() == 1
    entry = await entry_of(house, recording)
    assert entry is not None
    assert entry.renewed_at is not None
    assert entry.closed_at is not None
    async with (await house.keyring("worker")).db.organisation(house.org) as connection:
        assert await connection.fetchval("SELECT state FROM buckets WHERE id = $1", entry.bucket_id) == "destroyed"
    assert (await (await house.keyring("api")).open_data_key(house.org, "recording", survivor, WHY)).key


async def test_a_key_that_moved_to_another_bucket_before_it_went_is_covered_by_that_buckets_renewal(house: House) -> None:
    first, second = await house.record(), await house.record()
    erasures = await house.erasures()
    assert isinstance(await erasures.erase(house.org, first, **WHO), Erased)
    entry = await erasures._enter(house.org, second, "api-key:1", "request")
    assert isinstance(entry, LedgerEntry)
    await renew_due(await house.keyring("worker"))
    await erasures.advance(entry)
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    async with (await house.keyring("worker")).db.organisation(house.org) as connection:
        left = await connection.fetch("SELECT id FROM buckets WHERE erasures > 0 AND destroyed_at IS NULL")
    assert len(left) == 1
    assert left[0]["id"] != entry.bucket_id
    await upkeep.renew_buckets(at_once=True)
    async with (await house.keyring("worker")).db.organisation(house.org) as connection:
        assert await connection.fetchval("SELECT count(*) FROM buckets WHERE erasures > 0 AND destroyed_at IS NULL") == 0
    closed = await entry_of(house, second)
    assert closed is not None
    assert closed.closed_at is not None


async def test_while_somebody_ships_it_nothing_is_swept(house: House) -> None:
    recording = await house.record()
    await erased(house, recording)
    async with alone(await house.databases.connect("main", "worker"), recording) as is_alone:
        assert is_alone
        await (await house.upkeep()).carry_on()
        assert len(house.ciphertext(recording)) == 1
    await (await house.upkeep()).carry_on()
    assert house.ciphertext(recording) == []


async def test_with_the_keyring_away_the_ledger_holds_the_wish_and_the_worker_carries_it_out(house: House) -> None:
    recording = await house.record()
    erasures = await house.erasures()

    async def away(*_: object) -> None:
        raise Unavailable("away")

    erasures._keyring.destroy_keys = away  # type: ignore[method-assign, assignment]
    outcome = await erasures.erase(house.org, recording, **WHO)
    assert isinstance(outcome, Pending)
    assert isinstance(await (await house.recordings()).get(house.org, recording), Gone)
    await (await house.upkeep()).carry_on()
    assert not await house.key_exists(recording)
    assert await (await house.erasures()).receipt(house.org, recording) is not None


async def test_a_key_that_could_only_go_days_later_gets_a_receipt_that_promises_nothing_past(house: House) -> None:
    recording = await house.record()
    erasures = await house.erasures()

    async def away(*_: object) -> None:
        raise Unavailable("away")

    destroy, erasures._keyring.destroy_keys = erasures._keyring.destroy_keys, away  # type: ignore[method-assign, assignment]
    assert isinstance(await erasures.erase(house.org, recording, **WHO), Pending)
    erasures._keyring.destroy_keys = destroy  # type: ignore[method-assign]
    await house.later(hours=30)
    outcome = await erasures.erase(house.org, recording, **WHO)
    assert isinstance(outcome, Erased)
    found = receipts.verify(outcome.receipt, await published_keys(house)).erasure
    assert found is not None
    assert found.unreadable_at - found.requested_at >= timedelta(hours=30)
    assert found.copies_unusable_by == found.unreadable_at + timedelta(hours=12)


async def test_with_the_store_away_waiting_keys_are_destroyed_before_ciphertext_is_swept(house: House) -> None:
    for _ in range(2):
        await (await house.erasures()).erase(house.org, await house.record(), **WHO)
    live = await house.record(state="live")
    assert isinstance(await (await house.erasures()).erase(house.org, live, **WHO, wait_s=0), Pending)
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET state = 'crashed' WHERE id = $1", live)
    upkeep = await house.upkeep()
    was_readable: list[bool] = []

    async def away(*_: object) -> None:
        was_readable.append(await house.key_exists(live))
        raise Unavailable("away")

    upkeep._blobs.delete = away  # type: ignore[method-assign, assignment]
    await upkeep.carry_on()
    assert was_readable == [False, False, False]


async def test_the_gateway_can_neither_read_the_ledger_nor_open_keys(house: House) -> None:
    recording = await house.record()
    with pytest.raises(KeyUnavailable):
        await (await house.keyring("gateway")).open_data_key(house.org, "recording", recording, WHY)
    with pytest.raises(Exception, match="permission denied"):
        async with (await house.main("gateway")).organisation(house.org) as connection:
            await connection.fetch("SELECT * FROM erasure_ledger")


async def test_the_stored_receipt_is_the_one_that_was_handed_out(house: House) -> None:
    recording = await house.record()
    receipt = await erased(house, recording)
    entry = await entry_of(house, recording)
    assert entry is not None
    assert canonical(entry.receipt) == receipt
    async with (await house.main("api")).organisation(house.org) as connection:
        assert [found.id for found in await ledger.listed(connection)] == [entry.id]
        assert await recordings.get(connection, RecordingId(uuid4())) is None
