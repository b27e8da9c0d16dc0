"""What holds when a process is killed in the middle of a call, and when everything is ended."""

import asyncio
import os
import signal
from typing import Any

import pytest

from hushwire.app.demo.correlate import correlate_with_slips
from hushwire.app.demo.party import Party
from hushwire.app.demo.speech import AGENT, CARRIER, RATE, bundled
from hushwire.app.demo.stack import Answer, StackError, descendants
from hushwire.app.demo.steps import decode_stereo
from tests.deployments import FAR_NUMBER, PROVISIONING, Deployment, start_deployment
from tests.interop.hearing import goes_on, lost_nothing
from tests.polling import until

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


async def connected(running: Deployment, anna: Party, carrier: Party, number: str = FAR_NUMBER) -> tuple[int, int]:
    """A call from anna to somebody at the carrier, who have heard two seconds of each other."""
    seen = len(carrier.events)
    call = await anna.call(running.uri(number))
    incoming = await carrier.expect("incoming", since=seen)
    await anna.expect_state(call, "confirmed")
    theirs = int(incoming["call"])
    await asyncio.gather(goes_on(anna, call, 2.0), goes_on(carrier, theirs, 2.0))
    return call, theirs


async def restarted(running: Deployment, name: str, old: int, timeout_s: float = 20) -> int:
    return await until(
        lambda: (pid := running.stack.children().get(name)) and pid != old and pid, timeout_s=timeout_s, what=f"{name} started again"
    )


async def still_heard(party: Party, call: int) -> bool:
    """True once new sound has arrived, with no packet of the call lost before it."""
    await goes_on(party, call)
    await lost_nothing(party, call)
    return True


async def recordings(running: Deployment) -> list[dict[str, Any]]:
    return list((await running.api().get("/v1/recordings"))["items"])


async def test_after_kill_9_of_the_gateway_the_call_is_still_heard_and_recorded_and_new_calls_follow() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        call, theirs = await connected(running, anna, carrier)
        pids = running.stack.children()
        # The supervisor is held, or it would have a new gateway up before we have listened.
        running.stack.process.send_signal(signal.SIGSTOP)
        os.kill(pids["gateway"], signal.SIGKILL)
        assert await still_heard(anna, call)
        assert await still_heard(carrier, theirs)
        running.stack.process.send_signal(signal.SIGCONT)
        await restarted(running, "gateway", pids["gateway"])
        assert running.stack.children()["hushwire-media"] == pids["hushwire-media"], "media was restarted with the gateway"
        # The next process goes on with the call (tests/e2e/test_gateway_death.py); it ends as any other.
        await anna.hangup(call)
        await carrier.expect_state(theirs, "disconnected")
        rows = await until(lambda: ended_calls(running), timeout_s=20, what="the call ended")
        assert rows[0]["end_reason"] == "bye-agent"
        kept = await until(lambda: closed(running), timeout_s=20, what="its recording closed")
        assert kept[0]["duration_ms"] >= 3000
        async with running.phone("ben") as ben:
            second, _ = await connected(running, ben, carrier)
            await ben.hangup(second)


async def ended_calls(running: Deployment) -> list[dict[str, Any]]:
    try:
        return [row for row in (await running.api().get("/v1/calls"))["items"] if row["state"] == "ended"]
    except OSError:
        return []


async def closed(running: Deployment) -> list[dict[str, Any]]:
    return [row for row in await recordings(running) if row["state"] in ("closed", "stored", "crashed")]


async def test_after_kill_9_of_the_media_process_the_recordings_prefix_plays_and_new_calls_are_bridged() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        await connected(running, anna, carrier)
        pids = running.stack.children()
        os.kill(pids["hushwire-media"], signal.SIGKILL)
        await restarted(running, "hushwire-media", pids["hushwire-media"])
        (kept,) = await until(lambda: closed(running), timeout_s=40, what="the torn recording found")
        answer = await running.api().ask("GET", f"/v1/recordings/{kept['id']}/audio?format=wav")
        assert answer.status == 200
        left, right = decode_stereo(answer.body)
        # At most the last half second may be missing.
        assert len(left) / RATE >= 1.4
        assert correlate_with_slips(bundled(AGENT)[: len(left)], left, RATE).score >= 0.9
        assert correlate_with_slips(bundled(CARRIER)[: len(right)], right, RATE).score >= 0.9
        async with running.phone("ben") as ben:
            second, theirs = await connected(running, ben, carrier)
            assert await still_heard(ben, second)
            assert await still_heard(carrier, theirs)
            await ben.hangup(second)


@pytest.mark.parametrize("name", ["api", "worker"])
async def test_kill_9_of_api_or_worker_does_not_touch_the_call(name: str) -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        call, theirs = await connected(running, anna, carrier)
        old = running.stack.children()[name]
        os.kill(old, signal.SIGKILL)
        assert await still_heard(anna, call)
        await restarted(running, name, old)
        await anna.hangup(call)
        await carrier.expect_state(theirs, "disconnected")
        stored = await until(lambda: in_store(running), timeout_s=30, what="the recording shipped to the store")
        assert len(stored) == 1


async def in_store(running: Deployment) -> list[dict[str, Any]]:
    try:
        return [row for row in await recordings(running) if row["state"] == "stored"]
    except (OSError, StackError):  # the API, or a database of its, is coming back
        return []


