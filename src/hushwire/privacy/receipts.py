"""Receipts of erasure: signed statements that verify offline, against published keys, years later.

A receipt holds ids, a salted commitment and fingerprints, never a number or a name. It is canonical JSON (RFC 8785) and is
signed with Ed25519 (RFC 8032) over everything but the signature. Which key signed it stands in it by id only: the key itself
comes from the published set (`/.well-known/hushwire-keys.json`, a JSON Web Key Set, RFC 8037), or there is no verdict.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hushwire.core.errors import MalformedError
from hushwire.privacy.canonical import canonical, parse

TYPE: Final = "hushwire.erasure-receipt.v1"
COPIES_UNUSABLE_WITHIN: Final = timedelta(hours=24)

_DOMAIN: Final = b"hushwire/receipt/1\x00"
_MAX_BYTES: Final = 16_384


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a receipt states. Times are UTC."""

    receipt_id: UUID
    org_id: UUID
    recording_id: UUID
    ledger_position: int
    commitment: bytes
    key_fingerprint: bytes
    audit_position: int
    audit_head: bytes
    requested_at: datetime
    unreadable_at: datetime
    copies_unusable_by: datetime


class Reason(StrEnum):
    """Why a receipt was rejected."""

    UNREADABLE = "unreadable"  # the file itself can't be read
    MALFORMED = "malformed"  # not the JSON of a receipt
    UNKNOWN_LAYOUT = "unknown-layout"  # JSON of a receipt, spelled as no tool spells it
    WRONG_FIELDS = "wrong-fields"  # names missing, added, or values of another shape
    UNKNOWN_KEY = "unknown-key"  # signed under a key that is not in the published set
    BAD_SIGNATURE = "bad-signature"  # changed after signing, or signed by somebody else
    BAD_KEYS = "bad-keys"  # the published set itself can't be used
    IMPLAUSIBLE = "implausible"  # times that contradict each other, though signed


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a receipt: `erasure` where it is valid, else a reason and one sentence."""

    erasure: Erasure | None
    reason: Reason | None
    explanation: str

    @property
    def is_valid(self) -> bool:
        """True only for an authentic receipt."""
        return self.erasure is not None and self.reason is None


def commitment(salt: bytes, recording_id: UUID, key_fingerprint: bytes, digest: bytes | None) -> bytes:
    """Binds a receipt to what was erased, without showing it: whoever holds the salt can open the commitment, nobody can guess it."""
    parts = (b"hushwire/erasure-commitment/1", salt, recording_id.bytes, key_fingerprint, digest or b"")
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def sign(erasure: Erasure, key_id: UUID, key: Ed25519PrivateKey) -> dict[str, str | int]:
    """The receipt as a flat object; `canonical` of it is what is handed out."""
    fields = _fields(erasure, key_id)
    return {**fields, "signature": _base64url(key.sign(_DOMAIN + canonical(fields)))}


def published(keys: Iterable[tuple[UUID, bytes]]) -> dict[str, object]:
    """The key set to publish: ids and raw Ed25519 public keys, retired ones included, since their receipts stay valid."""
    return {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": str(i), "x": _base64url(raw)} for i, raw in keys]}


def verify_file(receipt_path: Path, keys_path: Path) -> Result:
    """Reads both files and verifies; never raises for what stands in them."""
    try:
        receipt, keys = receipt_path.read_bytes(), keys_path.read_bytes()
    except OSError as error:
        return _rejected(Reason.UNREADABLE, f"a file can't be read ({error.strerror})")
    return verify(receipt, keys)


def verify(receipt: bytes, keys: bytes) -> Result:
    """Whether `receipt` (as stored) was signed under one of the published `keys` (a JSON Web Key Set) and is unchanged.

    Every byte counts: besides the canonical form only the layouts that common tools give JSON are accepted.
    """
    try:
        known = _published_keys(keys)
    except MalformedError:
        return _rejected(Reason.BAD_KEYS, "the file of published keys is not a key set with Ed25519 keys")
    try:
        if len(receipt) > _MAX_BYTES:
            raise MalformedError("too long")
        found = parse(receipt)
    except MalformedError:
        return _rejected(Reason.MALFORMED, "this is not the JSON of a receipt")
    if not isinstance(found, dict):
        return _rejected(Reason.MALFORMED, "this is not the JSON of a receipt")
    if not _is_known_layout(receipt, found):
        return _rejected(Reason.UNKNOWN_LAYOUT, "the receipt is spelled in a way that no tool does: a byte was changed")
    return _judge(found, known)


def _judge(found: dict[str, Any], known: Mapping[UUID, Ed25519PublicKey]) -> Result:
    if found.get("type") != TYPE:
        return _rejected(Reason.WRONG_FIELDS, "this is not a receipt of erasure, or of a version unknown here")
    try:
        erasure, key_id, signature = _read(found)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return _rejected(Reason.WRONG_FIELDS, "a field is missing, added, or not of the shape that it has in a receipt")
    key = known.get(key_id)
    if key is None:
        return _rejected(Reason.UNKNOWN_KEY, "the key that signed this receipt is not among the published ones")
    try:
        key.verify(signature, _DOMAIN + canonical(_fields(erasure, key_id)))
    except InvalidSignature:
        return _rejected(Reason.BAD_SIGNATURE, "the signature doesn't fit: the receipt was changed, or signed by another key")
    if not erasure.requested_at <= erasure.unreadable_at:
        return _rejected(Reason.IMPLAUSIBLE, "the receipt says that the recording was unreadable before its erasure was requested")
    return Result(erasure, None, "the receipt is authentic and unchanged")


def _rejected(reason: Reason, explanation: str) -> Result:
    return Result(None, reason, explanation)


def _fields(erasure: Erasure, key_id: UUID) -> dict[str, str | int]:
    return {
        "type": TYPE,
        "receipt_id": str(erasure.receipt_id),
        "org_id": str(erasure.org_id),
        "recording_id": str(erasure.recording_id),
        "ledger_position": erasure.ledger_position,
        "commitment": erasure.commitment.hex(),
        "key_fingerprint": erasure.key_fingerprint.hex(),
        "audit_position": erasure.audit_position,
        "audit_head": erasure.audit_head.hex(),
        "requested_at": _spelled_time(erasure.requested_at),
        "unreadable_at": _spelled_time(erasure.unreadable_at),
        "copies_unusable_by": _spelled_time(erasure.copies_unusable_by),
        "key_id": str(key_id),
    }


def _read(found: dict[str, Any]) -> tuple[Erasure, UUID, bytes]:
    erasure = Erasure(
        receipt_id=_exact(found["receipt_id"], UUID, str),
        org_id=_exact(found["org_id"], UUID, str),
        recording_id=_exact(found["recording_id"], UUID, str),
        ledger_position=_count(found["ledger_position"]),
        commitment=_digest(found["commitment"]),
        key_fingerprint=_digest(found["key_fingerprint"]),
        audit_position=_count(found["audit_position"]),
        audit_head=_digest(found["audit_head"]),
        requested_at=_exact(found["requested_at"], _time, _spelled_time),
        unreadable_at=_exact(found["unreadable_at"], _time, _spelled_time),
        copies_unusable_by=_exact(found["copies_unusable_by"], _time, _spelled_time),
    )
    key_id: UUID = _exact(found["key_id"], UUID, str)
    signature: bytes = _exact(found["signature"], _unbase64url, _base64url)
    if found.keys() != {*_fields(erasure, key_id), "signature"}:
        raise ValueError("another set of names")
    return erasure, key_id, signature


def _exact(text: object, read: Callable[[str], Any], spell: Callable[[Any], str]) -> Any:
    """The value of a text that is spelled in the one right way: two spellings of one value would let a byte be changed."""
    if not isinstance(text, str):
        raise TypeError("not a string")
    value = read(text)
    if spell(value) != text:
        raise ValueError("another spelling")
    return value


def _count(value: object) -> int:
    if type(value) is not int or value < 1:
        raise ValueError("not a position")
    return value


def _digest(text: object) -> bytes:
    value: bytes = _exact(text, bytes.fromhex, bytes.hex)
    if len(value) != 32:
        raise ValueError("not 32 bytes")
    return value


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def _spelled_time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _unbase64url(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _published_keys(data: bytes) -> dict[UUID, Ed25519PublicKey]:
    """Raises MalformedError. Keys of other kinds are passed over; two keys of one id are refused."""
    found = parse(data)
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise MalformedError("no key set")
    known: dict[UUID, Ed25519PublicKey] = {}
    for key in found["keys"]:
        if not isinstance(key, dict) or (key.get("kty"), key.get("crv")) != ("OKP", "Ed25519"):
            continue
        try:
            key_id = _exact(key.get("kid"), UUID, str)
            public = Ed25519PublicKey.from_public_bytes(_exact(key.get("x"), _unbase64url, _base64url))
        except (ValueError, TypeError, binascii.Error) as error:
            raise MalformedError("a key that can't be read") from error
        if key_id in known:
            raise MalformedError("two keys of one id")
        known[key_id] = public
    if not known:
        raise MalformedError("no Ed25519 key")
    return known


def _is_known_layout(data: bytes, found: dict[str, Any]) -> bool:
    """Canonical, or as re-printed by tools that keep or sort names: compact, with blanks, or indented; a newline may follow."""
    layouts = [canonical(found)]
    for separators, indent in (((",", ":"), None), ((", ", ": "), None), ((",", ": "), 2), ((",", ": "), 4), ((",", ": "), "\t")):
        layouts.append(json.dumps(found, separators=separators, indent=indent).encode())
    return data in layouts or (data.endswith(b"\n") and data[:-1] in layouts)
