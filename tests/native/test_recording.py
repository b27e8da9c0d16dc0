"""Sealed while it is made: what is in the file, when, and what is left of it after a crash or on a full disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.native.call import Call, Keys, parse, rtp
from tests.native.client import EXISTS, INVALID, SPOOL, STATE, Controller, Media, RequestError, running_media
from tests.native.hwr_reader import read
from tests.native.srtp_oracle import oracle

FORMAT = b'{"legs":[{"0":"PCMU/8000"},{"0":"PCMU/8000"}]}'


class Recorded:
    def __init__(self, call: Call, name: str = "", op: str = "start_recording", **changes: object) -> None:
        self.call, self.key, self.org, self.id = call, os.urandom(32), uuid.uuid4(), uuid.uuid4()
        self.name = name or f"{self.id}-0.hwr"
        fields = {"org": self.org, "recording": self.id, "segment": 0, "data_key": self.key, "file": self.name, "format": FORMAT}
        self.reply = call.control.request(op, bridge=call.id, **{**fields, **changes})

    def stop(self) -> dict[str, object]:
        return self.call.control.request("stop_recording", bridge=self.call.id)["recording_result"]  # type: ignore[return-value]


def talk(call: Call, first: int, count: int) -> None:
    for n in range(first, first + count):
        call.a.send(rtp(n, 160 * n, 0xA, b"A%05d" % n + bytes(154)))
        call.b.send(rtp(n, 160 * n, 0xB, b"B%05d" % n + bytes(154)))
        call.b.receive()
        call.a.receive()


def test_both_directions_are_in_the_file_as_they_arrived(media: Media, control: Controller) -> None:
    keys = Keys("AES_CM_128_HMAC_SHA1_80")
    call = Call(control, keys=(keys, None))
    recorded = Recorded(call, anchor_us=1_700_000_000_000_000)
    tx = oracle(keys.suite, keys.recv, is_sender=True)
    sent = [rtp(n, 160 * n, 0xA, b"A%d" % n * 20) for n in range(30)]
    heard = [rtp(900 + n, 160 * n, 0xB, b"B%d" % n * 20, pt=8) for n in range(30)]
    for one, other in zip(sent, heard, strict=True):
        call.a.send(tx.protect(one))
        call.b.receive()
        call.b.send(other)
        call.a.receive()
    result = recorded.stop()

    path = media.spool / recorded.name
    data = path.read_bytes()
    assert path.stat().st_mode & 0o7777 == 0o600
    assert result["digest"] == hashlib.sha256(data).digest()
    assert result["bytes"] == len(data)
    opened = read(data, recorded.key)
    assert (opened.org, opened.recording, opened.segment) == (recorded.org.bytes, recorded.id.bytes, 0)
    assert (len(opened.frames), opened.is_final, opened.whole) == (result["frames"], True, len(data))
    assert [e.kind for e in opened.frames[0][:2]] == ["anchor", "format"]
    assert int.from_bytes(opened.entries[0].data, "big") == 1_700_000_000_000_000
    assert opened.entries[1].data == FORMAT
    assert opened.entries[-1].kind == "end"
    assert [e.data for e in opened.entries if e.kind == "packet" and e.leg == 0] == sent
    assert [e.data for e in opened.entries if e.kind == "packet" and e.leg == 1] == heard
    times = [e.time_s for e in opened.entries]
    assert times == sorted(times)
    assert (result["recording_state"], result["gaps"]) == (2, 0)
    assert abs(int(result["duration_ms"]) / 1000 - times[-1]) < 0.002  # type: ignore[call-overload]


def test_the_file_is_never_more_than_half_a_second_behind(media: Media, control: Controller) -> None:
    call = Call(control)
    recorded = Recorded(call)
    path = media.spool / recorded.name
    for n in range(3):
        call.a.send(rtp(n, 160 * n, 1, b"%d" % n))
        sent = time.monotonic()
        while not any(e.data.endswith(b"%d" % n) for e in read(path.read_bytes(), recorded.key).entries if e.kind == "packet"):
            assert time.monotonic() - sent < 0.5
            time.sleep(0.005)


def test_a_pause_is_a_marked_gap(media: Media, control: Controller) -> None:
    call = Call(control)
    recorded = Recorded(call)
    talk(call, 0, 3)
    control.request("pause_recording", bridge=call.id)
    talk(call, 3, 3)
    control.request("resume_recording", bridge=call.id)
    talk(call, 6, 3)
    control.request("set_format", bridge=call.id, format=b'{"legs":[{},{}]}')
    recorded.stop()
    entries = read((media.spool / recorded.name).read_bytes(), recorded.key).entries
    assert [e.kind if e.kind != "packet" else int(e.data[13:18]) for e in entries if e.leg != 1] == [
        "anchor", "format", 0, 1, 2, "pause", "resume", 6, 7, 8, "format", "end",
    ]  # fmt: skip
    with pytest.raises(RequestError) as caught:
        control.request("pause_recording", bridge=call.id)
    assert caught.value.status == STATE


def test_what_is_sensitive_is_a_gap_of_its_own_beside_a_pause_and_in_recordings_that_begin_meanwhile(
    media: Media, control: Controller
) -> None:
    call = Call(control)
    recorded = Recorded(call)
    talk(call, 0, 1)
    control.request("set_sensitive", bridge=call.id, is_on=1)
    talk(call, 1, 1)
    control.request("pause_recording", bridge=call.id)
    control.request("set_sensitive", bridge=call.id, is_on=0)
    talk(call, 2, 1)  # still paused, since that was asked for too
    control.request("resume_recording", bridge=call.id)
    talk(call, 3, 1)
    control.request("set_sensitive", bridge=call.id, is_on=1)
    recorded.stop()
    second = Recorded(call, segment=1)
    talk(call, 4, 1)
    control.request("set_sensitive", bridge=call.id, is_on=0)
    talk(call, 5, 1)
    second.stop()

    def kept(one: Recorded) -> list[object]:
        entries = read((media.spool / one.name).read_bytes(), one.key).entries
        return [e.kind if e.kind != "packet" else int(e.data[13:18]) for e in entries if e.leg != 1]

    assert kept(recorded) == ["anchor", "format", 0, "pause", "resume", 3, "pause", "end"]
    assert kept(second) == ["anchor", "format", "pause", "resume", 5, "end"]


def test_segments_follow_each_other_with_keys_of_their_own(media: Media, control: Controller) -> None:
    call = Call(control)
    first = Recorded(call, name="one.hwr")
    with pytest.raises(RequestError) as caught:
        Recorded(call, name="two.hwr")
    assert caught.value.status == EXISTS
    talk(call, 0, 2)
    first.stop()
    second = Recorded(call, name="two.hwr", segment=1)
    talk(call, 2, 2)
    second.stop()
    opened = [read((media.spool / r.name).read_bytes(), r.key) for r in (first, second)]
    assert [[int(e.data[13:18]) for e in o.entries if e.kind == "packet" and e.leg == 0] for o in opened] == [[0, 1], [2, 3]]


def test_a_switch_to_the_next_segment_loses_no_packet_and_has_none_twice(media: Media, control: Controller) -> None:
    """Both sides go on speaking while the recording changes its file and key four times."""
    call = Call(control)
    segments = [Recorded(call)]
    is_over, sent = threading.Event(), [0]

    def speak() -> None:
        while not is_over.is_set():
            talk(call, sent[0], 1)
            sent[0] += 1

    speaking = threading.Thread(target=speak)
    speaking.start()
    try:
        for n in range(1, 5):
            until = sent[0] + 30
            while sent[0] < until:
                time.sleep(0.001)
            segments.append(Recorded(call, op="switch_recording", segment=n))
            result = segments[-1].reply["recording_result"]
            assert (result["recording"], result["segment"], result["recording_state"]) == (segments[-2].id.bytes, n - 1, 2)  # type: ignore[index]
            entry = control.request("list_bridges")["bridge_entry"][0]  # type: ignore[index]
            assert (entry["recording"], entry["segment"]) == (segments[-1].id.bytes, n)
    finally:
        is_over.set()
        speaking.join()
    segments[-1].stop()
    opened = [read((media.spool / s.name).read_bytes(), s.key) for s in segments]
    assert all(o.is_final for o in opened)
    for leg in (0, 1):
        numbers = [[int(e.data[13:18]) for e in o.entries if e.kind == "packet" and e.leg == leg] for o in opened]
        assert [n for part in numbers for n in part] == list(range(sent[0]))
        assert all(len(part) >= 30 for part in numbers[:-1])
    control.request("ping")
    closed = [e.fields["recording_result"]["recording"] for e in control.events if e.kind == "recording_closed"]  # type: ignore[index]
    assert closed == [s.id.bytes for s in segments]


def test_a_switch_that_is_impossible_changes_nothing(media: Media, control: Controller) -> None:
    call = Call(control)
    with pytest.raises(RequestError) as caught:
        Recorded(call, op="switch_recording")
    assert caught.value.status == STATE
    first = Recorded(call, name="one.hwr")
    for name, status in (("one.hwr", EXISTS), ("../two.hwr", INVALID)):
        with pytest.raises(RequestError) as caught:
            Recorded(call, op="switch_recording", name=name, segment=1)
        assert caught.value.status == status
    talk(call, 0, 5)
    assert first.stop()["recording_state"] == 2
    assert sum(e.kind == "packet" for e in read((media.spool / "one.hwr").read_bytes(), first.key).entries) == 10


def test_what_is_paused_stays_paused_in_the_next_segment(media: Media, control: Controller) -> None:
    call = Call(control)
    Recorded(call)
    control.request("pause_recording", bridge=call.id)
    second = Recorded(call, op="switch_recording", segment=1)
    talk(call, 0, 3)
    control.request("resume_recording", bridge=call.id)
    talk(call, 3, 2)
    second.stop()
    entries = read((media.spool / second.name).read_bytes(), second.key).entries
    assert [e.kind if e.kind != "packet" else int(e.data[13:18]) for e in entries if e.leg != 1] == [
        "anchor", "format", "pause", "resume", 3, 4, "end",
    ]  # fmt: skip


def test_many_recordings_are_sealed_while_they_go_on_and_whole_in_the_end(media: Media, control: Controller) -> None:
    """Forty calls at once. (How far behind a packet is at most: native/tests/test_recorder.cpp, in virtual time.)"""
    calls = [Call(control) for _ in range(40)]
    recorded = [Recorded(call) for call in calls]
    for n in range(30):
        for call in calls:
            talk(call, n, 1)
        if n % 10 == 9:
            said = time.monotonic()
            for r in recorded:
                while not any(e.data[12:18] == b"A%05d" % n for e in read((media.spool / r.name).read_bytes(), r.key).entries):
                    assert time.monotonic() - said < 20
                    time.sleep(0.005)
    for r in recorded:
        assert r.stop()["gaps"] == 0
        entries = read((media.spool / r.name).read_bytes(), r.key).entries
        assert [int(e.data[13:18]) for e in entries if e.kind == "packet" and e.leg == 0] == list(range(30))


def test_the_end_of_a_recording_is_told_until_it_is_acknowledged(media: Media, control: Controller) -> None:
    call = Call(control)
    recorded = Recorded(call)
    closed = call.close()
    result = closed["recording_result"]
    with media.controller(2) as later:
        event = later.event("recording_closed")
        assert event.fields == {"bridge": call.id.bytes, "recording_result": result}
        assert result["recording"] == recorded.id.bytes  # type: ignore[index]
        later.request("ack", event=event.id)
    with media.controller(3) as last:
        last.request("ping")
        assert last.events == []


@pytest.mark.parametrize(
    "name", ["../x.hwr", "/x.hwr", ".hwr", ".x.hwr", "x", "x.hwr\0", "a b.hwr", "é.hwr", "a/b.hwr", "x" * 125 + ".hwr"]
)
def test_a_name_that_could_leave_the_spool_is_refused(media: Media, control: Controller, name: str) -> None:
    call = Call(control)
    with pytest.raises(RequestError) as caught:
        Recorded(call, name=name)
    assert caught.value.status == INVALID
    assert list(media.spool.iterdir()) == []


def test_neither_an_existing_file_nor_a_link_is_written_to(media: Media, control: Controller) -> None:
    (media.spool / "there.hwr").write_bytes(b"old")
    (media.spool / "link.hwr").symlink_to(media.folder / "elsewhere")
    call = Call(control)
    for name in ("there.hwr", "link.hwr"):
        with pytest.raises(RequestError) as caught:
            Recorded(call, name=name)
        assert caught.value.status in (EXISTS, SPOOL)
    assert (media.spool / "there.hwr").read_bytes() == b"old"
    assert not (media.folder / "elsewhere").exists()
    recorded = Recorded(call, name="fresh.hwr")  # and the bridge is none the worse
    talk(call, 0, 1)
    assert recorded.stop()["recording_state"] == 2


def test_kill_9_leaves_a_file_whose_prefix_opens(media: Media, control: Controller) -> None:
    call = Call(control)
    recorded = Recorded(call)
    path = media.spool / recorded.name
    n, until = 0, time.monotonic() + 1.5
    while time.monotonic() < until:
        talk(call, n, 1)
        n += 1
        time.sleep(0.02)
    media.process.kill()
    media.process.wait()
    data = path.read_bytes()
    opened = read(data, recorded.key)
    assert not opened.is_final
    assert len(data) - opened.whole < 6000
    packets = [int(e.data[13:18]) for e in opened.entries if e.kind == "packet" and e.leg == 0]
    assert packets == list(range(len(packets)))
    assert len(packets) >= n - 25  # half a second at most
    for cut in range(len(data) - 400, len(data)):  # and wherever a crash tears it
        assert not read(data[:cut], recorded.key).is_final


def test_sigterm_closes_recordings_before_the_end(media: Media, control: Controller) -> None:
    call = Call(control)
    recorded = Recorded(call)
    talk(call, 0, 5)
    assert media.stop() == 0
    opened = read((media.spool / recorded.name).read_bytes(), recorded.key)
    assert opened.is_final
    assert sum(e.kind == "packet" for e in opened.entries) == 10
    assert not Path(media.socket).exists()


def limit_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_full_spool_ends_the_recording_and_the_call_goes_on(media_program: str) -> None:
    with running_media(media_program, preexec_fn=limit_files) as media, media.controller() as control:
        call = Call(control)
        recorded = Recorded(call)
        talk(call, 0, 150)
        event = control.event("recording_failed")
        result = event.fields["recording_result"]
        assert result["recording_state"] == 3  # type: ignore[index]
        assert result["failure"] == 1  # type: ignore[index]
        data = (media.spool / recorded.name).read_bytes()
        opened = read(data, recorded.key)
        assert not opened.is_final
        assert opened.whole == len(data) == result["bytes"]  # type: ignore[index]
        assert hashlib.sha256(data).digest() == result["digest"]  # type: ignore[index]
        talk(call, 150, 5)
        with pytest.raises(RequestError) as caught:
            recorded.stop()
        assert caught.value.status == STATE
        again = Recorded(call)
        talk(call, 155, 5)
        assert again.stop()["recording_state"] == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to mount a small file system")
def test_a_spool_with_no_room_left_is_told_at_the_start_and_later(media_program: str, tmp_path: Path) -> None:
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "hw-spool", str(tmp_path)], capture_output=True).returncode:
        pytest.skip("mounting is not allowed here")
    try:
        with running_media(media_program, spool=tmp_path) as media, media.controller() as control:
            call = Call(control)
            Recorded(call, name="a.hwr")
            talk(call, 0, 300)
            assert control.event("recording_failed").fields["recording_result"]["failure"] == 1  # type: ignore[index]
            with pytest.raises(OSError, match="No space"):
                (tmp_path / "filler").write_bytes(bytes(65_536))
            with pytest.raises(RequestError) as caught:
                Recorded(call, name="b.hwr")
            assert caught.value.status == SPOOL
            assert not (tmp_path / "b.hwr").exists()
            talk(call, 300, 5)
            (tmp_path / "a.hwr").unlink()
            assert Recorded(call, name="c.hwr").stop()["recording_state"] == 2
            assert media.is_running()
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


FAULTS = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>
static volatile char* faults;  // byte 0: syncs fail, byte 1: writes fail; mapped before the program gives up its files
__attribute__((constructor)) static void begin(void) {
    faults = mmap(0, 2, PROT_READ, MAP_SHARED, open(getenv("FAULTS"), O_RDONLY), 0);
}
static int synced(int fd, const char* name) {
    if (faults[0]) return errno = EIO, -1;
    return ((int (*)(int))dlsym(RTLD_NEXT, name))(fd);
}
int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }
ssize_t write(int fd, const void* data, size_t size) {
    if (fd > 2 && size > 16 && faults[1]) return errno = ENOSPC, -1;  // not the 8 bytes of a wake-up
    return ((ssize_t (*)(int, const void*, size_t))dlsym(RTLD_NEXT, "write"))(fd, data, size);
}
"""


