"""Sealed streams: anything long (a bundle, a backup) sealed piece by piece, so that neither memory nor disk ever holds it in clear.

One stream, one key, written once from front to back. A stream names its kind, organisation and object, and opens as that and
nothing else; frames open in their own place only, and the last one says that it is the last. The format: docs/streams.md.
"""

import hashlib
import hmac
import secrets
import struct
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushwire.core.errors import LocalError
from hushwire.vault.seal import KEY_BYTES

MAGIC: Final = b"HWS1"
HEADER_BYTES: Final = 84
FRAME_BYTES: Final = 1 << 18
"""How much plaintext a frame of ours holds; a reader takes up to `_MOST`."""

_CONTEXT: Final = struct.Struct(">4sBBH12s16s16s")
_WORD: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">QB")
_VERSION: Final = 1
_SUITE_AES_256_GCM: Final = 1
_FINAL_BIT: Final = 1 << 31
_NONCE: Final = 12
_TAG: Final = 16
_MOST: Final = (1 << 20) + _NONCE + _TAG


class StreamFailure(StrEnum):
    """Why a stream does not open."""

    NOT_A_STREAM = "not-a-stream"
    UNSUPPORTED = "unsupported"
    FOREIGN = "foreign"  # of another kind, organisation or object than wanted
    WRONG_KEY = "wrong-key"
    DAMAGED = "damaged"  # changed, reordered, or of another stream
    TRUNCATED = "truncated"
    TRAILING = "trailing"


class StreamError(LocalError):
    """A sealed stream that does not open; what was handed out before is authentic and in place."""

    def __init__(self, failure: StreamFailure, detail: str) -> None:
        super().__init__(f"{failure.value}: {detail}")
        self.failure = failure


@dataclass(frozen=True, slots=True)
class StreamName:
    """What a stream is: `kind` (at most 12 ASCII letters), the organisation (nil: the deployment), and the object's id."""

    kind: str
    org_id: UUID
    object_id: UUID

    def __post_init__(self) -> None:
        if not self.kind.isascii() or not 0 < len(self.kind) <= 12:
            raise ValueError("a kind of stream is 1 to 12 ASCII characters")

    def context(self) -> bytes:
        """The header up to the commitment."""
        kind = self.kind.encode().ljust(12, b"\0")
        return _CONTEXT.pack(MAGIC, _VERSION, _SUITE_AES_256_GCM, HEADER_BYTES, kind, self.org_id.bytes, self.object_id.bytes)


class StreamWriter:
    """Seals a stream: `header` first, then `feed` and at the end `finish`; each gives the bytes to be written next."""

    def __init__(self, key: bytes, name: StreamName) -> None:
        context = name.context()
        self.header = context + _commitment(key, context)
        self._cipher = AESGCM(_frame_key(key, context))
        self._header_digest = hashlib.sha256(self.header).digest()
        self._buffer = bytearray()
        self._sequence = 0
        self._is_over = False

    def feed(self, data: bytes) -> bytes:
        """Whole frames of what was fed so far (may be empty)."""
        self._buffer += data
        sealed = bytearray()
        while len(self._buffer) > FRAME_BYTES:  # one frame is always kept back: the last one carries the final flag
            sealed += self._frame(bytes(self._buffer[:FRAME_BYTES]), is_final=False)
            del self._buffer[:FRAME_BYTES]
        return bytes(sealed)

    def finish(self) -> bytes:
        """The final frame. Nothing may follow."""
        sealed = self._frame(bytes(self._buffer), is_final=True)
        self._buffer.clear()
        self._is_over = True
        return sealed

    def _frame(self, plaintext: bytes, *, is_final: bool) -> bytes:
        if self._is_over:
            raise ValueError("nothing is written after the final frame")
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, plaintext, self._header_digest + _PLACE.pack(self._sequence, is_final))
        self._sequence += 1
        length = _NONCE + len(sealed)
        return _WORD.pack(length | (_FINAL_BIT if is_final else 0)) + nonce + sealed


