"""The erasure of a whole organisation: its keys at once, then everything that they opened, and the proof."""

import json
import time
from uuid import UUID, uuid4

import asyncpg
import pytest

from hushwire.core.errors import KeyUnavailable, Unavailable
from hushwire.core.personal import Personal
from hushwire.privacy import audit, receipts
from hushwire.privacy.organisation_end import removed_tables
from hushwire.privacy.selection import Selector
from hushwire.services.erasure_operations import Operation
from hushwire.services.holds import Holds, Wanted
from hushwire.services.recordings import Gone
from hushwire.store import ledger
from hushwire.store.holds import HoldRow
from hushwire.store.rules import get as get_rules
from hushwire.vault.shredding import keys_left
from hushwire.vault.unseal import Why
from tests.called import add_agent, called
from tests.privacy.test_erasure import gateway, published_keys
from tests.privacy.test_erasure_bulk import contact, export_with
from tests.recorded import Chance, Fate, House, Killed, house

__all__ = ["house"]

ANNA = "+493023125001"
WHO = {"actor": "api-key:1", "reason": "termination"}
EVERYTHING = Selector(everything=True)
WHY = Why("system:worker", "storage-integrity")


async def end(house: House, *, role: str = "worker", within_s: float = 5.0) -> Operation:
    erasures = await house.erasures(role)  # type: ignore[arg-type]
    return await erasures.erase_matching(house.org, EVERYTHING, **WHO, within_s=within_s)


async def test_from_one_commit_on_nothing_of_the_organisation_opens_and_others_are_untouched(house: House) -> None:
    mine = [await called(house, ANNA) for _ in range(3)]
    other = await house.another("globex")
    theirs = await (await house.keyring("gateway")).new_data_key(other, "recording", uuid4())
    keys = await published_keys(house)
    operation = await end(house)
    assert operation.is_unreadable
    assert operation.receipt is not None
    result = receipts.verify(operation.receipt, keys)
    assert result.is_valid
    assert result.operation is not None
    assert (result.operation.scope, result.operation.counts, result.operation.items) == ("organisation", {"call": 3, "recording": 3}, 1)
    for each in mine:
        with pytest.raises(KeyUnavailable):
            await (await house.keyring("worker")).open_data_key(house.org, "recording", each.recording, WHY)
        assert isinstance(await (await house.recordings()).get(house.org, each.recording), Gone)
    with pytest.raises(KeyUnavailable):
        await (await house.keyring("worker")).org_context(house.org)
    assert list((house.folder / "buckets").iterdir()) != []  # the other organisation's
    assert (await (await house.keyring("worker")).open_data_key(other, "recording", theirs.id, WHY)).key == theirs.key
    proof = await (await house.erasures()).receipt_of(house.org, "organisation", house.org)
    assert proof is not None
    assert receipts.verify(proof, keys).is_valid


async def test_a_key_or_a_call_that_comes_late_finds_no_place(house: House) -> None:
    await called(house, ANNA)
    gateway_keyring = await house.keyring("gateway")
    index = (await gateway_keyring.org_context(house.org)).index("calls.remote", ANNA)
    await end(house)
    with pytest.raises((KeyUnavailable, Unavailable)):
        await gateway_keyring.new_data_key(house.org, "recording", uuid4())
    late = uuid4()
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute(
            "INSERT INTO calls (id, org_id, node_id, direction, state, started_at, sealed_with, remote_sealed, remote_index)"
            " VALUES ($1, $2, $3, 'outbound', 'ended', now(), $1, 's', $4)",
            late, house.org, house.node, index,
        )  # fmt: skip
        row = await connection.fetchrow("SELECT sealed_with, remote_sealed, remote_index FROM calls WHERE id = $1", late)
        assert tuple(row) == (None, None, None)
    async with (await house.main("gateway")).transaction() as connection:
        assert await connection.fetch("SELECT org_id FROM rules_versions() WHERE org_id = $1", house.org) == []


