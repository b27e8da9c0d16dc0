"""A whole hushwire in a temporary folder: started, provisioned, asked over its API, ended."""

import asyncio
import ctypes
import http.client
import os
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

import orjson

from hushwire.core.errors import LocalError

START_WITHIN_S: Final = 60.0
END_WITHIN_S: Final = 10.0
PR_SET_PDEATHSIG: Final = 1
DOMAIN: Final = "hushwire.localhost"

CONFIG: Final = """\
[data]
dir = "{data}"
[sip]
listen = ["udp://127.0.0.1:0", "tcp://127.0.0.1:0", "tls://127.0.0.1:0"]
domain = "{domain}"
[api]
listen = "https://127.0.0.1:0"
{more}
"""


class StackError(LocalError):
    """hushwire did not start, or a command of it failed. The message holds what it said."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer. `json` reads the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(frozen=True, slots=True)
class Api:
    """The HTTP interface as a customer uses it: TLS checked against `ca.pem`, a bearer key."""

    url: str
    authority: Path | None
    key: str = field(repr=False, default="")

    async def ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request; never raises for a status."""
        return await asyncio.to_thread(self._ask, method, path, body, dict(headers or {}))

    async def get(self, path: str) -> Any:
        """The JSON of a 200 answer. Raises StackError for another status."""
        return self.accepted(await self.ask("GET", path), "GET", path).json()

    async def put(self, path: str, body: object) -> Any:
        return self.accepted(await self.ask("PUT", path, body), "PUT", path).json()

    async def post(self, path: str, body: object) -> Any:
        return self.accepted(await self.ask("POST", path, body), "POST", path).json()

    def accepted(self, answer: Answer, method: str, path: str) -> Answer:
        if not 200 <= answer.status < 300:
            raise StackError(f"{method} {path}: {answer.status} {answer.body[:300].decode(errors='replace')}")
        return answer

    def _ask(self, method: str, path: str, body: object, headers: dict[str, str]) -> Answer:
        place = urlsplit(self.url)
        assert place.hostname is not None
        connection: http.client.HTTPConnection
        if place.scheme == "https":
            context = ssl.create_default_context(cafile=self.authority)
            connection = http.client.HTTPSConnection(place.hostname, place.port, context=context, timeout=30)
        else:
            connection = http.client.HTTPConnection(place.hostname, place.port, timeout=30)
        if self.key:
            headers.setdefault("Authorization", f"Bearer {self.key}")
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else orjson.dumps(body)
            headers.setdefault("Content-Type", "application/json")
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()


