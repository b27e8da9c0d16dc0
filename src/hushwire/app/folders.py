"""The data folder: where things lie, who owns them, and the lock that lets one supervisor at a time use it."""

import fcntl
import hashlib
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import uuid4

from hushwire.core.errors import ConfigError

# A unix socket's path has at most 107 bytes, and the longest name below the folder is /pg-keyring-2/.s.PGSQL.5432.
_LONGEST_RUN_FOLDER: Final = 107 - len("/pg-keyring-2/.s.PGSQL.5432.lock")


@dataclass(frozen=True, slots=True)
class Account:
    """The user that the roles become; None in its place means that they stay who we are."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Folders:
    """Paths below one data folder."""

    root: Path

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def keys(self) -> Path:
        return self.root / "keys"

    @property
    def root_key(self) -> Path:
        return self.keys / "root"

    @property
    def buckets(self) -> Path:
        """Secrets of the key buckets; read by api and worker, in no database and no backup."""
        return self.root / "buckets"

    @property
    def postgres(self) -> Path:
        return self.root / "pg"

    @property
    def spool(self) -> Path:
        return self.root / "spool"

    @property
    def store(self) -> Path:
        return self.root / "store"

    @property
    def journal(self) -> Path:
        return self.root / "journal"

    @property
    def status(self) -> Path:
        """Who runs and where it listens, kept current by the supervisor."""
        return self.run / "hushwire.json"

    @property
    def zone2_mark(self) -> Path:
        """The id of the second zone that belongs to this data folder, so that an empty mount point is not taken for it."""
        return self.root / "zone2"

    @property
    def zone2_state(self) -> Path:
        """Whether the second zone's copy of the keyring has everything, and since when."""
        return self.postgres / "zone2.json"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def run(self) -> Path:
        """Sockets: `<dir>/run`, or a private folder in /tmp where that path is too long for a socket."""
        inside = self.root / "run"
        if len(os.fsencode(inside)) <= _LONGEST_RUN_FOLDER:
            return inside
        digest = hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]
        return Path("/tmp") / f"hushwire-{digest}"

    @property
    def media_socket(self) -> Path:
        return self.run / "media.sock"


@dataclass(frozen=True, slots=True)
class Zone2:
    """Paths of the second zone: the keyring's synchronous copy, the buckets' secrets again, and backups."""

    root: Path

    @property
    def keyring(self) -> Path:
        """A hot standby of the keyring's server: newest state only."""
        return self.root / "keyring"

    @property
    def buckets(self) -> Path:
        return self.root / "buckets"

    @property
    def backups(self) -> Path:
        return self.root / "backups"

    @property
    def objects(self) -> Path:
        """Copies of the store's sealed objects."""
        return self.root / "objects"

    @property
    def passwords(self) -> Path:
        """The keyring's database passwords again, 0600: without them the copy could be promoted but not be used."""
        return self.root / "keyring.json"

    @property
    def mark(self) -> Path:
        """Whose second zone this is: the id in the data folder's `zone2`."""
        return self.root / "zone"


