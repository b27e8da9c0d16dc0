"""Envelopes: a 32-byte key sealed to one customer's public key, for one object of one organisation (docs/custody.md).

The header says in clear what the envelope is for, so that a reader can name what is wrong; it is authenticated with what it carries,
so a header that was changed opens nothing. Pure, apart from the randomness that each sealing takes from the library.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final, Literal
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from hushwire.vault.buckets import KeyKind
from hushwire.vault.failures import EnvelopeError, Failure
from hushwire.vault.recipients import Algorithm, PrivateKey, PublicKey
from hushwire.vault.seal import KEY_BYTES, context

MAGIC: Final = b"HWK1"
VERSION: Final = 1
HEADER_BYTES: Final = 74

EnvelopeKind = KeyKind | Literal["challenge"]

KINDS: Final[dict[EnvelopeKind, int]] = {
    "recording": 1, "call": 2, "message": 3, "contact": 4, "document": 5, "case": 6, "challenge": 255,
}  # fmt: skip
_SUITES: Final = {Algorithm.X25519: 1, Algorithm.HYBRID: 2, Algorithm.RSA: 3}
_HPKE: Final = {
    Algorithm.X25519: Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    Algorithm.HYBRID: Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}
_CIPHERTEXT_BYTES: Final = {Algorithm.X25519: 32 + KEY_BYTES + 16, Algorithm.HYBRID: 1120 + KEY_BYTES + 16}
_HEADER: Final = struct.Struct(">4sBBBB16s16s32sH")


@dataclass(frozen=True, slots=True)
class Subject:
    """What an envelope's key is for."""

    org_id: UUID
    kind: EnvelopeKind
    object_id: UUID


@dataclass(frozen=True, slots=True)
class Envelope:
    """A parsed envelope: nothing of it is authenticated before it was opened."""

    algorithm: Algorithm
    subject: Subject
    key_id: bytes
    header: bytes
    ciphertext: bytes


def seal(key: bytes, to: PublicKey, subject: Subject) -> bytes:
    """`key` (32 bytes) in an envelope that only the holder of `to` opens, and only as the key of `subject`."""
    if len(key) != KEY_BYTES:
        raise ValueError("an envelope carries 32 bytes")
    handle = to.handle
    length = (handle.key_size + 7) // 8 if isinstance(handle, RSAPublicKey) else _CIPHERTEXT_BYTES[to.algorithm]
    header = _HEADER.pack(
        MAGIC,
        VERSION,
        _SUITES[to.algorithm],
        KINDS[subject.kind],
        0,
        subject.org_id.bytes,
        subject.object_id.bytes,
        to.fingerprint,
        length,
    )
    if isinstance(handle, RSAPublicKey):
        return header + handle.encrypt(key + _binding(header), _OAEP)
    return header + _HPKE[to.algorithm].encrypt(key, handle, _info(header))


def parse(data: bytes) -> Envelope:
    """The parts of exactly one envelope. Raises EnvelopeError."""
    if not MAGIC.startswith(data[: len(MAGIC)]):
        raise EnvelopeError(Failure.NOT_AN_ENVELOPE, "it doesn't begin like an envelope")
    if len(data) < HEADER_BYTES:
        raise EnvelopeError(Failure.TRUNCATED, "the header is cut")
    _, version, suite, kind, zero, org, object_id, key_id, length = _HEADER.unpack_from(data)
    algorithm = next((name for name, code in _SUITES.items() if code == suite), None)
    known = next((name for name, code in KINDS.items() if code == kind), None)
    if version != VERSION or algorithm is None or known is None or zero:
        raise EnvelopeError(Failure.UNSUPPORTED, "version, suite or kind is unknown")
    header, ciphertext = data[:HEADER_BYTES], data[HEADER_BYTES:]
    if len(ciphertext) < length:
        raise EnvelopeError(Failure.TRUNCATED, "the sealed key is cut")
    if len(ciphertext) > length:
        raise EnvelopeError(Failure.TRAILING, "bytes follow the sealed key")
    return Envelope(algorithm, Subject(UUID(bytes=org), known, UUID(bytes=object_id)), key_id, header, ciphertext)


def open_envelope(data: bytes, key: PrivateKey, expected: Subject) -> bytes:
    """The 32-byte key. Raises EnvelopeError, whose failure says why it does not open.

    What it is for is looked at before whose it is: a customer who was handed another recording's envelope should hear just that.
    """
    envelope = parse(data)
    if envelope.subject != expected:
        raise EnvelopeError(Failure.FOREIGN, "it is for another organisation, kind or object")
    if not hmac.compare_digest(envelope.key_id, key.public.fingerprint):
        raise EnvelopeError(Failure.WRONG_KEY, "it is sealed to another key")
    try:
        if envelope.algorithm is key.algorithm:
            return _opened(envelope, key)
    except (InvalidTag, ValueError):
        pass
    raise EnvelopeError(Failure.DAMAGED, "it was changed: the sealed key does not authenticate")


def _opened(envelope: Envelope, key: PrivateKey) -> bytes:
    """Raises InvalidTag or ValueError."""
    if isinstance(key.handle, RSAPrivateKey):
        plain = key.handle.decrypt(envelope.ciphertext, _OAEP)
        bound = plain[KEY_BYTES:]
        if len(plain) != 2 * KEY_BYTES or not hmac.compare_digest(bound, _binding(envelope.header)):
            raise ValueError("the header is another one than was sealed")
        return plain[:KEY_BYTES]
    opened = _HPKE[key.algorithm].decrypt(envelope.ciphertext, key.handle, _info(envelope.header))
    if len(opened) != KEY_BYTES:
        raise ValueError("not a key")
    return opened


# No label: cloud key services and many tokens can't be given one. The binding stands inside instead (docs/adr/0006).
_OAEP: Final = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def _info(header: bytes) -> bytes:
    return context("hushwire/envelope/1", header)


def _binding(header: bytes) -> bytes:
    return hashlib.sha256(_info(header)).digest()


# Proof that somebody holds the private key: a secret in an envelope of the kind `challenge`, answered with a digest of it.


def challenge(secret: bytes, to: PublicKey, org_id: UUID, recipient_id: UUID) -> bytes:
    """A secret (32 random bytes) that only the holder of the private key can answer for."""
    return seal(secret, to, Subject(org_id, "challenge", recipient_id))


def answer_to(secret: bytes, org_id: UUID, recipient_id: UUID, key_id: bytes) -> bytes:
    """What proves the key: a digest, so that nothing that was ever sealed to the key can be got out of whoever answers challenges."""
    return hmac.digest(secret, context("hushwire/challenge/1", org_id, recipient_id, key_id), "sha256")


def answer_challenge(data: bytes, key: PrivateKey) -> bytes:
    """At the customer's: the answer to a challenge. Raises EnvelopeError; anything but a challenge is `foreign`."""
    asked = parse(data).subject
    secret = open_envelope(data, key, Subject(asked.org_id, "challenge", asked.object_id))
    return answer_to(secret, asked.org_id, asked.object_id, key.public.fingerprint)
