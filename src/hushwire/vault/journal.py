"""A sealed journal of what must outlive this process: the newest words about each thing, and nothing once the thing is over.

What is said of a thing may be in parts, so that what changes often is written without what does not. It survives the death of the process
at any instant, not that of the machine: it is written, never synchronised. One file:

    "hwjournal 2\\n" | file id 16 | record ...        record: length u32 big endian | AES-256-GCM of word ...
    word: id 16 | part 1 | length u32 big endian | data; part 255: the thing is over

All that one commit writes is one record. The file's key comes from the caller's key and the file's id; the nonce is the number of the
record, which is its additional data too. So a record opens in its own place alone. What follows a record that does not open is not read:
the process died while it wrote that one.
"""

import hmac
import os
import secrets
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC: Final = b"hwjournal 2\n"
NAME: Final = "calls.journal"
COMPACT_BYTES: Final = 4 << 20
"""The file is written anew once it is this long and four times as long as what still counts in it."""

Parts = Mapping[int, bytes]
"""What is known of a thing, by the numbers (below 255) of its parts."""

_TAG: Final = 16
_OVER: Final = 255
_HEAD: Final = struct.Struct(">16sBI")
_log = structlog.get_logger(__name__)


class Journal:
    """One process's. `put` and `drop` are remembered; `commit` writes them with one system call."""

    def __init__(self, folder: Path, key: bytes, name: str = NAME) -> None:
        self._path = folder / name
        self._key = key
        self._kept: dict[UUID, dict[int, bytes]] = {}
        self._kept_bytes = 0
        self.pending: dict[UUID, dict[int, bytes]] = {}
        """What the next `commit` writes; for who asks before each message whether there is anything."""
        self._file = -1
        self._cipher: AESGCM | None = None
        self._count = 0
        self._size = 0
        self._is_failing = False
        self._has_dropped = False

    def recover(self) -> Mapping[UUID, Parts]:
        """What the process before this one left. It stays in the journal until it is dropped."""
        self._kept = read(self._path, self._key)
        self._kept_bytes = sum(len(data) for parts in self._kept.values() for data in parts.values())
        return {name: dict(parts) for name, parts in self._kept.items()}

    def put(self, name: UUID, data: bytes, part: int = 0) -> None:
        """Have `data` as the newest word about this part of `name`; empty: nothing is to be said of it any more."""
        self.pending.setdefault(name, {})[part] = data

    def drop(self, name: UUID) -> None:
        """Forget `name`."""
        self.pending.pop(name, None)
        if name in self._kept:
            self.pending[name] = {_OVER: b""}

    def commit(self) -> bool:
        """Write what is pending; False where the disk does not take it. Then it is tried again by the next commit."""
        if not self.pending:
            return True
        pending, self.pending = self.pending, {}
        for name, said in pending.items():
            kept = self._kept.get(name)
            if kept is None:
                kept = self._kept[name] = {}
            for part, data in said.items():
                if part == _OVER:  # it is the first of them, where it is there
                    self._has_dropped = True
                    self._kept_bytes -= sum(map(len, kept.values()))
                    kept.clear()
                else:
                    self._kept_bytes += len(data) - len(kept.get(part, b""))
                    kept[part] = data
            if not kept:
                del self._kept[name]
        try:
            if self._file < 0 or self._is_failing or self._size > max(COMPACT_BYTES, 4 * self._kept_bytes):
                self._begin()
            else:
                self._append(self._record(pending))
        except OSError as error:
            if not self._is_failing:
                _log.error("journal.not_written", error=type(error).__name__, code=error.errno, mend="free space on the data folder's disk")
            self._is_failing = True
            return False
        if self._is_failing:
            _log.info("journal.written_again")
        self._is_failing = False
        return True

    def sync(self) -> bool:
        """Write what is pending, onto the disk itself: it survives the machine's end too. False where the disk does not take it."""
        if not self.commit():
            return False
        try:
            os.fdatasync(self._file)
        except OSError as error:
            _log.error("journal.not_synchronised", error=type(error).__name__, code=error.errno)
            return False
        return True

    def tidy(self) -> None:
        """Let nothing of what is over stand in the file: it is written anew, or removed where nothing counts."""
        if not self.commit() or not self._has_dropped:
            return
        try:
            if self._kept:
                self._begin()
            else:
                self.close()
                self._path.unlink(missing_ok=True)
        except OSError as error:
            _log.warning("journal.not_tidied", error=type(error).__name__, code=error.errno)
        else:
            self._has_dropped = False

    def close(self) -> None:
        """Write nothing more."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self) -> None:
        """A new file with all that counts, in place of the old one."""
        self.close()
        file_id = secrets.token_bytes(16)
        self._cipher, self._count = _cipher(self._key, file_id), 0
        records = [self._record({name: parts}) for name, parts in self._kept.items()]
        data = b"".join([MAGIC, file_id, *records])
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            _write(descriptor, data)
            os.replace(fresh, self._path)
        except OSError:
            os.close(descriptor)
            raise
        self._file, self._size = descriptor, len(data)

    def _append(self, data: bytes) -> None:
        try:
            _write(self._file, data)
        except OSError:
            # What was written in part would hide all that follows; the file is written anew next time.
            os.ftruncate(self._file, self._size)
            raise
        self._size += len(data)

    def _record(self, words: Mapping[UUID, Parts]) -> bytes:
        cipher = self._cipher
        assert cipher is not None
        place = self._count.to_bytes(12, "big")
        self._count += 1
        said = b""
        for name, parts in words.items():
            name_bytes = name.bytes
            for part, data in parts.items():
                said += _HEAD.pack(name_bytes, part, len(data)) + data
        sealed = cipher.encrypt(place, said, place)
        return len(sealed).to_bytes(4, "big") + sealed


def read(path: Path, key: bytes) -> dict[UUID, dict[int, bytes]]:
    """The newest words about each thing in a journal, by its parts; nothing where there is no file, or none of this key."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    start = len(MAGIC) + 16
    if not data.startswith(MAGIC) or len(data) < start:
        _log.error("journal.unknown", why="not a journal of this version")
        return {}
    cipher = _cipher(key, data[len(MAGIC) : start])
    kept: dict[UUID, dict[int, bytes]] = {}
    count = 0
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        sealed = data[start + 4 : start + 4 + length]
        place = count.to_bytes(12, "big")
        try:
            if len(sealed) < length or length < _TAG:
                raise InvalidTag
            plain = cipher.decrypt(place, sealed, place)
        except InvalidTag:
            _log.warning("journal.cut", records=count, unread_bytes=len(data) - start)
            break
        _learn(kept, plain)
        count += 1
        start += 4 + length
    return kept


def _learn(kept: dict[UUID, dict[int, bytes]], said: bytes) -> None:
    start = 0
    while start < len(said):
        name_bytes, part, length = _HEAD.unpack_from(said, start)
        start += _HEAD.size + length
        name = UUID(bytes=name_bytes)
        if part == _OVER:
            kept.pop(name, None)
        else:
            kept.setdefault(name, {})[part] = said[start - length : start]


def _cipher(key: bytes, file_id: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, b"hushwire/journal/1" + file_id, "sha256"))


def _write(descriptor: int, data: bytes) -> None:
    written = os.write(descriptor, data)
    while written < len(data):
        written += os.write(descriptor, data[written:])
