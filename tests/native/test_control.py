"""The control socket: epochs, events, lists, orphans, and controllers that are wrong or hostile."""

from __future__ import annotations

import os
import random
import socket
import stat
import struct
import subprocess
import time
import uuid
from pathlib import Path

import pytest

from tests.native.call import Call, Keys, Party, parse, rtp
from tests.native.client import (
    EXISTS,
    FENCED,
    INVALID,
    MALFORMED,
    NOT_FOUND,
    OPS,
    UNSUPPORTED,
    Controller,
    Media,
    RequestError,
    encode,
    running_media,
)
from tests.native.hwr_reader import read
from tests.native.test_recording import Recorded, talk


def refused(control: Controller, op: str, **fields: object) -> int:
    with pytest.raises(RequestError) as caught:
        control.request(op, **fields)
    return caught.value.status


def test_the_socket_belongs_to_its_user_alone(media: Media) -> None:
    assert stat.S_IMODE(os.stat(media.socket).st_mode) == 0o600


def test_only_a_greater_epoch_takes_over_and_the_older_controller_is_shut_out(media: Media) -> None:
    with media.controller(None) as nobody:
        assert refused(nobody, "list_bridges") == FENCED
        nobody.request("ping")
    with media.controller(5) as first:
        call = Call(first)
        with media.controller(None) as late:
            for epoch in (0, 4, 5):
                assert refused(late, "hello", epoch=epoch) == FENCED
        first.request("ping")
        with media.controller(6) as second:
            assert second.hello["count"] == 1
            assert second.hello["instance"] == first.hello["instance"]
            assert first.is_closed()
            assert second.request("list_bridges")["bridge_entry"] == [{"bridge": call.id.bytes, "mode": 0}]
            call.a.send(rtp(1, 160, 1, b"still relayed"))
            assert parse(call.b.receive()).payload == b"still relayed"
            second.request("close_bridge", bridge=call.id)


def test_media_and_recording_go_on_while_no_controller_is_there(media: Media) -> None:
    with media.controller(1) as first:
        call = Call(first)
        first.closing.pop_all()  # the parties stay
        recorded = Recorded(call)
    talk(call, 0, 5)
    with media.controller(2) as second:
        entry = second.request("list_bridges")["bridge_entry"][0]  # type: ignore[index]
        assert (entry["recording"], entry["recording_state"]) == (recorded.id.bytes, 0)
        call.control = second
        assert recorded.stop()["recording_state"] == 2
        assert sum(e.kind == "packet" for e in read((media.spool / recorded.name).read_bytes(), recorded.key).entries) == 10
    call.a.close()
    call.b.close()


def test_without_a_controller_bridges_and_recordings_end_after_the_orphan_timeout(media_program: str) -> None:
    with running_media(media_program, "--orphan-timeout", "1") as media:
        with media.controller(1) as first:
            call = Call(first)
            recorded = Recorded(call)
            talk(call, 0, 3)
        gone = time.monotonic()
        path = media.spool / recorded.name
        while not read(path.read_bytes(), recorded.key).is_final:
            assert time.monotonic() - gone < 5
            time.sleep(0.02)
        assert time.monotonic() - gone > 0.9
        with media.controller(2) as second:
            closed = second.event("bridge_closed")
            assert (closed.fields["bridge"], closed.fields["reason"]) == (call.id.bytes, 2)
            assert [s["packets_received"] for s in closed.fields["leg_stats"]] == [3, 3]  # type: ignore[attr-defined]
            assert second.event("recording_closed").fields["recording_result"]["recording"] == recorded.id.bytes  # type: ignore[index]
            # The file was final a moment before the bridge went: HELLO may still have counted it.
            assert "bridge_entry" not in second.request("list_bridges")


def test_a_controller_that_hangs_counts_as_none_though_its_socket_is_open(media_program: str) -> None:
    with running_media(media_program, "--orphan-timeout", "1") as media, media.controller(1) as hung:
        call = Call(hung)
        recorded = Recorded(call)
        talk(call, 0, 3)
        assert hung.is_closed()
        with media.controller(2) as second:
            assert second.event("bridge_closed").fields["reason"] == 2
            assert second.event("recording_closed").fields["recording_result"]["recording"] == recorded.id.bytes  # type: ignore[index]
            assert "bridge_entry" not in second.request("list_bridges")
        assert read((media.spool / recorded.name).read_bytes(), recorded.key).is_final


