"""PASSporT: a signed statement of who calls whom and when (RFC 8225), with SHAKEN's claims (RFC 8588). Read strictly, written canonically.

What is read here is only what somebody says: `verifies` tells whether the holder of a key said it, `shaken` whether it holds for a call.
"""

import base64
import hashlib
import json
import re
from enum import StrEnum
from typing import Any, Final, NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from hushwire.core.errors import MalformedError
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen

LONGEST: Final = 4096
"""Octets of a token; SHAKEN's have about 400."""
MOST_DESTINATIONS: Final = 16
SHAKEN: Final = "shaken"
DIV: Final = "div"
_PART: Final = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9*#]{1,32}", re.ASCII)
_ORIGID: Final = re.compile(r"[\x21-\x7e]{1,64}", re.ASCII)
"""RFC 8588 section 5 asks for a UUID; signers were met that write something else, and what they sign for is no less true."""
_ES256_OCTETS: Final = 32  # of each half of a signature (RFC 7518 section 3.4)
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256
_LATEST: Final = 1 << 53
_ALGORITHM: Final = ec.ECDSA(SHA256(), deterministic_signing=True)  # RFC 6979: no chance, and no key lost to bad chance


class Attestation(StrEnum):
    """What the signer knows of the caller (RFC 8588 section 4)."""

    FULL = "A"  # who calls, and that it may show this number
    PARTIAL = "B"  # who calls
    GATEWAY = "C"  # only by which way the call came


class Defect(StrEnum):
    """Why a token is none that counts; stable, since rows carry it."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"
    ALGORITHM = "algorithm"
    CLAIMS = "claims"
    NUMBER_FORM = "number-form"


class PassportError(MalformedError):
    """A token that can't be read. The words say why, and nothing of what it holds."""

    def __init__(self, defect: Defect) -> None:
        super().__init__(defect.value)
        self.defect = defect


@frozen(repr=False)
class Passport:
    """The claims. Numbers are digits without "+" (RFC 8224 section 8.3); `iat` in seconds since 1970; `x5u` is the certificate's URL.

    `attest` and `origid` belong to "shaken", `div` (the number that the call was diverted from, RFC 8946) to "div".
    """

    ppt: str
    x5u: str
    iat: int
    orig: str
    dest: tuple[str, ...]
    attest: Attestation | None = None
    origid: str | None = None
    div: str | None = None

    def __repr__(self) -> str:
        return f"Passport({self.ppt}, {SHOWN})"


@frozen(repr=False)
class Token:
    """A passport as somebody says it, with what is signed and the signature (its two halves)."""

    passport: Passport
    signed: bytes
    r: int
    s: int

    @property
    def mark(self) -> bytes:
        """What tells this very statement from all others. Each signature can be spelt in two ways (s, or the order less s): that makes
        no other statement of it."""
        return hashlib.sha256(self.signed + b"." + str((self.r, min(self.s, _ORDER - self.s))).encode()).digest()

    def __repr__(self) -> str:
        return f"Token({self.passport!r})"


def parse(text: str) -> Token:
    """A token in its full form, by ES256, with the extension "shaken" or "div". Raises PassportError.

    Members of its header that we don't know count for nothing (RFC 7515 section 4), so neither does a key that it brings along; a
    member that must be understood ("crit") makes it unreadable.
    """
    if len(text) > LONGEST:
        raise PassportError(Defect.OVERSIZED)
    parts = text.split(".")
    if len(parts) != 3:
        _malformed()
    header, claims, signature = (_decoded(part) for part in parts)
    return Token(_passport(_object(header), _object(claims)), text[: text.rindex(".")].encode("ascii"), *_halves(signature))


def verifies(token: Token, key: ec.EllipticCurvePublicKey) -> bool:
    """Whether the holder of a P-256 key signed this."""
    try:
        key.verify(encode_dss_signature(token.r, token.s), token.signed, _ALGORITHM)
    except InvalidSignature:
        return False
    return True


