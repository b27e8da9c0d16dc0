"""The root key, and what each role is given of it. Where it lives: `vault/providers.py`.

    root key --HKDF--> role wrap     operational column keys and index keys: every role
             `-HKDF--> opener wrap   private keys of buckets and of receipts: api and worker only

A process gets the wraps that it needs through a pipe, never the root key. A bucket's private key needs its own secret besides
(`vault.buckets`), so the root key and old copies of the databases together still open nothing that was erased.
"""

import base64
import binascii
import hmac
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushwire.core.clock import Random
from hushwire.core.errors import KeyUnavailable
from hushwire.store.database import Database
from hushwire.vault.archive import SealingKey
from hushwire.vault.seal import KEY_BYTES

if TYPE_CHECKING:
    from hushwire.vault.providers import Provider

_PREFIX: Final = "hushwire-root-1 "
_LOCK: Final = 0x6877_726F_6F74  # "hwroot"
_PIPE_LIMIT: Final = 4096
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BucketFolders:
    """Where the buckets' secrets lie, and where they lie once more, if there is a second zone."""

    first: Path
    second: Path | None = None


@dataclass(frozen=True, slots=True)
class RoleKeys:
    """What one process may hold. `opener` is None in the gateway. `buckets`: the folders of the buckets' secrets."""

    role: bytes = field(repr=False)
    opener: bytes | None = field(default=None, repr=False)
    buckets: BucketFolders | None = None
    is_confirmed: bool = False
    """What ends for good counts only once the second zone's copy of the keyring has it on its disk."""

    def to_json(self) -> bytes:
        """What the supervisor writes into the child's pipe (and closes it)."""
        message: dict[str, str | bool] = {"role": base64.b64encode(self.role).decode(), "is_confirmed": self.is_confirmed}
        if self.opener is not None:
            message["opener"] = base64.b64encode(self.opener).decode()
        if self.buckets is not None:
            message["buckets"] = str(self.buckets.first)
            if self.buckets.second is not None:
                message["buckets_again"] = str(self.buckets.second)
        return json.dumps(message).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "RoleKeys":
        """Raises KeyUnavailable if it is not what `to_json` writes."""
        try:
            message = json.loads(data)
            opener, buckets, again = message.get("opener"), message.get("buckets"), message.get("buckets_again")
            return cls(
                base64.b64decode(message["role"], validate=True),
                None if opener is None else base64.b64decode(opener, validate=True),
                None if buckets is None else BucketFolders(Path(buckets), None if again is None else Path(again)),
                message["is_confirmed"] is True,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise KeyUnavailable("the keys that this process was started with can't be read") from error

    @classmethod
    def from_fd(cls, fd: int) -> "RoleKeys":
        """Read the pipe to its end and close it. Raises KeyUnavailable if it holds no keys."""
        try:
            with os.fdopen(fd, "rb") as pipe:
                return cls.from_json(pipe.read(_PIPE_LIMIT))
        except OSError as error:
            raise KeyUnavailable(f"the pipe with this process's keys can't be read (fd {fd})") from error


class RootKey:
    """32 random bytes that everything else hangs from."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeyUnavailable(f"a root key is {KEY_BYTES} bytes, this one has {len(key)}")
        self._key = key

    def role_wrap(self) -> bytes:
        """Wraps what every role may open."""
        return self._derive("role")

    def opener_wrap(self) -> bytes:
        """Wraps what only api and worker may open."""
        return self._derive("opener")

    def sealing_key(self) -> SealingKey:
        """Seals the data keys of backups; with it nothing of the databases opens."""
        return SealingKey(self._derive("backup"), self.fingerprint())

    def fingerprint(self) -> bytes:
        """Tells this key from another and reveals nothing of it."""
        return self._derive("fingerprint")

    def role_keys(self, *, opener: bool, buckets: BucketFolders | Path | None = None, is_confirmed: bool = False) -> RoleKeys:
        """The share of one process; `opener` for api, worker and provisioning, with the folders of bucket secrets (a path: one zone)."""
        folders = BucketFolders(buckets) if isinstance(buckets, Path) else buckets
        if not opener:
            return RoleKeys(self.role_wrap())
        return RoleKeys(self.role_wrap(), self.opener_wrap(), folders, is_confirmed)

    def to_bytes(self) -> bytes:
        """The 32 bytes themselves: for a provider that keeps them."""
        return self._key

    def to_text(self) -> str:
        """The one line that a key file or variable holds."""
        return _PREFIX + base64.b64encode(self._key).decode()

    @classmethod
    def from_text(cls, text: str, where: str) -> "RootKey":
        """Read `to_text`'s line (the prefix may be absent). Raises KeyUnavailable, naming `where`."""
        try:
            return cls(base64.b64decode(text.strip().removeprefix(_PREFIX.strip()).strip(), validate=True))
        except (binascii.Error, ValueError, KeyUnavailable):
            raise KeyUnavailable(f"{where} holds no root key: it must be 32 bytes in base64 (`openssl rand -base64 32`)") from None

    def _derive(self, purpose: str) -> bytes:
        info = f"hushwire/root/1/{purpose}".encode()
        return HKDF(algorithm=hashes.SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._key)

    def __repr__(self) -> str:
        return "RootKey(<key>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a key is not pickled")


@dataclass(frozen=True, slots=True)
class OpenedRoot:
    """The root key, and whether it was made just now (which is said aloud)."""

    key: RootKey
    is_new: bool


async def open_root(provider: "Provider", keyring: Database, main: Database, random: Random) -> OpenedRoot:
    """The root key that belongs to these databases (both opened as `hushwire_owner`); a new one only where there is no data at all.

    Raises KeyUnavailable, saying what to do, if the key is missing or is another one's.
    """
    current = provider.load()
    keys = [key for key in (current, *provider.beside()) if key is not None]
    async with main.transaction() as connection:
        has_orgs = bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM org_ids())"))
    async with keyring.transaction() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        known: bytes | None = await connection.fetchval("SELECT fingerprint FROM root_key")
        if known is None:
            has_keys = bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM deployment_keys)"))
            if has_orgs or has_keys:
                raise KeyUnavailable(
                    "the databases hold data but the keyring does not say whose: it is not the keyring of this main database, or is "
                    "half restored. Restore the newest keyring; hushwire never makes a new one over existing data"
                )
            is_new = current is None
            key = current or provider.load() or provider.create(random)
            await connection.execute("INSERT INTO root_key (fingerprint) VALUES ($1)", key.fingerprint())
            return OpenedRoot(key, is_new)
    if not keys:
        raise KeyUnavailable(
            f"the root key is missing: {provider.where} does not exist, and what is stored can't be opened without it. Put back the key "
            "from your safe copy; hushwire never makes a new one over existing data"
        )
    found = chosen(keys, known)
    if found is None:
        raise KeyUnavailable(
            f"{provider.where} holds the root key of another deployment: it does not open this keyring. Put back the key that belongs to it"
        )
    if current is None or found.fingerprint() != current.fingerprint():
        # A rotation was interrupted after everything was wrapped anew; or the keyring is an older copy, from before it.
        provider.settle(found)
        _log.warning("root_key.settled", where=provider.where)
    return OpenedRoot(found, is_new=False)


def chosen(keys: Sequence[RootKey], fingerprint: bytes) -> RootKey | None:
    """The key that a keyring with this fingerprint is under."""
    return next((key for key in keys if hmac.compare_digest(key.fingerprint(), fingerprint)), None)