class Disk:
    """A disk that fails while it is told to: one byte each for syncs and writes, shared with the program."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(2))
        self.path = path

    def fail(self, *, sync: bool = False, write: bool = False) -> None:
        with self.path.open("r+b") as file:
            file.write(bytes([sync, write]))


@contextlib.contextmanager
def faulty_disk(program: str, folder: Path) -> Iterator[tuple[Media, Disk]]:
    """hushwire-media on a disk that fails on demand."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("no C compiler")
    source, library = folder / "faults.c", folder / "faults.so"
    source.write_text(FAULTS)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True)
    disk = Disk(folder / "faults")
    env = {**os.environ, "LD_PRELOAD": str(library), "FAULTS": str(disk.path)}
    env["ASAN_OPTIONS"] = env.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"  # ours comes before its runtime, and calls it
    with running_media(program, env=env) as media:
        yield media, disk


@pytest.mark.parametrize("end", ["stop_recording", "close_bridge"])
@pytest.mark.parametrize("fault", ["sync", "write"])
def test_what_the_disk_did_not_take_at_the_end_is_reported_as_failed(media_program: str, tmp_path: Path, fault: str, end: str) -> None:
    with faulty_disk(media_program, tmp_path) as (media, disk), media.controller() as control:
        call = Call(control)
        recorded = Recorded(call)
        talk(call, 0, 5)
        disk.fail(sync=fault == "sync", write=fault == "write")
        result = control.request(end, bridge=call.id)["recording_result"]
        assert (result["recording_state"], result["failure"]) == (3, 2 if fault == "sync" else 1)  # type: ignore[index]
        failed = control.event("recording_failed").fields["recording_result"]
        assert failed["recording"] == recorded.id.bytes  # type: ignore[index]
        control.request("ping")
        assert [event.kind for event in control.events if event.kind.startswith("recording")] == []


