"""Children: they end with us, dump nothing, and gain no rights."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hushwire.app import processes
from hushwire.app.config import load
from hushwire.app.folders import account
from hushwire.app.supervisor import settled
from tests.polling import until


async def status_of(*, owner: str | None = None) -> dict[str, str]:
    child = await processes.start_child(
        ["/bin/cat", "/proc/self/status", "/proc/self/limits"], owner=account(owner) if owner else None, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await child.communicate()
    return dict(line.split(":", 1) for line in said.decode().splitlines() if ":" in line) | {
        line[:20].strip(): line[20:] for line in said.decode().splitlines() if line.startswith("Max")
    }


async def test_a_child_gains_no_rights_and_writes_no_core() -> None:
    status = await status_of()
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Max core file size"].split()[0] == "0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_child_of_root_becomes_the_other_user_with_no_groups_and_no_capabilities() -> None:
    status = await status_of(owner="nobody")
    assert set(status["Uid"].split()) == {"65534"}
    assert set(status["Groups"].split()) <= {"65534"}
    assert int(status["CapEff"], 16) == 0


async def test_children_end_when_their_parent_is_killed() -> None:
    code = (
        "import asyncio; from hushwire.app import processes\n"
        "async def main():\n"
        "    child = await processes.start_child(['/bin/sleep', '60'])\n"
        "    print(child.pid, flush=True)\n"
        "    await child.wait()\n"
        "asyncio.run(main())"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": "src"})
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    await until(lambda: not _lives(child))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_a_child_that_does_not_listen_is_killed_after_its_grace() -> None:
    child = await processes.start_child(["/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.1; done"])
    await asyncio.sleep(0.1)
    assert not await processes.end(child, signal.SIGTERM, 0.2)
    assert child.returncode == -signal.SIGKILL
    polite = await processes.start_child(["/bin/sleep", "60"])
    assert await processes.end(polite, signal.SIGTERM, 5)


def test_a_restarted_role_listens_where_it_listened_before() -> None:
    config = load(
        None,
        {
            "HUSHWIRE_CONFIG": "",
            "HUSHWIRE_DATA__DIR": "/x",
            "HUSHWIRE_SIP__LISTEN": '["udp://127.0.0.1:0", "tls://127.0.0.1:5061"]',
            "HUSHWIRE_API__LISTEN": "https://127.0.0.1:0",
        },
    )
    assert settled(config, {}) == config
    again = settled(config, {"sip": ["udp://127.0.0.1:40000", "tls://127.0.0.1:5061"], "api": ["https://127.0.0.1:40001"]})
    assert [str(item) for item in again.sip.listen] == ["udp://127.0.0.1:40000", "tls://127.0.0.1:5061"]
    assert str(again.api.listen) == "https://127.0.0.1:40001"
