"""How calls sound, from the packets of two parties to the row and the outbox: a whole gateway, the real media program."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import orjson

from tests.databases import Databases
from tests.polling import until
from tests.services.listening import Ear
from tests.services.running import need_program
from tests.services.test_call_sounds import events, sounding, talking

pytestmark = need_program


@asynccontextmanager
async def speaking(*ears: Ear) -> AsyncIterator[None]:
    """All of them speak meanwhile."""
    task = asyncio.create_task(_speak(*ears))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _speak(*ears: Ear) -> None:
    """At the pace of a telephone, until cancelled."""
    loop = asyncio.get_running_loop()
    begin, sent = loop.time(), 0
    while True:
        await asyncio.sleep(max(0.0, begin + sent * 0.02 - loop.time()))
        for ear in ears:
            ear.speak(b"\x55" * 160)
        sent += 1


async def test_a_live_calls_row_says_how_it_sounds_and_the_whole_calls_figures_stay_in_it(databases: Databases, tmp_path: Path) -> None:
    async with sounding(databases, tmp_path) as world:
        talk = await talking(world)
        await world.row("calls", state="active")

        async def quality() -> dict[str, dict[str, float]] | None:
            (row,) = await world.rows("calls")
            return None if row["quality"] is None else dict(orjson.loads(row["quality"]))

        async def is_told() -> bool:
            return await quality() is not None

        async with speaking(talk.agent, talk.far):
            await until(is_told, timeout_s=20)
        now = await quality()
        assert now is not None
        assert set(now) == {"agent", "peer"}
        for leg in now.values():
            assert leg["mos_received"] > 4.2
            assert leg["loss_received"] == 0
        await talk.hang_up()
        end = await quality()
        assert end is not None
        assert end["agent"]["packets_received"] > 200
        assert end["peer"]["mos_received_worst"] > 4.0
        assert await events(world, "call.one_way_audio") == []

        async def counted() -> bool:
            told = [orjson.loads(row["quality"]) for row in await world.rows("nodes") if row["quality"]]
            return any(measured[:2] == ["mos_received", "agent"] and sum(measured[3]) == 1 for one in told for measured in one["classes"])

        await until(counted, timeout_s=20, what="the gateway's counts, told with its signs of life")


async def test_a_party_that_is_not_heard_is_told_of_once_with_the_cause_and_it_stays_in_the_row(
    databases: Databases, tmp_path: Path
) -> None:
    async with sounding(databases, tmp_path) as world:
        talk = await talking(world)
        await world.row("calls", state="active")

        async def is_told() -> bool:
            return len(await events(world, "call.one_way_audio")) > 0

        async with speaking(talk.agent):
            await until(is_told, timeout_s=20)
        (told,) = await events(world, "call.one_way_audio")
        assert (told["leg"], told["cause"]) == ("peer", "nothing-came")
        await talk.hang_up()
        (row,) = await world.rows("calls")
        assert orjson.loads(row["quality"])["peer"]["one_way_audio"] == "nothing-came"
