"""Signed heads against somebody who can write to the database, and knows how the chain is made."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from hushwire.core.ids import OrgId
from hushwire.privacy import audit
from hushwire.privacy.audit import Fault
from hushwire.privacy.canonical import canonical
from hushwire.privacy.receipts import published
from hushwire.services.audit_heads import AuditHeads
from hushwire.store.database import Database
from tests.privacy.test_audit import rewrite, tamper, verdict
from tests.recorded import Fate, House, Killed, house
from tests.store.rows import add_org

__all__ = ["house"]


async def signer(house: House, fate: Fate | None = None) -> AuditHeads:
    return AuditHeads(await house.main("worker", fate), await house.keyring("worker", fate), house.clock)


async def act(house: House, count: int) -> Database:
    db = await house.main("api")
    for n in range(count):
        async with db.organisation(house.org) as connection:
            await audit.append(connection, house.org, house.clock.now(), "api-key:1", "thing.done", f"thing:{n}", {"n": n})
    return db


async def keys(house: House) -> bytes:
    own = await (await house.keyring("api")).public_signing_keys()
    return canonical(published([(key.id, key.public_key) for key in own]))


async def day(house: House) -> tuple[Database, bytes]:
    """Six rows and three heads, at rows 2, 4 and 6."""
    db = await house.main("api")
    for _ in range(3):
        await act(house, 2)
        await (await signer(house)).sign_due()
        house.clock.ahead += timedelta(hours=1)
    return db, await keys(house)


async def heads(house: House) -> list[Any]:
    async with (await house.main("api")).organisation(house.org) as connection:
        return [(head.seq, head.position) for head in await audit.signed_heads(connection)]


async def test_each_hour_has_a_head_also_of_organisations_where_nothing_happens(house: House) -> None:
    idle = await add_org(await house.main("owner"), "idle")
    await act(house, 2)
    worker = await signer(house)
    for hour in range(3):
        assert await worker.sign_due() == 2
        assert await worker.sign_due() == 0
        house.clock.ahead += timedelta(hours=1)
        assert len(await heads(house)) == hour + 1
    assert await heads(house) == [(1, 2), (2, 2), (3, 2)]
    result = await audit.verify(await house.main("api"), idle, keys=await keys(house))
    assert (result.is_whole, result.rows, result.heads) == (True, 0, 3)


async def test_two_workers_at_once_make_one_head(house: House) -> None:
    await act(house, 1)
    made = await asyncio.gather(*[(await signer(house)).sign_due() for _ in range(4)])
    assert sum(made) == 1
    assert await heads(house) == [(1, 1)]


async def test_a_worker_killed_at_any_border_leaves_a_chain_of_heads_that_the_next_one_goes_on_with(house: House) -> None:
    await act(house, 1)
    for kill_at in range(1, 20):
        fate = Fate(kill_at)
        try:
            await (await signer(house, fate)).sign_due()
        except Killed:
            await (await signer(house)).sign_due()
            house.clock.ahead += timedelta(hours=1)
            continue
        break
    assert kill_at > 3
    result = await audit.verify(await house.main("api"), house.org, keys=await keys(house))
    assert result.is_whole, result
    assert result.heads == kill_at


async def test_an_untouched_day_is_whole_and_says_how_far_heads_vouch_for_it(house: House) -> None:
    db, known = await day(house)
    await act(house, 1)
    result = await audit.verify(db, house.org, keys=known)
    assert result.is_whole, result
    assert (result.rows, result.heads, result.confirmed) == (7, 3, 6)


async def test_a_chain_rewritten_by_somebody_who_knows_how_contradicts_the_next_signed_head(house: House) -> None:
    db, known = await day(house)
    await rewrite(house.databases, db, house.org, 3, 6)
    assert await verdict(db, house.org, keys=known) == (4, Fault.REWRITTEN)


async def test_a_truncated_chain_is_found_up_to_the_last_signed_head(house: House) -> None:
    db, known = await day(house)
    await act(house, 1)
    await tamper(house.databases, "DELETE FROM audit_log WHERE position > 6")
    assert (await audit.verify(db, house.org, keys=known)).is_whole  # within the hour only a head kept elsewhere shows it
    await tamper(house.databases, "DELETE FROM audit_log WHERE position > 5")
    assert await verdict(db, house.org, keys=known) == (6, Fault.TRUNCATED)
    await tamper(house.databases, "DELETE FROM audit_log")
    assert await verdict(db, house.org, keys=known) == (1, Fault.TRUNCATED)


async def test_nobody_vouches_for_a_chain_that_was_cut(house: House) -> None:
    await day(house)
    await tamper(house.databases, "DELETE FROM audit_log WHERE position > 3")
    assert await (await signer(house)).sign_due() == 0
    assert len(await heads(house)) == 3


async def test_a_head_that_was_taken_out_is_missed(house: House) -> None:
    db, known = await day(house)
    await tamper(house.databases, "DELETE FROM audit_heads WHERE seq = 2")
    assert await verdict(db, house.org, keys=known) == (2, Fault.HEAD_REMOVED)
    await tamper(house.databases, "UPDATE audit_heads SET seq = 2 WHERE seq = 3")
    assert await verdict(db, house.org, keys=known) == (2, Fault.HEAD_FORGED)


@pytest.mark.parametrize(
    "change",
    ["position = 3", "hash = sha256('x')", "at = at + interval '1 second'", "previous = sha256('x')", "key_id = gen_random_uuid()"],
)
async def test_a_head_that_was_altered_is_found(house: House, change: str) -> None:
    db, known = await day(house)
    await tamper(house.databases, f"UPDATE audit_heads SET {change} WHERE seq = 2")
    assert await verdict(db, house.org, keys=known) == (2, Fault.HEAD_FORGED)


async def test_a_receipt_altered_to_fit_a_rewritten_chain_is_found(house: House) -> None:
    recording = await house.record()
    await (await house.erasures()).erase(house.org, recording, actor="api-key:1", reason="customer-request")
    db, known = await house.main("api"), await keys(house)
    assert (await audit.verify(db, house.org, keys=known)).is_whole
    await rewrite(house.databases, db, house.org, 1, 1)
    assert await verdict(db, house.org, keys=known) == (1, Fault.REWRITTEN)
    async with db.organisation(house.org) as connection:
        false = await connection.fetchval("SELECT encode(hash, 'hex') FROM audit_log WHERE position = 1")
    await tamper(house.databases, "UPDATE erasure_ledger SET receipt = jsonb_set(receipt, '{audit_head}', to_jsonb($1::text))", false)
    assert await verdict(db, house.org, keys=known) == (1, Fault.RECEIPT_FORGED)


async def test_the_silence_of_a_worker_that_did_not_run_is_told(house: House) -> None:
    db, known = await day(house)
    house.clock.ahead += timedelta(hours=9)
    await (await signer(house)).sign_due()
    result = await audit.verify(db, house.org, keys=known)
    assert result.is_whole
    assert result.notes == ("no head was signed for 10.0 hours",)


async def test_heads_of_a_foreign_organisation_vouch_for_nothing_here(house: House) -> None:
    db, known = await day(house)
    other = await add_org(await house.main("owner"), "other")
    await tamper(house.databases, "UPDATE audit_heads SET org_id = $1", other)
    assert (await audit.verify(db, OrgId(other), keys=known)).kind is Fault.HEAD_FORGED
