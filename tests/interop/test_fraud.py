"""A thief with PJSUA2 and an agent's password: within two seconds of its first call the credential is locked and its calls are cut."""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from hushwire.sip import effects as sip
from tests.databases import Databases
from tests.interop.test_subscriptions import program
from tests.polling import until
from tests.services.running import FAR_NUMBER, HOST, need_program, running

pytestmark = [pytest.mark.interop, need_program]
ACCESS = ("00", "011", "900", "0011", "9011", "99011", "00011", "90011", "000", "09011", "01100", "990011")
"""Ways to dial abroad from somewhere or other; the number behind them is in a country that is not allowed."""
LOCKED = 'SIP;cause=403;text="The credential is locked, since it was used as a stolen one would be"'
WITHIN_S = 2.0


async def test_a_thief_that_pumps_calls_through_many_prefixes_is_locked_out_within_two_seconds(
    databases: Databases, tmp_path: Path
) -> None:
    async with running(databases, tmp_path) as world:
        anna = await world.peer("anna")
        anna.invite(FAR_NUMBER)
        world.carrier.accept(await world.carrier.expect(sip.RequestReceived))
        await anna.expect(sip.Accepted)
        await world.carrier.expect(sip.AckReceived)
        asked = ("--user", "anna", "--host", HOST, "--password", "annas-password", "--proxy", f"127.0.0.1:{world.port}")
        numbers = [f"{access}5351234567" for access in ACCESS]
        async with program(sys.executable, "-m", "tests.interop.pjsua_thief", *asked, *numbers) as thief:
            async with asyncio.timeout(25):
                while not isinstance(event := await anna.events.get(), sip.DialogEnded):
                    if isinstance(event, sip.InDialogRequest):
                        anna.endpoint.respond(event.tx, 491)
            cut_at = datetime.now(UTC)
            await until(
                lambda: sum(line.startswith('{"status"') for line in thief.lines) == len(ACCESS), timeout_s=20, what="its last call"
            )
        assert event.request.headers.get("Reason") == LOCKED

        async def refused() -> list[datetime]:
            return [row["at"] for row in await world.rows("fraud_facts") if row["kind"] == "refused"]

        first = min(await until(refused, what="what was refused is written"))
        [lock] = await until(lambda: world.rows("fraud_locks", "agent_id"), timeout_s=5, what="the lock's row")
        seconds = [(at - first).total_seconds() for at in (lock["created_at"], cut_at)]
        print(f"from the first attempt to the lock {seconds[0]:.3f} s, to the BYE of the live call {seconds[1]:.3f} s")
        assert max(seconds) < WITHIN_S
        answers = [json.loads(line) for line in thief.lines if line.startswith('{"status"')]
        # Five spellings are looked at, the sixth locks, and the rest are refused by the lock.
        assert [answer["reason"] == LOCKED for answer in answers] == [False] * 6 + [True] * (len(ACCESS) - 6), answers
        assert {answer["status"] for answer in answers[6:]} == {403}
        while not world.carrier.events.empty():
            heard = world.carrier.events.get_nowait()
            assert not isinstance(heard, sip.RequestReceived), "no carrier was asked for any of them"
