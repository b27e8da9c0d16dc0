"""Receipts of erasure, and their verification: signed statements that verify offline, against published keys, years later.

A receipt holds ids, a salted commitment and fingerprints, never a number or a name. It is canonical JSON (RFC 8785) and is
signed with Ed25519 (RFC 8032) over everything but the signature. Which key signed it stands in it by id only: the key itself
comes from the published set (`/.well-known/hushwire-keys.json`, a JSON Web Key Set, RFC 8037), or there is no verdict.
"""

import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hushwire.core.errors import MalformedError
from hushwire.privacy import operation_receipts
from hushwire.privacy.canonical import canonical, parse
from hushwire.privacy.operation_receipts import Inclusion, OperationErasure
from hushwire.privacy.receipt_fields import Reason, digest, is_known_layout, position, published
from hushwire.privacy.signed import base64url, exact, key_set, read_time, spelled_time, unbase64url

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


@dataclass(frozen=True, slots=True)
class Result:
    """The verdict on a receipt: what it states where it is valid, else a reason and one sentence.

    `erasure`: of one recording (version 1); `operation`: of many things at once (version 2); `item`: one of these.
    """

    erasure: Erasure | None
    reason: Reason | None
    explanation: str
    operation: OperationErasure | None = None
    item: Inclusion | None = None

    @property
    def is_valid(self) -> bool:
        """True only for an authentic receipt."""
        return self.reason is None and (self.erasure is not None or self.operation is not None)


def commitment(salt: bytes, recording_id: UUID, key_fingerprint: bytes, file_digest: bytes | None) -> bytes:
    """Binds a receipt to what was erased, without showing it: whoever holds the salt can open the commitment, nobody can guess it."""
    parts = (b"hushwire/erasure-commitment/1", salt, recording_id.bytes, key_fingerprint, file_digest or b"")
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def sign(erasure: Erasure, key_id: UUID, key: Ed25519PrivateKey) -> dict[str, str | int]:
    """The receipt as a flat object; `canonical` of it is what is handed out."""
    fields = _fields(erasure, key_id)
    return {**fields, "signature": base64url(key.sign(_DOMAIN + canonical(fields)))}


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
        known = key_set(keys)
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
    if not is_known_layout(receipt, found):
        return _rejected(Reason.UNKNOWN_LAYOUT, "the receipt is spelled in a way that no tool does: a byte was changed")
    return _judge(found, known)


def _judge(found: dict[str, Any], known: Mapping[UUID, Ed25519PublicKey]) -> Result:
    kind = found.get("type")
    try:
        if kind == operation_receipts.TYPE:
            return _judge_operation(found, known)
        if kind == operation_receipts.ITEM_TYPE:
            return _judge_item(found, known)
        if kind != TYPE:
            return _rejected(Reason.WRONG_FIELDS, "this is not a receipt of erasure, or of a version unknown here")
        erasure, key_id, signature = _read(found)
    except (ValueError, KeyError, TypeError, binascii.Error):
        return _rejected(Reason.WRONG_FIELDS, "a field is missing, added, or not of the shape that it has in a receipt")
    if (fault := _forged(known, key_id, signature, _DOMAIN + canonical(_fields(erasure, key_id)))) is not None:
        return fault
    if not erasure.requested_at <= erasure.unreadable_at:
        return _rejected(Reason.IMPLAUSIBLE, "the receipt says that the recording was unreadable before its erasure was requested")
    return Result(erasure, None, "the receipt is authentic and unchanged")


def _judge_operation(found: dict[str, Any], known: Mapping[UUID, Ed25519PublicKey]) -> Result:
    operation, key_id, signature = operation_receipts.read(found)
    if (fault := _forged(known, key_id, signature, operation_receipts.signed_bytes(operation, key_id))) is not None:
        return fault
    if (contradiction := operation_receipts.contradiction(operation)) is not None:
        return _rejected(Reason.IMPLAUSIBLE, contradiction)
    return Result(None, None, "the receipt is authentic and unchanged", operation)


def _judge_item(found: dict[str, Any], known: Mapping[UUID, Ed25519PublicKey]) -> Result:
    item, receipt = operation_receipts.read_item(found)
    whole = _judge_operation(receipt, known)
    if whole.operation is None:
        return whole
    if not operation_receipts.is_included(item, whole.operation):
        return _rejected(Reason.NOT_INCLUDED, "the receipt is authentic, but this thing is not among those that it speaks of")
    return Result(None, None, "the receipt is authentic, and this thing is among those that it speaks of", whole.operation, item)


def _forged(known: Mapping[UUID, Ed25519PublicKey], key_id: UUID, signature: bytes, statement: bytes) -> Result | None:
    key = known.get(key_id)
    if key is None:
        return _rejected(Reason.UNKNOWN_KEY, "the key that signed this receipt is not among the published ones")
    try:
        key.verify(signature, statement)
    except InvalidSignature:
        return _rejected(Reason.BAD_SIGNATURE, "the signature doesn't fit: the receipt was changed, or signed by another key")
    return None


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
        "requested_at": spelled_time(erasure.requested_at),
        "unreadable_at": spelled_time(erasure.unreadable_at),
        "copies_unusable_by": spelled_time(erasure.copies_unusable_by),
        "key_id": str(key_id),
    }


def _read(found: dict[str, Any]) -> tuple[Erasure, UUID, bytes]:
    erasure = Erasure(
        receipt_id=exact(found["receipt_id"], UUID, str),
        org_id=exact(found["org_id"], UUID, str),
        recording_id=exact(found["recording_id"], UUID, str),
        ledger_position=position(found["ledger_position"]),
        commitment=digest(found["commitment"]),
        key_fingerprint=digest(found["key_fingerprint"]),
        audit_position=position(found["audit_position"]),
        audit_head=digest(found["audit_head"]),
        requested_at=exact(found["requested_at"], read_time, spelled_time),
        unreadable_at=exact(found["unreadable_at"], read_time, spelled_time),
        copies_unusable_by=exact(found["copies_unusable_by"], read_time, spelled_time),
    )
    key_id: UUID = exact(found["key_id"], UUID, str)
    signature: bytes = exact(found["signature"], unbase64url, base64url)
    if found.keys() != {*_fields(erasure, key_id), "signature"}:
        raise ValueError("another set of names")
    return erasure, key_id, signature


__all__ = ["COPIES_UNUSABLE_WITHIN", "Erasure", "Reason", "Result", "commitment", "published", "sign", "verify", "verify_file"]