async def test_kill_9_of_postgresql_leaves_the_call_alone_and_its_record_is_written_later() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        call, theirs = await connected(running, anna, carrier)
        old = running.stack.children()["postgres-main"]
        os.kill(old, signal.SIGKILL)
        assert await still_heard(anna, call)
        await anna.hangup(call)
        await carrier.expect_state(theirs, "disconnected")
        await restarted(running, "postgres-main", old)
        rows = await until(lambda: ended_or_none(running), timeout_s=40, what="the call's record written")
        assert len(rows) == 1
        second, _ = await connected(running, anna, carrier)
        await anna.hangup(second)


async def test_kill_9_of_the_keyrings_postgresql_leaves_the_call_alone_and_its_recording_closes_plays_and_is_deleted() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        call, theirs = await connected(running, anna, carrier)
        old = running.stack.children()["postgres-keyring"]
        os.kill(old, signal.SIGKILL)
        assert await still_heard(anna, call)
        assert await still_heard(carrier, theirs)
        await anna.hangup(call)
        await carrier.expect_state(theirs, "disconnected")
        await restarted(running, "postgres-keyring", old)
        (kept,) = await until(lambda: in_store(running), timeout_s=40, what="the recording shipped to the store")
        path = f"/v1/recordings/{kept['id']}"
        answer = await until(lambda: answered(running, "GET", f"{path}/audio?format=wav"), timeout_s=20, what="the audio played")
        left, right = decode_stereo(answer.body)
        assert len(left) / RATE >= 4.5, "the recording ends where the keyring died"
        assert correlate_with_slips(bundled(AGENT)[: len(left)], left, RATE).score >= 0.9
        assert correlate_with_slips(bundled(CARRIER)[: len(right)], right, RATE).score >= 0.9
        deleted = await running.api().ask("DELETE", path)
        assert deleted.status == 200, deleted.body
        assert (await running.api().ask("GET", f"{path}/audio?format=wav")).status == 410
        async with running.database("keyring") as keyring:
            assert await keyring.fetchval("SELECT count(*) FROM data_keys WHERE id = $1", kept["id"]) == 0
        # New calls are recorded under keys that the keyring came back to give.
        second, theirs = await connected(running, anna, carrier)
        await anna.hangup(second)
        stored = await until(lambda: in_store(running), timeout_s=30, what="the next recording shipped to the store")
        assert stored[0]["id"] != kept["id"]


async def test_a_call_while_the_keyring_is_away_is_recorded_with_a_key_that_was_ready() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        old = running.stack.children()["postgres-keyring"]
        # The supervisor is held, or it would have the keyring back before the call.
        running.stack.process.send_signal(signal.SIGSTOP)
        os.kill(old, signal.SIGKILL)
        call, theirs = await connected(running, anna, carrier)
        assert await still_heard(anna, call)
        await anna.hangup(call)
        await carrier.expect_state(theirs, "disconnected")
        running.stack.process.send_signal(signal.SIGCONT)
        await restarted(running, "postgres-keyring", old)
        (kept,) = await until(lambda: in_store(running), timeout_s=40, what="the recording shipped to the store")
        path = f"/v1/recordings/{kept['id']}/audio?format=wav"
        answer = await until(lambda: answered(running, "GET", path), timeout_s=20, what="the audio played")
        assert len(decode_stereo(answer.body)[0]) / RATE >= 3


async def answered(running: Deployment, method: str, path: str) -> Answer | None:
    """The answer, once it is 200: the API may still be finding its database again."""
    answer = await running.api().ask(method, path)
    return answer if answer.status == 200 else None


async def ended_or_none(running: Deployment) -> list[dict[str, Any]]:
    answer = await running.api().ask("GET", "/v1/calls")
    return [row for row in answer.json()["items"] if row["state"] == "ended"] if answer.status == 200 else []


async def test_ctrl_c_ends_live_calls_with_bye_and_every_process_within_five_seconds() -> None:
    async with start_deployment() as running, running.carrier() as carrier, running.phone("anna") as anna:
        call, theirs = await connected(running, anna, carrier)
        below = [pid for pid, _ in descendants(running.stack.process.pid)]
        assert len(below) >= 6
        took_s = await running.stack.stop(signal.SIGINT)
        assert took_s <= 5
        for party, number in ((anna, call), (carrier, theirs)):
            ended = await party.expect_state(number, "disconnected", timeout_s=2)
            assert ended["status"] == 200, "ended by something else than BYE"
        assert [pid for pid in below if os.path.exists(f"/proc/{pid}")] == []


async def test_a_second_start_over_the_same_folder_finds_everything_again() -> None:
    async with start_deployment() as running, running.carrier() as carrier:
        async with running.phone("anna") as anna:
            call, _ = await connected(running, anna, carrier)
            await anna.hangup(call)
        stored = await until(lambda: in_store(running), timeout_s=30, what="the recording shipped to the store")
        await running.stack.stop()
        secrets = running.stack.secrets
        running.stack = await type(running.stack).start(running.stack.folder)
        running.stack.secrets = secrets
        answer = await running.api().ask("GET", f"/v1/recordings/{stored[0]['id']}/audio?format=wav")
        assert answer.status == 200
        async with running.phone("anna") as anna:
            call, _ = await connected(running, anna, carrier)
            await anna.hangup(call)


async def test_apply_twice_changes_nothing_the_second_time(deployment: Deployment) -> None:
    text = PROVISIONING.format(carrier=deployment.carrier_port)

    async def rows() -> list[Any]:
        async with deployment.database("main") as main:
            return [
                await main.fetch(f"SELECT xmin::text, * FROM {table} ORDER BY 1, 2") for table in ("orgs", "agents", "numbers", "trunks")
            ]

    await deployment.stack.apply(text)
    before = await rows()
    said = await deployment.stack.apply(text)
    assert await rows() == before
    assert "Nothing to change" in said