class StreamReader:
    """Opens a stream as it comes: `feed` gives the plaintext of whole frames; `finish` raises unless the final frame was seen."""

    def __init__(self, key: bytes, name: StreamName) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("a data key has 32 bytes")
        self._key = key
        self._name = name
        self._buffer = bytearray()
        self._cipher: AESGCM | None = None
        self._header_digest = b""
        self._sequence = 0
        self._is_over = False

    @property
    def frame_count(self) -> int:
        """Frames opened so far."""
        return self._sequence

    def feed(self, data: bytes) -> bytes:
        """Plaintext that `data` completes; all of it is authentic. Raises StreamError."""
        self._buffer += data
        if self._cipher is None and not self._read_header():
            return b""
        opened = bytearray()
        while (plaintext := self._next()) is not None:
            opened += plaintext
        if self._is_over and self._buffer:
            raise StreamError(StreamFailure.TRAILING, "bytes after the final frame")
        return bytes(opened)

    def finish(self) -> None:
        """Raises StreamError for a stream without its end."""
        if self._cipher is None and not MAGIC.startswith(self._buffer[: len(MAGIC)]):
            raise StreamError(StreamFailure.NOT_A_STREAM, "it does not begin like a sealed stream")
        if not self._is_over:
            raise StreamError(StreamFailure.TRUNCATED, f"the final frame is missing after {self._sequence} frames")

    def _read_header(self) -> bool:
        if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
            raise StreamError(StreamFailure.NOT_A_STREAM, "it does not begin like a sealed stream")
        if len(self._buffer) < HEADER_BYTES:
            return False
        header = bytes(self._buffer[:HEADER_BYTES])
        wanted = self._name.context()
        if header[4:8] != wanted[4:8]:
            raise StreamError(StreamFailure.UNSUPPORTED, "version, suite or header length is unknown")
        context = header[: _CONTEXT.size]
        if context != wanted:
            raise StreamError(StreamFailure.FOREIGN, "it is of another kind, organisation or object")
        if not hmac.compare_digest(header[_CONTEXT.size :], _commitment(self._key, context)):
            raise StreamError(StreamFailure.WRONG_KEY, "it was made with another key, or its header was changed")
        self._cipher = AESGCM(_frame_key(self._key, context))
        self._header_digest = hashlib.sha256(header).digest()
        del self._buffer[:HEADER_BYTES]
        return True

    def _next(self) -> bytes | None:
        if self._is_over or len(self._buffer) < _WORD.size:
            return None
        (word,) = _WORD.unpack_from(self._buffer)
        length, is_final = word & ~_FINAL_BIT, bool(word & _FINAL_BIT)
        if not _NONCE + _TAG <= length <= _MOST:
            raise StreamError(StreamFailure.DAMAGED, f"frame {self._sequence} has an impossible length")
        if len(self._buffer) < _WORD.size + length:
            return None
        body = bytes(self._buffer[_WORD.size : _WORD.size + length])
        assert self._cipher is not None
        try:
            plaintext = self._cipher.decrypt(body[:_NONCE], body[_NONCE:], self._header_digest + _PLACE.pack(self._sequence, is_final))
        except InvalidTag:
            raise StreamError(StreamFailure.DAMAGED, f"frame {self._sequence} was changed, moved, or belongs to another stream") from None
        del self._buffer[: _WORD.size + length]
        self._sequence += 1
        self._is_over = is_final
        return plaintext


def seal_stream(chunks: Iterable[bytes], key: bytes, name: StreamName) -> Iterator[bytes]:
    """The sealed stream of `chunks`, as bytes to write one after another."""
    writer = StreamWriter(key, name)
    yield writer.header
    for chunk in chunks:
        if sealed := writer.feed(chunk):
            yield sealed
    yield writer.finish()


async def open_stream(chunks: AsyncIterator[bytes], key: bytes, name: StreamName) -> AsyncIterator[bytes]:
    """The plaintext of a sealed stream. Raises StreamError, at the latest at its end: only then was it whole."""
    reader = StreamReader(key, name)
    async for chunk in chunks:
        if plaintext := reader.feed(chunk):
            yield plaintext
    reader.finish()


def name_of(header: bytes) -> StreamName:
    """What a stream says that it is, without any key. Raises StreamError for what is no stream of this version."""
    if header[:4] != MAGIC:
        raise StreamError(StreamFailure.NOT_A_STREAM, "it does not begin like a sealed stream")
    if len(header) < HEADER_BYTES:
        raise StreamError(StreamFailure.TRUNCATED, "the header is cut")
    _, version, suite, length, kind, org, object_id = _CONTEXT.unpack_from(header)
    if (version, suite, length) != (_VERSION, _SUITE_AES_256_GCM, HEADER_BYTES):
        raise StreamError(StreamFailure.UNSUPPORTED, "version, suite or header length is unknown")
    try:
        return StreamName(kind.rstrip(b"\0").decode("ascii"), UUID(bytes=org), UUID(bytes=object_id))
    except ValueError:
        raise StreamError(StreamFailure.UNSUPPORTED, "its kind is unknown") from None


def _commitment(key: bytes, context: bytes) -> bytes:
    """Binds a stream to one key: AES-GCM alone would let one be made that opens under two."""
    return hmac.digest(key, b"hushwire/stream/1/commit" + context, "sha256")


def _frame_key(key: bytes, context: bytes) -> bytes:
    return hmac.digest(key, b"hushwire/stream/1/frame" + context, "sha256")
