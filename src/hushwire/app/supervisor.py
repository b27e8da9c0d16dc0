"""`hushwire up`: every role on one machine, started in order, kept alive, ended together.

    PostgreSQL main and keyring -> hushwire-media -> gateway, api, worker, sms

A role that dies is started again after a pause that doubles up to 30 s, and the log says so. A role that can't start the first
time ends the whole: its own last sentence says why. Children end with the supervisor, even if it is killed (PR_SET_PDEATHSIG).
"""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from hushwire.app import processes
from hushwire.app.config import Config, Listen
from hushwire.app.databases import Databases
from hushwire.app.folders import Account, Folders, closed_to, write_secret
from hushwire.app.postgres import Cluster
from hushwire.app.sources import SystemClock
from hushwire.app.wiring import KEYS_FD, READY_FD, Role, bucket_folders
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.store import roles
from hushwire.vault.root import RootKey

READY_WITHIN_S: Final = 60.0
ROLES_END_WITHIN_S: Final = 2.5  # the gateway says BYE to live calls meanwhile
MEDIA_ENDS_WITHIN_S: Final = 0.8
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 30.0
STEADY_AFTER_S: Final = 30.0

_ROLES: Final[tuple[Role, ...]] = ("gateway", "api", "worker", "sms")
_DATABASE_ROLE: Final = {"gateway": roles.GATEWAY, "api": roles.API, "worker": roles.WORKER, "sms": roles.WORKER}
_POLL_S: Final = 0.02
_log = structlog.get_logger(__name__)

Start = Callable[[], Awaitable[asyncio.subprocess.Process]]


@dataclass(slots=True)
class Child:
    """One supervised process. `start` returns when it serves; `addresses` is what it said that it listens on."""

    name: str
    start: Start
    process: asyncio.subprocess.Process | None = None
    addresses: dict[str, list[str]] = field(default_factory=dict)
    restarts: int = 0


