"""Handing something over between two processes through the database, so that nobody but the one who asked can ever read it.

Who asks makes a key pair for this one answer and keeps the private half in memory (HPKE, RFC 9180: DHKEM(X25519, HKDF-SHA256),
HKDF-SHA256, AES-256-GCM). With the process, or the answer once it was taken, the private half is gone: what rows, logs and backups then
still hold of it opens under no key in the world.
"""

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from hushwire.vault.failures import Failure, SealedError

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


class Receiver:
    """Who asks. `public` goes into the question."""

    __slots__ = ("_private", "public")

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes, place: bytes) -> bytes:
        """The answer. Raises SealedError where it is none to this question."""
        try:
            return _SUITE.decrypt(sealed, self._private, place)
        except (InvalidTag, ValueError):
            raise SealedError(Failure.NOT_HERE, "what was handed over does not open here") from None

    def __repr__(self) -> str:
        return "Receiver(<key>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a key is not pickled")


def seal_to(public: bytes, plaintext: bytes, place: bytes) -> bytes:
    """The answer, for `place` (a `vault.seal.context`) alone. Raises SealedError for what is no public key."""
    try:
        return _SUITE.encrypt(plaintext, X25519PublicKey.from_public_bytes(public), place)
    except ValueError:
        raise SealedError(Failure.UNSUPPORTED, "not a public key to hand something over to") from None
