"""What calls leave behind ends by itself: the collector of garbage would stop all calls to find it."""

import gc
from collections import Counter
from pathlib import Path

from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.polling import until
from tests.services.running import Peer, World, need_program, running
from tests.services.test_transfers import to_carrier

pytestmark = need_program

MOST = 20


async def whole_call(world: World, anna: Peer, *, by_carrier: bool) -> None:
    live, near, far = await to_carrier(world, anna)
    one, other, dialog = (world.carrier, anna, far) if by_carrier else (anna, world.carrier, near)
    one.endpoint.bye(dialog)
    await other.expect(sip.DialogEnded)
    await one.expect(sip.Responded)
    await until(lambda: live.id not in world.gateway.calling.table.calls, what="the call is over")


async def test_calls_and_registrations_leave_no_cycles(databases: Databases, tmp_path: Path) -> None:
    async with running(databases, tmp_path) as world:
        anna = await world.peer("anna")
        for by_carrier in (False, True):
            await whole_call(world, anna, by_carrier=by_carrier)
        gc.collect()
        gc.disable()
        try:
            for number in range(10):
                await whole_call(world, anna, by_carrier=number % 2 == 0)
                await world.peer("ben")
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            found = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    ours = {name: count for name, count in found.items() if name.startswith("hushwire.")}
    assert sum(ours.values()) < MOST, ours