async def test_live_recordings_end_first_and_the_api_waits_for_the_worker(house: House) -> None:
    live = await called(house, ANNA, state="live")
    operation = await end(house, role="api", within_s=0.1)
    assert not operation.is_unreadable
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert await house.key_exists(live.recording)
    assert (await house.row(live.recording)).is_gone  # given out no more, though not ended yet
    async with gateway(house) as commands:
        async with (await house.main("gateway")).organisation(house.org) as connection:
            actions = {row["action"] for row in await connection.fetch("SELECT action FROM node_commands")}
        assert actions == {"recording.wipe", "hangup"}
        await upkeep.carry_on()
        while not commands:
            await upkeep.carry_on()
    await upkeep.carry_on()
    again = await end(house, role="api", within_s=0.1)
    assert (again.id, again.is_unreadable) == (operation.id, True)


async def test_it_is_swept_in_batches_proven_absent_and_closed_with_its_last_rows(house: House) -> None:
    agent = await add_agent(house)
    each = await called(house, ANNA, agent_id=agent)
    person = await contact(house, "Anna", ANNA)
    await (await house.shipping()).ship_all()
    bundle = await export_with(house, each.recording)
    await called(house, ANNA)  # its file is still in the spool
    operation = await end(house)
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    assert [
        path for path in house.folder.rglob("*") if path.is_file() and "buckets" not in path.parts and path.suffix in (".hwr", ".hwx")
    ] == []
    assert await keys_left(await house.keyring("worker"), house.org) == {"data_keys": 0, "org_keys": 0, "buckets": 0}
    async with (await house.main("api")).organisation(house.org) as connection:
        entry = await ledger.by_object(connection, "organisation", house.org)
        slug, name = await connection.fetchrow("SELECT slug, name FROM orgs")
        assert (slug, name) == (f"erased-{house.org}", "")
        assert await connection.fetchval("SELECT count(*) FROM agents") == 0
        assert await connection.fetchval("SELECT count(*) FROM calls WHERE remote_sealed IS NOT NULL OR erased_at IS NULL") == 0
        assert await connection.fetchval("SELECT count(*) FROM calls") == 2  # records of account
        assert await connection.fetchval("SELECT state FROM documents WHERE id = $1", bundle) == "erased"
        assert await connection.fetchval("SELECT name_sealed FROM contacts WHERE id = $1", person) is None
    assert entry is not None
    assert entry.evidence is not None
    assert entry.evidence["stores"] == {"*": 0}
    assert entry.evidence["keyring"] == {"data_keys": 0, "org_keys": 0, "buckets": 0}
    assert set(entry.evidence["rows"]) == set(removed_tables())
    assert not any(entry.evidence["rows"].values())
    await house.later(hours=13)
    await upkeep.renew_buckets()
    view = await (await house.erasures()).operation(house.org, operation.id)
    assert view is not None
    assert view.row.state == "done"
    assert (await audit.verify(await house.main("api"), house.org)).is_whole


async def test_any_hold_keeps_the_whole_until_it_is_released(house: House) -> None:
    each = await called(house, ANNA)
    service = Holds(await house.main("api"), await house.keyring("api"), house.clock, Chance())
    placed = await service.place(house.org, Wanted("number", "tax", Personal("office"), number=Personal(ANNA)), actor="api-key:1")
    assert isinstance(placed, HoldRow)
    operation = await end(house)
    assert (operation.row.state, operation.row.deferred, operation.receipt) == ("deferred", 1, None)
    assert await house.key_exists(each.recording)
    async with (await house.main("api")).organisation(house.org) as connection:
        assert await get_rules(connection) is not None
        assert await connection.fetchval("SELECT erased_at FROM orgs") is None
    await service.release(house.org, placed.id, actor="api-key:1")
    upkeep = await house.upkeep()
    await upkeep.carry_on()
    newest, old = await (await house.erasures()).operations.listed(house.org)
    assert (newest.row.follows, newest.is_unreadable, old.row.state) == (operation.id, True, "done")


