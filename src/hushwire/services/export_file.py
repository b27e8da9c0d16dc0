"""The sealed file that a bundle is built in: a ZIP archive, sealed as it is made. No byte of it reaches the disk unsealed.

Blocking: used in a thread. After each finished file (`checkpoint`) building can go on from there, whatever comes in between.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from hushwire.core.clock import Random
from hushwire.privacy.zipping import Entry, Zipper
from hushwire.store.documents import Document, FileRow
from hushwire.vault.hwx import HEADER_LENGTH, MOST_PLAIN, Sealer
from hushwire.vault.seal import Columns

_CHUNK: Final = 1 << 18
_TABLE: Final = "document_files"


@dataclass(frozen=True, slots=True)
class Mark:
    """A state that can be gone back to."""

    sealed_end: int
    frames: int
    offset: int
    entries: int


class ExportFile:
    """One bundle being written. `rows`: the finished files that stand in the database already."""

    def __init__(self, path: Path, key: bytes, document: Document, rows: Sequence[FileRow], random: Random) -> None:
        self._key, self._document, self._random = key, document, random
        self._columns = Columns(key)
        entries: list[Entry] = []
        for row in rows:
            said = self._read(row)
            entries += [Entry(**each) for each in said["entries"]]
        last = rows[-1] if rows else None
        offset = 0 if last is None else int(self._read(last)["offset"])
        self.files = len(rows)
        self._zipper = Zipper(document.created_at, entries, offset)
        self._sealer = Sealer(key, document.org_id, document.id, random, frames=0 if last is None else last.frames)
        self._buffer = bytearray()
        self._file: BinaryIO = path.open("r+b" if last is not None else "w+b")
        if last is None:
            self._file.write(self._sealer.header)
            self._file.flush()  # the file says whose it is from its first moment on
        else:
            self._file.truncate(last.sealed_end)
            self._file.seek(last.sealed_end)
        self._mark = self._marked()

    @property
    def entries(self) -> list[Entry]:
        """The finished files of the archive."""
        return self._zipper.entries

    @property
    def plain_bytes(self) -> int:
        """Length of the archive so far."""
        return self._zipper.offset

    def begin(self, name: str) -> None:
        """The next file of the archive."""
        self._write(self._zipper.begin(name))

    def add(self, data: bytes) -> None:
        """More of it."""
        self._write(self._zipper.add(data))

    def end(self) -> Entry:
        """It is finished."""
        self._write(self._zipper.end())
        return self._zipper.entries[-1]

    def put(self, name: str, data: bytes) -> Entry:
        """A whole file at once."""
        self.begin(name)
        self.add(data)
        return self.end()

    def checkpoint(self) -> FileRow:
        """Everything up to here is on the disk, and this is the row that says so; commit it before anything else is written."""
        self._flush()
        self._sync()
        new = [entry.written() for entry in self._zipper.entries[self._mark.entries :]]
        position = self.files = self.files + 1
        text = json.dumps({"entries": new, "offset": self._zipper.offset}, separators=(",", ":"))
        sealed = self._columns.seal(text.encode(), table=_TABLE, column=_column(position), row=self._document.id, org=self._document.org_id)
        self._mark = self._marked()
        return FileRow(position, sealed, self._mark.sealed_end, self._mark.frames)

    def go_back(self) -> None:
        """Forget what was written since the last checkpoint: it turned out not to belong inside."""
        mark = self._mark
        self._buffer.clear()
        self._zipper = Zipper(self._document.created_at, self._zipper.entries[: mark.entries], mark.offset)
        self._sealer = Sealer(self._key, self._document.org_id, self._document.id, self._random, frames=mark.frames)
        self._file.truncate(mark.sealed_end)
        self._file.seek(mark.sealed_end)

    def finish(self) -> tuple[int, bytes]:
        """Close the archive and the document; length and SHA-256 of the sealed file."""
        self._write(self._zipper.finish())
        while len(self._buffer) > MOST_PLAIN:
            self._seal(MOST_PLAIN)
        self._file.write(self._sealer.frame(bytes(self._buffer), is_final=True))
        self._buffer.clear()
        self._sync()
        self._file.seek(0)
        digest = hashlib.sha256()
        while chunk := self._file.read(_CHUNK):
            digest.update(chunk)
        return self._file.tell(), digest.digest()

    def close(self) -> None:
        """Let the file go, as it is."""
        self._file.close()

    def _write(self, plain: bytes) -> None:
        self._buffer += plain
        while len(self._buffer) >= _CHUNK:
            self._seal(_CHUNK)

    def _flush(self) -> None:
        if self._buffer:
            self._seal(len(self._buffer))

    def _seal(self, count: int) -> None:
        self._file.write(self._sealer.frame(bytes(self._buffer[:count])))
        del self._buffer[:count]

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _marked(self) -> Mark:
        return Mark(self._file.tell(), self._sealer.frames, self._zipper.offset, len(self._zipper.entries))

    def _read(self, row: FileRow) -> dict[str, Any]:
        opened = self._columns.open(
            row.entry_sealed, table=_TABLE, column=_column(row.position), row=self._document.id, org=self._document.org_id
        )
        said: dict[str, Any] = json.loads(opened)
        return said


def _column(position: int) -> str:
    # One key for all files of a document: the position is part of the place.
    return f"entry_sealed/{position}"


def is_resumable(path: Path, rows: Sequence[FileRow]) -> bool:
    """Whether what was built so far is within reach."""
    try:
        return bool(rows) and path.stat().st_size >= rows[-1].sealed_end >= HEADER_LENGTH
    except FileNotFoundError:
        return False
