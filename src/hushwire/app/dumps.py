"""pg_dump and pg_restore through pipes: what they read and write never touches a disk in clear, whatever its size.

Everything here blocks: it is called in threads.
"""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final
from urllib.parse import parse_qs, unquote, urlsplit, urlunsplit

from hushwire.app import postgres
from hushwire.core.errors import ConfigError, Unavailable
from hushwire.vault.archive import PART_BYTES

_COPY: Final = re.compile(rb'COPY (?:public\.)?("?)([a-z0-9_]+)\1 \(.*\) FROM stdin;\n', re.ASCII)
_END: Final = b"\\.\n"
_ERRORS: Final = 4000


@dataclass(frozen=True, slots=True)
class Programs:
    """The folder of pg_dump and pg_restore."""

    folder: Path

    def command(self, name: str) -> str:
        return str(self.folder / name)


def programs(configured: Path | None, dsn: str | None = None) -> Programs:
    """Those of `[backup] programs`; else the embedded server's, which speak with every server up to their own version but not over TLS.

    `dsn` is another server's. Raises ConfigError where there are none that fit.
    """
    if configured is not None:
        if not (configured / "pg_dump").is_file() or not (configured / "pg_restore").is_file():
            raise ConfigError(f"[backup] programs: {configured} does not hold pg_dump and pg_restore")
        return Programs(configured)
    wants_tls = dsn is not None and parse_qs(urlsplit(dsn).query).get("sslmode", ["prefer"])[0] in ("require", "verify-ca", "verify-full")
    if wants_tls:
        if (found := shutil.which("pg_dump")) is None or not (Path(found).parent / "pg_restore").is_file():
            raise ConfigError(
                "[backup] programs: the database's TLS takes PostgreSQL's own pg_dump and pg_restore: install them, name them"
            )
        return Programs(Path(found).parent)
    return Programs(postgres.programs())


def dump(tools: Programs, dsn: str, snapshot: str) -> Iterator[bytes]:
    """An archive of the whole database in PostgreSQL's custom format, compressed, as of an exported snapshot.

    Raises Unavailable, with pg_dump's last words, if it does not end well: what came before is then worth nothing.
    """
    command = [
        tools.command("pg_dump"), "--format=custom", "--compress=1", f"--snapshot={snapshot}", "--no-password", "--no-sync",
        "--lock-wait-timeout=60s", f"--dbname={_without_password(dsn)}",
    ]  # fmt: skip
    with _started(command, dsn, stdout=subprocess.PIPE) as (process, errors):
        assert process.stdout is not None
        while piece := process.stdout.read(PART_BYTES):
            yield piece
        _ended(process, "pg_dump", errors)


def restore(tools: Programs, dsn: str, archive: Iterable[bytes]) -> None:
    """Fill an empty database. Raises Unavailable with pg_restore's last words; then the database is worth nothing."""
    command = [tools.command("pg_restore"), "--format=custom", "--exit-on-error", "--no-password", f"--dbname={_without_password(dsn)}"]
    with _started(command, dsn, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as (process, errors):
        assert process.stdin is not None
        _pour(archive, process.stdin)
        _ended(process, "pg_restore", errors)


def count_rows(tools: Programs, archive: Iterable[bytes]) -> dict[str, int]:
    """The rows of each table in an archive: pg_restore reads it from front to end. Raises Unavailable if it can't.

    Errors that `archive` raises while it is read are the caller's to see.
    """
    command = [tools.command("pg_restore"), "--format=custom", "--file=-"]
    with _started(command, None, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as (process, errors):
        assert process.stdin is not None
        assert process.stdout is not None
        counter = _Counter()
        reading = threading.Thread(target=counter.read, args=(process.stdout,), daemon=True)
        reading.start()
        try:
            _pour(archive, process.stdin)
        except BaseException:
            process.kill()
            raise
        finally:
            reading.join()
        _ended(process, "pg_restore", errors)
    return counter.rows


@dataclass(slots=True)
class _Counter:
    """Counts the lines between `COPY ... FROM stdin;` and `\\.` of a script, without keeping any."""

    rows: dict[str, int] = field(default_factory=dict)
    _table: str | None = None
    _rest: bytes = b""

    def read(self, script: IO[bytes]) -> None:
        while piece := script.read(1 << 20):
            self.feed(piece)

    def feed(self, piece: bytes) -> None:
        data = self._rest + piece
        while True:
            if self._table is None:
                line, newline, rest = data.partition(b"\n")
                if not newline:
                    break
                if line.startswith(b"COPY ") and (match := _COPY.fullmatch(line + b"\n")) is not None:
                    self._table = match[2].decode()
                    self.rows.setdefault(self._table, 0)
                elif (at := data.find(b"\nCOPY ")) >= 0:
                    rest = data[at + 1 :]
                else:
                    # Nothing but other statements: keep the last, unfinished line.
                    rest = data[data.rfind(b"\n") + 1 :]
                    self._rest = rest
                    return
                data = rest
                continue
            if data.startswith(_END):
                self._table, data = None, data[len(_END) :]
                continue
            end = data.find(b"\n" + _END)
            if end >= 0:
                self.rows[self._table] += data.count(b"\n", 0, end + 1)
                data = data[end + 1 :]
                continue
            last = data.rfind(b"\n")
            # The marker may be cut: whole lines are counted, the last one waits.
            self.rows[self._table] += data.count(b"\n", 0, last + 1)
            data = data[last + 1 :]
            break
        self._rest = data


def _pour(archive: Iterable[bytes], pipe: IO[bytes]) -> None:
    """Everything into the pipe; an early end of the reader is told by its own exit status."""
    try:
        for piece in archive:
            with suppress(BrokenPipeError):
                pipe.write(piece)
    finally:
        with suppress(BrokenPipeError):
            pipe.close()


@contextmanager
def _started(
    command: list[str], dsn: str | None, *, stdin: int = subprocess.DEVNULL, stdout: int
) -> Iterator[tuple["subprocess.Popen[bytes]", "Callable[[], str]"]]:
    """A program whose words go to memory only, ended at the latest when the block is left. Its password is in no command line."""
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "PGAPPNAME": "hushwire backup"}
    if dsn is not None and urlsplit(dsn).password:
        environment["PGPASSWORD"] = unquote(urlsplit(dsn).password or "")
    words = os.memfd_create("hushwire-words")

    def said() -> str:
        os.lseek(words, 0, os.SEEK_SET)
        lines = os.read(words, 1 << 20)[-_ERRORS:].decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no word of why"

    try:
        process = subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=words, env=environment, start_new_session=True)
    except OSError as error:
        os.close(words)
        raise ConfigError(f"{command[0]} can't be run ({error.strerror}): see [backup] programs") from None
    try:
        yield process, said
    finally:
        if process.poll() is None:
            process.kill()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        process.wait()
        os.close(words)


def _ended(process: "subprocess.Popen[bytes]", name: str, said: Callable[[], str]) -> None:
    if process.wait() != 0:
        raise Unavailable(f"{name} failed: {said()}")


def _without_password(dsn: str) -> str:
    parts = urlsplit(dsn)
    user, _, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{place}" if user else place))
