"""What gateways tell each other of their calls: a telling of all of it mends what was missed, and is never seen half."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import UUID

import pytest

from hushwire.app.sources import SystemRandom
from hushwire.core.ids import AgentId, NodeId, TrunkId
from hushwire.services.fraud import Breaker
from hushwire.services.fraud_sharing import CALLS, FraudSharing
from hushwire.services.shared_counts import CHANNEL, TELL_AGAIN_S, Counted, SharedCounts
from hushwire.services.told_counts import PORTION, ToldCounts, place_of, portions
from tests.databases import Databases
from tests.polling import until
from tests.services.location import build

HERE, THERE = NodeId(UUID(int=7)), NodeId(UUID(int=8))
OVER, ON = UUID(int=20), UUID(int=21)


class Ear:
    """What hears one channel, where it is not deaf; `missed` is what was said meanwhile."""

    def __init__(self, hear: Callable[[str], None]) -> None:
        self._hear = hear
        self.is_deaf = False
        self.missed: list[str] = []

    def __call__(self, payload: str) -> None:
        (self.missed.append if self.is_deaf else self._hear)(payload)


class Clock:
    seconds = 100.0

    def monotonic(self) -> float:
        return self.seconds


@contextlib.asynccontextmanager
async def running(task: asyncio.Task[None]) -> AsyncIterator[None]:
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_end_of_a_call_that_was_told_while_nobody_listened_is_known_from_the_next_telling(databases: Databases) -> None:
    db, clock = await databases.connect("main", "gateway"), Clock()
    calls = {(Counted.TRUNK, OVER): 1, (Counted.TRUNK, ON): 2}
    teller, hearer = SharedCounts(db, lambda: calls, clock, THERE), SharedCounts(db, dict, clock, HERE)  # type: ignore[arg-type]
    ear = Ear(hearer._hear)
    await db.listen(CHANNEL, ear)
    async with running(asyncio.create_task(teller.run())):
        await until(lambda: hearer.elsewhere(TrunkId(OVER)) == 1)
        ear.is_deaf = True
        del calls[Counted.TRUNK, OVER]
        await until(lambda: any(json.loads(said)["calls"].get(str(OVER)) == 0 for said in ear.missed))
        ear.is_deaf = False
        assert hearer.elsewhere(TrunkId(OVER)) == 1
        clock.seconds += TELL_AGAIN_S
        await until(lambda: hearer.elsewhere(TrunkId(OVER)) == 0)
        assert hearer.elsewhere(TrunkId(ON)) == 2


async def test_so_is_the_end_of_a_call_that_the_fraud_breaker_counts(databases: Databases, tmp_path: Path) -> None:
    world = await build(databases, tmp_path)
    calls = {AgentId(OVER): 1, AgentId(ON): 2}

    def sharing(node: NodeId) -> FraudSharing:
        breaker = Breaker(world.directory, world.clock, SystemRandom(), tuple, lambda _live, _why: None, lambda _alarm: None)
        breaker.out_here = lambda: dict(calls)  # type: ignore[method-assign, assignment, return-value]
        return FraudSharing(world.db, world.directory, breaker, world.clock, node)

    teller, hearer = sharing(THERE), sharing(HERE)
    ear = Ear(hearer._hear_calls)
    await world.db.listen(CALLS, ear)
    await teller._tell_calls(0.0)
    await until(lambda: hearer.elsewhere() == {OVER: 1, ON: 2})
    ear.is_deaf = True
    del calls[AgentId(OVER)]
    await teller._tell_calls(0.1)
    await until(lambda: ear.missed)
    ear.is_deaf = False
    await teller._tell_calls(TELL_AGAIN_S)
    await until(lambda: hearer.elsewhere() == {ON: 2})


def test_a_telling_of_several_notifications_holds_once_the_last_one_is_there_and_drops_what_it_does_not_name() -> None:
    told = ToldCounts[str]()
    told.hear(THERE, {"gone": 3, "kept": 1}, None)
    all_of_it = {"kept": 2} | {f"call {n}": 1 for n in range(2 * PORTION)}
    parts = list(portions(all_of_it, is_whole=True))
    assert [place for _, place in parts] == [(0, 3), (1, 3), (2, 3)]
    for counts, place in parts:
        assert told.all()[THERE] == {"gone": 3, "kept": 1}
        told.hear(THERE, counts, place)
    assert told.all()[THERE] == all_of_it
    # What changes between holds at once, and a telling that broke off is begun anew.
    told.hear(THERE, *parts[0])
    told.hear(THERE, {"kept": 0}, None)
    for counts, place in portions({"kept": 5}, is_whole=True):
        told.hear(THERE, counts, place)
    assert told.all()[THERE] == {"kept": 5}
    for counts, place in portions({}, is_whole=True):
        told.hear(THERE, counts, place)
    assert not told.all()[THERE]


@pytest.mark.parametrize("named", [[1, 1], [-1, 2], [0], "x", 5, [0, 1, 2], ["a", "b"]])
def test_a_place_that_can_not_be_is_refused(named: object) -> None:
    with pytest.raises((ValueError, TypeError)):
        place_of({"whole": named})
