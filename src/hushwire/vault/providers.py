"""Where the root key lives: a file, the environment, or a file that only a key management service opens.

A provider keeps one key, and for the time of a rotation a second one beside it (docs/keys.md). It never decides which of the two the
keyring is under: the keyring's fingerprint does (`root.open_root`).
"""

import base64
import binascii
import json
import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from hushwire.core.clock import Random
from hushwire.core.errors import ConfigError, KeyUnavailable
from hushwire.vault.root import RootKey
from hushwire.vault.seal import KEY_BYTES, context

_FILE_LIMIT: Final = 16_384


class Provider(Protocol):
    """Where the root key lives. Its calls may block (files, a service): they are made when a process starts, and in a rotation."""

    @property
    def where(self) -> str:
        """How messages name the place."""
        ...

    def load(self) -> RootKey | None:
        """The key, or None if there is none. Raises KeyUnavailable if what is there is no key."""
        ...

    def create(self, random: Random) -> RootKey:
        """A new key, kept durably before it returns. Raises ConfigError if this provider only reads."""
        ...

    def beside(self) -> list[RootKey]:
        """Keys that a rotation left beside the current one."""
        ...

    def prepare(self, random: Random) -> RootKey:
        """The key that a rotation goes to, kept durably beside the current one before it returns; asked again, the same one."""
        ...

    def settle(self, key: RootKey) -> None:
        """Make one of the keys beside the current one, and keep the other beside it; nothing happens if it is current."""
        ...

    def discard(self) -> None:
        """Destroy what is beside the current key, for good."""
        ...


