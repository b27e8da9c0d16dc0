"""Where backups lie: a folder, or a prefix of an S3 bucket. Files are named by their time, and written under another name first.

    2026-11-25T174300Z-0190a1b2c3d4.hwb            a backup
    .2026-11-25T174300Z-0190a1b2c3d4.hwb.partial   one being written, or left by a backup that was killed: never taken for one

Everything here blocks: it is called in threads.
"""

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from hushwire.core.errors import ConfigError, Unavailable
from hushwire.vault.blobs import opened_s3

SUFFIX: Final = ".hwb"
_PARTIAL: Final = ".partial"
_NAME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d{6}Z)-[0-9a-f]{12}\.hwb", re.ASCII)
_TIME: Final = "%Y-%m-%dT%H%M%SZ"
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Found:
    """A backup as its name tells of it."""

    name: str
    made_at: datetime
    size_bytes: int


class Draft(Protocol):
    """A backup that is being written."""

    def write(self, data: bytes) -> None:
        """Append. Raises Unavailable, with a sentence to act on, where the place takes no more."""
        ...

    def complete(self) -> None:
        """Every byte is on the disk, still under its other name."""
        ...

    def read(self) -> Iterator[bytes]:
        """What was written, from the place itself."""
        ...

    def commit(self) -> None:
        """From now on it is a backup."""
        ...

    def drop(self) -> None:
        """Nothing is left of it; nothing happens if it was committed."""
        ...


class Place(Protocol):
    """Where backups lie."""

    @property
    def where(self) -> str:
        """How messages name it."""
        ...

    def found(self) -> list[Found]:
        """The backups that lie there, oldest first."""
        ...

    def read(self, name: str) -> Iterator[bytes]:
        """A backup's bytes. Raises ConfigError if it isn't there."""
        ...

    def begin(self, name: str) -> Draft: ...

    def remove(self, name: str) -> None: ...

    def tidy(self) -> int:
        """Remove what killed backups left half-written; returns how many there were."""
        ...


def name_of(backup_id: UUID, made_at: datetime) -> str:
    """A backup's file name: names in order are times in order."""
    return f"{made_at.astimezone(UTC).strftime(_TIME)}-{backup_id.hex[-12:]}{SUFFIX}"


def open_place(where: str) -> Place:
    """The folder or `s3://bucket/prefix` that `where` names. Raises ConfigError if it is not there."""
    parts = urlsplit(where)
    if parts.scheme == "s3" and len(parts.netloc) >= 3:
        return Bucket(where, opened_s3("backups", parts.netloc, parts.path.strip("/")))
    if parts.scheme == "file":
        where = unquote(parts.path)
    elif parts.scheme and "://" in where:
        raise ConfigError(f"{where}: backups go to a folder, file:///folder or s3://bucket/prefix")
    return Folder(Path(where).absolute())


class Folder:
    """A folder, which has to be there: a second zone that is not mounted must not become a folder on the first."""

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ConfigError(f"{path}: there is no such folder for backups: is the second zone mounted?")
        self._path = path

    @property
    def where(self) -> str:
        return str(self._path)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One backup at a time. Raises ConfigError if another one writes here."""
        with _sentences(self._path), open(os.open(self._path / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)) as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(f"{self._path}: another backup is being written here: let it end first") from None
            yield

    def found(self) -> list[Found]:
        with _sentences(self._path):
            entries = [(entry.name, entry.stat().st_size) for entry in os.scandir(self._path) if entry.is_file()]
        return sorted((Found(n, t, size) for n, size in entries if (t := _time(n))), key=lambda each: (each.made_at, each.name))

    def read(self, name: str) -> Iterator[bytes]:
        path = self._path / name
        try:
            yield from _pieces(path)
        except FileNotFoundError:
            raise ConfigError(f"{path}: there is no such backup") from None

    def begin(self, name: str) -> "_FolderDraft":
        return _FolderDraft(self._path, name)

    def remove(self, name: str) -> None:
        with _sentences(self._path):
            (self._path / name).unlink(missing_ok=True)
            _sync(self._path)

    def tidy(self) -> int:
        left = [path for path in self._path.glob(f".*{SUFFIX}{_PARTIAL}") if path.is_file()]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


class _FolderDraft:
    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._final = folder / name
        self._path = folder / f".{name}{_PARTIAL}"
        with _sentences(folder):
            self._file = open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb")  # noqa: SIM115

    def write(self, data: bytes) -> None:
        with _sentences(self._folder):
            self._file.write(data)

    def complete(self) -> None:
        with _sentences(self._folder):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()

    def read(self) -> Iterator[bytes]:
        with _sentences(self._folder):
            # What is read back should be what the disk holds, not what memory still has.
            with self._path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            yield from _pieces(self._path)

    def commit(self) -> None:
        with _sentences(self._folder):
            os.rename(self._path, self._final)
            _sync(self._folder)

    def drop(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


class Bucket:
    """A prefix of an S3 bucket. An upload shows only when it is complete, so a backup that was killed leaves nothing there."""

    def __init__(self, where: str, store: S3Store) -> None:
        self._where = where
        self._store = store

    @property
    def where(self) -> str:
        return self._where

    def found(self) -> list[Found]:
        with _answers(self._where):
            entries = [(str(each["path"]), int(each["size"])) for batch in obstore.list(self._store) for each in batch]
        return sorted((Found(n, t, size) for n, size in entries if (t := _time(n))), key=lambda each: (each.made_at, each.name))

    def read(self, name: str) -> Iterator[bytes]:
        try:
            with _answers(self._where):
                for chunk in obstore.get(self._store, name).stream(min_chunk_size=_PIECE):
                    yield bytes(chunk)
        except FileNotFoundError:
            raise ConfigError(f"{self._where}/{name}: there is no such backup") from None

    def begin(self, name: str) -> "_BucketDraft":
        return _BucketDraft(self, self._store, name)

    def remove(self, name: str) -> None:
        with _answers(self._where), suppress(FileNotFoundError):
            obstore.delete(self._store, name)

    def tidy(self) -> int:
        return 0


class _BucketDraft:
    def __init__(self, place: Bucket, store: S3Store, name: str) -> None:
        self._place = place
        self._store = store
        self._name = name
        with _answers(place.where):
            self._writer: Any = obstore.open_writer(store, name, buffer_size=8 << 20)
        self._is_up = self._is_kept = False

    def write(self, data: bytes) -> None:
        with _answers(self._place.where):
            self._writer.write(data)

    def complete(self) -> None:
        with _answers(self._place.where):
            self._writer.close()
        self._is_up = True

    def read(self) -> Iterator[bytes]:
        return self._place.read(self._name)

    def commit(self) -> None:
        self._is_kept = True

    def drop(self) -> None:
        if self._is_up and not self._is_kept:
            self._place.remove(self._name)


def read_file(path: Path) -> Iterator[bytes]:
    """A backup's bytes, wherever the file lies. Raises ConfigError if it isn't there."""
    try:
        yield from _pieces(path)
    except OSError as error:
        raise ConfigError(f"{path}: can't be read ({error.strerror})") from None


def _time(name: str) -> datetime | None:
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    try:
        return datetime.strptime(match[1], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Unavailable(f"{folder}: the disk is full: make room, or keep fewer backups ([backup] keep). No backup was made") from None
        raise Unavailable(f"{folder}: backups can't be written or read here ({error.strerror})") from None


@contextmanager
def _answers(where: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError) as error:
        raise Unavailable(f"{where}: the store does not take or give backups ({type(error).__name__})") from None
