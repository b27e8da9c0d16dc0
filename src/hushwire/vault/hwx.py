"""The sealed document, `.hwx` version 1: any stream of bytes under one data key, opened from front to back (docs/exports.md, normative).

Sans-I/O. A frame opens in its own file at its own place only; a missing tail, a foreign or a moved frame is an error.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterator
from enum import StrEnum
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushwire.core.clock import Random
from hushwire.core.errors import LocalError

MAGIC: Final = b"HWX1"
VERSION: Final = 1
SUITE_AES_256_GCM: Final = 1
HEADER_LENGTH: Final = 72
MOST_PLAIN: Final = 1 << 18
"""Bytes of plaintext in a frame at most."""

_CONTEXT: Final = struct.Struct(">4sBBH16s16s")
_IDS: Final = 8  # where organisation and document are named
_WORD: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">QB")
_FINAL: Final = 1 << 31
_NONCE, _TAG = 12, 16
_OVERHEAD: Final = _NONCE + _TAG


class Failure(StrEnum):
    """What a reader found; the names are the same in every implementation (docs/exports.md)."""

    NOT_A_DOCUMENT = "not-a-document"
    UNSUPPORTED = "unsupported"
    FOREIGN = "foreign"  # of another organisation, or another document
    WRONG_KEY = "wrong-key"
    DAMAGED = "damaged"  # a frame that was changed, moved, or is of another file
    TRUNCATED = "truncated"
    TRAILING = "trailing"


class DocumentError(LocalError):
    """The file is not the whole document that it should be; plaintext handed out before was authentic and in place."""

    def __init__(self, failure: Failure, words: str) -> None:
        super().__init__(f"{words} ({failure.value})")
        self.failure = failure


class Sealer:
    """Writes frames. Going on with `frames` frames there already takes the same key: nonces are random, so none is used twice."""

    def __init__(self, key: bytes, org_id: UUID, document_id: UUID, random: Random, *, frames: int = 0) -> None:
        context = _CONTEXT.pack(MAGIC, VERSION, SUITE_AES_256_GCM, HEADER_LENGTH, org_id.bytes, document_id.bytes)
        self.header = context + _commitment(key, context)
        self.frames = frames
        self._cipher = AESGCM(_frame_key(key, context))
        self._header_digest = hashlib.sha256(self.header).digest()
        self._random = random

    def frame(self, plain: bytes, *, is_final: bool = False) -> bytes:
        """The next frame. Raises ValueError for more than `MOST_PLAIN` bytes."""
        if len(plain) > MOST_PLAIN:
            raise ValueError("too much for one frame")
        nonce = self._random.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, plain, self._header_digest + _PLACE.pack(self.frames, is_final))
        self.frames += 1
        return _WORD.pack((len(plain) + _OVERHEAD) | (_FINAL if is_final else 0)) + nonce + sealed


class Opener:
    """Opens a document piece by piece: `feed` sealed bytes in, authentic plaintext out; `finish` says that it was whole."""

    def __init__(self, key: bytes, org_id: UUID, document_id: UUID) -> None:
        context = _CONTEXT.pack(MAGIC, VERSION, SUITE_AES_256_GCM, HEADER_LENGTH, org_id.bytes, document_id.bytes)
        self._header = context + _commitment(key, context)
        self._cipher = AESGCM(_frame_key(key, context))
        self._header_digest = hashlib.sha256(self._header).digest()
        self._buffer = bytearray()
        self._sequence = 0
        self._has_header = self._is_over = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The plaintext that `data` completes. Raises DocumentError."""
        self._buffer += data
        if not self._has_header and not self._take_header():
            return
        while (plain := self._next()) is not None:
            yield plain
        if self._is_over and self._buffer:
            raise DocumentError(Failure.TRAILING, "bytes after the final frame")

    def _take_header(self) -> bool:
        given = bytes(self._buffer[:HEADER_LENGTH])
        if not MAGIC.startswith(given[: len(MAGIC)]):
            raise DocumentError(Failure.NOT_A_DOCUMENT, "it does not begin like a sealed document")
        if len(given) < HEADER_LENGTH:
            return False
        if given[len(MAGIC) : _IDS] != self._header[len(MAGIC) : _IDS]:
            raise DocumentError(Failure.UNSUPPORTED, "version, suite or header length is unknown")
        if given[_IDS : _CONTEXT.size] != self._header[_IDS : _CONTEXT.size]:
            raise DocumentError(Failure.FOREIGN, "it is another organisation's, or another document")
        if not hmac.compare_digest(given, self._header):
            raise DocumentError(Failure.WRONG_KEY, "it was made with another key, or its header was changed")
        del self._buffer[:HEADER_LENGTH]
        self._has_header = True
        return True

    def finish(self) -> None:
        """Raises DocumentError if the final frame has not come."""
        if not self._is_over:
            raise DocumentError(Failure.TRUNCATED, f"the end is missing after {self._sequence} frames")

    def _next(self) -> bytes | None:
        if self._is_over or len(self._buffer) < _WORD.size:
            return None
        (word,) = _WORD.unpack_from(self._buffer)
        length, is_final = word & ~_FINAL, bool(word & _FINAL)
        if not _OVERHEAD <= length <= MOST_PLAIN + _OVERHEAD:
            raise DocumentError(Failure.DAMAGED, f"frame {self._sequence} has an impossible length")
        if len(self._buffer) < _WORD.size + length:
            return None
        body = bytes(self._buffer[_WORD.size : _WORD.size + length])
        try:
            plain = self._cipher.decrypt(body[:_NONCE], body[_NONCE:], self._header_digest + _PLACE.pack(self._sequence, is_final))
        except InvalidTag:
            raise DocumentError(Failure.DAMAGED, f"frame {self._sequence} was changed, moved, or is of another file") from None
        del self._buffer[: _WORD.size + length]
        self._sequence += 1
        self._is_over = is_final
        return plain


def _commitment(key: bytes, context: bytes) -> bytes:
    return hmac.digest(key, b"hushwire/hwx/1/commit" + context, "sha256")


def _frame_key(key: bytes, context: bytes) -> bytes:
    return hmac.digest(key, b"hushwire/hwx/1/frame" + context, "sha256")