def test_a_controller_that_only_pings_keeps_bridges_and_recordings(media_program: str) -> None:
    with running_media(media_program, "--orphan-timeout", "1") as media, media.controller(1) as control:
        call = Call(control)
        recorded = Recorded(call)
        for _ in range(25):
            control.request("ping")
            time.sleep(0.1)
        assert recorded.stop()["recording_state"] == 2


def test_unacknowledged_events_come_again_and_acknowledged_ones_do_not(media: Media) -> None:
    with media.controller(1) as first:
        call = Call(first)
        talk(call, 0, 1)
        kept, acknowledged = first.event("leg_source"), first.event("leg_source")
        first.request("ack", event=[acknowledged.id])
        first.request("ack", event=[acknowledged.id, 999])
    with media.controller(2) as second:
        second.request("ping")
        assert [(e.id, e.kind) for e in second.events] == [(kept.id, "leg_source")]


def test_a_long_list_comes_in_pages(control: Controller) -> None:
    ids = sorted(uuid.uuid4().bytes for _ in range(3000))
    for ident in ids:
        control.send("open_bridge", bridge=ident, mode=0)
    for _ in ids:
        assert control.read()[3]["status"] == 0
    got: list[bytes] = []
    page = control.request("list_bridges")
    while True:
        got += [e["bridge"] for e in page["bridge_entry"]]  # type: ignore[attr-defined]
        if not page["more"]:
            break
        page = control.request("list_bridges", after=got[-1])
    assert got == ids
    for ident in ids:
        control.send("close_bridge", bridge=ident)
    for _ in ids:
        assert control.read()[3]["status"] == 0


def test_requests_for_a_bridge_keep_their_order_behind_the_disk(media: Media, control: Controller) -> None:
    call = Call(control)
    key, ident = os.urandom(32), uuid.uuid4()
    common = {"org": ident, "recording": ident, "segment": 0, "data_key": key, "format": b"{}"}
    control.send("start_recording", bridge=call.id, file="a.hwr", **common)
    control.send("pause_recording", bridge=call.id)
    control.send("resume_recording", bridge=call.id)
    control.send("stop_recording", bridge=call.id)
    control.send("start_recording", bridge=call.id, file="b.hwr", **common)
    control.send("close_bridge", bridge=call.id)
    control.send("get_bridge", bridge=call.id)
    replies = {}
    while len(replies) < 7:
        kind, _, ident_, fields = control.read()
        if kind == 1:
            replies[ident_] = fields["status"]
    assert list(dict(sorted(replies.items())).values()) == [0, 0, 0, 0, 0, 0, NOT_FOUND]
    assert [e.kind for e in read((media.spool / "a.hwr").read_bytes(), key).entries] == ["anchor", "format", "pause", "resume", "end"]
    assert read((media.spool / "b.hwr").read_bytes(), key).is_final


def test_wrong_requests_are_refused_and_change_nothing(control: Controller) -> None:
    call = Call(control)
    assert refused(control, "open_bridge", bridge=call.id, mode=0) == EXISTS
    assert refused(control, "open_bridge", bridge=uuid.uuid4(), mode=7) == UNSUPPORTED
    assert refused(control, "open_bridge", bridge=uuid.uuid4()) == INVALID
    assert refused(control, "open_bridge", bridge=b"short", mode=0) == INVALID
    assert refused(control, "open_bridge", bridge=[uuid.uuid4(), uuid.uuid4()], mode=0) == INVALID
    assert refused(control, "open_bridge", bridge=uuid.uuid4(), mode=0, segment=1) == INVALID
    assert refused(control, "open_leg", bridge=call.id, leg=0) == EXISTS
    assert refused(control, "open_leg", bridge=call.id, leg=16) == INVALID
    assert refused(control, "close_bridge", bridge=uuid.uuid4()) == NOT_FOUND
    for change in (
        {"remote_ip": bytes(5)},
        {"remote_ip": bytes(16 - 1) + b"\1"},
        {"remote_ip": b"\xe0\0\0\1"},
        {"remote_ip": b"\xff" * 4},
        {"learn": 2},
        {"payload_types": b"\0"},
        {"payload_types": b"\0\xff"},
        {"clock_rate": 0},
        {"signalling_ip": bytes(7)},
    ):
        with pytest.raises(RequestError) as caught:
            call.set_leg(0, **change)
        assert caught.value.status == INVALID
    call.a.send(rtp(1, 160, 1, b"unharmed"))
    assert parse(call.b.receive()).payload == b"unharmed"


