"""The sms role: it holds the links that are provisioned, and leaves them when it is asked to end."""

import asyncio

import pytest

from hushwire.app import sms
from hushwire.services import message_runs
from hushwire.services.message_runs import GivenUp
from tests.app.test_worker import wired
from tests.interop.message_centre import message_centre, need_centre
from tests.polling import until
from tests.recorded import House, house
from tests.services.message_texts import Carrying

__all__ = ["house"]


async def test_the_role_follows_what_is_provisioned_and_takes_leave_of_carriers_when_it_ends(house: House) -> None:
    need_centre()
    async with message_centre() as smsc:
        means = await wired(house)
        task = asyncio.create_task(sms.run(means))
        await until(lambda: means.main._listener is not None)
        await Carrying(house).provision(smsc.port)
        assert (await smsc.event("bind"))["good"]
        means.stop.set()
        async with asyncio.timeout(10):
            await task
        assert await smsc.event("unbind")


async def test_a_role_that_others_took_for_dead_ends_so_that_it_begins_anew(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(message_runs, "BEAT_S", 0.05)
    means = await wired(house)
    task = asyncio.create_task(sms.run(means))

    async def is_entered() -> bool:
        async with means.main.transaction() as connection:
            return await connection.fetchval("DELETE FROM message_runs RETURNING true") is True

    await until(is_entered)
    with pytest.raises(GivenUp):
        async with asyncio.timeout(10):
            await task
