"""The sealed backup file, `.hwb` (docs/backup.md): a header, then frames that open in their own file at their own place only.

Sans-I/O like the format of recordings: bytes in, authentic parts out. The data key is made for one file and sealed under a key that
comes from the root key; the seal stands outside of what frames authenticate, so that a new root key means a new seal and nothing else.
"""

import hashlib
import hmac
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushwire.core.clock import Random
from hushwire.core.errors import LocalError, MalformedError
from hushwire.vault.seal import KEY_BYTES, OVERHEAD_BYTES, context, open_sealed, seal

MAGIC: Final = b"HWB1"
VERSION: Final = 1
SUITE_AES_256_GCM: Final = 1
HEADER_LENGTH: Final = 160
PART_BYTES: Final = 1 << 20
"""The most that one part of the dump holds."""

_CONTEXT: Final = struct.Struct(">4sBBH16sQ")  # magic, version, suite, header length, backup id, Unix microseconds
_AUTHENTIC: Final = _CONTEXT.size + 32  # and the key commitment
_SEAL: Final = _AUTHENTIC + 32  # and the fingerprint of the root key
_WORD: Final = struct.Struct(">I")
_PLACE: Final = struct.Struct(">QB")
_FINAL_BIT: Final = 1 << 31
_NONCE: Final = 12
_TAG: Final = 16
_MOST: Final = _NONCE + 1 + PART_BYTES + _TAG
_NEIGHBOURHOOD: Final = 8
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Failure(StrEnum):
    """What a reader found; the names are the same in every implementation."""

    NOT_A_BACKUP = "not-a-backup"
    UNSUPPORTED = "unsupported"
    OTHER_ROOT = "other-root"
    WRONG_KEY = "wrong-key"
    TRUNCATED = "truncated"
    REORDERED = "reordered"
    DAMAGED = "damaged"
    TRAILING = "trailing"
    BAD_PARTS = "bad-parts"
    DIGEST_MISMATCH = "digest-mismatch"


class ArchiveError(LocalError):
    """A backup file that is not what it should be; parts handed out before were authentic and in place."""

    def __init__(self, failure: Failure, words: str) -> None:
        super().__init__(f"{words} ({failure.value})")
        self.failure = failure


class Part(IntEnum):
    """What a frame holds; the byte before its content."""

    MANIFEST = 1  # the first frame and no other: what the dump was taken of
    DUMP = 2
    END = 3  # the final frame and no other


@dataclass(frozen=True, slots=True)
class SealingKey:
    """The root key's share for backups, and the root key's fingerprint, which tells whose seal a file bears."""

    key: bytes = field(repr=False)
    root: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """The first 160 bytes."""

    id: UUID
    made_at: datetime
    commitment: bytes
    root: bytes
    sealed_key: bytes
    raw: bytes = field(repr=False)

    @classmethod
    def read(cls, data: bytes) -> "Header":
        """Raises ArchiveError for what is no header of this version."""
        if not MAGIC.startswith(data[: len(MAGIC)]) or not data:
            raise ArchiveError(Failure.NOT_A_BACKUP, "the file doesn't begin like a backup of hushwire")
        if len(data) < HEADER_LENGTH:
            raise ArchiveError(Failure.TRUNCATED, "the header is cut")
        raw = bytes(data[:HEADER_LENGTH])
        _, version, suite, length, backup_id, micros = _CONTEXT.unpack_from(raw)
        if (version, suite, length) != (VERSION, SUITE_AES_256_GCM, HEADER_LENGTH) or any(raw[_SEAL + KEY_BYTES + OVERHEAD_BYTES :]):
            raise ArchiveError(Failure.UNSUPPORTED, "version, suite or header length is unknown: a newer hushwire made this backup")
        try:
            made_at = _EPOCH + timedelta(microseconds=micros)
        except OverflowError:
            raise ArchiveError(Failure.UNSUPPORTED, "the header's time is beyond all calendars") from None
        sealed = raw[_SEAL : _SEAL + KEY_BYTES + OVERHEAD_BYTES]
        return cls(UUID(bytes=backup_id), made_at, raw[_CONTEXT.size : _AUTHENTIC], raw[_AUTHENTIC:_SEAL], sealed, raw)

    def open_key(self, sealing: SealingKey) -> bytes:
        """The file's data key. Raises ArchiveError if another root key sealed it, or a bit of it differs."""
        if not hmac.compare_digest(self.root, sealing.root):
            raise ArchiveError(Failure.OTHER_ROOT, "the backup was sealed under another root key")
        try:
            key = open_sealed(sealing.key, self.sealed_key, _seal_place(self.raw))
        except MalformedError:
            raise ArchiveError(Failure.WRONG_KEY, "the backup's key does not open: the header was changed") from None
        if not hmac.compare_digest(self.commitment, _commitment(key, self.raw)):
            raise ArchiveError(Failure.WRONG_KEY, "the header was made with another key, or changed")
        return key

    def sealed_anew(self, old: SealingKey, new: SealingKey) -> bytes:
        """The header for a new root key: 160 bytes that may replace the old ones in place. Raises ArchiveError as `open_key` does."""
        return _header(self.raw[:_AUTHENTIC], self.open_key(old), new)


