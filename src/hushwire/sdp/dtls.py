"""What SDP says of a DTLS handshake: whose certificate is expected and who begins (RFC 8122 section 5, RFC 8842 section 5, RFC 5763)."""

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sdp.session import Attribute, SdpError

MAX_FINGERPRINTS: Final = 8
"""How many fingerprints one section may name; nobody has more certificates to hand."""

# RFC 8122 section 5: the strongest of those that both know counts. SHA-1 and MD5 prove nothing any more and are passed over.
_HASHES: Final = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_HASH_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9\-]{0,31}")
_HEX: Final = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*")
# RFC 8842 section 4.
_TLS_ID: Final = re.compile(r"[A-Za-z0-9+/\-_]{20,255}")


class Setup(StrEnum):
    """Who sends the ClientHello (RFC 4145 section 4, RFC 8842 section 5.2): `active` does."""

    ACTIVE = "active"
    PASSIVE = "passive"
    ACTPASS = "actpass"


@frozen
class Fingerprint:
    """The digest of a certificate (DER): `hash_name` as SDP spells it in lower case, `digest` its bytes."""

    hash_name: str
    digest: bytes

    def to_attribute(self) -> str:
        """The value of its a=fingerprint line."""
        return f"{self.hash_name} {self.digest.hex(':').upper()}"


@frozen
class LocalDtls:
    """Our certificate's fingerprint. `role` is who we are in the association that stands, None before there is one."""

    fingerprint: Fingerprint
    role: Setup | None = None


@frozen(repr=False)
class RemoteDtls:
    """Whom the handshake must prove: the peer's certificate matches one of `fingerprints`, all of one hash function.

    `is_client`: we send the ClientHello. `tls_id` changes where the peer wants a new association with everything else unchanged.
    """

    fingerprints: tuple[Fingerprint, ...]
    is_client: bool
    tls_id: str | None = None

    def __repr__(self) -> str:
        return f"RemoteDtls({SHOWN})"


def parse_fingerprint(value: str) -> Fingerprint | None:
    """An a=fingerprint value; None where its hash function is not one that we believe.

    Raises SdpError for what does not follow the grammar, and for a digest of the wrong length: a fingerprint that can't be checked must
    not pass for one that need not be.
    """
    name, _, text = value.partition(" ")
    text = text.strip()
    if not _HASH_NAME.fullmatch(name) or not _HEX.fullmatch(text):
        raise SdpError("a fingerprint does not follow its grammar")
    length = _HASHES.get(name.lower())
    if length is None:
        return None
    digest = bytes.fromhex(text.replace(":", ""))
    if len(digest) != length:
        raise SdpError("a fingerprint's length is not that of its hash function")
    return Fingerprint(name.lower(), digest)


def strongest(values: Sequence[str | None]) -> tuple[Fingerprint, ...]:
    """The fingerprints of the strongest hash function among a section's lines; empty where none is believed. Raises SdpError."""
    if len(values) > MAX_FINGERPRINTS:
        raise SdpError("a section has too many fingerprints")
    found = [item for item in (parse_fingerprint(value or "") for value in values) if item is not None]
    best = max((len(item.digest) for item in found), default=0)
    return tuple(dict.fromkeys(item for item in found if len(item.digest) == best))


def parse_setup(values: Sequence[str | None]) -> Setup:
    """The one a=setup of a section. Raises SdpError where it is missing, stands twice, or holds the connection back.

    RFC 8842 section 5 has both sides say it; the old default (RFC 4145) would let two ends wait for each other.
    """
    if len(values) != 1:
        raise SdpError("a=setup does not stand exactly once")
    try:
        return Setup((values[0] or "").lower())
    except ValueError:
        raise SdpError("a=setup has a value that is not possible here") from None


def parse_tls_id(values: Sequence[str | None]) -> str | None:
    """The a=tls-id of a section, if it has one. Raises SdpError."""
    if not values:
        return None
    value = values[0]
    if len(values) > 1 or value is None or not _TLS_ID.fullmatch(value):
        raise SdpError("a=tls-id does not follow its grammar")
    return value


def answer_role(offered: Setup, standing: Setup | None) -> Setup:
    """Our role in an answer: passive where we may choose, so that the peer's first packet shows where it is (RFC 5763 section 5)."""
    if offered is Setup.ACTPASS:
        return standing or Setup.PASSIVE
    return Setup.PASSIVE if offered is Setup.ACTIVE else Setup.ACTIVE


def offer_role(standing: Setup | None) -> Setup:
    """Our role in an offer: open at first; later the one that stands, so that no second handshake comes of it (RFC 8842 section 5.2)."""
    return standing or Setup.ACTPASS


def role_from_answer(offered: Setup, answered: Setup) -> Setup:
    """Our role, seen what the answer chose. Raises SdpError where it does not fit our offer (RFC 8842 section 5.3)."""
    ours = {Setup.ACTIVE: Setup.PASSIVE, Setup.PASSIVE: Setup.ACTIVE}.get(answered)
    if ours is None or offered not in (Setup.ACTPASS, ours):
        raise SdpError("the answer's a=setup does not fit the offer's")
    return ours


def dtls_lines(local: LocalDtls, role: Setup) -> list[Attribute]:
    """Our lines."""
    return [("setup", role.value), ("fingerprint", local.fingerprint.to_attribute())]
