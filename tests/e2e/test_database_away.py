"""Two minutes without the main database: calls go on and begin, are recorded, and are written once when it is back."""

import asyncio
import os
import signal
from typing import Any

import pytest

from hushwire.app.demo.correlate import correlate_with_slips
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from hushwire.app.demo.stack import StackError
from hushwire.app.demo.steps import decode_stereo
from tests.deployments import Deployment, start_deployment
from tests.e2e.test_supervision import connected, restarted, still_heard
from tests.polling import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
AWAY_S = 120


async def test_two_minutes_without_the_database_harm_no_call_and_lose_no_row() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna, running.phone("ben") as ben:
        loop = asyncio.get_running_loop()
        first, its_end = await connected(running, anna, carrier)
        old = running.stack.children()["postgres-main"]
        # What the server can't read keeps it from starting.
        broken = running.stack.folder / "data" / "pg" / "main" / "postgresql.auto.conf"
        before = broken.read_text()
        broken.write_text(before + "no_such_setting = on\n")
        os.kill(old, signal.SIGKILL)
        gone = loop.time()
        second, _ = await connected(running, ben, carrier)
        assert await still_heard(ben, second)
        await ben.hangup(second)
        help_, _ = await connected(running, ben, carrier, "112")
        assert await still_heard(ben, help_)
        await ben.hangup(help_)
        # More than what a gateway that is cut off alone may record on.
        await asyncio.sleep(gone + AWAY_S - 10 - loop.time())
        third, _ = await connected(running, ben, carrier)
        assert await still_heard(ben, third)
        assert await still_heard(anna, first)
        assert await still_heard(carrier, its_end)
        await ben.hangup(third)
        await anna.hangup(first)
        await asyncio.sleep(max(0.0, gone + AWAY_S - loop.time()))
        broken.write_text(before)
        await restarted(running, "postgres-main", old, timeout_s=60)
        rows = await until(lambda: ended(running, 4), timeout_s=60, what="four calls written")
        assert sorted(row["end_reason"] for row in rows) == ["bye-agent"] * 4
        kept = await until(lambda: stored(running, 3), timeout_s=60, what="three recordings shipped: nobody records who calls for help")
        (longest,) = [each for each in kept if each["duration_ms"] >= (AWAY_S - 10) * 1000]
        assert longest["segment"] == 0, "the recording of the live call was broken off"
        for each in kept:
            answer = await running.api().ask("GET", f"/v1/recordings/{each['id']}/audio?format=wav")
            assert answer.status == 200
            left, right = decode_stereo(answer.body)
            assert len(left) / RATE >= 3
            for heard, said in ((left, AGENT), (right, CARRIER)):
                part = heard[: 3 * RATE]
                assert correlate_with_slips(bundled(said)[: len(part)], part, RATE).score >= 0.9


async def ended(running: Deployment, count: int) -> list[dict[str, Any]]:
    items = await listed(running, "/v1/calls")
    return items if len(items) == count and all(row["state"] == "ended" for row in items) else []


async def stored(running: Deployment, count: int) -> list[dict[str, Any]]:
    items = await listed(running, "/v1/recordings")
    return items if len(items) == count and all(row["state"] == "stored" for row in items) else []


async def listed(running: Deployment, path: str) -> list[dict[str, Any]]:
    """What the API lists; nothing while it, or a database of its, is coming back."""
    try:
        return list((await running.api().get(path))["items"])
    except (OSError, StackError):
        return []
