"""Fifty recorded calls on a disk that fills up under them: each recording ends with an event and a file that plays, and no call notices."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.native.call import Call
from tests.native.client import SPOOL, Controller, RequestError, running_media
from tests.native.hwr_reader import Recording, read
from tests.native.test_recording import Recorded, talk

CALLS, ROOM_KB = 50, 1024
WRITE_FAILED = 1


@dataclass
class Disk:
    """A file system of ROOM_KB, `seen` from here: root mounts it for all, others in a namespace of the program's own."""

    seen: Path


@pytest.fixture
def disk(media_program: str, tmp_path: Path) -> Iterator[tuple[Disk, Controller]]:
    mount = ["mount", "-t", "tmpfs", "-o", f"size={ROOM_KB}k,mode=700", "hw-spool", str(tmp_path)]
    with contextlib.ExitStack() as stack:
        if os.geteuid() == 0:
            if subprocess.run(mount, capture_output=True).returncode:
                pytest.skip("mounting is not allowed here")
            stack.callback(subprocess.run, ["umount", str(tmp_path)], check=True)
            media = stack.enter_context(running_media(media_program, spool=tmp_path))
            seen = tmp_path
        else:
            alone = ["unshare", "--user", "--map-root-user", "--mount"]
            if subprocess.run([*alone, *mount], capture_output=True).returncode:
                pytest.skip("namespaces are not allowed here")
            wrapper = tmp_path / "with-a-small-disk"
            wrapper.write_text(f'#!/bin/sh\n{" ".join(mount[:-1])} {tmp_path}/spool && exec {media_program} "$@"\n')
            wrapper.chmod(0o755)
            (tmp_path / "spool").mkdir()
            wrapped = tmp_path / "run"
            wrapped.write_text(f'#!/bin/sh\nexec {" ".join(alone)} {wrapper} "$@"\n')
            wrapped.chmod(0o755)
            media = stack.enter_context(running_media(str(wrapped), spool=tmp_path / "spool"))
            seen = Path(f"/proc/{media.process.pid}/root{tmp_path}/spool")
        yield Disk(seen), stack.enter_context(media.controller())
        assert media.is_running()


def packets(file: Recording) -> list[bytes]:
    return [entry.data for entry in file.entries if entry.kind == "packet"]


def test_fifty_recordings_end_with_their_disk_each_with_an_event_and_a_file_that_plays_and_the_calls_go_on(
    disk: tuple[Disk, Controller],
) -> None:
    spool, control = disk
    calls = [Call(control) for _ in range(CALLS)]
    recordings = [Recorded(call) for call in calls]
    said = 0
    failed: dict[bytes, dict[str, object]] = {}
    until = time.monotonic() + 120
    while len(failed) < CALLS:  # 50 calls of G.711 both ways: a megabyte lasts about a second and a half of speech
        assert time.monotonic() < until, f"{len(failed)} of {CALLS} recordings have failed"
        for call in calls:
            talk(call, said, 5)  # every packet is heard by the other side, before, while and after the disk is full
        said += 5
        control.request("ping")
        for event in [event for event in control.events if event.kind == "recording_failed"]:
            control.events.remove(event)
            result = event.fields["recording_result"]
            assert result["recording"] not in failed, "told once"  # type: ignore[index]
            failed[result["recording"]] = result  # type: ignore[index,assignment]
    assert not [event for event in control.events if event.kind == "recording_closed"]
    for call in calls:
        talk(call, said, 5)
    for recording in recordings:
        result = failed[recording.id.bytes]
        assert (result["recording_state"], result["failure"]) == (3, WRITE_FAILED)
        data = (spool.seen / recording.name).read_bytes()
        assert hashlib.sha256(data).digest() == result["digest"]
        file = read(data, recording.key)
        assert not file.is_final
        assert (file.whole, len(file.frames)) == (len(data), result["frames"])
        heard = [int(packet[13:18]) for packet in packets(file)]
        assert heard == sorted(heard), "what is there is the beginning"
        assert heard[-1] < said
        assert set(heard) == set(range(heard[-1] + 1)), "and without a hole"
        with pytest.raises(RequestError):
            recording.stop()

    with pytest.raises(RequestError) as full:
        for call in calls:  # until the last byte is gone
            Recorded(call)
    assert full.value.status == SPOOL
    for recording in recordings:
        with contextlib.suppress(FileNotFoundError):
            (spool.seen / recording.name).unlink()
    again = Recorded(calls[-1])
    talk(calls[-1], said + 5, 5)
    assert again.stop()["recording_state"] == 2
    assert len(packets(read((spool.seen / again.name).read_bytes(), again.key))) == 10
