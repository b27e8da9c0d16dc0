"""Receipts of version 2: one signed statement about everything that a selector led to, and proofs that a thing is among it.

The statement holds a Merkle root over the erased things (RFC 6962), so it is small however many they are, and each of them can be shown
to be included, offline, by a few hashes. What the selector was (a number, say) is committed to, never stated.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.privacy import merkle
from hushwire.privacy.canonical import canonical
from hushwire.privacy.receipt_fields import digest, position
from hushwire.privacy.signed import base64url, exact, read_time, spelled_time, unbase64url

TYPE: Final = "hushwire.erasure-receipt.v2"
ITEM_TYPE: Final = "hushwire.erasure-item.v2"
SCOPES: Final = ("objects", "number", "agent", "contact", "time", "organisation")
KINDS: Final = ("recording", "call", "message", "contact", "document", "case", "consent", "organisation")

_DOMAIN: Final = b"hushwire/receipt/2\x00"
_LEAF: Final = b"hushwire/erasure-leaf/2"
_COMMITMENT: Final = b"hushwire/erasure-commitment/2"


@dataclass(frozen=True, slots=True)
class OperationErasure:
    """What a receipt of version 2 states. Times are UTC; ledger positions are 0 where nothing was found."""

    receipt_id: UUID
    org_id: UUID
    scope: str
    selector_commitment: bytes
    counts: Mapping[str, int]
    items: int
    deferred: int
    ledger_first: int
    ledger_last: int
    root: bytes
    audit_position: int
    audit_head: bytes
    requested_at: datetime
    unreadable_at: datetime
    copies_unusable_by: datetime


@dataclass(frozen=True, slots=True)
class Item:
    """One erased thing as its ledger entry has it: a leaf of the tree."""

    kind: str
    object_id: UUID
    ledger_position: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Inclusion:
    """A thing and its way to the root."""

    item: Item
    index: int
    path: Sequence[bytes]


def commitment(kind: str, salt: bytes, object_id: UUID, key_fingerprint: bytes | None, file_digest: bytes | None) -> bytes:
    """Like that of version 1, for things of any kind."""
    return _digest(_COMMITMENT, kind.encode(), salt, object_id.bytes, key_fingerprint or b"", file_digest or b"")


def leaf(item: Item) -> bytes:
    """The hash that stands for a thing in the tree."""
    return merkle.leaf(_framed(_LEAF, item.kind.encode(), item.object_id.bytes, item.ledger_position.to_bytes(8, "big"), item.commitment))


def sign(operation: OperationErasure, key_id: UUID, key: Ed25519PrivateKey) -> dict[str, Any]:
    """The receipt as an object; `canonical` of it is what is handed out."""
    return {**_fields(operation, key_id), "signature": base64url(key.sign(signed_bytes(operation, key_id)))}


def item_receipt(receipt: Mapping[str, Any], items: Sequence[Item], wanted: UUID) -> dict[str, Any]:
    """The proof for one of the things of an operation, which all are given in the order of the ledger. Raises KeyError."""
    index = next((place for place, item in enumerate(items) if item.object_id == wanted), None)
    if index is None:
        raise KeyError(wanted)
    item = items[index]
    return {
        "type": ITEM_TYPE,
        "kind": item.kind,
        "object_id": str(item.object_id),
        "ledger_position": item.ledger_position,
        "commitment": item.commitment.hex(),
        "index": index,
        "path": [step.hex() for step in merkle.path([leaf(each) for each in items], index)],
        "receipt": dict(receipt),
    }


def signed_bytes(operation: OperationErasure, key_id: UUID) -> bytes:
    """What the signature covers."""
    return _DOMAIN + canonical(_fields(operation, key_id))


def read(found: Mapping[str, Any]) -> tuple[OperationErasure, UUID, bytes]:
    """Statement, signing key's id and signature. Raises ValueError, KeyError or TypeError for any other shape."""
    if found["type"] != TYPE:
        raise ValueError("another type")
    if found["scope"] not in SCOPES:
        raise ValueError("a scope unknown here")
    counts = found["counts"]
    if not isinstance(counts, dict) or not counts.keys() <= set(KINDS):
        raise TypeError("not counts by kind")
    operation = OperationErasure(
        receipt_id=exact(found["receipt_id"], UUID, str),
        org_id=exact(found["org_id"], UUID, str),
        scope=found["scope"],
        selector_commitment=digest(found["selector_commitment"]),
        counts={kind: _count(value) for kind, value in counts.items()},
        items=_count(found["items"]),
        deferred=_count(found["deferred"]),
        ledger_first=_count(found["ledger_first"]),
        ledger_last=_count(found["ledger_last"]),
        root=digest(found["root"]),
        audit_position=position(found["audit_position"]),
        audit_head=digest(found["audit_head"]),
        requested_at=exact(found["requested_at"], read_time, spelled_time),
        unreadable_at=exact(found["unreadable_at"], read_time, spelled_time),
        copies_unusable_by=exact(found["copies_unusable_by"], read_time, spelled_time),
    )
    key_id: UUID = exact(found["key_id"], UUID, str)
    signature: bytes = exact(found["signature"], unbase64url, base64url)
    if found.keys() != {*_fields(operation, key_id), "signature"}:
        raise ValueError("another set of names")
    return operation, key_id, signature


