"""Buckets: key pairs that data keys are sealed to (HPKE, RFC 9180), and the secret that makes destroying one final.

A bucket's private key is stored in the keyring, sealed under a key that needs two things: the opener wrap (of the root key) and a
secret of the bucket's own, a small file beside the root key that is in no database, log or backup. Deleting the file makes every
copy ever taken of the private key useless, which is what a receipt promises with `copies_unusable_by`.
"""

import hmac
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from hushwire.core.errors import ConfigError, KeyUnavailable, MalformedError
from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.failures import DataKeyError, Failure
from hushwire.vault.seal import KEY_BYTES, context, open_sealed, seal

KeyKind = Literal["recording", "call", "message", "contact", "document", "case"]

SEALED_KEY_BYTES: Final = 32 + KEY_BYTES + 16
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one recording, call, contact ..., and that thing's id."""

    id: UUID
    kind: KeyKind
    key: bytes = field(repr=False)
    fingerprint: bytes


def fingerprint_of(key: bytes, data_key_id: UUID) -> bytes:
    """32 bytes that name a data key and reveal nothing of it."""
    return hmac.digest(key, context("hushwire/key-fingerprint/1", data_key_id), "sha256")


@dataclass(frozen=True, slots=True)
class PublicBucket:
    """What the gateway knows of a bucket: enough to seal."""

    id: BucketId
    org_id: OrgId
    public_key: bytes

    def seal(self, data_key: DataKey) -> bytes:
        """The sealed form, bound to organisation, bucket, kind and id."""
        public = X25519PublicKey.from_public_bytes(self.public_key)
        return _SUITE.encrypt(data_key.key, public, _info(self.org_id, self.id, data_key.kind, data_key.id))


@dataclass(frozen=True, slots=True)
class PrivateBucket:
    """A bucket that opens."""

    id: BucketId
    org_id: OrgId
    private_key: X25519PrivateKey = field(repr=False)

    @property
    def public_key(self) -> bytes:
        """What keys are sealed to."""
        return self.private_key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, kind: KeyKind, data_key_id: UUID) -> DataKey:
        """Raises DataKeyError (a KeyUnavailable): sealed to another bucket, for another id, kind or organisation, or a bit differs."""
        if len(sealed) != SEALED_KEY_BYTES:
            failure = Failure.TRUNCATED if len(sealed) < SEALED_KEY_BYTES else Failure.TRAILING
            raise DataKeyError(failure, "a sealed data key has another length")
        try:
            key = _SUITE.decrypt(sealed, self.private_key, _info(self.org_id, self.id, kind, data_key_id))
        except (InvalidTag, ValueError):
            raise DataKeyError(Failure.NOT_HERE, "a data key does not open: altered, moved, or sealed to another bucket") from None
        return DataKey(data_key_id, kind, key, fingerprint_of(key, data_key_id))


def _info(org_id: UUID, bucket_id: UUID, kind: KeyKind, data_key_id: UUID) -> bytes:
    return context("hushwire/data-key/1", org_id, bucket_id, kind, data_key_id)


@dataclass(frozen=True, slots=True)
class NewBucket:
    """A bucket whose secret is on disk and whose row is to be inserted."""

    id: BucketId
    public_key: bytes
    private_sealed: bytes


class BucketSecrets:
    """The folder of bucket secrets: one file of 32 random bytes a bucket, mode 0600, owned as the folder is."""

    def __init__(self, folder: Path, opener_wrap: bytes) -> None:
        self._folder = folder
        self._opener_wrap = opener_wrap

    def make(self, org_id: OrgId, bucket_id: BucketId) -> NewBucket:
        """A new key pair; its secret is durable before this returns."""
        private = X25519PrivateKey.generate()
        secret = secrets.token_bytes(KEY_BYTES)
        self._write(bucket_id, secret)
        sealed = seal(self._wrap(secret), private.private_bytes_raw(), context("bucket", org_id, bucket_id))
        return NewBucket(bucket_id, private.public_key().public_bytes_raw(), sealed)

    def open(self, org_id: OrgId, bucket_id: BucketId, private_sealed: bytes) -> PrivateBucket:
        """Raises KeyUnavailable if the secret is gone or belongs to something else."""
        try:
            secret = self._path(bucket_id).read_bytes()
        except FileNotFoundError:
            raise KeyUnavailable(f"the secret of bucket {bucket_id} is not in {self._folder}") from None
        except OSError as error:
            raise KeyUnavailable(f"the secret of bucket {bucket_id} can't be read ({type(error).__name__})") from error
        try:
            raw = open_sealed(self._wrap(secret), private_sealed, context("bucket", org_id, bucket_id))
        except MalformedError:
            raise KeyUnavailable(f"the private key of bucket {bucket_id} does not open under this root key and secret") from None
        return PrivateBucket(bucket_id, org_id, X25519PrivateKey.from_private_bytes(raw))

    def destroy(self, bucket_id: BucketId) -> None:
        """Overwrite and remove the secret, durably; nothing happens if it is gone."""
        path = self._path(bucket_id)
        with suppress(FileNotFoundError):
            with path.open("r+b") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        self._sync_folder()

    def exists(self, bucket_id: BucketId) -> bool:
        """Whether the secret is still there."""
        return self._path(bucket_id).exists()

    def _wrap(self, secret: bytes) -> bytes:
        return hmac.digest(self._opener_wrap, b"hushwire/bucket/1" + secret, "sha256")

    def _path(self, bucket_id: BucketId) -> Path:
        return self._folder / str(bucket_id)

    def _write(self, bucket_id: BucketId, secret: bytes) -> None:
        path = self._path(bucket_id)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(f"bucket secrets can't be written to {self._folder} ({type(error).__name__})") from error
        with os.fdopen(fd, "wb") as file:
            file.write(secret)
            file.flush()
            os.fsync(file.fileno())
            if os.geteuid() == 0:
                # Made by an administrator's command, used by roles that dropped to the folder's owner.
                owner = self._folder.stat()
                os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        self._sync_folder()

    def _sync_folder(self) -> None:
        fd = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
