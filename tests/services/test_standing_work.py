"""Work that goes on for as long as a process lives."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog

from hushwire.app.doctor_work import told
from hushwire.app.sources import SystemClock
from hushwire.core.errors import Unavailable
from hushwire.core.ids import NodeId
from hushwire.services import standing_work
from hushwire.services.standing_work import StandingWork
from hushwire.store import work_states
from tests.databases import Databases
from tests.polling import until
from tests.services.location import NODE, Clock, build

NUMBER = "+491510000000"


async def test_work_that_breaks_of_whatever_is_logged_by_its_class_begun_again_and_told_to_operators(
    databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standing_work, "TELL_S", 0.02)
    db = await databases.connect("main", "gateway")
    clock = Clock()
    work = StandingWork("gateway", clock)
    begun = 0

    async def breaks_once() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise KeyError(NUMBER)
        await asyncio.Event().wait()

    async def states() -> list[tuple[str, work_states.WorkState]]:
        async with db.transaction() as connection:
            return await work_states.told(connection)

    with structlog.testing.capture_logs() as logs:
        tasks = [asyncio.create_task(work.kept_up("bans", breaks_once)), asyncio.create_task(work.tell(db, NODE))]
        ((role, state),) = await until(states)
        assert (role, state.task, state.failures, state.error) == ("gateway", "bans", 1, "KeyError")
        with pytest.raises(Unavailable, match=r"^gateway: bans has not worked since .*Z \(KeyError, 1 time\(s\)\)"):
            told([(role, state)])
        await until(lambda: begun == 2, what="it begins again")
    assert [log["event"] for log in logs] == ["work.broken"]
    clock.ahead_s = standing_work.SOUND_AFTER_S + standing_work.RETRY_MOST_S

    async def is_mended() -> bool:
        return [one.since for _, one in await states()] == [None]

    await until(is_mended, what="it has gone on for long enough")
    assert told(await states()) == "all of it works; it broke before: gateway: bans 1 time(s)"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    # Another run of the role begins with nothing broken.
    again = asyncio.create_task(StandingWork("gateway", SystemClock()).tell(db, NodeId(NODE)))

    async def is_empty() -> bool:
        return not await states()

    await until(is_empty)
    again.cancel()


@dataclass(frozen=True)
class _Row:
    id: int


async def test_bindings_beside_one_that_can_not_be_read_are_learned(
    databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await build(databases, tmp_path)
    learned: list[int] = []

    def learn(row: _Row) -> None:
        if row.id == 1:
            raise ValueError(NUMBER)
        learned.append(row.id)

    monkeypatch.setattr(world.bindings, "_learn", learn)
    world.bindings._learn_all([_Row(id_) for id_ in range(3)])  # type: ignore[misc]
    assert learned == [0, 2]
