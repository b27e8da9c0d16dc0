"""Makes vectors.json: small sealed backups with the outcome that every implementation of the format must reach.

python tests/vectors/backup/make.py > tests/vectors/backup/vectors.json
"""

import hashlib
import json
import sys
from datetime import UTC, datetime
from typing import Any
from unittest import mock
from uuid import UUID

from hushwire.vault.archive import HEADER_LENGTH, Header, SealingKey, Writer
from hushwire.vault.root import RootKey

ROOT = RootKey(hashlib.sha256(b"hushwire test vector root key").digest())
OTHER_ROOT = RootKey(bytes(32))
BACKUP = UUID("01890000-0000-7000-8000-00000000000c")
MADE_AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MANIFEST = {"format": 1, "tables": {"orgs": 1}}
DUMP = (b"PGDMP: the first piece", b"the second", b"")


class Counting:
    """Keys and nonces that count, so that the files come out the same each time."""

    def __init__(self) -> None:
        self._count = 0

    def token_bytes(self, count: int, /) -> bytes:
        self._count += 1
        return self._count.to_bytes(count, "big")


def sealed(sealing: SealingKey, backup: UUID = BACKUP) -> list[bytes]:
    """Header and frames."""
    with mock.patch("hushwire.vault.seal.secrets.token_bytes", lambda count: bytes(range(count))):
        writer = Writer(sealing, backup, MADE_AT, Counting())
    return [writer.header, writer.manifest(MANIFEST), *(writer.dump(piece) for piece in DUMP), writer.end()]


def without_end(order: list[str]) -> bytes:
    """A file whose parts stand in another order than the rules say, sealed as they stand."""
    with mock.patch("hushwire.vault.seal.secrets.token_bytes", lambda count: bytes(range(count))):
        writer = Writer(ROOT.sealing_key(), BACKUP, MADE_AT, Counting())
    made = {"manifest": lambda: writer.manifest(MANIFEST), "dump": lambda: writer.dump(DUMP[0]), "end": writer.end}
    return writer.header + b"".join(made[name]() for name in order)


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def vectors() -> dict[str, Any]:
    """All of them, with what they share."""
    header, manifest, *dump, end = parts = sealed(ROOT.sealing_key())
    good = b"".join(parts)
    other_id = sealed(ROOT.sealing_key(), UUID(int=1))
    with mock.patch("hushwire.vault.seal.secrets.token_bytes", lambda count: bytes(range(count))):
        resealed = Header.read(header).sealed_anew(ROOT.sealing_key(), OTHER_ROOT.sealing_key())
    made = [
        ("whole", good, "root", None),
        ("sealed-anew", resealed + good[HEADER_LENGTH:], "other-root", None),
        ("truncated-at-a-frame", good[: -len(end)], "root", "truncated"),
        ("truncated-in-a-frame", good[:-1], "root", "truncated"),
        ("truncated-in-the-header", good[:100], "root", "truncated"),
        ("reordered", header + manifest + dump[1] + dump[0] + dump[2] + end, "root", "reordered"),
        ("repeated", header + manifest + dump[0] + dump[0] + dump[1] + dump[2] + end, "root", "reordered"),
        ("frame-of-another-backup", header + manifest + other_id[2] + dump[1] + dump[2] + end, "root", "damaged"),
        ("header-of-another-backup", other_id[0] + good[HEADER_LENGTH:], "root", "damaged"),
        ("bit-flip", changed(good, HEADER_LENGTH + 30), "root", "damaged"),
        ("bit-flip-in-the-seal", changed(good, 120), "root", "wrong-key"),
        ("bit-flip-in-the-commitment", changed(good, 40), "root", "wrong-key"),
        ("bit-flip-in-the-fingerprint", changed(good, 70), "root", "other-root"),
        ("another-root-key", good, "other-root", "other-root"),
        ("unknown-version", good[:4] + b"\x02" + good[5:], "root", "unsupported"),
        ("not-a-backup", b"HWR1" + good[4:], "root", "not-a-backup"),
        ("trailing-byte", good + b"\x00", "root", "trailing"),
        ("no-manifest", without_end(["dump", "end"]), "root", "bad-parts"),
        ("two-manifests", without_end(["manifest", "manifest", "end"]), "root", "bad-parts"),
        ("empty", b"", "root", "not-a-backup"),
    ]
    return {
        "roots": {"root": ROOT.to_text(), "other-root": OTHER_ROOT.to_text()},
        "backup_id": str(BACKUP),
        "made_at": MADE_AT.isoformat(),
        "manifest": MANIFEST,
        "dump": b"".join(DUMP).hex(),
        "vectors": [{"name": name, "root": root, "failure": failure, "file": data.hex()} for name, data, root, failure in made],
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