class Writer:
    """Header and frames as bytes. The order is the caller's: manifest, dump parts, end."""

    def __init__(self, sealing: SealingKey, backup_id: UUID, made_at: datetime, random: Random) -> None:
        micros = (made_at - _EPOCH) // timedelta(microseconds=1)
        raw = _CONTEXT.pack(MAGIC, VERSION, SUITE_AES_256_GCM, HEADER_LENGTH, backup_id.bytes, micros)
        key = random.token_bytes(KEY_BYTES)
        self.header = _header(raw + _commitment(key, raw), key, sealing)
        self._cipher = AESGCM(_frame_key(key, self.header))
        self._file = hashlib.sha256(self.header[:_AUTHENTIC]).digest()
        self._random = random
        self._sequence = 0
        self._digest = hashlib.sha256()
        self._dumped = 0
        self._is_over = False

    def manifest(self, manifest: Mapping[str, Any]) -> bytes:
        """The first frame."""
        return self._frame(Part.MANIFEST, json.dumps(manifest, separators=(",", ":"), sort_keys=True).encode(), is_final=False)

    def dump(self, data: bytes) -> bytes:
        """The next piece of the dump, at most PART_BYTES."""
        self._digest.update(data)
        self._dumped += len(data)
        return self._frame(Part.DUMP, data, is_final=False)

    def end(self) -> bytes:
        """The final frame: how long the dump is, and its digest."""
        said = {"dump_bytes": self._dumped, "dump_sha256": self._digest.hexdigest()}
        return self._frame(Part.END, json.dumps(said, separators=(",", ":"), sort_keys=True).encode(), is_final=True)

    def _frame(self, part: Part, content: bytes, *, is_final: bool) -> bytes:
        if self._is_over:
            raise ValueError("nothing is written after the final frame")
        if len(content) > PART_BYTES:
            raise ValueError("too much for one frame")
        nonce = self._random.token_bytes(_NONCE)
        sealed = self._cipher.encrypt(nonce, bytes((part,)) + content, self._file + _PLACE.pack(self._sequence, is_final))
        self._sequence += 1
        self._is_over = is_final
        return _WORD.pack(_NONCE + len(sealed) | (_FINAL_BIT if is_final else 0)) + nonce + sealed