@pytest.mark.parametrize(
    "frame",
    [
        struct.pack(">I", 0),
        struct.pack(">I", 7) + bytes(7),
        struct.pack(">I", 65_537),
        struct.pack(">I", 0xFFFFFFFF),
        struct.pack(">IBBHI", 8, 2, 0, 2, 1),
        struct.pack(">IBBHI", 8, 1, 1, 2, 1),
        struct.pack(">IBBHIHH", 12, 1, 0, 1, 1, 3, 8),
        struct.pack(">IBBHIH", 10, 1, 0, 1, 1, 3),
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_a_frame_that_cannot_be_read_closes_the_connection(media: Media, frame: bytes) -> None:
    with media.controller(None) as hostile:
        hostile.sock.sendall(frame)
        assert hostile.is_closed()
    with media.controller(1) as good:
        good.request("ping")


def test_an_unknown_operation_is_refused_and_the_connection_goes_on(control: Controller) -> None:
    control.sock.sendall(struct.pack(">IBBHI", 8, 1, 0, 999, 77))
    kind, opcode, ident, fields = control.read()
    assert (kind, opcode, ident, fields["status"]) == (1, 999, 77, UNSUPPORTED)
    control.request("ping")


def test_requests_split_at_every_byte_are_understood(media: Media) -> None:
    with media.controller(None) as control:
        body = struct.pack(">BBHI", 1, 0, OPS["hello"], 5) + encode("epoch", 9)
        for byte in struct.pack(">I", len(body)) + body:
            control.sock.sendall(bytes([byte]))
        assert control.read()[3]["status"] == 0


def test_random_bytes_and_mutated_requests_never_end_the_program(media: Media) -> None:
    chance = random.Random(7)
    with media.controller(1) as good:
        call = Call(good)
        valid = []
        for op, fields in (
            ("open_leg", {"bridge": call.id, "leg": 1}),
            ("set_leg", {"bridge": call.id, "leg": 0, "remote_ip": b"\x7f\0\0\1", "remote_port": 9, "payload_types": b"\1\2"}),
            ("start_recording", {"bridge": call.id, "org": call.id, "recording": call.id, "segment": 0, "data_key": bytes(32),
                                 "file": "x.hwr", "format": b"{}"}),
            ("stop_recording", {"bridge": call.id}),
            ("list_bridges", {}),
        ):  # fmt: skip
            valid.append(struct.pack(">BBHI", 1, 0, OPS[op], 1) + b"".join(encode(n, v) for n, v in fields.items()))
    for n in range(300):
        with media.controller(n + 2) as hostile:
            if n % 3 == 0:
                data = chance.randbytes(chance.randrange(1, 2000))
            else:
                body = bytearray(chance.choice(valid))
                for _ in range(chance.randrange(1, 6)):
                    body[chance.randrange(len(body))] = chance.randrange(256)
                data = struct.pack(">I", len(body)) + body
            hostile.sock.sendall(data)
            hostile.sock.shutdown(socket.SHUT_WR)
            assert hostile.is_closed()
    assert media.is_running()
    with media.controller(10_000) as good:
        talk(Call(good), 0, 2)


@pytest.mark.parametrize("is_srtp", [False, True])
def test_ten_thousand_random_datagrams_at_each_port_leave_the_call_unharmed(control: Controller, media: Media, is_srtp: bool) -> None:
    chance = random.Random(11)
    call = Call(control, keys=(Keys("AES_CM_128_HMAC_SHA1_80") if is_srtp else None, None))
    call.set_leg(0, rtcp_mux=1)
    for party in (call.a, call.b):
        for n in range(10_000):
            size = chance.choice((0, 1, 2, 11, 12, 13, 20, 40, 172, 1500, 1501, 4000)) if n % 4 else chance.randrange(300)
            data = bytearray(chance.randbytes(size))
            if n % 2 and size > 1:
                data[0] = 0x80 | chance.randrange(64)
                data[1] = chance.choice((0, 8, 200, 201, 202, 205))
            (party.send if n % 3 else party.send_rtcp)(bytes(data))
    control.request("get_bridge", bridge=call.id)
    for sock in (call.a.rtp, call.b.rtp, call.a.rtcp, call.b.rtcp):
        sock.setblocking(False)
        while True:
            try:
                sock.recv(4096)
            except BlockingIOError:
                break
    assert media.is_running()
    assert call.stats(0)["dropped_malformed"] > 100
    fresh = Call(control)
    talk(fresh, 0, 5)


def test_a_second_program_does_not_take_the_socket_and_a_dead_one_is_replaced(media_program: str, media: Media) -> None:
    command = [media_program, "--socket", media.socket, "--spool", str(media.spool), "--address", "127.0.0.1"]
    second = subprocess.run(command, capture_output=True, timeout=10)
    assert second.returncode == 1
    assert b"another program answers at --socket already" in second.stderr
    media.process.kill()
    media.process.wait()
    third = subprocess.Popen(command, stderr=subprocess.PIPE)
    assert third.stderr
    try:
        assert any(b"media.ready" in line for line in iter(third.stderr.readline, b""))
        with media.controller(1) as control:
            control.request("ping")
    finally:
        third.terminate()
        assert third.wait(10) == 0
        third.stderr.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--socket is missing"),
        (["--socket"], "--socket is unknown or lacks its value"),
        (["--socket", "/tmp/x", "--spool", "/tmp"], "--address is missing"),
        (["--socket", "/tmp/x", "--spool", "/tmp", "--address", "localhost"], "--address must be an IPv4 or IPv6 address"),
        (["--ports", "9"], "--ports must be LO-HI"),
        (["--ports", "20001-20001"], "--ports must hold an even port"),
        (["--workers", "0"], "--workers must be a number from 1 to 64"),
        (["--tick-us", "abc"], "--tick-us must be a number"),
        (["--frobnicate", "1"], "--frobnicate is unknown"),
    ],
)
def test_bad_options_end_with_one_clear_sentence(media_program: str, options: list[str], words: str) -> None:
    done = subprocess.run([media_program, *options], capture_output=True, text=True, timeout=10)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[0]


