"""Two other SRTP implementations to hold hushwire's against: libsrtp, and the RFC in Python for what libsrtp's binding lacks."""

from __future__ import annotations

import hmac
import struct
from typing import Protocol

import pylibsrtp
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

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


class Written:
    """RFC 3711 with RFC 6188's longer key; one stream, sequence numbers going up."""

    def __init__(self, key_and_salt: bytes, tag_size: int = 10) -> None:
        key, salt = key_and_salt[:-14], int.from_bytes(key_and_salt[-14:], "big")

        def derive(label: int, size: int) -> bytes:
            return _ctr(key, (salt ^ (label << 48)) << 16, bytes(size))

        self.keys = [(derive(n, len(key)), derive(n + 1, 20), int.from_bytes(derive(n + 2, 14), "big")) for n in (0, 3)]
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

    def protect(self, packet: bytes) -> bytes:
        self.index = self._index(packet)
        out = self._crypt(0, packet, 12, 8, self.index)
        return out + self._tag(out, self.index)

    def unprotect(self, packet: bytes) -> bytes:
        body, tag = packet[: -self.tag_size], packet[-self.tag_size :]
        index = self._index(body)
        assert hmac.compare_digest(self._tag(body, index), tag), "bad tag"
        self.index = max(self.index, index)
        return self._crypt(0, body, 12, 8, index)

    def protect_rtcp(self, packet: bytes) -> bytes:
        index, self.rtcp_index = self.rtcp_index, self.rtcp_index + 1
        out = self._crypt(1, packet, 8, 4, index) + struct.pack(">I", index | 1 << 31)
        return out + hmac.digest(self.keys[1][1], out, "sha1")[:10]

    def unprotect_rtcp(self, packet: bytes) -> bytes:
        body, tag = packet[:-10], packet[-10:]
        assert hmac.compare_digest(hmac.digest(self.keys[1][1], body, "sha1")[:10], tag), "bad tag"
        (trailer,) = struct.unpack(">I", body[-4:])
        assert trailer >> 31
        return self._crypt(1, body[:-4], 8, 4, trailer & 0x7FFFFFFF)


def oracle(suite: str, key: bytes, *, is_sender: bool) -> Oracle:
    if suite not in PROFILES:
        return Written(key)
    kind = pylibsrtp.Policy.SSRC_ANY_OUTBOUND if is_sender else pylibsrtp.Policy.SSRC_ANY_INBOUND
    return pylibsrtp.Session(pylibsrtp.Policy(key=key, ssrc_type=kind, srtp_profile=PROFILES[suite]))  # type: ignore[no-any-return]
