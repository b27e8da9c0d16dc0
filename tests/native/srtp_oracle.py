"""Two other SRTP implementations to hold hushwire's against: libsrtp, and the RFC in Python for what libsrtp's binding lacks."""

from __future__ import annotations

import contextlib
import hmac
import struct
from typing import Protocol

import pylibsrtp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": pylibsrtp.Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": pylibsrtp.Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


class Oracle(Protocol):
    def protect(self, packet: bytes) -> bytes: ...
    def unprotect(self, packet: bytes) -> bytes: ...
    def protect_rtcp(self, packet: bytes) -> bytes: ...
    def unprotect_rtcp(self, packet: bytes) -> bytes: ...


def _ctr(key: bytes, iv: int, data: bytes) -> bytes:
    cipher = Cipher(algorithms.AES(key), modes.CTR(iv.to_bytes(16, "big"))).encryptor()
    return cipher.update(data) + cipher.finalize()


def _derive(key: bytes, salt: int, label: int, size: int) -> bytes:
    return _ctr(key, (salt ^ (label << 48)) << 16, bytes(size))


def _derive_int(key: bytes, salt: int, label: int, size: int) -> int:
    return int.from_bytes(_derive(key, salt, label, size), "big")


class Written:
    """RFC 3711 with RFC 6188's longer key; one stream, sequence numbers going up."""

    def __init__(self, key_and_salt: bytes, tag_size: int = 10) -> None:
        key, salt = key_and_salt[:-14], int.from_bytes(key_and_salt[-14:], "big")
        self.keys = [(_derive(key, salt, n, len(key)), _derive(key, salt, n + 1, 20), _derive_int(key, salt, n + 2, 14)) for n in (0, 3)]
        self.tag_size = tag_size
        self.index = -1
        self.rtcp_index = 0

    def _index(self, packet: bytes) -> int:
        (seq,) = struct.unpack_from(">H", packet, 2)
        if self.index < 0:
            return int(seq)
        roc = self.index >> 16
        return min(((r << 16 | seq) for r in (roc - 1, roc, roc + 1) if r >= 0), key=lambda i: abs(i - self.index))

    def _crypt(self, which: int, packet: bytes, clear: int, ssrc_at: int, index: int) -> bytes:
        key, _, salt = self.keys[which]
        (ssrc,) = struct.unpack_from(">I", packet, ssrc_at)
        return packet[:clear] + _ctr(key, (salt << 16) ^ (ssrc << 64) ^ (index << 16), packet[clear:])

    def _tag(self, packet: bytes, index: int) -> bytes:
        return hmac.digest(self.keys[0][1], packet + struct.pack(">I", index >> 16), "sha1")[: self.tag_size]

    def seals_rtp(self, packet: bytes, index: int) -> bytes:
        out = self._crypt(0, packet, 12, 8, index)
        return out + self._tag(out, index)

    def opens_rtp(self, packet: bytes, index: int) -> bytes | None:
        """The plain packet, or None where the tag does not fit this index."""
        body, tag = packet[: -self.tag_size], packet[-self.tag_size :]
        return self._crypt(0, body, 12, 8, index) if hmac.compare_digest(self._tag(body, index), tag) else None

    def seals_rtcp(self, packet: bytes, index: int) -> bytes:
        out = self._crypt(1, packet, 8, 4, index) + struct.pack(">I", index | 1 << 31)
        return out + hmac.digest(self.keys[1][1], out, "sha1")[:10]

    def opens_rtcp(self, packet: bytes) -> tuple[int, bytes] | None:
        """The index and the plain compound, or None where the tag does not fit."""
        body, tag = packet[:-10], packet[-10:]
        if not hmac.compare_digest(hmac.digest(self.keys[1][1], body, "sha1")[:10], tag):
            return None
        (trailer,) = struct.unpack(">I", body[-4:])
        assert trailer >> 31, "not encrypted"
        index = trailer & 0x7FFFFFFF
        return index, self._crypt(1, body[:-4], 8, 4, index)

    def protect(self, packet: bytes) -> bytes:
        self.index = self._index(packet)
        return self.seals_rtp(packet, self.index)

    def unprotect(self, packet: bytes) -> bytes:
        index = self._index(packet)
        plain = self.opens_rtp(packet, index)
        assert plain is not None, "bad tag"
        self.index = max(self.index, index)
        return plain

    def protect_rtcp(self, packet: bytes) -> bytes:
        index, self.rtcp_index = self.rtcp_index, self.rtcp_index + 1
        return self.seals_rtcp(packet, index)

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        opened = self.opens_rtcp(packet)
        assert opened is not None, "bad tag"
        return opened[1]


class WrittenGcm(Written):
    """RFC 7714: the same streams and indexes, other seals."""

    def __init__(self, key_and_salt: bytes) -> None:
        key, salt = key_and_salt[:-12], int.from_bytes(key_and_salt[-12:] + b"\0\0", "big")
        self.gcm = [(AESGCM(_derive(key, salt, n, len(key))), _derive_int(key, salt, n + 2, 12)) for n in (0, 3)]
        self.index = -1
        self.rtcp_index = 0

    def _nonce(self, which: int, packet: bytes, ssrc_at: int, index: int) -> bytes:
        (ssrc,) = struct.unpack_from(">I", packet, ssrc_at)
        return (self.gcm[which][1] ^ ssrc << 48 ^ index).to_bytes(12, "big")

    def seals_rtp(self, packet: bytes, index: int) -> bytes:
        return packet[:12] + self.gcm[0][0].encrypt(self._nonce(0, packet, 8, index), packet[12:], packet[:12])

    def opens_rtp(self, packet: bytes, index: int) -> bytes | None:
        with contextlib.suppress(InvalidTag):
            return packet[:12] + self.gcm[0][0].decrypt(self._nonce(0, packet, 8, index), packet[12:], packet[:12])
        return None

    def seals_rtcp(self, packet: bytes, index: int) -> bytes:
        word = struct.pack(">I", index | 1 << 31)
        return packet[:8] + self.gcm[1][0].encrypt(self._nonce(1, packet, 4, index), packet[8:], packet[:8] + word) + word

    def opens_rtcp(self, packet: bytes) -> tuple[int, bytes] | None:
        (trailer,) = struct.unpack(">I", packet[-4:])
        index = trailer & 0x7FFFFFFF
        with contextlib.suppress(InvalidTag):
            nonce = self._nonce(1, packet, 4, index)
            plain = packet[:8] + self.gcm[1][0].decrypt(nonce, packet[8:-4], packet[:8] + packet[-4:])
            assert trailer >> 31, "not encrypted"
            return index, plain
        return None


def written(suite: str, key: bytes) -> Written:
    return WrittenGcm(key) if suite.startswith("AEAD") else Written(key, 4 if suite.endswith("_32") else 10)


def oracle(suite: str, key: bytes, *, is_sender: bool) -> Oracle:
    if suite not in PROFILES:
        return written(suite, key)
    kind = pylibsrtp.Policy.SSRC_ANY_OUTBOUND if is_sender else pylibsrtp.Policy.SSRC_ANY_INBOUND
    return pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[suite]))  # type: ignore[no-any-return]
