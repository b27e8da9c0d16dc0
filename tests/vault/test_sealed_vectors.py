"""Sealed columns, data keys, buckets and indexes against their vectors, with the real code; failures by their exact names."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.bucket_secrets import BucketSecrets
from hushwire.vault.buckets import PrivateBucket, fingerprint_of
from hushwire.vault.failures import DataKeyError, Failure, SealedError
from hushwire.vault.seal import Columns, blind_index, context, open_sealed

FILE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "vault" / "vectors.json").read_text())
COLUMNS, DATA_KEYS, BUCKETS = FILE["columns"], FILE["data_keys"], FILE["buckets"]
PLACE: dict[str, Any] = COLUMNS["place"] | {name: UUID(COLUMNS["place"][name]) for name in ("row", "org")}


def of(area: dict[str, Any]) -> Any:
    return pytest.mark.parametrize("vector", area["vectors"], ids=[vector["name"] for vector in area["vectors"]])


def opened_column(sealed: bytes) -> Failure | None:
    try:
        opened = Columns(bytes.fromhex(COLUMNS["key"])).open(sealed, **PLACE)
    except SealedError as error:
        return error.failure
    assert opened.decode() == COLUMNS["plaintext"]
    return None


def opened_data_key(sealed: bytes) -> Failure | None:
    private = X25519PrivateKey.from_private_bytes(bytes.fromhex(DATA_KEYS["private_key"]))
    bucket = PrivateBucket(BucketId(UUID(DATA_KEYS["bucket_id"])), OrgId(UUID(DATA_KEYS["org_id"])), private)
    try:
        opened = bucket.open(sealed, DATA_KEYS["kind"], UUID(DATA_KEYS["data_key_id"]))
    except DataKeyError as error:
        return error.failure
    assert (opened.key.hex(), opened.fingerprint.hex()) == (DATA_KEYS["data_key"], DATA_KEYS["fingerprint"])
    return None


@of(COLUMNS)
def test_every_sealed_column_opens_in_its_place_or_fails_by_name(vector: dict[str, Any]) -> None:
    assert opened_column(bytes.fromhex(vector["sealed"])) == vector["failure"]


@of(DATA_KEYS)
def test_every_sealed_data_key_opens_for_its_object_or_fails_by_name(vector: dict[str, Any]) -> None:
    assert opened_data_key(bytes.fromhex(vector["sealed"])) == vector["failure"]


@of(BUCKETS)
def test_every_sealed_bucket_opens_under_its_secret_or_fails_by_name(vector: dict[str, Any], tmp_path: Path) -> None:
    org, bucket_id, sealed = OrgId(UUID(BUCKETS["org_id"])), BucketId(UUID(BUCKETS["bucket_id"])), bytes.fromhex(vector["sealed"])
    (tmp_path / str(bucket_id)).write_bytes(bytes.fromhex(BUCKETS["secret"]))
    secrets = BucketSecrets(tmp_path, bytes.fromhex(BUCKETS["opener_wrap"]))
    if vector["failure"] is None:
        assert secrets.open(org, bucket_id, sealed).public_key.hex() == BUCKETS["public_key"]
        return
    with pytest.raises(KeyUnavailable):
        secrets.open(org, bucket_id, sealed)
    wrap = secrets._wrap(bytes.fromhex(BUCKETS["secret"]))
    with pytest.raises(SealedError) as caught:
        open_sealed(wrap, sealed, context("bucket", org, bucket_id))
    assert caught.value.failure == vector["failure"]


def test_a_fingerprint_is_that_of_the_vectors_and_belongs_to_one_object() -> None:
    key = bytes.fromhex(DATA_KEYS["data_key"])
    assert fingerprint_of(key, UUID(DATA_KEYS["data_key_id"])).hex() == DATA_KEYS["fingerprint"]
    assert fingerprint_of(key, UUID(int=1)).hex() != DATA_KEYS["fingerprint"]


@pytest.mark.parametrize("entry", FILE["blind_indexes"], ids=[f"{entry['column']}-{n}" for n, entry in enumerate(FILE["blind_indexes"])])
def test_every_blind_index_is_that_of_the_vectors(entry: dict[str, str]) -> None:
    made = blind_index(bytes.fromhex(entry["key"]), UUID(entry["org_id"]), entry["column"], entry["value"])
    assert made.hex() == entry["index"]


def test_no_two_places_or_values_share_an_index() -> None:
    assert len({entry["index"] for entry in FILE["blind_indexes"]}) == len(FILE["blind_indexes"])


def test_a_bit_flipped_at_any_byte_of_a_sealed_column_or_data_key_opens_nothing() -> None:
    column, data_key = (bytes.fromhex(area["vectors"][0]["sealed"]) for area in (COLUMNS, DATA_KEYS))
    for sealed, opened, first in ((column, opened_column, Failure.UNSUPPORTED), (data_key, opened_data_key, Failure.NOT_HERE)):
        assert opened(sealed) is None
        for place in range(len(sealed)):
            for bit in range(8):
                changed = bytearray(sealed)
                changed[place] ^= 1 << bit
                # The top bit of an X25519 encapsulation is masked by the exchange, and bound by HPKE all the same.
                assert opened(bytes(changed)) is (Failure.NOT_HERE if place else first), (place, bit)
