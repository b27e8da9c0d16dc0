"""Debian's rtpengine-daemon in userspace as the anchor of the media bench, driven over its ng protocol (bencode, UDP)."""

from __future__ import annotations

import base64
import itertools
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ANSWERS_WITHIN_S = 10.0
Value = "int | str | bytes | list[Value] | dict[str, Value]"

SUITE = "AES_CM_128_HMAC_SHA1_80"
OTHER_SUITES = [
    "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_80", "AES_192_CM_HMAC_SHA1_32",
    "F8_128_HMAC_SHA1_80", "F8_128_HMAC_SHA1_32", "NULL_HMAC_SHA1_80", "NULL_HMAC_SHA1_32", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM",
]  # fmt: skip


def bencode(value: object) -> bytes:
    match value:
        case int():
            return b"i%de" % value
        case str():
            return bencode(value.encode())
        case bytes():
            return b"%d:%s" % (len(value), value)
        case list():
            return b"l" + b"".join(map(bencode, value)) + b"e"
        case dict():
            return b"d" + b"".join(bencode(k) + bencode(value[k]) for k in sorted(value)) + b"e"
    raise TypeError(type(value))


def bdecode(data: bytes, at: int = 0) -> tuple[object, int]:
    """A value and the offset behind it."""
    if data[at : at + 1] == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if data[at : at + 1] in (b"l", b"d"):
        is_dict, items, at = data[at : at + 1] == b"d", [], at + 1
        while data[at : at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (dict(zip(items[::2], items[1::2], strict=True)) if is_dict else items), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(errors="replace"), end


@dataclass(frozen=True)
class Side:
    """Where the relay listens for one party, and the key that it sends with (hex, None = plain)."""

    address: str
    key: str | None


class Rtpengine:
    """One running daemon; `bridge` sets up one two-party call."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.pid = process.pid
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(("127.0.0.1", port))
        self._socket.settimeout(1.0)
        self._cookie = itertools.count()

    def command(self, **fields: object) -> dict[str, object]:
        """Its answer to one command. A daemon that is still starting refuses or is silent: it is asked again for 10 s."""
        cookie = f"{secrets.token_hex(4)}{next(self._cookie)}"
        body = bencode({name.replace("_", "-"): value for name, value in fields.items()})
        give_up = time.monotonic() + ANSWERS_WITHIN_S
        while time.monotonic() < give_up:
            try:
                self._socket.send(f"{cookie} ".encode() + body)
                while True:
                    got, _, rest = self._socket.recv(65535).partition(b" ")
                    if got.decode() == cookie:
                        reply = bdecode(rest)[0]
                        assert isinstance(reply, dict)
                        if reply.get("result") not in ("ok", "pong"):
                            raise RuntimeError(f"rtpengine refused: {reply.get('error-reason')}")
                        return reply
            except (TimeoutError, ConnectionRefusedError):
                time.sleep(0.1)
        raise RuntimeError("rtpengine does not answer")

    def bridge(self, name: str, a: str, b: str, a_key: str | None, b_key: str | None, *, record: bool) -> tuple[Side, Side]:
        """Offer from `a` ("ip:port"), answer from `b`; keys are 30 bytes in hex. The two sides as rtpengine presents them."""
        common: dict[str, object] = {
            "call_id": name, "from_tag": "a", "flags": ["trust address"], "replace": ["origin", "session-connection"],
            "ICE": "remove", "DTLS": "off", "SDES": [f"no-{suite}" for suite in OTHER_SUITES],
        }  # fmt: skip
        if record:
            common["record_call"] = "yes"
        offer = self.command(command="offer", sdp=_sdp(a, a_key, 1), **common, **{"transport protocol": "RTP/SAVP" if b_key else "RTP/AVP"})
        to_b, tag = _side(str(offer["sdp"]))
        answer = self.command(command="answer", to_tag="b", sdp=_sdp(b, b_key, tag), **common)
        to_a, _ = _side(str(answer["sdp"]))
        return to_a, to_b


def _sdp(address: str, key: str | None, tag: int) -> str:
    ip, port = address.split(":")
    lines = ["v=0", f"o=- 1 1 IN IP4 {ip}", "s=-", f"c=IN IP4 {ip}", "t=0 0", f"m=audio {port} RTP/{'S' if key else ''}AVP 0", "a=sendrecv"]
    if key:
        lines.append(f"a=crypto:{tag} {SUITE} inline:{base64.b64encode(bytes.fromhex(key)).decode()}")
    return "\r\n".join(lines) + "\r\n"


def _side(sdp: str) -> tuple[Side, int]:
    ip = re.search(r"^c=IN IP4 (\S+)", sdp, re.MULTILINE)
    port = re.search(r"^m=audio (\d+)", sdp, re.MULTILINE)
    assert ip is not None
    assert port is not None
    crypto = re.search(rf"^a=crypto:(\d+) {SUITE} inline:([A-Za-z0-9+/=]+)", sdp, re.MULTILINE)
    key = base64.b64decode(crypto[2]).hex() if crypto else None
    return Side(f"{ip[1]}:{port[1]}", key), int(crypto[1]) if crypto else 1


@contextmanager
def running(cpu: int, record_dir: Path | None, prepare: Callable[[], None] | None = None, under: Sequence[str] = ()) -> Iterator[Rtpengine]:
    """rtpengine pinned to one core, `under` another program, without its kernel module; recording is its pcap method."""
    program = shutil.which("rtpengine")
    if program is None:
        raise RuntimeError("rtpengine is missing: install the Debian package rtpengine-daemon")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = ["taskset", "-c", str(cpu), *under, program, "--config-file=none", "--foreground", "--log-stderr", "--log-level=2",
               "--table=-1", "--interface=127.0.0.1", f"--listen-ng=127.0.0.1:{port}", "--port-min=30000", "--port-max=59999",
               "--num-threads=1", "--timeout=3600"]  # fmt: skip
    if record_dir is not None:
        command += ["--recording-method=pcap", f"--recording-dir={record_dir}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, preexec_fn=prepare)
    try:
        engine = Rtpengine(process, port)
        engine.command(command="ping")
        yield engine
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
