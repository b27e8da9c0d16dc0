"""Makes vectors.json: audit exports with the verdict that every verifier must reach.

python tests/vectors/audit/make.py > tests/vectors/audit/vectors.json
"""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.ids import OrgId
from hushwire.privacy import audit_heads
from hushwire.privacy.audit_chain import beginning, link
from hushwire.privacy.audit_export import Lines, Span
from hushwire.privacy.audit_heads import SignedHead
from hushwire.privacy.receipts import published
from hushwire.store.audit import AuditRow

KEY, KEY_ID = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), UUID("01890000-0000-7000-8000-0000000000c1")
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
ORG = OrgId(UUID("01890000-0000-7000-8000-00000000000a"))
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def chain(count: int, *, fields: Callable[[int], dict[str, Any]] = lambda n: {"n": n, "ok": True, "why": None}) -> list[AuditRow]:
    """Rows as `audit.append` links them."""
    rows, previous = [], beginning(ORG)
    for n in range(1, count + 1):
        at = NOON + timedelta(minutes=n)
        row = AuditRow(ORG, n, at, "api-key:1", "thing.done", f"thing:{n}", fields(n), previous, b"")
        rows.append(replace(row, hash=link(row)))
        previous = rows[-1].hash
    return rows


def signed_heads(rows: Sequence[AuditRow], *positions: int) -> list[SignedHead]:
    """Hourly heads at these positions."""
    heads: list[SignedHead] = []
    for position in positions:
        digest = rows[position - 1].hash if position else beginning(ORG)
        at = NOON + timedelta(hours=len(heads))
        heads.append(audit_heads.make(ORG, position, digest, heads[-1] if heads else None, at, KEY_ID, KEY))
    return heads


def export(
    rows: Sequence[AuditRow],
    heads: Sequence[SignedHead] = (),
    *,
    first: int = 1,
    last: int | None = None,
    key: Ed25519PrivateKey = KEY,
    is_newest: bool = True,
) -> bytes:
    """A whole export of `rows`, whatever they are."""
    previous = rows[0].previous if rows else beginning(ORG)
    lines = Lines(Span(ORG, first, last or first - 1 + len(rows), previous, is_newest, NOON + timedelta(days=1)))
    return lines.header() + lines.heads(heads) + lines.rows(rows) + lines.end(KEY_ID, key)


def vectors() -> dict[str, Any]:
    """Key set and exports; `kind` null: whole."""
    rows = chain(6)
    heads = signed_heads(rows, 0, 2, 4, 6)
    good = export(rows, heads)
    lines = good.splitlines(keepends=True)
    begin = 1 + len(heads)
    rewritten = chain(6, fields=lambda n: {"n": n, "ok": n != 3, "why": None})
    swapped = [*lines[: begin + 2], lines[begin + 3], lines[begin + 2], *lines[begin + 4 :]]
    altered = good.replace(b'"object":"thing:3"', b'"object":"thing:8"')
    foreign = replace(rows[2], actor="api-key:2")
    made: list[tuple[str, bytes, str | None, int | None]] = [
        ("whole", good, None, None),
        ("empty", export([], signed_heads(rows, 0)), None, None),
        ("without-heads", export(rows), None, None),
        ("a-part", export(rows[2:4], heads[1:3], first=3, is_newest=False), None, None),
        ("a-part-whose-place-is-not-proven", export(rows[3:5], heads[2:], first=4), "malformed", None),
        ("altered", altered, "altered", 3),
        ("removed", b"".join([*lines[: begin + 2], *lines[begin + 3 :]]), "removed", 3),
        ("reordered", b"".join(swapped), "reordered", 3),
        ("inserted", b"".join([*lines[: begin + 3], lines[begin + 2], *lines[begin + 3 :]]), "inserted", 3),
        ("foreign-row-inserted", export([*rows[:2], foreign, *rows[2:]], heads, last=6), "inserted", 3),
        ("truncated", b"".join([*lines[: begin + 4], lines[-1]]), "truncated", 5),
        ("end-missing", b"".join(lines[:-1]), "truncated", 7),
        ("rewritten-against-signed-heads", export(rewritten, heads), "rewritten", 4),
        ("rewritten-with-heads-of-another-key", export(rewritten, _forged(rewritten), key=OTHER), "head-forged", 1),
        ("end-of-another-key", export(rows, heads, key=OTHER), "head-forged", 6),
        ("head-removed", export(rows, [heads[0], heads[2], heads[3]]), "head-removed", 2),
        ("head-altered", good.replace(b'"position":4,"previous":"', b'"position":5,"previous":"', 1), "head-forged", 3),
        ("line-after-the-end", good + lines[-1], "malformed", None),
        ("not-canonical", good.replace(b'"ok":true', b'"ok": true', 1), "malformed", None),
        ("nothing", b"", "malformed", None),
    ]
    return {
        "keys": published([(KEY_ID, KEY.public_key().public_bytes_raw())]),
        "vectors": [{"name": name, "export": data.decode(), "kind": kind, "at": at} for name, data, kind, at in made],
    }


def _forged(rows: Sequence[AuditRow]) -> list[SignedHead]:
    return [audit_heads.make(ORG, 6, rows[5].hash, None, NOON, KEY_ID, OTHER)]


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
