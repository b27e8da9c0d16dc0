"""A gateway begins calls that are asked for by turns: none of its organisations has all of what it begins at once."""

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

from hushwire.app.sources import SystemClock
from hushwire.core.ids import AgentId, CallId, NodeId, OrgId
from hushwire.services.call_taking import MOST_OF_ONE, CallTaking
from hushwire.store import call_requests
from hushwire.store.call_requests import CallRequest
from tests.polling import until
from tests.recorded import House, house
from tests.store.rows import add_agent

__all__ = ["house"]


class Slow(CallTaking):
    """A call is begun once `let` says so."""

    begun: list[CallRequest]
    let: asyncio.Semaphore

    async def _begin(self, wanted: CallRequest) -> tuple[str, CallId | None]:
        self.begun.append(wanted)
        await self.let.acquire()
        return "ok", None


async def test_who_asks_for_many_calls_at_once_leaves_room_for_others_and_has_its_next_turn_at_once(house: House) -> None:
    main, gateway, other = await house.main("owner"), await house.main("gateway"), await house.another("globex")

    async def ask(org: OrgId, count: int) -> None:
        async with main.organisation(org) as connection:
            agent = AgentId(await add_agent(connection, org))
            for _ in range(count):
                await call_requests.ask(connection, CallRequest(uuid4(), org, agent, b"sealed"), datetime.now(UTC), 60)

    records = SimpleNamespace(write=lambda *_, **__: None)
    calling = SimpleNamespace(takes_calls=True)
    taking = Slow(gateway, calling, None, records, SystemClock(), NodeId(UUID(int=7)))  # type: ignore[arg-type]
    taking.begun, taking.let = [], asyncio.Semaphore(0)
    await ask(house.org, MOST_OF_ONE + 5)
    running = asyncio.create_task(taking.run())
    try:
        await until(lambda: len(taking.begun) == MOST_OF_ONE)
        await ask(other, 1)
        await until(lambda: taking.begun[-1].org_id == other)
        assert len(taking.begun) == MOST_OF_ONE + 1
        for _ in range(6):
            taking.let.release()
        await until(lambda: len(taking.begun) == MOST_OF_ONE + 6)
    finally:
        tasks = [running, *taking._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
