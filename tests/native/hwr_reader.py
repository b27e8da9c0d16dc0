"""Opens a sealed recording, written from the format's description alone. Shares no code with the recorder or the player."""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KINDS = {1: "anchor", 2: "format", 3: "packet", 4: "pause", 5: "resume", 6: "end"}


@dataclass(frozen=True)
class Entry:
    kind: str
    leg: int
    time_s: float
    data: bytes


@dataclass(frozen=True)
class Recording:
    org: bytes
    recording: bytes
    segment: int
    entries: list[Entry]
    frames: list[list[Entry]]
    is_final: bool
    whole: int  # bytes up to the end of the last whole frame


def read(data: bytes, key: bytes) -> Recording:
    """Every whole frame. Raises AssertionError or InvalidTag where something is wrong but a missing tail."""
    header, context = data[:76], data[:44]
    assert header[:4] == b"HWR1"
    assert header[4] in (1, 2)
    assert header[5:8] == b"\x01\x00\x4c"
    assert hmac.compare_digest(header[44:], hmac.digest(key, b"hushwire/hwr/1/commit" + context, "sha256"))
    cipher = AESGCM(hmac.digest(key, b"hushwire/hwr/1/frame" + context, "sha256"))
    bound = hashlib.sha256(header).digest()
    frames: list[list[Entry]] = []
    at, is_final, nonces = 76, False, set()
    while at + 4 <= len(data) and not is_final:
        (word,) = struct.unpack_from(">I", data, at)
        if not any(data[at:]):
            break  # a file that the system had grown before the crash kept its bytes away
        length = word & 0x7FFFFFFF
        assert length <= 1 << 20
        if at + 4 + length > len(data):
            break
        is_final = bool(word >> 31)
        frame = data[at + 4 : at + 4 + length]
        assert frame[:12] not in nonces
        nonces.add(frame[:12])
        plain = cipher.decrypt(frame[:12], frame[12:], bound + struct.pack(">QB", len(frames), is_final))
        frames.append(list(_entries(plain)))
        at += 4 + length
    return Recording(
        header[8:24], header[24:40], struct.unpack(">I", header[40:44])[0], [e for f in frames for e in f], frames, is_final, at
    )


def _entries(plain: bytes):  # type: ignore[no-untyped-def]
    while plain:
        kind, leg, time, length = struct.unpack_from(">BBIH", plain)
        assert len(plain) >= 8 + length
        yield Entry(KINDS[kind], leg, time / 10_000, plain[8 : 8 + length])
        plain = plain[8 + length :]
