"""Makes vectors.json: sealed columns, data keys sealed to buckets, buckets' private keys, fingerprints, blind indexes.

Nonces count here, so what is sealed under AES-256-GCM comes out the same each time; HPKE takes fresh randomness of its own.

python tests/vectors/vault/make.py > tests/vectors/vault/vectors.json
"""

import hashlib
import hmac
import itertools
import json
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.bucket_secrets import BucketSecrets
from hushwire.vault.buckets import DataKey, PublicBucket, fingerprint_of
from hushwire.vault.seal import Columns, blind_index

KEY, OTHER_KEY = (hashlib.sha256(name).digest() for name in (b"hushwire test column key", b"another column key"))
ORG, OTHER_ORG = OrgId(UUID("01890000-0000-7000-8000-00000000000a")), OrgId(UUID("01890000-0000-7000-8000-0000000000aa"))
ROW, OTHER_ROW = UUID("01890000-0000-7000-8000-00000000000b"), UUID("01890000-0000-7000-8000-0000000000bb")
BUCKET, OTHER_BUCKET = BucketId(UUID("01890000-0000-4000-8000-0000000000c1")), BucketId(UUID("01890000-0000-4000-8000-0000000000c2"))
BUCKET_KEY, OTHER_BUCKET_KEY = (X25519PrivateKey.from_private_bytes(hashlib.sha256(name).digest()) for name in (b"bucket", b"another"))
OPENER = hashlib.sha256(b"opener wrap").digest()
TEXT = "+493023125999"


def columns() -> dict[str, Any]:
    """A value sealed for calls.remote_sealed of one row, and what was sealed for anywhere else."""
    here: dict[str, Any] = {"table": "calls", "column": "remote_sealed", "row": ROW, "org": ORG}

    def sealed(key: bytes = KEY, **moved: Any) -> bytes:
        return Columns(key).seal(TEXT.encode(), **(here | moved))

    good = sealed()
    return {
        "key": KEY.hex(),
        "place": {name: str(value) for name, value in here.items()},
        "plaintext": TEXT,
        "vectors": _listed(
            ("whole", good, None),
            ("moved-from-another-table", sealed(table="recordings"), "not-here"),
            ("moved-from-another-column", sealed(column="local_sealed"), "not-here"),
            ("moved-from-another-row", sealed(row=OTHER_ROW), "not-here"),
            ("moved-from-another-organisation", sealed(org=OTHER_ORG), "not-here"),
            ("table-and-column-run-together", sealed(table="callsremote", column="_sealed"), "not-here"),
            ("another-key", sealed(OTHER_KEY), "not-here"),
            ("bit-flip", _flipped(good, 20), "not-here"),
            ("cut", good[:-1], "not-here"),
            ("trailing-byte", good + b"\0", "not-here"),
            ("shorter-than-an-empty-value", good[:28], "truncated"),
            ("empty", b"", "truncated"),
            ("unknown-version", b"\2" + good[1:], "unsupported"),
        ),
    }


def data_keys() -> dict[str, Any]:
    """A recording's data key sealed to a bucket."""
    data_key = DataKey(ROW, "recording", KEY, fingerprint_of(KEY, ROW))
    public, other = (key.public_key().public_bytes_raw() for key in (BUCKET_KEY, OTHER_BUCKET_KEY))

    def sealed(org: OrgId = ORG, bucket: BucketId = BUCKET, to: bytes = public, key: DataKey = data_key) -> bytes:
        return PublicBucket(bucket, org, to).seal(key)

    good = sealed()
    return {
        "bucket_id": str(BUCKET),
        "org_id": str(ORG),
        "kind": "recording",
        "data_key_id": str(ROW),
        "private_key": BUCKET_KEY.private_bytes_raw().hex(),
        "data_key": KEY.hex(),
        "fingerprint": data_key.fingerprint.hex(),
        "vectors": _listed(
            ("whole", good, None),
            ("moved-from-another-organisation", sealed(org=OTHER_ORG), "not-here"),
            ("moved-from-another-bucket", sealed(bucket=OTHER_BUCKET), "not-here"),
            ("sealed-to-another-bucket", sealed(to=other), "not-here"),
            ("moved-from-another-kind", sealed(key=DataKey(ROW, "call", KEY, b"")), "not-here"),
            ("swapped-object", sealed(key=DataKey(OTHER_ROW, "recording", KEY, b"")), "not-here"),
            ("bit-flip-in-the-encapsulation", _flipped(good, 5), "not-here"),
            ("bit-flip-in-the-key", _flipped(good, 40), "not-here"),
            ("cut", good[:-1], "truncated"),
            ("empty", b"", "truncated"),
            ("trailing-byte", good + b"\0", "trailing"),
        ),
    }


