"""Sealing bytes so that they open in one place only: AES-256-GCM with the place as authenticated context.

Two ciphers' worth of caution in one: each place (table, column, row, organisation) has its own key, derived from the caller's,
and is the additional data too. So random nonces never meet their birthday bound, and what is copied to another place fails.

Sealed form: version 1 | nonce 12 | ciphertext | tag 16.
"""

import secrets
from functools import lru_cache
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hushwire.core.errors import KeyUnavailable
from hushwire.vault.failures import Failure, SealedError
from hushwire.vault.mac import Mac, mac_of

KEY_BYTES: Final = 32
OVERHEAD_BYTES: Final = 1 + 12 + 16
_VERSION: Final = b"\x01"


def context(*parts: str | bytes | UUID) -> bytes:
    """The parts joined so that no two lists give the same bytes: each with its length before it."""
    plain = [part.encode() if isinstance(part, str) else part if isinstance(part, bytes) else part.bytes for part in parts]
    return b"".join([len(data).to_bytes(4, "big") + data for data in plain])


@lru_cache(maxsize=1024)
def known_context(*parts: str | bytes | UUID) -> bytes:
    """`context` of what comes again and again, such as a column's name or an organisation: the beginning of longer ones."""
    return context(*parts)


ID_AHEAD: Final = (16).to_bytes(4, "big")
"""What stands before an id in a `context`."""


def seal(key: bytes | Mac, plaintext: bytes, place: bytes) -> bytes:
    """`plaintext` sealed under `key` (32 bytes) for `place` (a `context`)."""
    nonce = secrets.token_bytes(12)
    return _VERSION + nonce + _cipher(key, place).encrypt(nonce, plaintext, place)


def open_sealed(key: bytes | Mac, sealed: bytes, place: bytes) -> bytes:
    """What `seal` was given. Raises SealedError (a MalformedError) if a bit differs, the place is another, or the key is."""
    if sealed and sealed[:1] != _VERSION:
        raise SealedError(Failure.UNSUPPORTED, "not a sealed value of a version known here")
    if len(sealed) < OVERHEAD_BYTES:
        raise SealedError(Failure.TRUNCATED, "a sealed value is cut")
    try:
        return _cipher(key, place).decrypt(sealed[1:13], sealed[13:], place)
    except InvalidTag:
        raise SealedError(Failure.NOT_HERE, "a sealed value does not open here: altered, moved, or sealed under another key") from None


def _cipher(key: bytes | Mac, place: bytes) -> AESGCM:
    return AESGCM(mac_of(key, b"hushwire/seal/1" + place))


class Columns:
    """Seals and opens the personal columns that stand under one key."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise KeyUnavailable("a column key must be 32 bytes")
        self._key = Mac(key)

    def seal(self, plaintext: bytes, *, table: str, column: str, row: UUID, org: UUID) -> bytes:
        """The bytes to store in that column of that row."""
        return seal(self._key, plaintext, _place(table, column, row, org))

    def open(self, sealed: bytes, *, table: str, column: str, row: UUID, org: UUID) -> bytes:
        """What was sealed for exactly this place.

        Raises SealedError if a bit differs, it was sealed for another place, or under another key.
        """
        return open_sealed(self._key, sealed, _place(table, column, row, org))

    def __repr__(self) -> str:
        return "Columns(<key>)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a key is not pickled")


def _place(table: str, column: str, row: UUID, org: UUID) -> bytes:
    """`context("column", table, column, row, org)`, of which all but the row comes again with every row."""
    return known_context("column", table, column) + ID_AHEAD + row.bytes + known_context(org)


def blind_index(key: bytes | Mac, org: UUID, column: str, value: str) -> bytes:
    """32 bytes that are equal for equal values of one organisation's column, and say nothing else without the key.

    The caller brings `value` into its one canonical form first (a number: +E.164). `column` is `table.column`.
    """
    said = value.encode()
    place = known_context("hushwire/index/1", org, column) + len(said).to_bytes(4, "big") + said
    return mac_of(key, place)