def read_item(found: Mapping[str, Any]) -> tuple[Inclusion, dict[str, Any]]:
    """The thing with its way to the root, and the receipt that it refers to. Raises as `read` does."""
    names = {"type", "kind", "object_id", "ledger_position", "commitment", "index", "path", "receipt"}
    if found.keys() != names or found["kind"] not in KINDS:
        raise ValueError("another set of names")
    receipt, path = found["receipt"], found["path"]
    if not isinstance(receipt, dict) or not isinstance(path, list) or len(path) > 64:
        raise TypeError("not a proof")
    item = Item(found["kind"], exact(found["object_id"], UUID, str), position(found["ledger_position"]), digest(found["commitment"]))
    return Inclusion(item, _count(found["index"]), [digest(step) for step in path]), receipt


def is_included(inclusion: Inclusion, operation: OperationErasure) -> bool:
    """Whether the way leads to the root that was signed."""
    return merkle.reached(leaf(inclusion.item), inclusion.index, operation.items, inclusion.path) == operation.root


def contradiction(operation: OperationErasure) -> str | None:
    """What can't be true of a statement, though signed; None where all is plausible."""
    if operation.requested_at > operation.unreadable_at:
        return "the receipt says that things were unreadable before their erasure was requested"
    is_empty = operation.items == 0
    if is_empty != (operation.ledger_first == 0) or not operation.ledger_first <= operation.ledger_last:
        return "the receipt's ledger positions contradict its number of things"
    if not is_empty and operation.items > operation.ledger_last - operation.ledger_first + 1:
        return "the receipt's ledger positions contradict its number of things"
    if operation.scope != "organisation" and sum(operation.counts.values()) != operation.items:
        return "the receipt's counts contradict its number of things"
    return None


def _fields(operation: OperationErasure, key_id: UUID) -> dict[str, Any]:
    return {
        "type": TYPE,
        "receipt_id": str(operation.receipt_id),
        "org_id": str(operation.org_id),
        "scope": operation.scope,
        "selector_commitment": operation.selector_commitment.hex(),
        "counts": dict(operation.counts),
        "items": operation.items,
        "deferred": operation.deferred,
        "ledger_first": operation.ledger_first,
        "ledger_last": operation.ledger_last,
        "root": operation.root.hex(),
        "audit_position": operation.audit_position,
        "audit_head": operation.audit_head.hex(),
        "requested_at": spelled_time(operation.requested_at),
        "unreadable_at": spelled_time(operation.unreadable_at),
        "copies_unusable_by": spelled_time(operation.copies_unusable_by),
        "key_id": str(key_id),
    }


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a count")
    return value


def _framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _digest(*parts: bytes) -> bytes:
    return hashlib.sha256(_framed(*parts)).digest()