class Reader:
    """Opens a file piece by piece: `feed` bytes in, authentic pieces of the dump out; `finish` when the bytes are all there.

    `manifest` is set once the first frame was read. Errors are ArchiveError.
    """

    def __init__(self, sealing: SealingKey) -> None:
        self._sealing = sealing
        self._buffer = bytearray()
        self._cipher: AESGCM | None = None
        self._file = b""
        self._sequence = 0
        self._is_over = False
        self._digest = hashlib.sha256()
        self.dumped = 0
        self.header: Header | None = None
        self.manifest: dict[str, Any] | None = None

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The pieces of the dump that `data` completes, in order; an error comes after the good pieces before it."""
        self._buffer += data
        if self._cipher is None and not self._read_header():
            return
        while (opened := self._next_frame()) is not None:
            part, content, is_final = opened
            self._check_order(part, is_final)
            if part is Part.MANIFEST:
                self.manifest = _object(content)
            elif part is Part.DUMP:
                self._digest.update(content)
                self.dumped += len(content)
                yield content
            else:
                self._check_end(_object(content))
        if self._is_over and self._buffer:
            raise ArchiveError(Failure.TRAILING, "bytes after the final frame")

    def finish(self) -> dict[str, Any]:
        """The manifest of a file that is whole. Raises ArchiveError if it isn't."""
        if self._cipher is None:
            Header.read(bytes(self._buffer))  # says what is wrong with it
        if not self._is_over or self.manifest is None:
            raise ArchiveError(Failure.TRUNCATED, f"the file ends in the middle, after {self._sequence} frames")
        return self.manifest

    def _read_header(self) -> bool:
        if len(self._buffer) < HEADER_LENGTH:
            if not MAGIC.startswith(self._buffer[: len(MAGIC)]):
                raise ArchiveError(Failure.NOT_A_BACKUP, "the file doesn't begin like a backup of hushwire")
            return False
        self.header = Header.read(bytes(self._buffer[:HEADER_LENGTH]))
        self._cipher = AESGCM(_frame_key(self.header.open_key(self._sealing), self.header.raw))
        self._file = hashlib.sha256(self.header.raw[:_AUTHENTIC]).digest()
        del self._buffer[:HEADER_LENGTH]
        return True

    def _next_frame(self) -> tuple[Part, bytes, bool] | None:
        if self._is_over or len(self._buffer) < _WORD.size:
            return None
        (word,) = _WORD.unpack_from(self._buffer)
        length, is_final = word & ~_FINAL_BIT, bool(word & _FINAL_BIT)
        if not _NONCE + 1 + _TAG <= length <= _MOST:
            raise ArchiveError(Failure.DAMAGED, f"frame {self._sequence} has an impossible length")
        if len(self._buffer) < _WORD.size + length:
            return None
        body = bytes(memoryview(self._buffer)[_WORD.size : _WORD.size + length])
        plaintext = self._open(body, self._sequence, is_final)
        if plaintext is None:
            self._refuse(body, is_final)
        assert plaintext is not None
        del self._buffer[: _WORD.size + length]
        self._sequence += 1
        self._is_over = is_final
        try:
            return Part(plaintext[0]), plaintext[1:], is_final
        except ValueError:
            raise ArchiveError(Failure.BAD_PARTS, f"frame {self._sequence - 1} holds a kind of part that is unknown") from None

    def _open(self, body: bytes, sequence: int, is_final: bool) -> bytes | None:
        assert self._cipher is not None
        try:
            return self._cipher.decrypt(body[:_NONCE], body[_NONCE:], self._file + _PLACE.pack(sequence, is_final))
        except InvalidTag:
            return None

    def _refuse(self, body: bytes, is_final: bool) -> None:
        for other in range(max(0, self._sequence - _NEIGHBOURHOOD), self._sequence + _NEIGHBOURHOOD + 1):
            if other != self._sequence and self._open(body, other, is_final) is not None:
                raise ArchiveError(Failure.REORDERED, f"frame {other} stands in the place of frame {self._sequence}")
        raise ArchiveError(Failure.DAMAGED, f"frame {self._sequence} was changed, or belongs to another file")

    def _check_order(self, part: Part, is_final: bool) -> None:
        if (part is Part.MANIFEST) != (self._sequence == 1) or (part is Part.END) != is_final:
            raise ArchiveError(Failure.BAD_PARTS, "the manifest opens the file and the end closes it, once each")

    def _check_end(self, said: Mapping[str, Any]) -> None:
        if said.get("dump_bytes") != self.dumped or said.get("dump_sha256") != self._digest.hexdigest():
            raise ArchiveError(Failure.DIGEST_MISMATCH, "the dump is not the one that was written")


def _header(authentic: bytes, key: bytes, sealing: SealingKey) -> bytes:
    sealed = seal(sealing.key, key, _seal_place(authentic))
    return (authentic + sealing.root + sealed).ljust(HEADER_LENGTH, b"\x00")


def _seal_place(raw: bytes) -> bytes:
    return context("backup-key", raw[: _CONTEXT.size])


def _commitment(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, b"hushwire/hwb/1/commit" + raw[: _CONTEXT.size], "sha256")


def _frame_key(key: bytes, raw: bytes) -> bytes:
    return hmac.digest(key, b"hushwire/hwb/1/frame" + raw[: _CONTEXT.size], "sha256")


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ArchiveError(Failure.BAD_PARTS, "a part that should be a JSON object isn't one")
    return found
