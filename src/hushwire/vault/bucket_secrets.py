"""The buckets' secrets: what makes destroying a bucket final. One small file a bucket, in the data folder and again in the second zone.

made       in both zones, durably, before the bucket's row exists
used       from the first zone, or from the second where the first lost it
healed     copied to the zone that misses it, while the bucket's row is held and says that it is not destroyed (vault/zones.py)
destroyed  in both zones, and looked for in both, before the row says so; a zone that is away holds this up
"""

import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushwire.core.errors import ConfigError, KeyUnavailable, MalformedError, Unavailable
from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.buckets import PrivateBucket
from hushwire.vault.root import BucketFolders
from hushwire.vault.seal import KEY_BYTES, context, open_sealed, seal

_NEW: Final = ".new"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NewBucket:
    """A bucket whose secret is on disk in every zone and whose row is to be inserted."""

    id: BucketId
    public_key: bytes
    private_sealed: bytes


class BucketSecrets:
    """The folders of bucket secrets: one file of 32 random bytes a bucket, mode 0600, owned as the folder is."""

    def __init__(self, folders: BucketFolders | Path, opener_wrap: bytes) -> None:
        self._folders = BucketFolders(folders) if isinstance(folders, Path) else folders
        self._opener_wrap = opener_wrap

    @property
    def zones(self) -> list[Path]:
        """The folder of each zone, the first one first."""
        return [folder for folder in (self._folders.first, self._folders.second) if folder is not None]

    def make(self, org_id: OrgId, bucket_id: BucketId) -> NewBucket:
        """A new key pair; its secret is durable in every zone before this returns. Raises Unavailable if a zone is away."""
        private = X25519PrivateKey.generate()
        secret = secrets.token_bytes(KEY_BYTES)
        for folder in reversed(self.zones):
            _write(folder, bucket_id, secret)
        sealed = self.seal_private(org_id, bucket_id, private.private_bytes_raw(), secret)
        return NewBucket(bucket_id, private.public_key().public_bytes_raw(), sealed)

    def open(self, org_id: OrgId, bucket_id: BucketId, private_sealed: bytes) -> PrivateBucket:
        """Raises KeyUnavailable if the secret is gone from every zone or belongs to something else."""
        _, raw = self._opening(org_id, bucket_id, private_sealed)
        return PrivateBucket(bucket_id, org_id, X25519PrivateKey.from_private_bytes(raw))

    def rewrap(self, org_id: OrgId, bucket_id: BucketId, private_sealed: bytes, new: "BucketSecrets") -> bytes:
        """The private key sealed under another root's opener wrap and the same secret. Raises KeyUnavailable as `open` does."""
        secret, raw = self._opening(org_id, bucket_id, private_sealed)
        return new.seal_private(org_id, bucket_id, raw, secret)

    def seal_private(self, org_id: OrgId, bucket_id: BucketId, raw: bytes, secret: bytes) -> bytes:
        """A raw private key as the bucket's row holds it."""
        return seal(self._wrap(secret), raw, context("bucket", org_id, bucket_id))

    def heal(self, org_id: OrgId, bucket_id: BucketId, private_sealed: bytes) -> bool:
        """Give each zone the secret that opens; True if one missed it. The caller holds the bucket's row, which is not destroyed.

        Raises KeyUnavailable if no zone has it, Unavailable if a zone is away.
        """
        secret, _ = self._opening(org_id, bucket_id, private_sealed)
        lacking = [folder for folder in self.zones if _read(folder, bucket_id) != secret]
        for folder in lacking:
            _write(folder, bucket_id, secret, is_new=False)
        return bool(lacking)

    def destroy(self, bucket_id: BucketId) -> None:
        """Overwrite and remove the secret in every zone, durably; nothing happens where it is gone.

        Raises Unavailable if a zone is away: what is in it can't be said to be gone.
        """
        for folder in self.zones:
            _need(folder)
            for path in (_path(folder, bucket_id), _path(folder, bucket_id).with_suffix(_NEW)):
                _destroy_file(path)
            _sync_folder(folder)
        if self.exists(bucket_id):
            raise Unavailable(f"the secret of bucket {bucket_id} is still there after it was removed")

    def exists(self, bucket_id: BucketId) -> bool:
        """Whether the secret is still there, in any zone."""
        return any(_path(folder, bucket_id).exists() for folder in self.zones)

    def is_whole(self, bucket_id: BucketId) -> bool:
        """Whether every zone has the same secret of this bucket. Raises Unavailable if a zone is away."""
        for folder in self.zones:
            _need(folder)
        held = {_read(folder, bucket_id) for folder in self.zones}
        return len(held) == 1 and None not in held

    def found(self) -> dict[BucketId, float]:
        """The buckets that some zone has a file of, with the newest file's time (Unix seconds). Raises Unavailable if a zone is away."""
        found: dict[BucketId, float] = {}
        for folder in self.zones:
            _need(folder)
            for path in folder.iterdir():
                with suppress(ValueError, FileNotFoundError):
                    bucket_id = BucketId(UUID(path.name.removesuffix(_NEW)))
                    found[bucket_id] = max(path.stat().st_mtime, found.get(bucket_id, 0.0))
        return found

    def _opening(self, org_id: OrgId, bucket_id: BucketId, private_sealed: bytes) -> tuple[bytes, bytes]:
        """The secret that opens, from the first zone that has it, and the raw private key."""
        is_missing = True
        for secret in self._read_all(bucket_id):
            is_missing = False
            try:
                return secret, open_sealed(self._wrap(secret), private_sealed, context("bucket", org_id, bucket_id))
            except MalformedError:
                continue
        if is_missing:
            raise KeyUnavailable(f"the secret of bucket {bucket_id} is not in {' or '.join(str(folder) for folder in self.zones)}")
        raise KeyUnavailable(f"the private key of bucket {bucket_id} does not open under this root key and secret")

    def _read_all(self, bucket_id: BucketId) -> Iterator[bytes]:
        for number, folder in enumerate(self.zones):
            if (secret := _read(folder, bucket_id)) is not None:
                yield secret
            elif number == 0 and len(self.zones) > 1:
                _log.error("vault.bucket_secret_missing", bucket_id=str(bucket_id), zone=1)

    def _wrap(self, secret: bytes) -> bytes:
        return hmac.digest(self._opener_wrap, b"hushwire/bucket/1" + secret, "sha256")