@dataclass(slots=True)
class Stack:
    """One running `hushwire up`, with its folder, its log and the addresses that it listens on."""

    folder: Path
    config: Path
    process: asyncio.subprocess.Process
    addresses: dict[str, list[str]]
    authority: Path | None
    started_ms: float
    secrets: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    async def start(cls, folder: Path | None = None, *, more: str = "") -> Self:
        """Starts `hushwire up` over `folder` (absent: a new temporary one); `more` is appended to its configuration.

        Raises StackError with the log's end when it does not come up.
        """
        folder = folder or temporary_folder()
        config = folder / "hushwire.toml"
        if not config.exists():
            config.write_text(CONFIG.format(data=folder / "data", domain=DOMAIN, more=more))
        began = time.monotonic()
        with (folder / "hushwire.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *hushwire("up", "--config", str(config), "--json"),
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment(folder),
                start_new_session=True,
                preexec_fn=_ends_with_us(os.getpid()),
            )
        stack = cls(folder, config, process, {}, None, 0.0)
        try:
            async with asyncio.timeout(START_WITHIN_S):
                assert process.stdout is not None
                line = await process.stdout.readline()
            if not line:
                raise StackError(f"hushwire up ended before it was up; the end of {stack.log}:\n{stack.log_end()}")
        except TimeoutError:
            await stack.stop()
            raise StackError(f"hushwire up is not up after {START_WITHIN_S:g} s; the end of {stack.log}:\n{stack.log_end()}") from None
        except BaseException:
            await stack.stop()
            raise
        said = orjson.loads(line)
        stack.addresses = said["addresses"]
        stack.authority = Path(said["authority"]) if said.get("authority") else None
        stack.started_ms = (time.monotonic() - began) * 1000
        return stack

    @property
    def log(self) -> Path:
        return self.folder / "hushwire.log"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def log_end(self, lines: int = 20) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def sip(self, transport: str) -> tuple[str, int]:
        """Host and port that the gateway listens on for `udp`, `tcp` or `tls`."""
        for listed in self.addresses.values():
            for address in listed:
                place = urlsplit(address)
                if place.scheme == transport and place.hostname and place.port:
                    return place.hostname, place.port
        raise StackError(f"hushwire does not listen on {transport}")

    def api(self, key: str) -> Api:
        """The API with the key of that name, such as `acme/ci`."""
        url = next((a for listed in self.addresses.values() for a in listed if a.startswith("http")), None)
        if url is None:
            raise StackError("hushwire up names no API address")
        return Api(url, self.authority, self.secrets["api_keys"][key] if key else "")

    async def apply(self, provisioning: str) -> str:
        """`hushwire apply`; new secrets are kept in `secrets`. Returns what it printed."""
        file, out = self.folder / "provisioning.toml", self.folder / "secrets.json"
        file.write_text(provisioning)
        text = await self.run("apply", str(file), "--secrets-out", str(out), "--config", str(self.config))
        if out.exists():
            for kind, found in orjson.loads(out.read_bytes()).items():
                self.secrets.setdefault(kind, {}).update(found)
        return text

    async def run(self, *arguments: str) -> str:
        """Standard output of one hushwire command. Raises StackError when it fails."""
        status, out, err = await self.attempt(*arguments)
        if status != 0:
            raise StackError(f"hushwire {' '.join(arguments)} ended with {status}: {(err or out)[-2000:]}")
        return out

    async def attempt(self, *arguments: str) -> tuple[int, str, str]:
        """Exit status, standard output and standard error of one hushwire command."""
        process = await asyncio.create_subprocess_exec(
            *hushwire(*arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment(self.folder)
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode(errors="replace")

    def children(self) -> dict[str, int]:
        """Process ids of everything below the supervisor, by name: gateway, api, worker, hushwire-media, postgres-main, ..."""
        found: dict[str, int] = {}
        for pid, command in descendants(self.process.pid):
            words = command.split() or [""]  # a process that is going has no command line any more
            name = next((role for role in ("gateway", "api", "worker", "sms") if words[-1:] == [role]), None)
            if name is None and "hushwire-media" in command:
                name = "hushwire-media"
            if name is None and "postgres" in words[0] and "-D" in words:
                name = f"postgres-{'keyring' if 'keyring' in command else 'main'}"
            if name:
                found.setdefault(name, pid)
        return found

    async def stop(self, how: signal.Signals = signal.SIGINT) -> float:
        """Ends everything; returns the seconds it took."""
        began = time.monotonic()
        if self.process.returncode is None:
            self.process.send_signal(how)
            try:
                async with asyncio.timeout(END_WITHIN_S):
                    await self.process.wait()
            except TimeoutError:
                for pid, _ in [*descendants(self.process.pid), (self.process.pid, "")]:
                    _kill(pid)
                await self.process.wait()
        return time.monotonic() - began

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def temporary_folder() -> Path:
    """A new folder that a user whom roles drop to can pass through."""
    folder = Path(tempfile.mkdtemp(prefix="hushwire-demo-"))
    folder.chmod(0o711)
    return folder


def hushwire(*arguments: str) -> Sequence[str]:
    """The command line of hushwire in this very Python."""
    return (sys.executable, "-P", "-m", "hushwire", *arguments)


def environment(folder: Path) -> dict[str, str]:
    """Our environment without settings of another hushwire; temporary files of everything below go into `folder`."""
    temporary = folder / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUSHWIRE_") or name == "HUSHWIRE_MEDIA"}
    return {**kept, "TMPDIR": str(temporary), "HUSHWIRE_RUN__LOG": "json"}


def descendants(pid: int) -> list[tuple[int, str]]:
    """Process ids and command lines of everything below a process."""
    found = []
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return []
    for child in map(int, children):
        try:
            command = Path(f"/proc/{child}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except (FileNotFoundError, ProcessLookupError):
            continue
        found += [(child, command), *descendants(child)]
    return found


def _ends_with_us(parent: int) -> Callable[[], None]:
    """Run in the child: hushwire gets Ctrl-C when we die, however we die (prctl(2))."""
    libc = ctypes.CDLL(None)

    def prepare() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGINT), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def _kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
