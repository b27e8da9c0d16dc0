"""What the running program has given up, as the kernel tells it; native/tests/sandbox.cpp tries each forbidden action."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.native.call import Call, Keys
from tests.native.client import Controller, Media
from tests.native.test_recording import Recorded, talk


def status(task: Path) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line)


def test_every_thread_is_under_the_filter_and_can_gain_no_rights(media: Media, control: Controller, is_sanitized: bool) -> None:
    if is_sanitized:
        pytest.skip("sanitized builds go without the sandbox")
    tasks = list(Path(f"/proc/{media.process.pid}/task").iterdir())
    assert len(tasks) >= 4  # control, worker, writer, syncer
    for task in tasks:
        facts = status(task)
        assert (facts["Seccomp"], facts["NoNewPrivs"]) == ("2", "1")
    limits = Path(f"/proc/{media.process.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    assert re.search(r"Max processes +0 +0 ", limits)
    assert not any(b"media.sandbox_incomplete" in line and b'"seccomp":0' in line for line in media.log)


@pytest.mark.skipif(os.geteuid() != 0, reason="only a start as root lifts the limit of locked memory")
def test_started_as_root_nothing_of_it_goes_to_swap_where_the_limit_can_be_lifted(
    media: Media, control: Controller, is_sanitized: bool
) -> None:
    if is_sanitized:
        pytest.skip("sanitized builds lock nothing")
    facts = status(Path(f"/proc/{media.process.pid}"))
    limits = Path(f"/proc/{media.process.pid}/limits").read_text().splitlines()
    is_lifted = "unlimited" in next(line for line in limits if "locked" in line)
    assert (int(facts["VmLck"].split()[0]) > 0) is is_lifted  # a container's root may not lift it: then the program runs all the same
    assert not is_lifted or int(facts["VmSwap"].split()[0]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the program is not traceable: only root can look")
def test_it_holds_no_file_but_the_spool(media: Media, control: Controller) -> None:
    call = Call(control, keys=(Keys("AES_CM_128_HMAC_SHA1_80"), None))
    recorded = Recorded(call)
    folder = Path(f"/proc/{media.process.pid}/fd")
    held = [os.readlink(fd) for fd in folder.iterdir()]
    own = {str(media.spool), str(media.folder), str(media.spool / recorded.name), os.readlink(folder / "0"), os.readlink(folder / "1")}
    assert str(media.spool / recorded.name) in held
    assert [name for name in held if name not in own and not name.startswith(("socket:", "pipe:", "anon_inode:"))] == []
    recorded.stop()
    assert str(media.spool / recorded.name) not in [os.readlink(fd) for fd in folder.iterdir()]


def test_a_whole_call_with_a_recording_needs_nothing_that_was_given_up(media: Media, control: Controller) -> None:
    call = Call(control)
    recorded = Recorded(call)
    talk(call, 0, 50)
    control.request("pause_recording", bridge=call.id)
    control.request("resume_recording", bridge=call.id)
    talk(call, 50, 50)
    assert recorded.stop()["recording_state"] == 2
    call.close()
    assert media.stop() == 0
    assert not Path(media.socket).exists()
