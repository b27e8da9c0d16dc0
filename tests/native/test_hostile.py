"""Controllers that are wrong or hostile: random, torn, slow, many, greedy. Each request gets its reply, and the program goes on."""

from __future__ import annotations

import os
import random
import select
import socket
import struct
import time
import uuid
from pathlib import Path

import pytest

from tests.native.call import Call
from tests.native.client import OK, OPS, STATE, TAGS, Controller, Media, RequestError, encode, running_media
from tests.native.test_recording import talk

LIMIT = 10
STATUSES = range(12)


def memory_kb(media: Media) -> int:
    status = Path(f"/proc/{media.process.pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))


def frame(opcode: int, ident: int, body: bytes) -> bytes:
    return struct.pack(">IBBHI", 8 + len(body), 1, 0, opcode, ident) + body


class Generator:
    """Requests that might be: few names for many things, so that they collide; values mostly of the right form."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.names = [uuid.UUID(int=self.chance.getrandbits(128)) for _ in range(4)]

    def value(self, name: str) -> bytes:
        chance, (_, form) = self.chance, TAGS[name]
        if chance.random() < 0.02:
            return chance.randbytes(chance.choice((0, 1, 3, 15, 17, 300, 5000)))
        if name in ("bridge", "recording", "org", "after"):
            return chance.choice(self.names).bytes
        match name:
            case "leg" | "mode" | "learn" | "send" | "receive" | "rtcp_mux":
                return bytes([chance.choice((0, 0, 0, 1, 1, 2, 15, 16, 255))])
            case "remote_ip" | "signalling_ip":
                return chance.choice((b"\x7f\0\0\1", b"\0" * 4, b"\xe0\0\0\1", chance.randbytes(4), chance.randbytes(16)))
            case "send_key" | "recv_key":
                return chance.randbytes(chance.choice((30, 30, 46, 28, 44)))
            case "data_key" | "sound":
                return chance.randbytes(32)
            case "file":
                return chance.choice((b"a.hwr", b"b.hwr", b"../c.hwr", b"d", f"{chance.getrandbits(40):x}.hwr".encode()))
            case "format":
                return b'{"legs":[]}' + b" " * chance.choice((0, 0, 4000))
            case "payload_types":
                return chance.randbytes(2 * chance.randrange(5))
            case _:
                size = struct.calcsize(f">{form}") if form and form != "nested" else chance.randrange(1, 64)
                small = chance.choice((0, 1, 1, 2, 3, 20, 8000, 48_000, chance.getrandbits(8 * size))) % (1 << 8 * size)
                return small.to_bytes(size, "big")

    def request(self, ident: int) -> bytes:
        chance = self.chance
        op = chance.choice([name for name in OPS if name != "hello"])
        wanted = {
            "set_leg": ["bridge", "leg", "remote_ip", "remote_port"],
            "open_leg": ["bridge", "leg"],
            "open_bridge": ["bridge", "mode"],
            "start_recording": ["bridge", "org", "recording", "segment", "data_key", "file", "format"],
            "switch_recording": ["bridge", "org", "recording", "segment", "data_key", "file", "format"],
            "set_format": ["bridge", "format"],
            "ack": ["event"],
            "ping": [],
            "list_bridges": [],
        }.get(op, ["bridge"])
        names = list(wanted)
        if op == "set_leg" and chance.random() < 0.7:
            names += chance.sample(["send_suite", "send_key", "recv_suite", "recv_key", "learn", "send", "payload_types"], 4)
        if chance.random() < 0.15:
            names += chance.sample(sorted(TAGS), chance.randrange(1, 4))
        if names and chance.random() < 0.1:
            names.remove(chance.choice(names))
        chance.shuffle(names)
        body = b"".join(encode(name, self.value(name)) for name in names)
        return frame(OPS[op] if chance.random() < 0.98 else chance.randrange(1 << 16), ident, body)


def read_replies(control: Controller, count: int) -> list[tuple[int, int]]:
    """(id, status) of so many replies; events between them are dropped."""
    got: list[tuple[int, int]] = []
    while len(got) < count:
        kind, _, ident, fields = control.read()
        if kind == 1:
            got.append((ident, int(fields["status"])))  # type: ignore[call-overload]
    return got


@pytest.mark.parametrize("seed", range(6))
def test_each_of_ten_thousand_random_requests_gets_exactly_one_reply(media: Media, seed: int, is_sanitized: bool) -> None:
    generator = Generator(seed)
    total, batch = (2_000, 50) if is_sanitized else (10_000, 100)
    seen: set[int] = set()
    with media.controller(1) as control:
        for first in range(1, total, batch):
            control.sock.sendall(b"".join(generator.request(first + n) for n in range(batch)))
            replies = read_replies(control, batch)
            assert sorted(ident for ident, _ in replies) == list(range(first, first + batch))
            seen |= {status for _, status in replies}
        assert OK in seen
        assert seen <= set(STATUSES)
        assert len(seen) >= 5  # not all of one kind: the requests reached into the operations
        for name in generator.names:
            control.send("close_bridge", bridge=name)
        read_replies(control, len(generator.names))
        talk(Call(control), 0, 5)
    assert media.is_running()
    assert media.stop() == 0


def test_frames_torn_anywhere_and_abandoned_leave_nothing_behind(media: Media, is_sanitized: bool) -> None:
    chance = random.Random(2)
    whole = frame(OPS["set_leg"], 7, encode("bridge", uuid.uuid4()) + encode("leg", 0) + encode("send_key", bytes(30)))
    before = memory_kb(media)
    with media.controller(1) as control:
        for n in range(600 if is_sanitized else 3_000):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(media.socket)
                sock.sendall(whole[: chance.randrange(len(whole))])
            if n % 100 == 0:
                control.request("ping")
        talk(Call(control), 0, 3)
    assert is_sanitized or memory_kb(media) < before + 20_000


def test_connections_that_never_finish_a_request_do_not_keep_a_controller_out(media: Media) -> None:
    lurkers = []
    try:
        for n in range(64):  # four times as many as the program holds
            lurker = socket.socket(socket.AF_UNIX)
            lurker.connect(media.socket)
            lurkers.append(lurker)
            if n < 16:
                lurker.sendall(struct.pack(">I", 65_000) + b"\1\0")
        with media.controller(1) as control:
            call = Call(control)
            for _ in range(8):  # and they do not push it out again
                with socket.socket(socket.AF_UNIX) as one_more:
                    one_more.connect(media.socket)
                    control.request("ping")
            talk(call, 0, 3)
    finally:
        for lurker in lurkers:
            lurker.close()


def test_a_thousand_connections_at_once_are_survived_and_the_controller_is_none_the_worse(media: Media, control: Controller) -> None:
    call = Call(control)
    others: list[socket.socket] = []
    try:
        for _ in range(900):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            others.append(sock)
            if sock.connect_ex(media.socket):  # the queue is full: it is served as fast as it comes
                control.request("ping")
        control.request("ping")
        talk(call, 0, 3)
    finally:
        for sock in others:
            sock.close()
    fds = len(os.listdir(f"/proc/{media.process.pid}/fd")) if os.geteuid() == 0 else 0
    assert fds < 60


def test_a_pipeline_that_nobody_reads_the_replies_of_is_cut_and_memory_stays_bounded(media: Media, is_sanitized: bool) -> None:
    with media.controller(1) as control:
        for n in range(2_000):
            control.send("open_bridge", bridge=uuid.UUID(int=n + 1), mode=0)
        read_replies(control, 2_000)
        before, ask = memory_kb(media), frame(OPS["list_bridges"], 1, b"") * 64
        control.sock.setblocking(False)
        worst, until = before, time.monotonic() + 60
        is_cut = False
        while not is_cut and time.monotonic() < until:
            try:
                control.sock.send(ask)
            except BlockingIOError:
                select.select([], [control.sock], [], 0.5)
            except (BrokenPipeError, ConnectionResetError):
                is_cut = True
            worst = max(worst, memory_kb(media))
        assert is_cut
        assert is_sanitized or worst - before < 200_000
    with media.controller(2) as control:  # its bridges are the next one's
        assert control.hello["count"] == 2_000
        talk(Call(control), 0, 3)


def test_twenty_thousand_bridges_are_held_and_not_one_more(media: Media, control: Controller, is_sanitized: bool) -> None:
    before = memory_kb(media)
    ids = [uuid.UUID(int=n + 1) for n in range(20_000)]
    for first in range(0, len(ids), 500):
        for ident in ids[first : first + 500]:
            control.send("open_bridge", bridge=ident, mode=0)
        assert {status for _, status in read_replies(control, 500)} == {OK}
    with pytest.raises(RequestError) as caught:
        control.request("open_bridge", bridge=uuid.uuid4(), mode=0)
    assert caught.value.status == LIMIT
    assert is_sanitized or memory_kb(media) - before < 20_000 * 8
    for first in range(0, len(ids), 500):
        for ident in ids[first : first + 500]:
            control.send("close_bridge", bridge=ident)
        assert {status for _, status in read_replies(control, 500)} == {OK}
    talk(Call(control), 0, 3)


def test_requests_that_wait_for_the_disk_are_not_taken_without_end(media: Media, control: Controller) -> None:
    """While a recording is opened, what concerns its bridge waits; a controller that goes on asking is told that it is too much."""
    call = Call(control)
    ident = uuid.uuid4()
    order = {"org": ident, "recording": ident, "segment": 0, "data_key": bytes(32), "file": "a.hwr", "format": b"{}"}
    count = 20_000
    control.send("start_recording", bridge=call.id, **order)
    first = control.next_id
    for start in range(0, count, 500):
        body = encode("bridge", call.id)
        control.sock.sendall(b"".join(frame(OPS["pause_recording"], first + start + n, body) for n in range(500)))
    statuses = [status for _, status in read_replies(control, count + 1)]
    assert set(statuses) <= {OK, LIMIT}
    control.next_id = first + count
    assert control.request("stop_recording", bridge=call.id)["recording_result"]["recording_state"] == 2  # type: ignore[index]


@pytest.mark.parametrize("op", ["pause_recording", "resume_recording", "stop_recording", "set_format", "switch_recording"])
def test_what_needs_a_recording_is_refused_without_one_in_every_state_of_a_bridge(control: Controller, op: str) -> None:
    ident = uuid.uuid4()
    order = {"org": ident, "recording": ident, "segment": 0, "data_key": bytes(32), "file": "a.hwr", "format": b"{}"}
    fields: dict[str, object] = {"set_format": {"format": b"{}"}, "switch_recording": order}.get(op, {})  # type: ignore[assignment]
    control.request("open_bridge", bridge=ident, mode=0)
    for step in ("nothing", "open_leg", "recorded"):
        if step == "open_leg":
            control.request("open_leg", bridge=ident, leg=0)
        if step == "recorded":
            control.request("start_recording", bridge=ident, **order)
            control.request("stop_recording", bridge=ident)
        with pytest.raises(RequestError) as caught:
            control.request(op, bridge=ident, **fields)
        assert caught.value.status == STATE


def test_a_hostile_controller_can_be_taken_over_from(media_program: str) -> None:
    with running_media(media_program) as media:
        hostile = media.controller(5)
        hostile.sock.sendall(struct.pack(">I", 60_000) + b"\1\0\0\2")  # and never a byte more
        with media.controller(6) as good:
            talk(Call(good), 0, 3)
            assert hostile.is_closed()
        hostile.sock.close()
