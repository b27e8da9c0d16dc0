"""Risk packs as they are obeyed: those that ship, and newer or other ones from a folder, each signed by a key that is trusted here.

A pack needs no release: a file is put into the folder, and is in force within seconds. Of each name the highest version counts that was
ever obeyed here, so an old file can't take a newer one's place: it stands in the database, with its signature, and every process has it
from there, whatever became of the file. That holds for what keys signed that are trusted now. `hushwire risk-pack forget` is the one way
back. What is not signed, or can't be read, is named once in the log and changes nothing.
"""

import asyncio
import base64
import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Final

import structlog
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hushwire.core.clock import Clock
from hushwire.core.errors import ConfigError
from hushwire.policy.risk import LONGEST_BYTES, SIGNATURE, RiskPack, RiskPackError, read_pack
from hushwire.privacy import audit
from hushwire.store import expiry
from hushwire.store import risk_packs as table
from hushwire.store.database import Database

PROJECT_KEY: Final = "ed25519:vMj2XS3ArmRLL+17aYjKu0MN218llHadR/7E3GkaHoY="
"""Signs the packs that ship."""
LOOK_EVERY_S: Final = 5.0
SUFFIX: Final = ".riskpack"

_PREFIX: Final = "ed25519:"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SignedPack:
    """A pack whose signature holds, the id of the key that made it, and all of its bytes."""

    pack: RiskPack
    key_id: str
    data: bytes = field(repr=False)


class RiskPacks:
    """The packs in force. `folder` may be missing. Raises ConfigError for a trusted key that is none."""

    def __init__(self, folder: Path | None, trusted: Iterable[str] = ()) -> None:
        self._folder = folder
        self._keys = trusted_keys((PROJECT_KEY, *trusted))
        self._shipped = tuple(read_signed(data, self._keys, name) for name, data in shipped())
        self._seen: dict[Path, tuple[tuple[int, int], SignedPack | None]] = {}
        self._rows: dict[tuple[str, str], int] = {}
        self._kept: dict[tuple[str, str], SignedPack] = {}
        self._refused: set[tuple[str, int]] = set()
        self._unread: set[tuple[tuple[str, str], int]] = set()
        self._packs = newest(one.pack for one in self._shipped)

    def packs(self) -> tuple[RiskPack, ...]:
        """The packs in force, by name."""
        return self._packs

    async def run(self, db: Database, clock: Clock) -> None:
        """Keep up with the folder, and with what was obeyed elsewhere, until cancelled."""
        while True:
            await asyncio.to_thread(self.look)
            await self.share(db, clock)
            await asyncio.sleep(LOOK_EVERY_S)

    def look(self) -> None:
        """Read what is new in the folder."""
        files = sorted(self._folder.glob(f"*{SUFFIX}")) if self._folder is not None and self._folder.is_dir() else []
        for path in self._seen.keys() - set(files):
            del self._seen[path]
        for path in files:
            try:
                stat = path.stat()
                stamp = (stat.st_mtime_ns, stat.st_size)
                known = self._seen.get(path)
                if known is not None and known[0] == stamp:
                    continue
                self._seen[path] = (stamp, None if known is None else known[1])
                self._seen[path] = (stamp, load(path, self._keys))
            except (RiskPackError, OSError) as error:
                # The file's name is the operator's; what is wrong names lines, and nothing of a call.
                _log.error("risk_pack.refused", file=path.name, why=str(error) if isinstance(error, RiskPackError) else "can't be read")
        self._settle()

    async def adopt(self, db: Database) -> None:
        """Take what was obeyed by anybody, as far as a key that is trusted here signed it. Nothing is written."""
        async with db.transaction() as connection:
            self._rows = rows = await table.versions(connection)
            newer = [
                row
                for row, version in rows.items()
                if row[1] in self._keys and self._version(row) != version and (row, version) not in self._unread
            ]
            data = {row: await table.data(connection, *row) for row in newer}
        # A row that is gone was taken away by the operator: what lies in the folder counts again, however old.
        self._kept = {row: one for row, one in self._kept.items() if row in rows}
        for row, signed_text in data.items():
            if not await asyncio.to_thread(self._take, row, signed_text or b""):
                self._unread.add((row, rows[row]))
        for name, version, key_id in left_behind(rows, self._keys):
            if ((name, key_id), version) not in self._unread:
                self._unread.add(((name, key_id), version))
                _log.error("risk_pack.left_behind", pack=name, version=version, why="the key that signed it is not trusted here any more")
        self._settle()

    async def share(self, db: Database, clock: Clock) -> None:
        """Take what was obeyed here or by anybody, and keep what is newer."""
        await self.adopt(db)
        for one in self._in_force():
            row = (one.pack.name, one.key_id)
            if self._rows.get(row, 0) < one.pack.version:
                async with db.transaction() as connection:
                    await table.keep(connection, *row, one.pack.version, one.data, clock.now())
                self._kept[row] = one

    def _version(self, row: tuple[str, str]) -> int | None:
        kept = self._kept.get(row)
        return None if kept is None else kept.pack.version

    def _take(self, row: tuple[str, str], data: bytes) -> bool:
        try:
            self._kept[row] = read_signed(data, self._keys, row[0])
        except RiskPackError as error:
            # What was obeyed until now goes on: a row that nobody signed takes nothing away.
            _log.error("risk_pack.refused", pack=row[0], why=str(error))
            return False
        return True

    def _in_force(self) -> Sequence[SignedPack]:
        files = [one for _, one in self._seen.values() if one is not None]
        known = [*self._shipped, *files, *self._kept.values()]
        found = newest(one.pack for one in known)
        for one in files:
            kept = max((own.pack.version for (name, _), own in self._kept.items() if name == one.pack.name), default=None)
            if kept is not None and one.pack.version < kept and (one.pack.name, one.pack.version) not in self._refused:
                self._refused.add((one.pack.name, one.pack.version))
                why = f"version {one.pack.version} is older than {kept}, which stays; to go back: hushwire risk-pack forget {one.pack.name}"
                _log.error("risk_pack.refused", pack=one.pack.name, why=why)
        return [next(one for one in known if one.pack is pack) for pack in found]

    def _settle(self) -> None:
        found = tuple(one.pack for one in self._in_force())
        for pack in found:
            if pack not in self._packs:
                _log.info("risk_pack.in_force", pack=pack.name, version=pack.version, ranges=len(pack.risks))
        self._packs = found


