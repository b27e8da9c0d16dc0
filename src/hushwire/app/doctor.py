"""What `hushwire doctor` looks at: the parts that hushwire stands on, each with what to do if it is not right."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from hushwire.app import (
    certificates,
    doctor_bundles,
    doctor_emergency,
    doctor_keys,
    doctor_messages,
    doctor_risk_packs,
    doctor_shaken,
    doctor_trunks,
    doctor_work,
    obligations,
    postgres,
    supervisor,
)
from hushwire.app.config import Config, Listen
from hushwire.app.folders import Folders, account, closed_to, holder, locked, may_read
from hushwire.app.sources import SystemClock
from hushwire.app.wiring import key_provider
from hushwire.core.errors import HushwireError
from hushwire.services import sound_library
from hushwire.services.recordings_shipping import Spool
from hushwire.services.spool_watch import SpoolState, judged

_LEAST_FREE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `words` say what was found, and the mend where it is not right."""

    name: str
    is_right: bool
    words: str


def examine(config: Config) -> list[Finding]:
    """All findings, in the order in which `up` meets these things. Changes nothing."""
    folders = Folders(config.data.dir)
    running = _running(folders)
    looks: list[tuple[str, Callable[[], str]]] = [
        ("media program", _media),
        ("installation", lambda: _installation(config)),
        ("data folder", lambda: _data_folder(config, folders)),
        ("embedded PostgreSQL", lambda: str(postgres.programs()) if config.is_embedded else "not used"),
        ("root key", lambda: _root_key(config, folders)),
        ("certificate", lambda: _certificate(config, folders)),
        ("signed callers", lambda: doctor_shaken.files_in_words(config, SystemClock().now())),
        ("disk", lambda: _disk(folders)),
        ("spool", lambda: _spool(folders)),
        ("sounds", lambda: _sounds(config)),
    ]
    if not running:
        looks.append(("ports", lambda: _ports(config)))
    findings = [_found(name, look) for name, look in looks]
    keys = [Finding(*said) for said in doctor_keys.examine(config, folders, is_running=running)]
    asked = [*_owed(config), *_trunks(config), *_kept_going(config)] if running else []
    return [*findings, *keys, *_roles(folders, running), *asked]


def _kept_going(config: Config) -> list[Finding]:
    return [
        _found("carriers of messages", lambda: doctor_messages.in_words(config)),
        _found("bundles", lambda: doctor_bundles.in_words(config)),
        _found("work", lambda: doctor_work.in_words(config)),
    ]