def account(user: str) -> Account | None:
    """Whom the roles run as: `user` when we are root, else None. ConfigError if there is no such user or it is root itself."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise ConfigError(f'[run] user: this system has no user "{user}": create it or name another') from None
    if entry.pw_uid == 0:
        raise ConfigError("[run] user: roles never run as root: name a user without rights, such as nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def prepare(folders: Folders, owner: Account | None) -> None:
    """Make the folders that are missing, 0700 but for the ones that others pass through, owned by who works in them.

    The data folder itself and `keys` stay ours. Raises ConfigError where a folder can't be made or is somebody else's.
    """
    try:
        folders.root.mkdir(parents=True, exist_ok=True)
        if os.stat(folders.root).st_uid == os.geteuid():
            os.chmod(folders.root, 0o711 if owner else 0o700)
        for folder in (folders.tls, folders.postgres):
            folder.mkdir(exist_ok=True)
            os.chmod(folder, 0o711 if owner else 0o700)
        folders.keys.mkdir(exist_ok=True)
        os.chmod(folders.keys, 0o700)
        for folder in (folders.buckets, folders.spool, folders.store, folders.journal, folders.run):
            folder.mkdir(exist_ok=True)
            _claim(folder, owner)
    except (PermissionError, FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise ConfigError(f"[data] dir: {error.filename}: {error.strerror}: give hushwire a folder that it may write") from None
    if owner and (closed := closed_to(owner, folders.root)):
        raise ConfigError(
            f'[data] dir: the user "{owner.name}" can\'t enter {closed}: choose a folder such as /var/lib/hushwire, or set [run] user'
        )


def prepare_zone2(folders: Folders, zone2: Zone2, owner: Account | None) -> None:
    """Make the second zone's folders. Raises ConfigError where what is there is not this data folder's second zone, or is not there."""
    known = _mark(folders.zone2_mark)
    try:
        if known is not None and (found := _mark(zone2.mark)) != known:
            what = "is not there (is it mounted?)" if found is None else "belongs to another data folder"
            raise ConfigError(
                f"[zone2] dir: the second zone of {folders.root} {what}: {zone2.mark} must say {known}. To begin a new second zone, "
                f"remove {folders.zone2_mark}"
            )
        zone2.root.mkdir(parents=True, exist_ok=True)
        if os.stat(zone2.root).st_uid == os.geteuid():
            os.chmod(zone2.root, 0o711 if owner else 0o700)
        for folder in (zone2.buckets, zone2.backups, zone2.objects):
            folder.mkdir(exist_ok=True)
            _claim(folder, owner)
        if known is None:
            # taken over as it is where the data folder was lost: what is in it decides what may be done with it
            known = _mark(zone2.mark) or str(uuid4())
            write_secret(zone2.mark, f"{known}\n".encode(), 0o644)
            write_secret(folders.zone2_mark, f"{known}\n".encode(), 0o644)
    except (PermissionError, FileExistsError, NotADirectoryError, FileNotFoundError) as error:
        raise ConfigError(f"[zone2] dir: {error.filename}: {error.strerror}: give hushwire a folder that it may write") from None
    if owner and (closed := closed_to(owner, zone2.root)):
        raise ConfigError(f'[zone2] dir: the user "{owner.name}" can\'t enter {closed}: choose another folder, or set [run] user')


def _mark(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def _claim(folder: Path, owner: Account | None) -> None:
    state = os.lstat(folder)
    if not stat.S_ISDIR(state.st_mode):
        raise ConfigError(f"{folder}: is not a folder: remove it")
    if owner is None and state.st_uid != os.geteuid():
        raise ConfigError(f"{folder}: belongs to another user: run hushwire as that user, or as root")
    os.chmod(folder, 0o700)
    if owner and state.st_uid != owner.uid:
        give(folder, owner)


def give(path: Path, owner: Account) -> None:
    """Make `owner` the owner of the file, or of the folder and everything in it; links are not followed."""
    os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    for parent, names, files in os.walk(path):
        for name in names + files:
            os.chown(os.path.join(parent, name), owner.uid, owner.gid, follow_symlinks=False)


def write_secret(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a file that only we can read from its first byte on, and see it on the disk."""
    path.unlink(missing_ok=True)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def closed_to(owner: Account, path: Path) -> Path | None:
    """The first folder on the way to `path` that `owner` can't enter, if any."""
    for folder in reversed((path, *path.parents)):
        state = os.stat(folder)
        bit = stat.S_IXUSR if state.st_uid == owner.uid else stat.S_IXGRP if state.st_gid == owner.gid else stat.S_IXOTH
        if not state.st_mode & bit:
            return folder
    return None


def may_read(owner: Account, path: Path) -> bool:
    """Whether `owner` can read a file and reach it."""
    state = os.stat(path)
    bit = stat.S_IRUSR if state.st_uid == owner.uid else stat.S_IRGRP if state.st_gid == owner.gid else stat.S_IROTH
    return bool(state.st_mode & bit) and closed_to(owner, path.parent) is None


@contextmanager
def locked(folders: Folders) -> Iterator[bool]:
    """Hold the data folder's lock; yields False at once if another hushwire holds it. The kernel frees it when we die."""
    folders.root.mkdir(parents=True, exist_ok=True)
    handle = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        yield True
    finally:
        os.close(handle)


def holder(folders: Folders) -> str:
    """The process id that the lock file names, for a message."""
    try:
        return folders.lock.read_text(encoding="ascii", errors="replace").strip() or "unknown"
    except OSError:
        return "unknown"
