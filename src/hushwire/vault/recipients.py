"""Keys that customers hold: their algorithms, their forms, and the names that they go by (docs/custody.md).

hushwire only ever sees public ones; the private halves are made and used by `hushwire keygen` and `hushwire open-recording` at the
customer's. Pure: bytes in, keys out.
"""

import base64
import binascii
import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers, generate_private_key
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import MLKEM768X25519PrivateKey, MLKEM768X25519PublicKey

from hushwire.core.errors import MalformedError
from hushwire.vault.seal import context

RSA_BITS: Final = (2048, 8192)
RSA_NEW_BITS: Final = 4096
SHORTEST_PASSPHRASE: Final = 16
"""Standard encrypted PEM derives its key in 2,048 rounds of PBKDF2: quick to try, so the passphrase has to be long."""

_MLKEM_BYTES: Final = 1184
_X25519_BYTES: Final = 32
_PEM: Final = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.+?-----END \1-----", re.DOTALL)
_LONGEST_INPUT: Final = 1 << 16
_SMALL_PRIMES: Final = math.prod(n for n in range(2, 1000) if all(n % divisor for divisor in range(2, math.isqrt(n) + 1)))

PublicHandle: TypeAlias = X25519PublicKey | MLKEM768X25519PublicKey | RSAPublicKey
PrivateHandle: TypeAlias = X25519PrivateKey | MLKEM768X25519PrivateKey | RSAPrivateKey


class Algorithm(StrEnum):
    """How a data key is sealed to a customer."""

    X25519 = "x25519"  # HPKE base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM (RFC 9180)
    HYBRID = "mlkem768-x25519"  # the same with the KEM MLKEM768-X25519 (X-Wing): holds if either of the two does
    RSA = "rsa-oaep-256"  # RSAES-OAEP with SHA-256 and MGF1-SHA-256 (RFC 8017), 2,048 to 8,192 bits


class RecipientKeyError(MalformedError):
    """A key that can't be used; the message says what to do and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A customer's public key. `encoded`: its one canonical form, which the fingerprint covers.

    x25519: 32 bytes; mlkem768-x25519: ML-KEM-768 (1,184 bytes), then X25519 (32); rsa-oaep-256: SubjectPublicKeyInfo, DER.
    """

    algorithm: Algorithm
    encoded: bytes = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """The key id, 32 bytes: what envelopes name their recipient by."""
        return hashlib.sha256(context("hushwire/recipient/1", self.algorithm.value, self.encoded)).digest()

    @property
    def handle(self) -> PublicHandle:
        """The key as the library takes it. Raises RecipientKeyError for bytes that are none."""
        try:
            match self.algorithm:
                case Algorithm.X25519:
                    return X25519PublicKey.from_public_bytes(self.encoded)
                case Algorithm.HYBRID:
                    if len(self.encoded) != _MLKEM_BYTES + _X25519_BYTES:
                        raise ValueError("length")
                    return MLKEM768X25519PublicKey(
                        MLKEM768PublicKey.from_public_bytes(self.encoded[:_MLKEM_BYTES]),
                        X25519PublicKey.from_public_bytes(self.encoded[_MLKEM_BYTES:]),
                    )
                case Algorithm.RSA:
                    found = serialization.load_der_public_key(self.encoded)
                    if not isinstance(found, RSAPublicKey):
                        raise ValueError("not RSA")
                    return found
        except (ValueError, UnsupportedAlgorithm):
            raise RecipientKeyError(f"this is no public key of the algorithm {self.algorithm.value}") from None

    def pem(self) -> bytes:
        """SubjectPublicKeyInfo as PEM; the hybrid is two blocks, ML-KEM-768 first."""
        handle = self.handle
        halves: tuple[Any, ...] = (handle,)
        if self.algorithm is Algorithm.HYBRID:
            halves = (
                MLKEM768PublicKey.from_public_bytes(self.encoded[:_MLKEM_BYTES]),
                X25519PublicKey.from_public_bytes(self.encoded[_MLKEM_BYTES:]),
            )
        form = serialization.PublicFormat.SubjectPublicKeyInfo
        return b"".join(half.public_bytes(serialization.Encoding.PEM, form) for half in halves)


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """A customer's private key, at the customer's. `halves`: what its file holds, one or two keys."""

    public: PublicKey
    handle: PrivateHandle = field(repr=False)
    halves: tuple[Any, ...] = field(repr=False)

    @property
    def algorithm(self) -> Algorithm:
        """That of its public half."""
        return self.public.algorithm

    def pem(self, passphrase: bytes | None) -> bytes:
        """PKCS #8 as PEM, encrypted under the passphrase if there is one; the hybrid is two blocks, ML-KEM-768 first."""
        if passphrase is not None and len(passphrase) < SHORTEST_PASSPHRASE:
            raise RecipientKeyError(f"the passphrase must have at least {SHORTEST_PASSPHRASE} bytes")
        lock: Any = serialization.NoEncryption() if passphrase is None else serialization.BestAvailableEncryption(passphrase)
        form = serialization.PrivateFormat.PKCS8
        return b"".join(half.private_bytes(serialization.Encoding.PEM, form, lock) for half in self.halves)


