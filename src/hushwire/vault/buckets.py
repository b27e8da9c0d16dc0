"""Buckets: key pairs that data keys are sealed to (HPKE, RFC 9180).

A bucket's private key is stored in the keyring, sealed under a key that needs two things: the opener wrap (of the root key) and a
secret of the bucket's own, a small file that is in no database, log or backup (`vault/bucket_secrets.py`). Deleting the file makes
every copy ever taken of the private key useless, which is what a receipt promises with `copies_unusable_by`.
"""

import hmac
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final, Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.failures import DataKeyError, Failure
from hushwire.vault.seal import ID_AHEAD, KEY_BYTES, known_context

KeyKind = Literal["recording", "call", "message", "contact", "document", "case"]

SEALED_KEY_BYTES: Final = 32 + KEY_BYTES + 16
_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


@dataclass(frozen=True, slots=True)
class DataKey:
    """The key of one recording, call, contact ..., and that thing's id.

    A new one also knows how it was sealed: the custody's mode and version, and when the first of its recipients expires.
    """

    id: UUID
    kind: KeyKind
    key: bytes = field(repr=False)
    fingerprint: bytes
    custody: Literal["hushwire", "both", "customer"] = field(default="hushwire", compare=False)
    custody_version: int = field(default=0, compare=False)
    good_until: datetime | None = field(default=None, compare=False)


def fingerprint_of(key: bytes, data_key_id: UUID) -> bytes:
    """32 bytes that name a data key and reveal nothing of it."""
    return hmac.digest(key, known_context("hushwire/key-fingerprint/1") + ID_AHEAD + data_key_id.bytes, "sha256")


@dataclass(frozen=True, slots=True)
class PublicBucket:
    """What the gateway knows of a bucket: enough to seal."""

    id: BucketId
    org_id: OrgId
    public_key: bytes

    def seal(self, data_key: DataKey) -> bytes:
        """The sealed form, bound to organisation, bucket, kind and id."""
        return _SUITE.encrypt(data_key.key, _public(self.public_key), _info(self.org_id, self.id, data_key.kind, data_key.id))


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


@lru_cache(1024)
def _public(data: bytes) -> X25519PublicKey:
    """A bucket's public key, of which each call's key has need."""
    return X25519PublicKey.from_public_bytes(data)


def _info(org_id: UUID, bucket_id: UUID, kind: KeyKind, data_key_id: UUID) -> bytes:
    return known_context("hushwire/data-key/1", org_id, bucket_id, kind) + ID_AHEAD + data_key_id.bytes
