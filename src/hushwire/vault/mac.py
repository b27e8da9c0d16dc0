"""HMAC-SHA-256 under a key that is used again and again (RFC 2104): both halves of the key are hashed once.

libcrypto looks for its parts anew in each call of `hmac.digest`, which costs more than the hashing where the caches are cold.
"""

import hashlib
import hmac
from typing import Final

_BLOCK_BYTES: Final = 64
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))


class Mac:
    """One key of at most 64 bytes. It can't be printed or pickled."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > _BLOCK_BYTES:
            raise ValueError(f"a key of {len(key)} bytes: 64 at most")
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(block.translate(_INNER))
        self._outer = hashlib.sha256(block.translate(_OUTER))

    def digest(self, data: bytes) -> bytes:
        """32 bytes that nobody makes without the key."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return outer.digest()

    def __repr__(self) -> str:
        return "Mac(<key>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a key is not pickled")


def mac_of(key: bytes | Mac, data: bytes) -> bytes:
    """HMAC-SHA-256 under a key that is used once, or one that is kept."""
    return key.digest(data) if isinstance(key, Mac) else hmac.digest(key, data, "sha256")