async def test_killed_at_any_border_it_is_finished_by_the_next_worker(house: House) -> None:
    kill_at, first = 0, house.org
    keys = await published_keys(house)
    while True:
        kill_at += 1
        house.org = await house.another(f"org-{kill_at}")
        each = await called(house, ANNA)
        fate = Fate(kill_at)
        try:
            erasures = (await house.upkeep(fate))._erasures
            await erasures.erase_matching(house.org, EVERYTHING, **WHO)
            upkeep = await house.upkeep(fate)
            await upkeep.carry_on()
            await upkeep.renew_buckets(at_once=True)
        except Killed:
            async with (await house.main("api")).organisation(house.org) as connection:
                entry = await ledger.by_object(connection, "organisation", house.org)
            left = await keys_left(await house.keyring("worker"), house.org)
            assert entry is not None or left["org_keys"] == 2, "something was destroyed before the ledger knew"
            assert entry is None or entry.unreadable_at is None or left["org_keys"] == 0
            await end(house)
            upkeep = await house.upkeep()
            await upkeep.carry_on()
            await upkeep.renew_buckets(at_once=True)
        assert house.ciphertext(each.recording) == []
        assert await keys_left(await house.keyring("worker"), house.org) == {"data_keys": 0, "org_keys": 0, "buckets": 0}
        async with (await house.main("api")).organisation(house.org) as connection:
            states = [tuple(row) for row in await connection.fetch("SELECT state, selector, receipt IS NOT NULL FROM erasure_operations")]
            receipt = await connection.fetchval("SELECT receipt FROM erasure_operations")
        assert states == [("done", None, True)]
        assert receipts.verify(receipt.encode() if isinstance(receipt, str) else json.dumps(receipt).encode(), keys).operation is not None
        if fate.passed < kill_at:
            break
    assert kill_at > 25
    house.org = first
    assert (await keys_left(await house.keyring("worker"), house.org))["org_keys"] == 2


async def test_rows_are_removed_of_erased_organisations_only_and_never_proofs(house: House) -> None:
    await called(house, ANNA)
    worker = await house.main("worker")
    for table in ("agents", "calls"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with worker.organisation(house.org) as connection:
                await connection.fetchval("SELECT remove_of_ended($1::text::regclass, 10)", table)
    await end(house)
    for table in ("erasure_ledger", "audit_log", "orgs", "legal_holds", "access_log"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with worker.organisation(house.org) as connection:
                await connection.fetchval("SELECT remove_of_ended($1::text::regclass, 10)", table)
    for role in ("api", "gateway"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            async with (await house.main(role)).organisation(house.org) as connection:  # type: ignore[arg-type]
                await connection.fetchval("SELECT remove_of_ended('agents'::regclass, 10)")


async def test_the_keys_of_many_recordings_end_as_quickly_as_those_of_one(house: House) -> None:
    administrator = await asyncpg.connect(house.databases.dsn("keyring", "administrator"))
    bucket: UUID = await administrator.fetchval("SELECT id FROM buckets WHERE org_id = $1", house.org)
    await administrator.execute("ALTER TABLE data_keys DISABLE TRIGGER USER")
    await administrator.execute(
        "INSERT INTO data_keys (id, org_id, bucket_id, kind, sealed, fingerprint, created_at)"
        " SELECT gen_random_uuid(), $1, $2, 'recording', 's', 'f', now() FROM generate_series(1, 50000)",
        house.org, bucket,
    )  # fmt: skip
    await administrator.execute("ALTER TABLE data_keys ENABLE TRIGGER USER")
    await administrator.close()
    started = time.perf_counter()
    assert (await end(house)).is_unreadable
    assert time.perf_counter() - started < 5  # on a machine with nothing else to do: 0.1 s, for a million as for one
    left = await keys_left(await house.keyring("worker"), house.org)
    assert (left["data_keys"], left["org_keys"], left["buckets"]) == (50_000, 0, 0)
