"""What the inventory keeps for a day is kept for a day."""

from datetime import timedelta
from uuid import uuid4

from hushwire.services.erasure_expiry import expire
from tests.recorded import House, house
from tests.store.rows import add_agent, add_call, insert

__all__ = ["house"]

TABLES = ("call_requests", "idempotency", "node_commands", "registrations")


async def counts(house: House) -> list[int]:
    async with (await house.main("worker")).organisation(house.org) as connection:
        return [await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]


async def test_rows_that_have_served_go_after_a_day_and_open_ones_stay(house: House) -> None:
    now = house.clock.now()
    async with (await house.databases.connect("main", "owner")).organisation(house.org) as connection:
        agent, call = await add_agent(connection, house.org), await add_call(connection, house.org, house.node)
        for done in (now, None):
            await insert(
                connection,
                "node_commands",
                id=uuid4(),
                org_id=house.org,
                node_id=house.node,
                call_id=call,
                action="hangup",
                created_at=now,
                done_at=done,
            )
        asked = {"agent_id": agent, "destination_sealed": b"s", "asked_at": now, "take_by": now}
        await insert(connection, "call_requests", id=uuid4(), org_id=house.org, **asked)
        await insert(connection, "idempotency", org_id=house.org, key="k", request_hash=b"h", status=200, response="{}", created_at=now)
        for life in (timedelta(minutes=5), timedelta(days=7)):
            await insert(
                connection,
                "registrations",
                id=uuid4(),
                org_id=house.org,
                agent_id=agent,
                node_id=house.node,
                contact_sealed=b"s",
                contact_index=uuid4().bytes,
                call_id_hash=b"h",
                cseq=1,
                expires_at=now + life,
                created_at=now,
            )
    worker = await house.main("worker")
    house.clock.ahead += timedelta(hours=23)
    assert await expire(worker, house.clock) == 0
    assert await counts(house) == [1, 1, 2, 2]
    house.clock.ahead += timedelta(hours=2)
    assert await expire(worker, house.clock) == 4
    assert await counts(house) == [0, 0, 1, 1]