@dataclass(frozen=True, slots=True)
class FileProvider:
    """A file of mode 0600; during a rotation `root.new` or `root.previous` stands beside it."""

    path: Path

    @property
    def where(self) -> str:
        return f"the file {self.path}"

    def load(self) -> RootKey | None:
        return self._load(self.path)

    def create(self, random: Random) -> RootKey:
        key = RootKey(random.token_bytes(KEY_BYTES))
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(self.path, key)
        return key

    def beside(self) -> list[RootKey]:
        return [key for path in (self._new, self._previous) if (key := self._load(path)) is not None]

    def prepare(self, random: Random) -> RootKey:
        if (known := self._load(self._new)) is not None:
            return known
        aside = self.path.with_name(f"{self.path.name}.making")
        _destroy(aside)
        key = RootKey(random.token_bytes(KEY_BYTES))
        self._write(aside, key)
        os.replace(aside, self._new)
        self._sync()
        return key

    def settle(self, key: RootKey) -> None:
        current = self._load(self.path)
        if current is not None and current.fingerprint() == key.fingerprint():
            return
        for source, other in ((self._new, self._previous), (self._previous, self._new)):
            found = self._load(source)
            if found is not None and found.fingerprint() == key.fingerprint():
                if current is not None:
                    os.replace(self.path, other)
                    self._sync()
                os.replace(source, self.path)
                self._sync()
                return
        raise KeyUnavailable(f"the key is not beside {self.where}")

    def discard(self) -> None:
        for path in (self._new, self._previous):
            _destroy(path)
        self._sync()

    @property
    def _new(self) -> Path:
        return self.path.with_name(f"{self.path.name}.new")

    @property
    def _previous(self) -> Path:
        return self.path.with_name(f"{self.path.name}.previous")

    def _encoded(self, key: RootKey) -> str:
        return key.to_text()

    def _decoded(self, text: str) -> RootKey:
        return RootKey.from_text(text, self.where)

    def _load(self, path: Path) -> RootKey | None:
        try:
            with path.open("r", encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode & 0o777
                if mode & 0o077:
                    raise KeyUnavailable(f"the file {path} can be read by others (mode {mode:04o}): chmod 600 {path}")
                return self._decoded(file.read(_FILE_LIMIT))
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise KeyUnavailable(f"the file {path} can't be read as a root key ({type(error).__name__})") from error

    def _write(self, path: Path, key: RootKey) -> None:
        text = self._encoded(key)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w", encoding="ascii") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._sync()

    def _sync(self) -> None:
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@dataclass(frozen=True, slots=True)
class EnvironmentProvider:
    """Variables that the operator's secret store sets; only read. A rotation goes to the key in `HUSHWIRE_ROOT_KEY_NEW`."""

    environment: Mapping[str, str] = field(repr=False)
    variable: str = "HUSHWIRE_ROOT_KEY"

    @property
    def where(self) -> str:
        return f"the environment variable {self.variable}"

    def load(self) -> RootKey | None:
        return self._load(self.variable)

    def create(self, random: Random) -> RootKey:
        raise ConfigError(f"set {self.where} to 32 random bytes in base64 (`openssl rand -base64 32`), and keep a copy in a safe place")

    def beside(self) -> list[RootKey]:
        key = self._load(self._new)
        return [] if key is None else [key]

    def prepare(self, random: Random) -> RootKey:
        key = self._load(self._new)
        if key is None:
            raise ConfigError(
                f"set {self._new} to 32 new random bytes in base64 (`openssl rand -base64 32`) beside {self.variable}, keep a copy in a "
                "safe place, and do this again"
            )
        return key

    def settle(self, key: RootKey) -> None:
        """Nothing to do here: the operator sets the variables, and which of the two is the keyring's is seen at each start."""

    def discard(self) -> None:
        """Nothing to do here, as above."""

    @property
    def _new(self) -> str:
        return f"{self.variable}_NEW"

    def _load(self, variable: str) -> RootKey | None:
        text = self.environment.get(variable)
        return None if text is None else RootKey.from_text(text, f"the environment variable {variable}")


@dataclass(frozen=True, slots=True)
class Wrapped:
    """What a key management service made of a secret, and the name of the key (with its version) that it used."""

    key_id: str
    data: bytes


class Kms(Protocol):
    """What a key management service must give. All of them have it (as encryption context, additional data or AAD)."""

    @property
    def where(self) -> str:
        """How messages name the service and the key."""
        ...

    def wrap(self, secret: bytes, place: bytes) -> Wrapped:
        """`secret` (32 bytes) under the newest version of the key, openable for the same `place` only. Raises Unavailable."""
        ...

    def unwrap(self, wrapped: Wrapped, place: bytes) -> bytes:
        """The secret; versions of the key that were rotated away must still open.

        Raises KeyUnavailable if it does not open (another place, another key, a bit differs), Unavailable if nobody answers.
        """
        ...


@dataclass(frozen=True, slots=True)
class KmsProvider(FileProvider):
    """A file whose content only the service opens: a thief of the disk needs the service too, and the service sees each start.

    The service holds no root key and sees none of what hangs from it; rotating *its* key takes `wrap_anew`, rotating ours works as with
    any file.
    """

    kms: Kms = field(kw_only=True)

    @property
    def where(self) -> str:
        return f"the file {self.path}, which {self.kms.where} opens"

    def wrap_anew(self) -> None:
        """Have the file under the newest version of the service's key, from where an older one may be disabled."""
        key = self.load()
        if key is None:
            raise KeyUnavailable(f"{self.where} does not exist")
        aside = self.path.with_name(f"{self.path.name}.making")
        _destroy(aside)
        self._write(aside, key)
        os.replace(aside, self.path)
        self._sync()

    def _encoded(self, key: RootKey) -> str:
        wrapped = self.kms.wrap(key.to_bytes(), _PLACE)
        return json.dumps({"key_id": wrapped.key_id, "wrapped": base64.b64encode(wrapped.data).decode()})

    def _decoded(self, text: str) -> RootKey:
        try:
            told = json.loads(text)
            wrapped = Wrapped(str(told["key_id"]), base64.b64decode(told["wrapped"], validate=True))
        except (ValueError, KeyError, TypeError, binascii.Error):
            raise KeyUnavailable(f"{self.where} holds no wrapped root key") from None
        return RootKey(self.kms.unwrap(wrapped, _PLACE))


_PLACE: Final = context("hushwire/root-key/1")


def _destroy(path: Path) -> None:
    """Overwrite and remove, durably but for the folder."""
    with suppress(FileNotFoundError):
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            file.write(secrets.token_bytes(size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