def buckets() -> dict[str, Any]:
    """A bucket's private key as its row holds it: opens under the opener wrap and the bucket's own secret."""
    with tempfile.TemporaryDirectory() as folder:
        made = {
            (org, bucket, opener): BucketSecrets(Path(folder), opener).make(org, bucket)
            for org, bucket, opener in (
                (ORG, BUCKET, OPENER),
                (OTHER_ORG, BucketId(UUID(int=1)), OPENER),
                (ORG, OTHER_BUCKET, OPENER),
                (ORG, BucketId(UUID(int=2)), OTHER_KEY),
            )
        }
        files = {bucket: (Path(folder) / str(bucket)).read_bytes() for _, bucket, _ in made}
    good = made[ORG, BUCKET, OPENER]
    others = list(made.values())[1:]
    return {
        "org_id": str(ORG),
        "bucket_id": str(BUCKET),
        "opener_wrap": OPENER.hex(),
        "secret": files[BUCKET].hex(),
        "public_key": good.public_key.hex(),
        "vectors": _listed(
            ("whole", good.private_sealed, None),
            ("moved-from-another-organisation", others[0].private_sealed, "not-here"),
            ("moved-from-another-bucket", others[1].private_sealed, "not-here"),
            ("another-root-key", others[2].private_sealed, "not-here"),
            ("bit-flip", _flipped(good.private_sealed, 30), "not-here"),
            ("cut", good.private_sealed[:20], "truncated"),
            ("unknown-version", b"\2" + good.private_sealed[1:], "unsupported"),
        ),
    }


def indexes() -> list[dict[str, str]]:
    """Values, and the index that each has in its place: equal for equal values of one place only."""
    return [
        {"key": key.hex(), "org_id": str(org), "column": column, "value": value, "index": blind_index(key, org, column, value).hex()}
        for key, org, column, value in (
            (KEY, ORG, "calls.remote", TEXT),
            (KEY, ORG, "calls.local", TEXT),
            (KEY, OTHER_ORG, "calls.remote", TEXT),
            (OTHER_KEY, ORG, "calls.remote", TEXT),
            (KEY, ORG, "agents.username", "anna"),
            (KEY, ORG, "agents.username", "Änne"),
            (KEY, ORG, "agents.username", ""),
            (KEY, ORG, "agents.usernamea", "nna"),
        )
    ]


def vectors() -> dict[str, Any]:
    """All of them. Nonces and bucket secrets count instead of being random."""
    count = itertools.count(1)
    real = secrets.token_bytes
    secrets.token_bytes = lambda size=32: hmac.digest(b"vector", next(count).to_bytes(4, "big"), "sha256")[:size]
    try:
        return {"columns": columns(), "data_keys": data_keys(), "buckets": buckets(), "blind_indexes": indexes()}
    finally:
        secrets.token_bytes = real


def _flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _listed(*made: tuple[str, bytes, str | None]) -> list[dict[str, Any]]:
    return [{"name": name, "failure": failure, "sealed": blob.hex()} for name, blob, failure in made]


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