def _found(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name, True, look())
    except HushwireError as error:
        return Finding(name, False, str(error))
    except OSError as error:
        return Finding(name, False, f"{error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": "))


def _media() -> str:
    program = supervisor.media_program()
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    if said.returncode != 0:
        raise OSError(0, "does not run: build it again with make setup", str(program))
    return f"{said.stdout.strip()} ({program})"


def _installation(config: Config) -> str:
    owner = account(config.run.user)
    supervisor.check_reachable(owner)
    return f"roles run as {owner.name}" if owner else "roles run as the present user"


def _data_folder(config: Config, folders: Folders) -> str:
    owner = account(config.run.user)
    if not folders.root.exists():
        parent = next(parent for parent in folders.root.parents if parent.exists())
        if not os.access(parent, os.W_OK):
            raise PermissionError(13, "can't be made here: name another [data] dir", str(folders.root))
        return f"{folders.root} (made at the first start)"
    if owner and (closed := closed_to(owner, folders.root)):
        raise PermissionError(13, f"the user {owner.name} can't enter it", str(closed))
    return str(folders.root)


def _root_key(config: Config, folders: Folders) -> str:
    provider = key_provider(config, folders, os.environ)
    if provider.load() is not None:
        return f"{provider.where}: there, and readable by its owner only"
    if (folders.postgres / "keyring").exists():
        raise FileNotFoundError(2, "is missing though there is data: put back the safe copy", str(folders.root_key))
    return "made at the first start" if config.keys.provider == "file" else f"{provider.where} is not set yet"


def _certificate(config: Config, folders: Folders) -> str:
    chain, _ = certificates.served(config, folders)
    if not chain.exists() and config.tls.certificate is None:
        return "made at the first start"
    leaf = x509.load_pem_x509_certificate(chain.read_bytes())
    days = (leaf.not_valid_after_utc - datetime.now(UTC)).days
    if days < 0:
        raise OSError(0, "has expired: renew it, or restart hushwire if it is its own", str(chain))
    return f"valid for {days} more days ({chain})"


def _sounds(config: Config) -> str:
    paths = config.sounds.paths()
    owner = account(config.run.user)
    for path in paths:
        if owner and path.exists() and not may_read(owner, path):
            raise PermissionError(13, f"the user {owner.name} can't read it", str(path))
    seconds = sum(sound_library.check(path) for path in paths)
    voice = next((name for name in sound_library.VOICES if shutil.which(name)), None)
    spoken = f"words without a file are spoken by {voice}" if voice else "no voice is installed: words need a file (docs/sounds.md)"
    return f"{len(paths)} files, {seconds:.0f} s; {spoken}" if paths else f"made by calculation; {spoken}"


def _disk(folders: Folders) -> str:
    place = next(folder for folder in (folders.root, *folders.root.parents) if folder.exists())
    free = shutil.disk_usage(place).free
    if free < _LEAST_FREE_BYTES:
        raise OSError(28, f"only {free >> 20} MiB free: recordings would soon stop", str(place))
    return f"{free >> 30} GiB free"


def _spool(folders: Folders) -> str:
    if not folders.spool.exists():
        return "made at the first start"
    backlog = Spool(folders.spool).backlog(datetime.now(UTC))
    words = f"{backlog.files} recordings wait ({backlog.bytes >> 20} MiB), the oldest for {backlog.oldest_s / 60:.0f} minutes"
    if judged(backlog) is not SpoolState.OK:
        raise OSError(0, f"{words}: see that the object stores answer, and that there is room", str(folders.spool))
    return words if backlog.files else "empty"


def _ports(config: Config) -> str:
    for listen in (*config.sip.listen, config.api.listen):
        _try_bind(listen)
    return "free: " + ", ".join(str(listen) for listen in (*config.sip.listen, config.api.listen))


def _try_bind(listen: Listen) -> None:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    kind = socket.SOCK_DGRAM if listen.scheme == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as probe:
        if kind == socket.SOCK_STREAM:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((listen.host, listen.port))
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}: choose another address or port", str(listen)) from None


def _owed(config: Config) -> list[Finding]:
    """Clocks and notices, where the databases run."""
    try:
        found = obligations.look(config)
    except HushwireError as error:
        return [Finding("clocks and notices", False, str(error))]
    return [
        _found("clocks", lambda: obligations.clocks_in_words(found)),
        _found("notices", lambda: obligations.notices_in_words(found, config)),
    ]


def _trunks(config: Config) -> list[Finding]:
    """Carriers, where the databases run."""
    try:
        trunks, states = doctor_trunks.look(config)
    except HushwireError as error:
        return [Finding("trunks", False, str(error))]
    return [
        _found("trunks", lambda: doctor_trunks.protection_in_words(trunks)),
        _found("trunks' signatures", lambda: doctor_shaken.trunks_in_words(trunks, config)),
        _found("emergency calls", lambda: doctor_emergency.in_words(config)),
        _found("risk packs", lambda: doctor_risk_packs.in_words(config)),
        _found("trunks' standing", lambda: doctor_trunks.standing_in_words(states)),
    ]


def _running(folders: Folders) -> bool:
    if not folders.lock.exists():
        return False
    with locked(folders) as is_ours:
        return not is_ours


def _roles(folders: Folders, running: bool) -> Iterator[Finding]:
    if not running:
        yield Finding("running", True, "hushwire is not running on this data folder")
        return
    yield Finding("running", True, f"process {holder(folders)}")
    try:
        roles = json.loads(folders.status.read_text(encoding="utf-8"))["roles"]
    except (OSError, ValueError, KeyError):
        yield Finding("roles", False, "still starting, or this user may not see")
        return
    for name, state in roles.items():
        alive = state["pid"] is not None and Path(f"/proc/{state['pid']}").exists()
        where = "  ".join(address for listed in state["addresses"].values() for address in listed)
        again = f", started again {state['restarts']} time(s)" if state["restarts"] else ""
        yield Finding(name, alive, f"process {state['pid']}{again}  {where}".rstrip() if alive else "is down: its last log line says why")