def _path(folder: Path, bucket_id: BucketId) -> Path:
    return folder / str(bucket_id)


def _need(folder: Path) -> None:
    if not folder.is_dir():
        raise Unavailable(f"the folder of bucket secrets {folder} is away (is its disk mounted?)")


def _read(folder: Path, bucket_id: BucketId) -> bytes | None:
    try:
        return _path(folder, bucket_id).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise KeyUnavailable(f"the secret of bucket {bucket_id} can't be read ({type(error).__name__})") from error


def _write(folder: Path, bucket_id: BucketId, secret: bytes, *, is_new: bool = True) -> None:
    """Durable before this returns; never half a file under the bucket's name."""
    _need(folder)
    path = _path(folder, bucket_id)
    aside = path.with_suffix(_NEW)
    try:
        if is_new and path.exists():
            raise FileExistsError(17, "exists", str(path))
        if not is_new:
            _destroy_file(aside)
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:
                # Made by an administrator's command, used by roles that dropped to the folder's owner.
                owner = folder.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        os.replace(aside, path)
        _sync_folder(folder)
    except OSError as error:
        raise ConfigError(f"bucket secrets can't be written to {folder} ({type(error).__name__})") from error


def _destroy_file(path: Path) -> None:
    with suppress(FileNotFoundError):
        with path.open("r+b") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