def left_behind(rows: Mapping[tuple[str, str], int], trusted: Container[str]) -> list[tuple[str, int, str]]:
    """Name, version and key of each pack that was obeyed here and no trusted key vouches for, where no trusted one of its name is as new.

    It is not obeyed: a key that was taken away says nothing any more. Nor does its version hold back what a trusted key signs, however
    old. So its ranges may stand open, and somebody has to be told.
    """
    best: dict[str, int] = {}
    for (name, key_id), version in rows.items():
        if key_id in trusted:
            best[name] = max(version, best.get(name, 0))
    return [
        (name, version, key_id) for (name, key_id), version in sorted(rows.items()) if key_id not in trusted and best.get(name, 0) < version
    ]


async def forget_kept(db: Database, name: str, now: datetime, actor: str) -> int:
    """Let older versions of a pack hold again, and say so in every organisation's audit log; which version was kept.

    Raises ConfigError where none is. Gateways obey within seconds.
    """
    async with db.transaction() as connection:
        organisations = await expiry.organisations(connection)
        version = await table.forget(connection, name)
    if version is None:
        raise ConfigError(f'no version of a risk pack "{name}" is kept')
    for org_id in organisations:
        async with db.organisation(org_id) as connection:
            fields: audit.Fields = {"version": version}
            await audit.append(connection, org_id, now, actor, audit.Action.RISK_PACK_FORGOTTEN, f"risk-pack:{name}", fields)
    return version


def newest(packs: Iterable[RiskPack]) -> tuple[RiskPack, ...]:
    """Of each name the highest version, by name."""
    best: dict[str, RiskPack] = {}
    for pack in packs:
        if pack.name not in best or pack.version > best[pack.name].version:
            best[pack.name] = pack
    return tuple(best[name] for name in sorted(best))


def shipped() -> Sequence[tuple[str, bytes]]:
    """Name and bytes of every pack that ships."""
    folder = resources.files("hushwire.policy") / "packs"
    return [(file.name, file.read_bytes()) for file in sorted(folder.iterdir(), key=lambda file: file.name) if file.name.endswith(SUFFIX)]


def load(path: Path, keys: Mapping[str, Ed25519PublicKey]) -> SignedPack:
    """The pack of a file. Raises RiskPackError, OSError."""
    if path.stat().st_size > LONGEST_BYTES:
        raise RiskPackError(f"{path.name}: is larger than {LONGEST_BYTES >> 20} MiB")
    return read_signed(path.read_bytes(), keys, path.name)


def read_signed(data: bytes, keys: Mapping[str, Ed25519PublicKey], name: str) -> SignedPack:
    """A pack, checked: the signature covers every byte before its own line, which is the last. Raises RiskPackError."""
    said, newline, last = data.rstrip(b"\n").rpartition(b"\n")
    said += newline
    if not last.startswith(SIGNATURE.encode()):
        raise RiskPackError(f"{name}: is not signed: its last line must be the signature")
    key_id, _, signature = last.removeprefix(SIGNATURE.encode()).decode("ascii", "replace").partition(" ")
    key = keys.get(key_id)
    if key is None:
        raise RiskPackError(f"{name}: is signed by a key that is not trusted here")
    try:
        key.verify(base64.b64decode(signature, validate=True), said)
    except (InvalidSignature, ValueError):
        raise RiskPackError(f"{name}: the signature does not hold: the file is not as it was signed") from None
    return SignedPack(_read(said, name), key_id, data)


def signed(text: bytes, key: Ed25519PrivateKey, name: str) -> bytes:
    """The bytes of a pack, its old signature replaced by one of this key. Raises RiskPackError for what is no pack."""
    lines = [line for line in text.splitlines() if not line.startswith(SIGNATURE.encode())]
    said = b"\n".join(lines).rstrip(b"\n") + b"\n"
    _read(said, name)
    line = f"{SIGNATURE}{key_id_of(key.public_key())} {base64.b64encode(key.sign(said)).decode()}\n"
    return said + line.encode()


def trusted_keys(texts: Iterable[str]) -> dict[str, Ed25519PublicKey]:
    """Public keys by their ids. Raises ConfigError for what is none."""
    found = {}
    for text in texts:
        try:
            if not text.startswith(_PREFIX):
                raise ValueError
            key = Ed25519PublicKey.from_public_bytes(base64.b64decode(text.removeprefix(_PREFIX), validate=True))
        except ValueError:
            raise ConfigError('a key of risk packs must be "ed25519:" and 32 bytes in base64') from None
        found[key_id_of(key)] = key
    return found


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as configuration names it."""
    return _PREFIX + base64.b64encode(key.public_bytes_raw()).decode()


def key_id_of(key: Ed25519PublicKey) -> str:
    """The beginning of the key's SHA-256."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def _read(said: bytes, name: str) -> RiskPack:
    try:
        return read_pack(said.decode("utf-8"), hashlib.sha256(said).digest())
    except UnicodeDecodeError:
        raise RiskPackError(f"{name}: is not UTF-8") from None
    except RiskPackError as error:
        raise RiskPackError(f"{name}: {error}") from None
