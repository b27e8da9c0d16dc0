"""What gateways take of the calls that are asked for: by turns over organisations."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hushwire.core.ids import AgentId, NodeId, OrgId
from hushwire.store import call_requests
from hushwire.store.call_requests import CallRequest
from hushwire.store.database import Connection
from tests.recorded import House, house
from tests.store.rows import add_agent

__all__ = ["house"]
NOW = datetime.now(UTC)
HERE, THERE = NodeId(UUID(int=7)), NodeId(UUID(int=8))


async def asked(
    connection: Connection, org: OrgId, count: int, at: datetime, within_s: float = 60, node: NodeId | None = None
) -> list[UUID]:
    agent, ids = AgentId(await add_agent(connection, org)), [uuid4() for _ in range(count)]
    for n, one in enumerate(ids):
        wanted = CallRequest(one, org, agent, b"sealed", room_id=None, node_wanted=node)
        await call_requests.ask(connection, wanted, at + timedelta(milliseconds=n), within_s)
    return ids


async def test_each_organisation_has_its_turn_whatever_another_asks_for_at_once(house: House) -> None:
    main, gateway = await house.main("owner"), await house.main("gateway")
    globex, initech = [await house.another(slug) for slug in ("globex", "initech")]
    async with main.organisation(house.org) as connection:
        crowd = await asked(connection, house.org, 150, NOW - timedelta(seconds=2))
    async with main.organisation(globex) as connection:
        await asked(connection, globex, 120, NOW - timedelta(seconds=9), within_s=-1)
        late = await asked(connection, globex, 2, NOW)
    async with main.organisation(initech) as connection:
        await asked(connection, initech, 3, NOW - timedelta(seconds=9), node=THERE)
        mine = await asked(connection, initech, 1, NOW, node=HERE)
    async with gateway.transaction() as connection:
        found = await call_requests.open_for(connection, HERE)
    assert len(found) == 100
    assert {request for _, request in found[:5]} == {*crowd[:2], *late, *mine}, "two turns"
    assert [request for org, request in found if org == house.org] == crowd[:97]
    assert [request for org, request in found if org == globex] == late
