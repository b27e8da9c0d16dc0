"""A blocking client of the control protocol, written from PROTOCOL.md alone, and the program under test."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

OPS = {
    "hello": 1, "ping": 2, "ack": 3, "open_bridge": 16, "open_leg": 17, "set_leg": 18, "close_bridge": 19, "get_bridge": 20,
    "list_bridges": 21, "start_recording": 32, "pause_recording": 33, "resume_recording": 34, "stop_recording": 35, "set_format": 36,
    "reopen_leg": 24, "get_ports": 25,
    "set_hears": 52, "close_leg": 53,
    "dtls_send": 48, "load_sound": 64, "play": 65, "stop_play": 66, "send_digits": 67, "detect_tones": 68, "set_sensitive": 69,
    "switch_recording": 70, "set_recorded": 73, "move_leg": 74, "detect_speech": 79, "is_beside": 82,
}  # fmt: skip
EVENTS = {
    257: "recording_closed", 258: "recording_failed", 259: "media_timeout", 260: "bridge_closed", 261: "leg_source",
    262: "leg_ports", 263: "ice_selected", 264: "consent_lost", 265: "dtls_datagram", 266: "play_ended", 267: "digit",
    268: "quality", 269: "one_way_audio",
}  # fmt: skip
OK, MALFORMED, UNSUPPORTED, FENCED, NOT_FOUND, EXISTS, INVALID, STATE, NO_PORTS, SPOOL = range(10)

# name -> (tag, struct format or None for bytes, or "nested")
TAGS: dict[str, tuple[int, str | None]] = {
    "status": (1, "H"), "message": (2, None), "epoch": (3, "Q"), "instance": (4, None), "count": (5, "I"), "program": (6, None),
    "event": (7, "I"), "bridge": (8, None), "leg": (9, "B"), "mode": (10, "B"), "rtp_port": (11, "H"), "rtcp_port": (12, "H"),
    "local_ip": (13, None), "ssrc": (14, "I"), "remote_ip": (20, None), "remote_port": (21, "H"), "remote_rtcp_port": (22, "H"),
    "rtcp_mux": (23, "B"), "send_suite": (24, "B"), "send_key": (25, None), "recv_suite": (26, "B"), "recv_key": (27, None),
    "signalling_ip": (28, None), "learn": (29, "B"), "send": (30, "B"), "receive": (31, "B"), "payload_types": (32, None),
    "media_timeout_ms": (33, "I"), "clock_rate": (34, "I"), "org": (40, None), "recording": (41, None), "segment": (42, "I"),
    "data_key": (43, None), "file": (44, None), "anchor_us": (45, "Q"), "format": (46, None), "frames": (50, "I"), "bytes": (51, "Q"),
    "digest": (52, None), "duration_ms": (53, "Q"), "recording_state": (54, "B"), "gaps": (55, "Q"), "recording_result": (56, "nested"),
    "failure": (57, "B"), "leg_stats": (60, "nested"), "reason": (61, "B"), "bridge_entry": (62, "nested"), "more": (63, "B"),
    "after": (64, None), "packets_received": (70, "Q"), "bytes_received": (71, "Q"), "packets_sent": (72, "Q"), "bytes_sent": (73, "Q"),
    "lost": (74, "Q"), "jitter_us": (75, "I"), "dropped_replay": (76, "Q"), "dropped_tag": (77, "Q"), "dropped_source": (78, "Q"),
    "dropped_malformed": (79, "Q"), "dropped_disabled": (80, "Q"), "dropped_unsent": (81, "Q"), "rtcp_received": (82, "Q"),
    "rtcp_sent": (83, "Q"), "silent_ms": (84, "Q"), "remote_lost": (85, "I"),
    "ice_local_ufrag": (110, None), "ice_local_password": (111, None), "ice_remote_ufrag": (112, None), "keying": (113, "B"),
    "datagram": (114, None), "stun_received": (115, "Q"), "stun_answered": (116, "Q"), "stun_refused": (117, "Q"),
    "stun_limited": (118, "Q"), "stun_repeated": (119, "Q"), "dropped_unchecked": (120, "Q"), "dropped_unkeyed": (121, "Q"),
    "dtls_received": (122, "Q"), "dtls_sent": (123, "Q"), "dtls_refused": (124, "Q"), "dtls_limited": (125, "Q"),
    "sound": (140, None), "frame_samples": (141, "I"), "total_bytes": (142, "I"), "offset": (143, "I"), "data": (144, None),
    "is_whole": (145, "B"), "unload": (146, "B"), "playback": (147, "I"),
    "payload_type": (148, "B"), "times": (149, "I"), "offset_ms": (150, "I"), "interval_ms": (151, "I"), "beep": (152, "B"),
    "play_end": (153, "B"), "sent_ms": (154, "I"),
    "ports": (100, "B"), "is_shared": (101, "B"), "cause": (102, "B"), "shared_port": (103, "nested"), "packets": (104, "Q"),
    "strangers": (105, "Q"), "unproven": (106, "Q"), "over_budget": (107, "Q"), "dropped_budget": (108, "Q"),
    "digits": (160, None), "digit_ms": (161, "H"), "gap_ms": (162, "H"), "is_on": (163, "B"), "heard_as": (164, "B"),
    "answered": (170, "B"), "leg_quality": (171, "nested"), "round_trip_us": (172, "I"), "loss_received": (173, "H"),
    "loss_reported": (174, "H"), "remote_jitter_us": (175, "I"), "burst_ratio": (176, "H"), "mos_received": (177, "H"),
    "mos_heard": (178, "H"), "round_trip_max_us": (179, "I"), "jitter_max_us": (180, "I"), "mos_received_worst": (181, "H"),
    "mos_heard_worst": (182, "H"), "silence_cause": (183, "B"),
    "leg_state": (200, "nested"), "settings_digest": (201, None), "source_ip": (202, None), "source_port": (203, "H"),
    "dropped_rtcp_budget": (230, "Q"),
    "is_sensitive": (204, "B"), "recorded": (220, "H"), "to_bridge": (221, None), "to_leg": (222, "B"), "beside": (223, None),
    "on_one_thread": (275, "B"),
    "seal_lag_us": (240, "I"), "speech_ms": (260, "Q"), "quiet_ms": (261, "Q"),
    "codec": (130, None), "hears": (131, "H"), "concealed_ms": (132, "Q"), "recovered_ms": (133, "Q"), "late": (134, "Q"),
    "playout_delay_us": (135, "I"),
}  # fmt: skip
NAMES = {tag: (name, form) for name, (tag, form) in TAGS.items()}
REPEATED = {"leg_stats", "bridge_entry", "shared_port", "leg_quality", "leg_state", "codec"}


def encode(name: str, value: object) -> bytes:
    tag, form = TAGS[name]
    match value:
        case bytes():
            raw = value
        case str():
            raw = value.encode()
        case uuid.UUID():
            raw = value.bytes
        case _:
            raw = struct.pack(f">{form}", value)
    return struct.pack(">HH", tag, len(raw)) + raw


def decode(data: bytes) -> dict[str, object]:
    fields: dict[str, object] = {}
    while data:
        tag, length = struct.unpack_from(">HH", data)
        raw, data = data[4 : 4 + length], data[4 + length :]
        assert len(raw) == length, "torn field"
        name, form = NAMES[tag]
        value: object = raw if form is None else decode(raw) if form == "nested" else struct.unpack(f">{form}", raw)[0]
        if name in REPEATED:
            fields.setdefault(name, []).append(value)  # type: ignore[attr-defined]
        else:
            assert name not in fields
            fields[name] = value
    return fields


class RequestError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass
class Event:
    id: int
    kind: str
    fields: dict[str, object]


def connected(path: str) -> socket.socket:
    """A connection to the control socket, once its queue has room: a socket with a timeout gets EAGAIN where others wait (unix(7))."""
    sock, until = socket.socket(socket.AF_UNIX), time.monotonic() + 20
    sock.settimeout(20)
    while True:
        try:
            sock.connect(path)
        except BlockingIOError:
            if time.monotonic() > until:
                sock.close()
                raise
        else:
            return sock


class Controller:
    def __init__(self, path: str, epoch: int | None = 1) -> None:
        self.sock = connected(path)
        self.buffer = b""
        self.next_id = 1
        self.events: list[Event] = []
        self.closing = contextlib.ExitStack()  # what ends with this controller, such as the parties of its calls
        if epoch is not None:
            self.hello = self.request("hello", epoch=epoch)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.close()
        self.sock.close()

    def send(self, op: str, **fields: object) -> int:
        ident, self.next_id = self.next_id, self.next_id + 1
        body = struct.pack(">BBHI", 1, 0, OPS[op], ident)
        for name, value in fields.items():
            for one in value if isinstance(value, list) else [value]:
                body += encode(name, one)
        self.sock.sendall(struct.pack(">I", len(body)) + body)
        return ident

    def request(self, op: str, **fields: object) -> dict[str, object]:
        ident = self.send(op, **fields)
        while True:
            kind, opcode, got, reply = self.read()
            if kind == 2:
                self.events.append(Event(got, EVENTS[opcode], reply))
                continue
            assert (kind, opcode, got) == (1, OPS[op], ident)
            if reply["status"]:
                raise RequestError(int(reply["status"]), bytes(reply["message"]).decode())  # type: ignore[call-overload]
            return reply

    def event(self, kind: str) -> Event:
        """The next event of the kind; waits for it."""
        while True:
            for event in self.events:
                if event.kind == kind:
                    self.events.remove(event)
                    return event
            got_kind, opcode, ident, fields = self.read()
            assert got_kind == 2
            self.events.append(Event(ident, EVENTS[opcode], fields))

    def read(self) -> tuple[int, int, int, dict[str, object]]:
        (length,) = struct.unpack(">I", self._exactly(4))
        frame = self._exactly(length)
        version, kind, opcode, ident = struct.unpack_from(">BBHI", frame)
        assert version == 1
        return kind, opcode, ident, decode(frame[8:])

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            more = self.sock.recv(65536)
            if not more:
                raise ConnectionError("closed by hushwire-media")
            self.buffer += more
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def is_closed(self) -> bool:
        """Waits until the other side has closed the connection; what still comes is dropped."""
        with contextlib.suppress(ConnectionError):
            while self.sock.recv(65536):
                pass
        return True


@dataclass
class Media:
    """One running hushwire-media with folders of its own."""

    process: subprocess.Popen[bytes]
    folder: Path
    socket: str
    log: list[bytes] = field(default_factory=list)

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def controller(self, epoch: int | None = 1) -> Controller:
        return Controller(self.socket, epoch)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(15)


@contextlib.contextmanager
def running_media(program: str, *options: str, spool: Path | None = None, **popen: object) -> Iterator[Media]:
    with tempfile.TemporaryDirectory(prefix="hw-media-") as name:
        folder = Path(name)
        (folder / "spool").mkdir()
        path = str(folder / "media.sock")
        if "--leg-rate" not in options:
            options = (*options, "--leg-rate", "1000000:1000000")  # tests send in a moment what a party sends in a minute
        command = [program, "--socket", path, "--spool", str(spool or folder / "spool"), "--address", "127.0.0.1", *options]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, **popen)  # type: ignore[call-overload]
        media = Media(process, folder, path)
        try:
            wait_ready(media)
            yield media
        finally:
            process.kill()
            process.wait()
            assert process.stderr
            media.log += process.stderr.readlines()
            process.stderr.close()


def wait_ready(media: Media, timeout_s: float = 15) -> None:
    assert media.process.stderr
    # Past Python's buffer: two lines that come together would leave one there, where `select` does not see it.
    fd, rest = media.process.stderr.fileno(), b""
    os.set_blocking(fd, False)
    deadline = time.monotonic() + timeout_s
    while select.select([fd], [], [], max(deadline - time.monotonic(), 0))[0]:
        data = os.read(fd, 65536)
        *lines, rest = (rest + data).split(b"\n")
        media.log += [line + b"\n" for line in lines]
        if any(b"media.ready" in line for line in lines):
            return
        if not data:
            break
    raise AssertionError(b"".join(media.log).decode())