class Supervisor:
    """Keeps the children of one deployment alive until `stop` is set."""

    def __init__(
        self,
        config: Config,
        folders: Folders,
        owner: Account | None,
        databases: Databases,
        root: RootKey,
        log_form: str,
    ) -> None:
        self._config = config
        self._folders = folders
        self._owner = owner
        self._databases = databases
        self._root = root
        self._log_form = log_form
        self._clock = SystemClock()
        self._children: dict[str, Child] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._is_draining = False

    async def run(self, stop: asyncio.Event, drain: asyncio.Event, on_up: Callable[[dict[str, list[str]]], None]) -> None:
        """Start everything (the databases run already), call `on_up(addresses)`, and return when `stop` is set and all has ended.

        `drain` asks for the same, once the gateway has let its calls end.

        Raises Unavailable if a role does not come up the first time.
        """
        for cluster in self._databases.clusters:
            name = f"postgres-{cluster.name}"
            self._children[name] = Child(name, self._restart_of(cluster), cluster.process)
        if self._databases.copy is not None:
            self._databases.copy.on_change = self._write_status
        keepers: list[asyncio.Task[None]] = []
        try:
            await self._first(Child("media", self._start_media))
            await self._first_roles()
            self._write_status()
            keepers = [asyncio.create_task(self._keep(child, stop), name=child.name) for child in self._children.values()]
            on_up({name: listed for child in self._children.values() for name, listed in child.addresses.items()})
            await processes.first_of(stop, drain)
            if not stop.is_set():
                await self._drain(stop)
                stop.set()
        finally:
            self._stopping = True
            for keeper in keepers:
                keeper.cancel()
            await asyncio.gather(*keepers, return_exceptions=True)
            await self._end()

    async def _drain(self, stop: asyncio.Event) -> None:
        """Ask the gateway to end when its calls have, with all that they need running on; not longer than it may take."""
        self._is_draining = True
        process = self._children["gateway"].process
        if process is None or process.returncode is not None:
            return
        _log.info("roles.draining", longest_s=self._config.limits.drain_s)
        process.send_signal(signal.SIGTERM)
        ended = asyncio.create_task(process.wait())
        hurried = asyncio.create_task(stop.wait())
        await asyncio.wait((ended, hurried), timeout=self._config.limits.drain_s + ROLES_END_WITHIN_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (ended, hurried):
            task.cancel()
        await asyncio.gather(ended, hurried, return_exceptions=True)

    async def _first_roles(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for role in _ROLES:
                    group.create_task(self._first(Child(role, partial(self._start_role, role))))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _first(self, child: Child) -> None:
        self._children[child.name] = child
        child.process = await child.start()
        _log.info("role.started", child=child.name, pid=child.process.pid)

    async def _keep(self, child: Child, stop: asyncio.Event) -> None:
        """Start the child again whenever it ends, until we stop."""
        pause_s = FIRST_PAUSE_S
        while not stop.is_set():
            since = self._clock.monotonic()
            if child.process is not None:
                status = await child.process.wait()
                if stop.is_set() or (self._is_draining and child.name == "gateway"):
                    return
                if self._clock.monotonic() - since >= STEADY_AFTER_S:
                    pause_s = FIRST_PAUSE_S
                _log.error("role.died", child=child.name, how=_how(status), restart_in_s=pause_s)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await stop.wait()
                    return
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            child.restarts += 1
            try:
                child.process = await child.start()
            except (Unavailable, ConfigError, OSError) as error:
                child.process = None
                _log.error("role.start_failed", child=child.name, error=type(error).__name__, restart_in_s=pause_s)
            else:
                _log.warning("role.restarted", child=child.name, pid=child.process.pid, restarts=child.restarts)
                self._write_status()

    async def _end(self) -> None:
        """Roles first (they need the media process and the databases to say goodbye), then media, then the databases."""
        running = {name: child.process for name, child in self._children.items() if child.process is not None}
        asked = [processes.end(running[role], signal.SIGINT, ROLES_END_WITHIN_S) for role in _ROLES if role in running]
        if not all(await asyncio.gather(*asked)):
            _log.warning("role.killed", reason="did not end in time")
        if "media" in running:
            await processes.end(running["media"], signal.SIGTERM, MEDIA_ENDS_WITHIN_S)
        await self._databases.stop()
        for reader in list(self._readers):
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        self._folders.status.unlink(missing_ok=True)

    def _restart_of(self, cluster: Cluster) -> Start:
        async def start() -> asyncio.subprocess.Process:
            await cluster.start()
            assert cluster.process is not None
            return cluster.process

        return start

    # ------------------------------------------------------------------------------------------------ the children

    async def _start_media(self) -> asyncio.subprocess.Process:
        media, socket = self._config.media, self._folders.media_socket
        socket.unlink(missing_ok=True)
        command = ["hushwire-media", "--socket", str(socket), "--spool", str(self._folders.spool), "--address", media.address]
        if media.advertise:
            command += ["--advertise", media.advertise]
        if media.ports:
            command += ["--ports", str(media.ports)]
        if media.shared_ports:
            command += ["--shared-ports", str(media.shared_ports)]
        command += ["--workers", str(media.workers)]
        process = await processes.start_child(
            command,
            executable=media_program(),
            environ={"PATH": "/usr/bin:/bin"},
            owner=self._owner,
            death_signal=signal.SIGTERM,
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        self._read(process.stderr)
        await self._until(process, "hushwire-media", lambda: _answers(socket))
        return process

    async def _start_role(self, role: Role) -> asyncio.subprocess.Process:
        keys = self._root.role_keys(
            opener=role != "gateway",
            buckets=bucket_folders(self._config, self._folders),
            is_confirmed=self._config.zone2.dir is not None,
        )
        keys_out, keys_in = os.pipe()
        ready_out, ready_in = os.pipe()
        try:
            os.write(keys_in, keys.to_json())
            os.close(keys_in)
            process = await processes.start_child(
                [sys.executable, "-P", "-m", "hushwire", role],
                environ=self._environment(role, keys_out, ready_in),
                owner=self._owner,
                death_signal=signal.SIGINT if role == "gateway" else signal.SIGKILL,
                pass_fds=(keys_out, ready_in),
            )
        finally:
            os.close(keys_out)
            os.close(ready_in)
        child = self._children[role]
        child.addresses = await self._said_ready(process, role, ready_out)
        return process

    def _environment(self, role: Role, keys_fd: int, ready_fd: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HUSHWIRE_")}
        database_role = _DATABASE_ROLE[role]
        told = settled(self._config, self._children[role].addresses).to_environment()
        if role != "worker":
            # Only the worker sends mail: nobody else gets the password.
            told = {name: value for name, value in told.items() if not name.startswith("HUSHWIRE_MAIL__")}
        return {
            **kept,
            **told,
            "HUSHWIRE_DATABASE__DSN": self._databases.main_dsn(database_role),
            "HUSHWIRE_KEYRING__DSN": self._databases.keyring_dsn(database_role),
            "HUSHWIRE_RUN__LOG": self._log_form,
            KEYS_FD: str(keys_fd),
            READY_FD: str(ready_fd),
        }

    async def _said_ready(self, process: asyncio.subprocess.Process, role: Role, pipe: int) -> dict[str, list[str]]:
        """What the role writes when it serves; an end of the pipe without a word means that it ended."""
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
        )
        try:
            async with asyncio.timeout(READY_WITHIN_S):
                data = await reader.read()
        except TimeoutError:
            data = b""
        except BaseException:
            await processes.end(process, signal.SIGKILL, 1.0)
            raise
        finally:
            transport.close()
        if not data:
            await processes.end(process, signal.SIGINT, 1.0)
            raise Unavailable(f"hushwire {role} did not start ({_how(process.returncode)}): its last log line says why")
        said: dict[str, list[str]] = json.loads(data)
        return said

    async def _until(self, process: asyncio.subprocess.Process, name: str, answers: Callable[[], Awaitable[bool]]) -> None:
        until = self._clock.monotonic() + READY_WITHIN_S
        while self._clock.monotonic() < until and process.returncode is None:
            if await answers():
                return
            await asyncio.sleep(_POLL_S)
        await processes.end(process, signal.SIGKILL, 1.0)
        raise Unavailable(f"{name} did not start ({_how(process.returncode)}): its last log line says why")

    def _read(self, stream: asyncio.StreamReader) -> None:
        task = asyncio.create_task(_relay_log(stream))
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    def _write_status(self) -> None:
        """`<dir>/run/hushwire.json`: for `hushwire doctor`, the demo and tests."""
        listed = {
            child.name: {"pid": child.process.pid if child.process else None, "restarts": child.restarts, "addresses": child.addresses}
            for child in self._children.values()
        }
        if (copy := self._databases.copy) is not None and not self._stopping:
            listed["postgres-zone2"] = {"pid": copy.pid, "restarts": copy.restarts, "addresses": {}}
        new = self._folders.status.with_suffix(".new")
        write_secret(new, json.dumps({"pid": os.getpid(), "roles": listed}).encode())
        os.replace(new, self._folders.status)


def settled(config: Config, addresses: dict[str, list[str]]) -> Config:
    """The configuration with each port 0 replaced by what the role got the last time: a phone finds a restarted role again."""
    sip = tuple(_same_place(item, addresses.get("sip", [])) for item in config.sip.listen)
    api = _same_place(config.api.listen, addresses.get("api", []))
    update = {"sip": config.sip.model_copy(update={"listen": sip}), "api": config.api.model_copy(update={"listen": api})}
    return config.model_copy(update=update)


def _same_place(wanted: Listen, had: list[str]) -> Listen:
    if wanted.port:
        return wanted
    known = [address for address in had if address.rpartition(":")[0] == str(wanted).rpartition(":")[0]]
    return wanted.model_copy(update={"port": int(known[0].rpartition(":")[2])}) if len(known) == 1 else wanted


async def _relay_log(stream: asyncio.StreamReader) -> None:
    """hushwire-media's JSON lines in our own form; whatever else it prints only as the fact that it did."""
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than the reader's limit: not a log line
        if not line:
            return
        try:
            fields: dict[str, Any] = json.loads(line)
            event, level = str(fields.pop("event")), str(fields.pop("level", "info"))
        except (ValueError, KeyError, AttributeError):
            _log.warning("media.output", role="media", bytes=len(line))
            continue
        for taken in ("time", "timestamp", "role"):
            fields.pop(taken, None)
        write = {"debug": _log.debug, "warning": _log.warning, "error": _log.error}.get(level, _log.info)
        write(event, role="media", **fields)


async def _answers(socket: Path) -> bool:
    try:
        _, writer = await asyncio.open_unix_connection(str(socket))
    except OSError:
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


def _how(status: int | None) -> str:
    if status is None:
        return "no answer"
    if status < 0:
        with suppress(ValueError):
            return f"signal {signal.Signals(-status).name}"
    return f"status {status}"


def media_program() -> Path:
    """The program hushwire-media: beside this Python (the wheel puts it there), else on PATH. ConfigError if there is none."""
    beside = Path(sys.executable).parent / "hushwire-media"
    if beside.is_file():
        return beside
    if found := shutil.which("hushwire-media"):
        return Path(found)
    raise ConfigError("the program hushwire-media is not installed: run `make setup`, or pip install the hushwire wheel")


def check_reachable(owner: Account | None) -> None:
    """See to it that the user whom roles become can run this installation. ConfigError, naming the closed folder, if not."""
    if owner is None:
        return
    command = [sys.executable, "-P", "-c", "import hushwire"]
    with suppress(PermissionError):
        tried = subprocess.run(command, user=owner.uid, group=owner.gid, extra_groups=[], cwd="/", capture_output=True, check=False)
        if tried.returncode == 0:
            return
    places = [Path(sys.executable).parent, Path(sys.executable).resolve().parent, Path(__file__).parent]
    closed = next((found for place in places if (found := closed_to(owner, place))), None)
    where = f"{closed} is closed to it" if closed else "it can't run this Python"
    raise ConfigError(
        f'[run] user: the user "{owner.name}" can\'t run this installation ({where}): install hushwire where everyone may enter, '
        "with a Python such as /usr/bin/python3, or start hushwire as a user other than root"
    )
