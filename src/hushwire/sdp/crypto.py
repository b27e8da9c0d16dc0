"""SDES key lines (RFC 4568 section 9.1, RFC 6188, RFC 7714 section 14.2).

a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:<key||salt>|2^20|1:4
"""

import base64
import binascii
import re
from enum import StrEnum
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen


class Suite(StrEnum):
    """SDES crypto suites (RFC 4568 section 6.2, RFC 6188, RFC 7714 section 14.2), in our order of preference."""

    AEAD_AES_256_GCM = "AEAD_AES_256_GCM"
    AEAD_AES_128_GCM = "AEAD_AES_128_GCM"
    AES_256_CM_HMAC_SHA1_80 = "AES_256_CM_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_80 = "AES_CM_128_HMAC_SHA1_80"
    AES_CM_128_HMAC_SHA1_32 = "AES_CM_128_HMAC_SHA1_32"

    @property
    def key_bytes(self) -> int:
        """Master key and master salt together: 14 bytes of salt beside counter mode's key, 12 beside GCM's."""
        return _KEY_BYTES[self]


_KEY_BYTES: Final = {
    Suite.AEAD_AES_256_GCM: 44,
    Suite.AEAD_AES_128_GCM: 28,
    Suite.AES_256_CM_HMAC_SHA1_80: 46,
    Suite.AES_CM_128_HMAC_SHA1_80: 30,
    Suite.AES_CM_128_HMAC_SHA1_32: 30,
}


@frozen(repr=False)
class Crypto:
    """One SDES key: `key` is master key and salt, `suite.key_bytes` together."""

    tag: int
    suite: Suite
    key: bytes

    def to_attribute(self) -> str:
        """The value of its a=crypto line; no lifetime (2^48 packets by default) and no MKI."""
        return f"{self.tag} {self.suite.value} inline:{base64.b64encode(self.key).decode()}"

    def __repr__(self) -> str:
        return f"Crypto({self.suite}, {SHOWN})"


# Wire names that older phones use for the same suites.
_NAMES: Final = {suite.value: suite for suite in Suite} | {
    "AES_CM_256_HMAC_SHA1_80": Suite.AES_256_CM_HMAC_SHA1_80,
}
_LINE: Final = re.compile(r"([0-9]{1,9})[ \t]+([A-Za-z0-9_]+)[ \t]+(inline:[^ \t;]+)((?:[ \t]+[^ \t]+)*)")
_LIFETIME: Final = re.compile(r"2\^[0-9]{1,2}|[0-9]{1,15}")
# Session parameters that change how packets look: whoever sends one and is answered without it would not be understood.
_HARMLESS: Final = re.compile(r"(?:KDR=0|WSH=[0-9]{1,4})")


def parse_crypto(value: str) -> Crypto | None:
    """An a=crypto value; None where it is malformed or asks for what we don't do (MKI, several keys, UNENCRYPTED_SRTP and its kin)."""
    match = _LINE.fullmatch(value.strip())
    if match is None:
        return None
    tag, name, keys, session = match.groups()
    suite = _NAMES.get(name.upper())
    if suite is None or not all(_HARMLESS.fullmatch(part) for part in session.split()):
        return None
    text, *rest = keys[len("inline:") :].split("|")
    # RFC 4568 section 6.1: [lifetime] and [MKI:length]; an MKI would stand in each packet.
    if len(rest) > 1 or (rest and not _LIFETIME.fullmatch(rest[0])):
        return None
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Crypto(int(tag), suite, key) if len(key) == suite.key_bytes else None
