"""Makes vectors.json: receipts with the verdict that every verifier must reach.

python tests/vectors/receipts/make.py > tests/vectors/receipts/vectors.json
"""

import json
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.personal import Personal
from hushwire.privacy import merkle, selection
from hushwire.privacy.canonical import canonical
from hushwire.privacy.operation_receipts import Item, OperationErasure, item_receipt, leaf
from hushwire.privacy.operation_receipts import commitment as commitment_2
from hushwire.privacy.operation_receipts import sign as sign_2
from hushwire.privacy.receipts import Erasure, commitment, published, sign
from hushwire.privacy.selection import Selector

KEY, KEY_ID = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), UUID("01890000-0000-7000-8000-0000000000c1")
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
NOON = datetime(2026, 3, 1, 12, 0, 0, 120, tzinfo=UTC)
RECORDING = UUID("01890000-0000-7000-8000-00000000000b")
FIRST = Erasure(
    receipt_id=UUID("01890000-0000-7000-8000-0000000000a1"),
    org_id=UUID("01890000-0000-7000-8000-00000000000a"),
    recording_id=RECORDING,
    ledger_position=12,
    commitment=commitment(bytes(32), RECORDING, b"f" * 32, b"d" * 32),
    key_fingerprint=b"f" * 32,
    audit_position=907,
    audit_head=b"h" * 32,
    requested_at=NOON,
    unreadable_at=NOON + timedelta(milliseconds=40),
    copies_unusable_by=NOON + timedelta(hours=24),
)


def vectors() -> dict[str, Any]:
    """Key set and receipts."""
    good = dict(sign(FIRST, KEY_ID, KEY))
    second = dict(sign(replace(FIRST, recording_id=UUID(int=9), ledger_position=13), KEY_ID, KEY))
    text = canonical(good).decode()
    late = dict(sign(replace(FIRST, requested_at=NOON + timedelta(hours=1)), KEY_ID, KEY))
    made: list[tuple[str, str, str | None]] = [
        ("canonical", text, None),
        ("indented", json.dumps(good, indent=2) + "\n", None),
        ("one-digit-changed", text.replace('"ledger_position":12', '"ledger_position":22'), "bad-signature"),
        ("recording-of-another-receipt", canonical({**good, "recording_id": second["recording_id"]}).decode(), "bad-signature"),
        ("signature-of-another-receipt", canonical({**good, "signature": second["signature"]}).decode(), "bad-signature"),
        ("signed-by-another-key", canonical(sign(FIRST, KEY_ID, OTHER)).decode(), "bad-signature"),
        ("unknown-key", canonical(sign(FIRST, UUID(int=1), OTHER)).decode(), "unknown-key"),
        ("key-carried-along", canonical({**sign(FIRST, KEY_ID, OTHER), "x": "AAAA"}).decode(), "wrong-fields"),
        ("duplicate-name", text[:-1] + ',"ledger_position":12}', "malformed"),
        ("fraction", text.replace('"ledger_position":12', '"ledger_position":12.0'), "malformed"),
        ("upper-case-hex", text.replace(good["commitment"], good["commitment"].upper()), "wrong-fields"),
        ("blank-added", text.replace(",", " ,", 1), "unknown-layout"),
        ("unreadable-before-it-was-requested", canonical(late).decode(), "implausible"),
    ]
    made += operation_vectors()
    return {
        "keys": published([(KEY_ID, KEY.public_key().public_bytes_raw())]),
        "vectors": [{"name": name, "receipt": receipt, "reason": reason} for name, receipt, reason in made],
    }


def operation_vectors() -> list[tuple[str, str, str | None]]:
    """Receipts of version 2, and proofs that a thing is among those that one speaks of."""
    items = [
        Item(kind, UUID(int=number), number, commitment_2(kind, bytes([number]) * 32, UUID(int=number), b"f" * 32, None))
        for number, kind in enumerate(("call", "recording", "call", "recording", "contact"), start=7)
    ]
    many = OperationErasure(
        receipt_id=UUID("01890000-0000-7000-8000-0000000000a2"),
        org_id=FIRST.org_id,
        scope="number",
        selector_commitment=selection.commitment(bytes(32), Selector(number=Personal("+493023125001"))),
        counts={"call": 2, "recording": 2, "contact": 1},
        items=5,
        deferred=1,
        ledger_first=7,
        ledger_last=11,
        root=merkle.root([leaf(item) for item in items]),
        audit_position=908,
        audit_head=b"i" * 32,
        requested_at=NOON,
        unreadable_at=NOON + timedelta(milliseconds=90),
        copies_unusable_by=NOON + timedelta(hours=24),
    )
    none = replace(many, counts={}, items=0, deferred=0, ledger_first=0, ledger_last=0, root=merkle.root([]))
    good = sign_2(many, KEY_ID, KEY)
    text = canonical(good).decode()
    proofs = [item_receipt(good, items, item.object_id) for item in items]
    return [
        ("v2-canonical", text, None),
        ("v2-indented", json.dumps(good, indent=2), None),
        ("v2-nothing-found", canonical(sign_2(none, KEY_ID, KEY)).decode(), None),
        *((f"v2-item-{place}", canonical(proof).decode(), None) for place, proof in enumerate(proofs)),
        ("v2-count-changed", text.replace('"recording":2', '"recording":1'), "bad-signature"),
        ("v2-unknown-kind", text.replace('"contact":1', '"planet":1'), "wrong-fields"),
        ("v2-called-version-1", text.replace("receipt.v2", "receipt.v1"), "wrong-fields"),
        ("v2-signed-by-another-key", canonical(sign_2(many, KEY_ID, OTHER)).decode(), "bad-signature"),
        ("v2-counts-contradict", canonical(sign_2(replace(many, items=4), KEY_ID, KEY)).decode(), "implausible"),
        ("v2-positions-contradict", canonical(sign_2(replace(many, ledger_last=9), KEY_ID, KEY)).decode(), "implausible"),
        ("v2-item-of-another-kind", canonical({**proofs[0], "kind": "recording"}).decode(), "not-included"),
        ("v2-item-at-another-place", canonical({**proofs[0], "index": 1}).decode(), "not-included"),
        ("v2-item-beyond-the-end", canonical({**proofs[4], "index": 5}).decode(), "not-included"),
        ("v2-item-with-a-path-cut", canonical({**proofs[0], "path": proofs[0]["path"][:-1]}).decode(), "not-included"),
        ("v2-item-with-a-foreign-path", canonical({**proofs[0], "path": proofs[1]["path"]}).decode(), "not-included"),
        ("v2-item-with-a-name-too-many", canonical({**proofs[0], "x": 1}).decode(), "wrong-fields"),
        ("v2-item-under-a-forged-receipt", canonical({**proofs[0], "receipt": {**good, "items": 6}}).decode(), "bad-signature"),
    ]


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