def test_impossible_places_end_with_one_clear_sentence(media_program: str, tmp_path: Path) -> None:
    def said(*options: str) -> str:
        done = subprocess.run([media_program, *options], capture_output=True, text=True, timeout=10)
        assert done.returncode == 1
        assert not done.stderr.startswith("{")
        return done.stderr

    socket_path, spool = str(tmp_path / "s"), str(tmp_path)
    assert "the spool folder can't be opened" in said("--socket", socket_path, "--spool", spool + "/none", "--address", "127.0.0.1")
    assert "--address is not an address of this machine" in said("--socket", socket_path, "--spool", spool, "--address", "192.0.2.1")
    assert "--socket must be a path of" in said("--socket", "x" * 120, "--spool", spool, "--address", "127.0.0.1")
    assert "--socket names a file that is not a socket" in said("--socket", "/etc/passwd", "--spool", spool, "--address", "127.0.0.1")
    assert (
        "--user names nobody" in said("--socket", socket_path, "--spool", spool, "--address", "127.0.0.1", "--user", "no-such-user")
        or os.geteuid() != 0
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_started_as_root_it_becomes_the_user_for_good(media_program: str, data_folder: Path) -> None:
    spool = data_folder / "spool"
    spool.mkdir()
    os.chown(spool, 65534, 65534)
    with running_media(media_program, "--user", "nobody", spool=spool) as media, media.controller() as control:
        status = Path(f"/proc/{media.process.pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert fields["Uid"].split() == ["65534"] * 4
        assert fields["Gid"].split() == ["65534"] * 4
        assert int(fields["CapEff"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        assert os.stat(media.socket).st_uid == 65534
        limits = Path(f"/proc/{media.process.pid}/limits").read_text()
        assert "Max core file size        0                    0" in limits
        call = Call(control)
        recorded = Recorded(call)
        talk(call, 0, 1)
        assert recorded.stop()["recording_state"] == 2
        assert os.stat(spool / recorded.name).st_uid == 65534


def test_a_port_range_is_kept_to_and_its_end_is_said(media_program: str) -> None:
    probe = Party()
    low = probe.port + probe.port % 2 + 2
    probe.close()
    with running_media(media_program, "--ports", f"{low}-{low + 3}") as media, media.controller() as control:
        call_id = uuid.uuid4()
        control.request("open_bridge", bridge=call_id, mode=0)
        ports = [control.request("open_leg", bridge=call_id, leg=leg)["rtp_port"] for leg in (0, 1)]
        assert sorted(ports) == [low, low + 2]
        other = uuid.uuid4()
        control.request("open_bridge", bridge=other, mode=0)
        assert refused(control, "open_leg", bridge=other, leg=0) == 8
        control.request("close_bridge", bridge=call_id)
        assert control.request("open_leg", bridge=other, leg=0)["rtp_port"] in ports


def test_logs_hold_neither_addresses_nor_keys(media: Media) -> None:
    with media.controller(1) as control:
        call = Call(control)
        recorded = Recorded(call)
        talk(call, 0, 3)
        port = call.a.port
        recorded.stop()
    assert media.stop() == 0
    assert media.process.stderr
    log = b"".join(media.log) + media.process.stderr.read()
    assert b"media.stopped" in log
    for secret in (b"127.0.0.1", str(port).encode(), recorded.key.hex().encode(), recorded.key):
        assert secret not in log


def test_malformed_is_the_status_of_a_torn_field(media: Media) -> None:
    with media.controller(None) as control:
        control.sock.sendall(struct.pack(">IBBHIHH", 12, 1, 0, 1, 42, 3, 8))
        kind, _, ident, fields = control.read()
        assert (kind, ident, fields["status"]) == (1, 42, MALFORMED)
        assert control.is_closed()


def test_nobody_reading_the_log_does_not_hold_up_control(media: Media) -> None:
    for epoch in range(1, 1500):  # each takes a line: twice what a pipe holds
        media.controller(epoch).sock.close()
    with media.controller(1500) as control:
        control.request("ping")


def test_wrong_lists_of_codecs_are_refused_and_change_nothing(control: Controller) -> None:
    def codec(pt: int, name: int, ptime: int = 20, flags: int = 0, clock: int = 8000) -> bytes:
        return struct.pack(">BBBBI", pt, name, ptime, flags, clock)

    call = Call(control)
    good = [codec(0, 1), codec(8, 2), codec(9, 3), codec(111, 4, clock=48_000, flags=3), codec(13, 5), codec(101, 6)]
    call.set_leg(0, codec=good)
    wrong = [codec(128, 1), codec(0, 0), codec(0, 7), codec(0, 1, ptime=9), codec(0, 1, ptime=121), codec(0, 1, flags=4)]
    wrong += [codec(0, 1, clock=16_000), codec(111, 4), codec(101, 6, clock=96_000), codec(0, 1)[:7]]
    base = {"bridge": call.id, "leg": 0, "remote_ip": socket.inet_aton("127.0.0.1"), "remote_port": call.a.port}
    for one in [*([item] for item in wrong), [codec(0, 1), codec(0, 2)], [codec(n, 1) for n in range(17)]]:
        assert refused(control, "set_leg", **base, codec=one) == INVALID
    call.a.send(rtp(1, 160, 7))
    assert parse(call.b.receive()).payload == b"\xff" * 160
