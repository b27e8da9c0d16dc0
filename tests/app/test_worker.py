"""The worker: woken by what changes, stopped when asked, kept going whatever breaks."""

import asyncio
import os

import pytest

from hushwire.app import worker
from hushwire.app.config import Config, Data
from hushwire.app.folders import Folders
from hushwire.app.sources import SystemClock
from hushwire.app.wiring import Wired
from hushwire.core.errors import Unavailable
from hushwire.services.erasure import Erased
from hushwire.services.standing_work import StandingWork
from tests.polling import until
from tests.recorded import Chance, House, house

__all__ = ["house"]


async def wired(house: House) -> Wired:
    folders = Folders(house.folder)
    return Wired(
        role="worker",
        config=Config(data=Data(dir=house.folder)),
        folders=folders,
        node_id=house.node,
        clock=house.clock,  # type: ignore[arg-type]
        random=Chance(),  # type: ignore[arg-type]
        keys=house.root.role_keys(opener=True, buckets=folders.buckets),
        main=await house.databases.connect("main", "worker"),
        keyring_db=await house.databases.connect("keyring", "worker"),
        keyring=await house.keyring("worker"),
    )


async def test_the_worker_ships_what_is_closed_and_sweeps_what_is_erased_as_soon_as_it_is_told(house: House) -> None:
    means = await wired(house)
    task = asyncio.create_task(worker.run(means))
    recording = await house.record(state="live")
    house.rest(recording)
    async with (await house.main("gateway")).organisation(house.org) as connection:
        await connection.execute("UPDATE recordings SET state = 'closed' WHERE id = $1", recording)

    async def state() -> bool:
        return (await house.row(recording)).state == "stored"

    await until(state)
    assert isinstance(await (await house.erasures()).erase(house.org, recording, actor="api-key:1", reason="request"), Erased)
    await until(lambda: not house.ciphertext(recording))

    async def is_written() -> bool:
        async with (await house.main("api")).organisation(house.org) as connection:
            return bool(await connection.fetchval("SELECT count(*) = 2 FROM audit_log"))

    await until(is_written)
    means.stop.set()
    async with asyncio.timeout(3):
        await task


async def test_a_job_that_fails_is_tried_again_whatever_it_fails_of_and_tells_so_until_it_works() -> None:
    faults: list[Exception] = [Unavailable("away"), ZeroDivisionError("of +491510000000")]
    attempts = 0

    async def fails() -> int:
        nonlocal attempts
        attempts += 1
        if attempts <= len(faults):
            raise faults[attempts - 1]
        return 1

    standing = StandingWork("worker", SystemClock())
    job = worker.Job("fails", fails, 30.0)
    task = asyncio.create_task(job.run(standing))
    for count, name in ((1, "Unavailable"), (2, "ZeroDivisionError")):
        await until(lambda seen=count: [one.failures for one in standing.states()] == [seen])  # type: ignore[misc]
        (state,) = standing.states()
        assert (state.error, state.since is not None) == (name, True)
        job.wake.set()
    await until(lambda: [one.since for one in standing.states()] == [None], what="it works again")
    assert (attempts, job.done) == (3, 1)
    task.cancel()


async def test_the_worker_says_that_it_is_ready(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    monkeypatch.setenv("HUSHWIRE_READY_FD", str(writer))
    means = await wired(house)
    task = asyncio.create_task(worker.run(means))
    assert await asyncio.to_thread(os.read, reader, 100) == b"{}"
    os.close(reader)
    means.stop.set()
    await task
