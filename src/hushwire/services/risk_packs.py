"""Risk packs as they are obeyed: those that ship, and newer or other ones from a folder, each signed by a key that is trusted here.

A pack needs no release: a file is put into the folder, and is in force within seconds. Of each name the highest version counts that was
ever obeyed here, so an old file can't take a newer one's place: it stands in the database, with its signature, and every process has it
from there, whatever became of the file. `hushwire risk-pack forget` is the one way back. What is not signed, or can't be read, is named
once in the log and changes nothing.
"""

import asyncio
import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
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
        self._kept: dict[str, SignedPack] = {}
        self._refused: set[tuple[str, int]] = set()
        self._unread: set[tuple[str, int]] = set()
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

    async def share(self, db: Database, clock: Clock) -> None:
        """Take what was obeyed here or by anybody, and keep what is newer."""
        async with db.transaction() as connection:
            versions = await table.versions(connection)
            newer = [name for name, version in versions.items() if self._version(name) != version and (name, version) not in self._unread]
            data = {name: await table.data(connection, name) for name in newer}
        # A row that is gone was taken away by the operator: what lies in the folder counts again, however old.
        self._kept = {name: one for name, one in self._kept.items() if name in versions}
        for name, signed_text in data.items():
            if not await asyncio.to_thread(self._take, name, signed_text or b""):
                self._unread.add((name, versions[name]))
        self._settle()
        for one in self._in_force():
            if versions.get(one.pack.name, 0) < one.pack.version:
                async with db.transaction() as connection:
                    await table.keep(connection, one.pack.name, one.pack.version, one.data, clock.now())
                self._kept[one.pack.name] = one

    def _version(self, name: str) -> int | None:
        kept = self._kept.get(name)
        return None if kept is None else kept.pack.version

    def _take(self, name: str, data: bytes) -> bool:
        try:
            self._kept[name] = read_signed(data, self._keys, name)
        except RiskPackError as error:
            # What was obeyed until now goes on: a row that nobody signed takes nothing away.
            _log.error("risk_pack.refused", pack=name, why=str(error))
            return False
        return True

    def _in_force(self) -> Sequence[SignedPack]:
        files = [one for _, one in self._seen.values() if one is not None]
        known = [*self._shipped, *files, *self._kept.values()]
        found = newest(one.pack for one in known)
        for one in files:
            kept = self._version(one.pack.name)
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
