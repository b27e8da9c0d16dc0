"""The outbox of parts: by turns over organisations, and receipts to the part that is under way."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hushwire.core.ids import OrgId
from hushwire.store import message_parts
from hushwire.store.database import Connection
from tests.recorded import House, house
from tests.store.rows import insert

__all__ = ["house"]
NOW = datetime.now(UTC)


async def queued(connection: Connection, org: OrgId, centre: UUID, count: int, due_at: datetime) -> list[UUID]:
    ids = [uuid4() for _ in range(count)]
    await connection.executemany(
        "INSERT INTO messages (id, org_id, direction, channel, state, created_at) VALUES ($1, $2, 'outbound', 'sms', 'queued', $3)",
        [(one, org, due_at) for one in ids],
    )
    await message_parts.enqueue_all(connection, org, [(one, 1, centre) for one in ids], due_at, None)
    return ids


async def test_a_carrier_is_given_parts_of_each_organisation_by_turns_whatever_the_backlog_of_one(house: House) -> None:
    main, worker, centre = await house.main("owner"), await house.main("worker"), uuid4()
    others = [await house.another(slug) for slug in ("globex", "initech")]
    async with main.transaction() as connection:
        await insert(connection, "message_centres", id=centre, name="smsc", settings="{}", created_at=NOW, updated_at=NOW)
    async with main.organisation(house.org) as connection:
        backlog = await queued(connection, house.org, centre, 300, NOW - timedelta(hours=1))
    theirs: list[UUID] = []
    for org in others:
        async with main.organisation(org) as connection:
            await queued(connection, org, centre, 3, NOW + timedelta(hours=1))
            theirs += await queued(connection, org, centre, 3, NOW)
    async with worker.transaction() as connection:
        found = await message_parts.due(connection, centre, NOW, 50)
    assert len(found) == 50
    assert {ref.message_id for ref in found[:9] if ref.org_id in others} == set(theirs)
    assert sum(ref.org_id == house.org for ref in found) == 44
    assert {ref.message_id for ref in found if ref.org_id == house.org} <= set(backlog)


async def test_a_receipt_under_an_id_that_was_used_before_is_about_the_part_that_is_under_way(house: House) -> None:
    main, worker, centre = await house.main("owner"), await house.main("worker"), uuid4()
    async with main.transaction() as connection:
        await insert(connection, "message_centres", id=centre, name="smsc", settings="{}", created_at=NOW, updated_at=NOW)
    async with main.organisation(house.org) as connection:
        ids = await queued(connection, house.org, centre, 5, NOW)
        states = zip(ids, ("delivered", "submitted", "submitted", "failed", "delivered"), range(5), strict=True)
        for message, state, second in states:
            at = NOW + timedelta(seconds=second)
            query = "UPDATE message_parts SET state = $2, receipt_id = 'cSAME', changed_at = $3 WHERE message_id = $1"
            await connection.execute(query, message, state, at)
    async with worker.transaction() as connection:
        found = await message_parts.of_receipts(connection, centre, ["cSAME", "cOTHER", "cSAME"])
    assert {key: ref.message_id for key, ref in found.items()} == {"cSAME": ids[1]}


async def test_messages_that_were_begun_hide_none_that_may_go_by_another_carrier(house: House) -> None:
    main, worker, centre = await house.main("owner"), await house.main("worker"), uuid4()
    async with main.transaction() as connection:
        await insert(connection, "message_centres", id=centre, name="smsc", settings="{}", created_at=NOW, updated_at=NOW)
    async with main.organisation(house.org) as connection:
        tried = await queued(connection, house.org, centre, 6, NOW - timedelta(hours=1))
        await connection.execute("UPDATE message_parts SET attempts = 1 WHERE message_id = ANY($1::uuid[])", tried)
        free = await queued(connection, house.org, centre, 3, NOW)
        await queued(connection, house.org, centre, 3, NOW + timedelta(hours=1))
    async with worker.transaction() as connection:
        found = await message_parts.not_begun(connection, centre, NOW, 3, [(uuid4(), UUID(int=0), True)])
    assert sorted((org, one) for org, one, _ in found) == sorted((house.org, one) for one in free)