def signed(passport: Passport, key: ec.EllipticCurvePrivateKey) -> str:
    """The token, its members in the canonical order of RFC 8225 section 9."""
    header = {"alg": "ES256", "ppt": passport.ppt, "typ": "passport", "x5u": passport.x5u}
    claims: dict[str, Any] = {"dest": {"tn": sorted(passport.dest)}, "iat": passport.iat, "orig": {"tn": passport.orig}}
    if passport.attest is not None and passport.origid is not None:
        claims |= {"attest": passport.attest.value, "origid": passport.origid}
    if passport.div is not None:
        claims["div"] = {"tn": passport.div}
    text = f"{_encoded(_canonical(header))}.{_encoded(_canonical(claims))}"
    r, s = decode_dss_signature(key.sign(text.encode("ascii"), _ALGORITHM))
    return f"{text}.{_encoded(r.to_bytes(_ES256_OCTETS, 'big') + s.to_bytes(_ES256_OCTETS, 'big'))}"


def canonical_number(number: str) -> str:
    """A canonical +E.164 number as tokens write it."""
    return number.removeprefix("+")


def _passport(header: dict[str, Any], claims: dict[str, Any]) -> Passport:
    if header.get("alg") != "ES256":
        raise PassportError(Defect.ALGORITHM)  # RFC 8225 section 8: the only one; "none" and HMAC by a public key are none
    if "crit" in header or header.get("typ") != "passport":
        _malformed()
    ppt, x5u, iat = header.get("ppt"), header.get("x5u"), claims.get("iat")
    if ppt not in (SHAKEN, DIV) or not isinstance(x5u, str) or type(iat) is not int or not 0 <= iat < _LATEST:
        raise PassportError(Defect.CLAIMS)
    orig, dest = _number(claims.get("orig")), _destinations(claims.get("dest"))
    if ppt == DIV:
        return Passport(ppt, x5u, iat, orig, dest, div=_number(claims.get("div")))
    attest, origid = claims.get("attest"), claims.get("origid")
    if attest not in ("A", "B", "C") or not isinstance(origid, str) or not _ORIGID.fullmatch(origid):
        raise PassportError(Defect.CLAIMS)
    return Passport(ppt, x5u, iat, orig, dest, Attestation(attest), origid)


def _number(claim: object) -> str:
    """The number of "orig" or "div". SHAKEN knows no other identities (ATIS-1000074 section 5.3.1)."""
    if not isinstance(claim, dict) or not isinstance(claim.get("tn"), str):
        raise PassportError(Defect.CLAIMS)
    return _checked(claim["tn"])


def _destinations(claim: object) -> tuple[str, ...]:
    """The numbers of "dest": "an array containing one or more identities" (RFC 8225 section 5.2.1)."""
    if not isinstance(claim, dict) or not isinstance(claim.get("tn"), list):
        raise PassportError(Defect.CLAIMS)
    numbers = claim["tn"]
    if not 1 <= len(numbers) <= MOST_DESTINATIONS or not all(isinstance(number, str) for number in numbers):
        raise PassportError(Defect.CLAIMS)
    return tuple(_checked(number) for number in numbers)


def _checked(number: str) -> str:
    if not _NUMBER.fullmatch(number):
        raise PassportError(Defect.NUMBER_FORM)
    return number


def _halves(signature: bytes) -> tuple[int, int]:
    if len(signature) != 2 * _ES256_OCTETS:
        _malformed()
    return int.from_bytes(signature[:_ES256_OCTETS], "big"), int.from_bytes(signature[_ES256_OCTETS:], "big")


def _object(data: bytes) -> dict[str, Any]:
    """A JSON object. One that names a member twice is none: which of the two counts would be another reader's choice."""
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    except (ValueError, RecursionError):
        _malformed()
    if not isinstance(value, dict):
        _malformed()
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member stands twice")
    return found


def _constant(_name: str) -> NoReturn:
    raise ValueError("not JSON")


def _decoded(part: str) -> bytes:
    """base64url without padding, in its only canonical spelling (RFC 7515 section 2)."""
    if not _PART.fullmatch(part) or len(part) % 4 == 1:
        _malformed()
    data = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    if _encoded(data) != part:
        _malformed()
    return data


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _canonical(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _malformed() -> NoReturn:
    raise PassportError(Defect.MALFORMED)