def generate(algorithm: Algorithm) -> PrivateKey:
    """A new key pair."""
    match algorithm:
        case Algorithm.X25519:
            return _private((X25519PrivateKey.generate(),))
        case Algorithm.HYBRID:
            return _private((MLKEM768PrivateKey.generate(), X25519PrivateKey.generate()))
        case Algorithm.RSA:
            return _private((generate_private_key(public_exponent=65537, key_size=RSA_NEW_BITS),))


def load_private(pem: bytes, passphrase: bytes | None = None) -> PrivateKey:
    """The private key of a file. Raises RecipientKeyError, naming what is wrong: the form, the passphrase, the algorithm."""
    blocks = _blocks(pem)
    if any(b"PRIVATE KEY" not in label for label, _ in blocks):
        raise RecipientKeyError("this is not a private key in PEM form")
    halves = []
    for label, block in blocks:
        if b"ENCRYPTED" in label and passphrase is None:
            raise RecipientKeyError("the private key is encrypted: give its passphrase with --passphrase-file")
        try:
            halves.append(serialization.load_pem_private_key(block, passphrase if b"ENCRYPTED" in label else None))
        except (ValueError, TypeError, UnsupportedAlgorithm):
            reason = "its passphrase is another one, or it is damaged" if b"ENCRYPTED" in label else "it is damaged or of another algorithm"
            raise RecipientKeyError(f"the private key does not open: {reason}") from None
    return _private(tuple(halves))


def load_public(algorithm: Algorithm, given: str | Mapping[str, Any]) -> PublicKey:
    """A customer's public key out of PEM text, a JSON Web Key (an object, or its JSON), or its raw bytes in base64 or base64url.

    Raises RecipientKeyError: for another algorithm, a weak key, and above all for a private key, which nobody may send here.
    """
    if isinstance(given, str):
        if len(given) > _LONGEST_INPUT:
            raise RecipientKeyError("the public key is too long")
        text = given.strip()
        if "PRIVATE KEY" in text:
            raise RecipientKeyError("this is a private key: keep it to yourself, make a new pair, and send the public half only")
        if text.startswith("-----BEGIN"):
            made = _from_pem(algorithm, text)
        elif text.startswith("{"):
            try:
                made = _from_jwk(algorithm, json.loads(text))
            except (ValueError, RecursionError):
                raise RecipientKeyError("the JSON Web Key is not JSON") from None
        else:
            made = PublicKey(algorithm, _decoded(text))
    else:
        made = _from_jwk(algorithm, given)
    _check(made)
    return made


def _check(key: PublicKey) -> None:
    handle = key.handle
    if isinstance(handle, RSAPublicKey):
        low, high = RSA_BITS
        if not low <= handle.key_size <= high:
            raise RecipientKeyError(f"an RSA key must have {low} to {high} bits")
        numbers = handle.public_numbers()
        if numbers.e < 65537 or numbers.e % 2 == 0:
            raise RecipientKeyError("an RSA key's public exponent must be odd, and 65537 or more")
        # The library takes any number for a modulus; one with a small factor was made by accident or on purpose.
        if math.gcd(numbers.n, _SMALL_PRIMES) != 1:
            raise RecipientKeyError("the RSA key's modulus is no product of two large primes")
        canonical = handle.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        if canonical != key.encoded:
            raise RecipientKeyError("the RSA key is not in its canonical form")
        return
    # A point of small order gives everybody the same secret: the exchange itself refuses it.
    point = X25519PublicKey.from_public_bytes(key.encoded[-_X25519_BYTES:])
    try:
        X25519PrivateKey.generate().exchange(point)
    except ValueError:
        raise RecipientKeyError("the X25519 key is a point of small order: it protects nothing") from None


