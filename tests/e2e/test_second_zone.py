"""The keyring is lost with everything that runs, and what was recorded opens again from the second zone."""

import asyncio
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hushwire.app.demo.stack import Stack, StackError, descendants
from hushwire.app.demo.steps import decode_stereo
from tests.deployments import FAR_NUMBER, PROVISIONING, Deployment
from tests.polling import until
from tests.ports import free_port

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]


@asynccontextmanager
async def two_zones() -> AsyncIterator[tuple[Deployment, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="hushwire-test-"))
    folder.chmod(0o711)
    try:
        zone2 = folder / "zone2"
        running = Deployment(await Stack.start(folder, more=f'[zone2]\ndir = "{zone2}"'), free_port())
        try:
            await running.stack.apply(PROVISIONING.format(carrier=running.carrier_port))
            yield running, zone2
        finally:
            await running.stack.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def recorded(running: Deployment) -> str:
    """A call of some seconds, shipped to the store; its recording's id."""
    known = {row["id"] for row in (await running.api().get("/v1/recordings"))["items"]}
    async with running.carrier() as carrier, running.phone("anna") as anna:
        seen = len(carrier.events)
        call = await anna.call(running.uri(FAR_NUMBER))
        await carrier.expect("incoming", since=seen)
        await anna.expect_state(call, "confirmed")
        await asyncio.sleep(2)
        await anna.hangup(call)

    async def stored() -> str | None:
        rows = (await running.api().get("/v1/recordings"))["items"]
        return next((row["id"] for row in rows if row["id"] not in known and row["state"] == "stored"), None)

    return str(await until(stored, timeout_s=30, what="the recording is stored"))


async def killed(stack: Stack) -> None:
    """kill -9 of everything that runs."""
    pids = [stack.process.pid, *(pid for pid, _ in descendants(stack.process.pid))]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)  # so that nobody has time for a goodbye
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    await stack.process.wait()
    await until(lambda: not any(_lives(pid) for pid in pids), timeout_s=10, what="all are dead")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_a_recording_opens_from_the_second_zone_after_kill_9_of_everything_and_the_loss_of_the_keyring() -> None:
    async with two_zones() as (running, zone2):
        stack = running.stack
        assert (await running.api().get("/readyz"))["zone2"] == "in-sync"
        kept, erased = await recorded(running), await recorded(running)
        answer = await running.api().ask("DELETE", f"/v1/recordings/{erased}")
        assert answer.status == 200
        await killed(stack)

        data = stack.data
        shutil.rmtree(data / "pg" / "keyring")
        shutil.rmtree(data / "buckets")
        with pytest.raises(StackError, match="hushwire keys promote"):
            await Stack.start(stack.folder, more=f'[zone2]\ndir = "{zone2}"')
        status, out, err = await stack.attempt("keys", "promote", "--json", "--config", str(stack.config))
        assert status == 0, err
        assert json.loads(out)["promoted"] is True

        again = await Stack.start(stack.folder, more=f'[zone2]\ndir = "{zone2}"')
        again.secrets = stack.secrets
        running.stack = again
        audio = await running.api().ask("GET", f"/v1/recordings/{kept}/audio?format=wav")
        assert audio.status == 200
        left, _ = decode_stereo(audio.body)
        assert len(left) > 8000
        assert abs(left).max() > 200
        assert (await running.api().ask("GET", f"/v1/recordings/{erased}/audio?format=wav")).status == 410

        async def in_sync() -> bool:
            ready: dict[str, Any] = await running.api().get("/readyz")
            return ready.get("zone2") == "in-sync"

        await until(in_sync, timeout_s=60, what="the second zone follows again")


async def test_the_root_key_is_rotated_by_command_and_everything_opens_afterwards() -> None:
    async with two_zones() as (running, zone2):
        stack = running.stack
        kept = await recorded(running)
        receipt = (await running.api().ask("DELETE", f"/v1/recordings/{await recorded(running)}")).body
        status, _, err = await stack.attempt("keys", "rotate-root", "--config", str(stack.config))
        assert status != 0
        assert "end it first" in err
        status, out, err = await stack.attempt("keys", "rotate-signing", "--json", "--config", str(stack.config))
        assert status == 0, err
        assert json.loads(out)["key_id"] != json.loads(receipt)["key_id"]
        old = (stack.data / "keys" / "root").read_text()
        await stack.stop()
        status, out, err = await stack.attempt("keys", "rotate-root", "--json", "--config", str(stack.config))
        assert status == 0, err
        assert json.loads(out)["rewrapped"]["buckets"] >= 2
        assert sorted(path.name for path in (stack.data / "keys").iterdir()) == ["root"]
        assert (stack.data / "keys" / "root").read_text() != old

        again = await Stack.start(stack.folder, more=f'[zone2]\ndir = "{zone2}"')
        again.secrets = stack.secrets
        running.stack = again
        assert (await running.api().ask("GET", f"/v1/recordings/{kept}/audio?format=wav")).status == 200
        published = [key["kid"] for key in (await running.api().get("/.well-known/hushwire-keys.json"))["keys"]]
        assert json.loads(receipt)["key_id"] in published
        assert len(published) == 2
