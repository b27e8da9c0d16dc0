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

from hushwire.privacy.canonical import canonical
from hushwire.privacy.receipts import Erasure, commitment, published, sign

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
    return {
        "keys": published([(KEY_ID, KEY.public_key().public_bytes_raw())]),
        "vectors": [{"name": name, "receipt": receipt, "reason": reason} for name, receipt, reason in made],
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