def _from_pem(algorithm: Algorithm, text: str) -> PublicKey:
    halves = []
    for label, block in _blocks(text.encode()):
        if label != b"PUBLIC KEY":
            raise RecipientKeyError('send the key as "-----BEGIN PUBLIC KEY-----" (SubjectPublicKeyInfo)')
        try:
            halves.append(serialization.load_pem_public_key(block))
        except (ValueError, UnsupportedAlgorithm):
            raise RecipientKeyError("the PEM block holds no public key that is known here") from None
    return _public(algorithm, tuple(halves))


def _public(algorithm: Algorithm, halves: tuple[Any, ...]) -> PublicKey:
    match algorithm, halves:
        case Algorithm.X25519, (X25519PublicKey() as key,):
            return PublicKey(algorithm, key.public_bytes_raw())
        case Algorithm.HYBRID, (MLKEM768PublicKey() as first, X25519PublicKey() as second):
            return PublicKey(algorithm, first.public_bytes_raw() + second.public_bytes_raw())
        case Algorithm.RSA, (RSAPublicKey() as key,):
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            return PublicKey(algorithm, key.public_bytes(serialization.Encoding.DER, form))
        case _:
            more = ": two PEM blocks, ML-KEM-768 first, then X25519" if algorithm is Algorithm.HYBRID else ""
            raise RecipientKeyError(f"this is no public key of the algorithm {algorithm.value}{more}")


def _from_jwk(algorithm: Algorithm, jwk: Any) -> PublicKey:
    """RFC 7518 section 6.3 (RSA) and RFC 8037 (OKP, X25519). The hybrid has no registered form: raw or PEM."""
    if not isinstance(jwk, Mapping):
        raise RecipientKeyError("a JSON Web Key is an object")
    if {"d", "p", "q", "dp", "dq", "qi", "k", "priv"} & set(jwk):
        raise RecipientKeyError("this is a private key: keep it to yourself, make a new pair, and send the public half only")
    if jwk.get("use", "enc") != "enc":
        raise RecipientKeyError('the JSON Web Key is not for encryption ("use" must be "enc" or absent)')
    match algorithm, jwk.get("kty"), jwk.get("crv"):
        case Algorithm.X25519, "OKP", "X25519":
            return PublicKey(algorithm, _decoded(jwk.get("x")))
        case Algorithm.RSA, "RSA", _:
            if jwk.get("alg", "RSA-OAEP-256") != "RSA-OAEP-256":
                raise RecipientKeyError('the JSON Web Key is for another algorithm ("alg" must be "RSA-OAEP-256" or absent)')
            n, e = (int.from_bytes(_decoded(jwk.get(name)), "big") for name in ("n", "e"))
            if n.bit_length() > RSA_BITS[1] or e.bit_length() > 64:
                raise RecipientKeyError(f"an RSA key must have {RSA_BITS[0]} to {RSA_BITS[1]} bits")
            try:
                return _public(algorithm, (RSAPublicNumbers(e, n).public_key(),))
            except ValueError:
                raise RecipientKeyError("the JSON Web Key's numbers are no RSA key") from None
        case _:
            raise RecipientKeyError(f"the JSON Web Key is not one of the algorithm {algorithm.value}")


def _private(halves: tuple[Any, ...]) -> PrivateKey:
    match halves:
        case (X25519PrivateKey() as key,):
            return PrivateKey(_public(Algorithm.X25519, (key.public_key(),)), key, halves)
        case (MLKEM768PrivateKey() as first, X25519PrivateKey() as second):
            public = _public(Algorithm.HYBRID, (first.public_key(), second.public_key()))
            return PrivateKey(public, MLKEM768X25519PrivateKey(first, second), halves)
        case (RSAPrivateKey() as key,):
            return PrivateKey(_public(Algorithm.RSA, (key.public_key(),)), key, halves)
        case _:
            raise RecipientKeyError("the file holds no key of hushwire keygen: X25519, ML-KEM-768 and X25519, or RSA")


def _blocks(pem: bytes) -> list[tuple[bytes, bytes]]:
    """Label and text of each PEM block. Raises RecipientKeyError if there is none, or too many."""
    blocks = [(found.group(1), found.group(0)) for found in _PEM.finditer(pem[:_LONGEST_INPUT])]
    if not 1 <= len(blocks) <= 2:
        raise RecipientKeyError("the key must be one PEM block (two for mlkem768-x25519)")
    return blocks


def _decoded(text: Any) -> bytes:
    """base64 or base64url, with or without padding."""
    if not isinstance(text, str) or not text.isascii() or not text:
        raise RecipientKeyError("the key's bytes must be base64 or base64url")
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RecipientKeyError("the key's bytes must be base64 or base64url") from None
