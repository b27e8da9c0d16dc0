"""Makes vectors.json: small sealed documents with the outcome that every implementation of the format must reach.

python tests/vectors/documents/make.py > tests/vectors/documents/vectors.json
"""

import hashlib
import json
import sys
from typing import Any
from uuid import UUID

from hushwire.vault.hwx import HEADER_LENGTH, Sealer

KEY = hashlib.sha256(b"hushwire test vector key").digest()
ORG, DOCUMENT = UUID("01890000-0000-7000-8000-00000000000a"), UUID("01890000-0000-7000-8000-00000000000d")
PARTS = (b"the first piece", b"", b"the last")


class Counting:
    """Nonces that count, so that the files come out the same each time."""

    def __init__(self) -> None:
        self._count = 0

    def token_bytes(self, count: int, /) -> bytes:
        self._count += 1
        return self._count.to_bytes(count, "big")


def sealed(key: bytes = KEY, org: UUID = ORG, document: UUID = DOCUMENT) -> list[bytes]:
    """Header and frames."""
    sealer = Sealer(key, org, document, Counting())
    return [sealer.header, *(sealer.frame(part, is_final=part is PARTS[-1]) for part in PARTS)]


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def vectors() -> dict[str, Any]:
    """All of them, with what they share."""
    header, first, second, last = parts = sealed()
    good = b"".join(parts)
    other = sealed(document=UUID(int=1))
    made = [
        ("whole", good, None),
        ("truncated-at-a-frame", header + first + second, "truncated"),
        ("truncated-in-a-frame", good[:-1], "truncated"),
        ("truncated-in-the-header", good[:40], "truncated"),
        ("empty", b"", "truncated"),
        ("reordered", header + second + first + last, "damaged"),
        ("repeated", header + first + first + second + last, "damaged"),
        ("left-out", header + first + last, "damaged"),
        ("frame-of-another-document", header + other[1] + second + last, "damaged"),
        ("swapped-document", b"".join(other), "foreign"),
        ("foreign-tenant", b"".join(sealed(org=UUID(int=1))), "foreign"),
        ("another-key", b"".join(sealed(key=bytes(32))), "wrong-key"),
        ("bit-flip-in-the-commitment", changed(good, 50), "wrong-key"),
        ("bit-flip", changed(good, HEADER_LENGTH + 30), "damaged"),
        ("bit-flip-in-the-final-flag", header + first + second + bytes((last[0] ^ 0x80,)) + last[1:], "damaged"),
        ("unknown-version", good[:4] + b"\x02" + good[5:], "unsupported"),
        ("not-a-document", b"HWR1" + good[4:], "not-a-document"),
        ("trailing-byte", good + b"\x00", "trailing"),
    ]
    return {
        "key": KEY.hex(),
        "org_id": str(ORG),
        "document_id": str(DOCUMENT),
        "plaintext": b"".join(PARTS).hex(),
        "vectors": [{"name": name, "failure": failure, "file": data.hex()} for name, data, failure in made],
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