def test_a_sync_that_fails_on_the_way_ends_the_recording_though_later_ones_succeed(media_program: str, tmp_path: Path) -> None:
    with faulty_disk(media_program, tmp_path) as (media, disk), media.controller() as control:
        call = Call(control)
        Recorded(call)
        disk.fail(sync=True)
        until = time.monotonic() + 4.5  # syncs come every 3.5 s
        n = 0
        while time.monotonic() < until:
            talk(call, n, 1)
            n += 1
            time.sleep(0.1)
        disk.fail()
        talk(call, n, 50)
        result = control.event("recording_failed").fields["recording_result"]
        assert (result["recording_state"], result["failure"]) == (3, 2)  # type: ignore[index]


def test_no_plain_audio_reaches_the_disk(media: Media, control: Controller) -> None:
    marker = b"PLAINTEXT-MARKER" * 10
    call = Call(control)
    recorded = Recorded(call)
    for n in range(50):
        call.a.send(rtp(n, 160 * n, 1, marker))
        assert parse(call.b.receive()).payload == marker
    recorded.stop()
    files = [p for p in media.folder.rglob("*") if p.is_file()]
    assert files
    assert not any(marker[:16] in p.read_bytes() or recorded.key in p.read_bytes() for p in files)


def test_a_spool_folder_that_was_removed_is_said_and_the_next_run_uses_the_new_one(media_program: str, tmp_path: Path) -> None:
    """The program can open its own spool alone, so a folder made anew under the same name is another one to it."""
    spool = tmp_path / "spool"
    spool.mkdir()
    with running_media(media_program, spool=spool) as media, media.controller() as control:
        call = Call(control)
        spool.rmdir()
        for _ in range(2):
            with pytest.raises(RequestError) as caught:
                Recorded(call)
            assert caught.value.status == SPOOL
            spool.mkdir(exist_ok=True)
        talk(call, 0, 5)  # the call is none the worse
        assert list(spool.iterdir()) == []
    with running_media(media_program, spool=spool) as media, media.controller() as control:
        recorded = Recorded(Call(control))
        assert recorded.stop()["recording_state"] == 2
        assert read((spool / recorded.name).read_bytes(), recorded.key).is_final
