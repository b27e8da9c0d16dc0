"""Receipts against forgers."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.privacy import operation_receipts
from hushwire.privacy.canonical import canonical
from hushwire.privacy.operation_receipts import OperationErasure
from hushwire.privacy.receipts import Erasure, Reason, commitment, published, sign, verify, verify_file

KEY, KEY_ID = Ed25519PrivateKey.from_private_bytes(bytes(range(32))), UUID(int=77)
NOON = datetime(2026, 3, 1, 12, 0, 0, 120, tzinfo=UTC)
ERASURE = Erasure(
    receipt_id=UUID(int=1),
    org_id=UUID(int=2),
    recording_id=UUID(int=3),
    ledger_position=12,
    commitment=commitment(bytes(16), UUID(int=3), b"f" * 32, b"d" * 32),
    key_fingerprint=b"f" * 32,
    audit_position=907,
    audit_head=b"h" * 32,
    requested_at=NOON,
    unreadable_at=NOON + timedelta(milliseconds=40),
    copies_unusable_by=NOON + timedelta(hours=24),
)
KEYS = json.dumps(published([(KEY_ID, KEY.public_key().public_bytes_raw())])).encode()


def receipt(erasure: Erasure = ERASURE, key: Ed25519PrivateKey = KEY, key_id: UUID = KEY_ID) -> dict[str, Any]:
    return dict(sign(erasure, key_id, key))


def test_a_receipt_verifies_offline_and_says_what_was_erased() -> None:
    result = verify(canonical(receipt()), KEYS)
    assert result.is_valid
    assert result.erasure == ERASURE


def test_a_receipt_survives_the_layouts_that_common_tools_give_json() -> None:
    made = receipt()
    for text in (
        json.dumps(made),
        json.dumps(made, indent=2),
        json.dumps(made, indent=4, sort_keys=True),
        json.dumps(made, indent="\t"),
        json.dumps(dict(reversed(made.items())), separators=(",", ":")),
        canonical(made).decode() + "\n",
        json.dumps(made, indent=2) + "\n",
    ):
        assert verify(text.encode(), KEYS).is_valid


@pytest.mark.parametrize("layout", ["canonical", "blanks", "indented"])
def test_every_single_byte_changed_is_rejected(layout: str) -> None:
    made = receipt()
    text = {
        "canonical": canonical(made) + b"\n",
        "blanks": json.dumps(made).encode(),
        "indented": json.dumps(made, indent=2).encode(),
    }[layout]
    assert verify(text, KEYS).is_valid
    others = (1, 2, 4, 8, 16, 32, 64, 128, 0xFF)
    for position in range(len(text)):
        for other in others:
            changed = bytearray(text)
            changed[position] ^= other
            assert not verify(bytes(changed), KEYS).is_valid, (position, other)


def test_every_single_byte_left_out_or_doubled_is_rejected() -> None:
    text = canonical(receipt())
    for position in range(len(text)):
        assert not verify(text[:position] + text[position + 1 :], KEYS).is_valid
        assert not verify(text[:position] + text[position : position + 1] + text[position:], KEYS).is_valid


def test_signed_again_by_another_key_is_rejected() -> None:
    other = Ed25519PrivateKey.generate()
    assert verify(canonical(receipt(key=other)), KEYS).reason is Reason.BAD_SIGNATURE
    assert verify(canonical(receipt(key=other, key_id=UUID(int=78))), KEYS).reason is Reason.UNKNOWN_KEY


def test_a_key_inside_the_receipt_is_never_trusted() -> None:
    other = Ed25519PrivateKey.generate()
    raw = base64.urlsafe_b64encode(other.public_key().public_bytes_raw()).rstrip(b"=").decode()
    for extra in ({"public_key": raw}, {"jwk": {"kty": "OKP", "crv": "Ed25519", "x": raw}}, {"keys": []}):
        forged = {**receipt(key=other), **extra}
        assert verify(canonical(forged), KEYS).reason is Reason.WRONG_FIELDS


def test_any_field_swapped_between_two_receipts_is_rejected() -> None:
    second = Erasure(
        receipt_id=UUID(int=101),
        org_id=UUID(int=102),
        recording_id=UUID(int=103),
        ledger_position=13,
        commitment=b"c" * 32,
        key_fingerprint=b"g" * 32,
        audit_position=911,
        audit_head=b"i" * 32,
        requested_at=NOON + timedelta(seconds=1),
        unreadable_at=NOON + timedelta(seconds=2),
        copies_unusable_by=NOON + timedelta(hours=23),
    )
    first_receipt, second_receipt = receipt(), receipt(second)
    for name in first_receipt:
        swapped = {**first_receipt, name: second_receipt[name]}
        assert verify(canonical(swapped), KEYS).is_valid is (swapped == first_receipt)
        assert name in ("type", "key_id") or swapped != first_receipt


def test_a_field_left_out_added_or_of_another_shape_is_rejected() -> None:
    made = receipt()
    for name in made:
        for value in (None, 1.5, True, [], "", 0, -1, made[name] if not isinstance(made[name], int) else str(made[name])):
            changed = {key: item for key, item in made.items() if key != name} if value == made[name] else {**made, name: value}
            assert not verify(json.dumps(changed).encode(), KEYS).is_valid
    assert verify(canonical({**made, "note": "x"}), KEYS).reason is Reason.WRONG_FIELDS


def test_duplicate_names_and_odd_numbers_are_rejected() -> None:
    text = canonical(receipt()).decode()
    doubled = text[:-1] + ',"ledger_position":12}'
    assert verify(doubled.encode(), KEYS).reason is Reason.MALFORMED
    for odd in ("12.0", "1.2e1", "12e0", "012", "+12", "-0", "NaN", "Infinity", "1" * 400):
        changed = text.replace('"ledger_position":12', f'"ledger_position":{odd}')
        assert verify(changed.encode(), KEYS).reason is Reason.MALFORMED


def test_another_spelling_of_the_same_value_is_rejected() -> None:
    made = receipt()
    text = canonical(made).decode()
    for old, new in (
        (made["commitment"], made["commitment"].upper()),
        (made["recording_id"], made["recording_id"].replace("-", "")),
        (made["requested_at"], made["requested_at"].replace("Z", "+00:00")),
        (made["signature"], made["signature"] + "=="),
        ("receipt_id", "receipt\\u005fid"),
    ):
        assert old in text
        assert not verify(text.replace(old, new).encode(), KEYS).is_valid
    assert not verify(b"\xef\xbb\xbf" + text.encode(), KEYS).is_valid


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe", b"[" * 100_000, b"{}", b'{"type":1}'])
def test_what_is_no_receipt_is_rejected(junk: bytes) -> None:
    assert not verify(junk, KEYS).is_valid


@pytest.mark.parametrize(
    "keys",
    [
        b"",
        b"{}",
        b"[]",
        b'{"keys":[]}',
        b'{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"x","x":"AA"}]}',
        KEYS[:-1],
        KEYS.replace(b'"keys"', b'"keyz"'),
    ],
)
def test_a_broken_key_set_gives_no_verdict_of_valid(keys: bytes) -> None:
    assert verify(canonical(receipt()), keys).reason is Reason.BAD_KEYS


def test_a_key_set_with_two_keys_of_one_id_is_refused() -> None:
    raw = KEY.public_key().public_bytes_raw()
    twice = json.dumps(published([(KEY_ID, raw), (KEY_ID, bytes(31) + b"\x01")])).encode()
    assert verify(canonical(receipt()), twice).reason is Reason.BAD_KEYS


def test_retired_keys_stay_good_and_other_kinds_of_keys_are_passed_over() -> None:
    other = Ed25519PrivateKey.generate()
    keys = published([(UUID(int=5), other.public_key().public_bytes_raw()), (KEY_ID, KEY.public_key().public_bytes_raw())])
    keys["keys"].append({"kty": "RSA", "kid": "x"})  # type: ignore[attr-defined]
    assert verify(canonical(receipt()), json.dumps(keys).encode()).is_valid


def test_a_signed_receipt_whose_times_contradict_each_other_is_rejected() -> None:
    early = replace(ERASURE, unreadable_at=NOON - timedelta(seconds=1))
    assert verify(canonical(receipt(early)), KEYS).reason is Reason.IMPLAUSIBLE


def test_files_are_verified_and_missing_ones_named(tmp_path: Path) -> None:
    (tmp_path / "receipt.json").write_bytes(canonical(receipt()))
    (tmp_path / "keys.json").write_bytes(KEYS)
    assert verify_file(tmp_path / "receipt.json", tmp_path / "keys.json").is_valid
    assert verify_file(tmp_path / "none.json", tmp_path / "keys.json").reason is Reason.UNREADABLE
    assert verify_file(tmp_path, tmp_path / "keys.json").reason is Reason.UNREADABLE


def test_a_receipt_holds_nothing_but_ids_digests_times_and_counts() -> None:
    assert {name: type(value).__name__ for name, value in receipt().items() if isinstance(value, int)} == {
        "ledger_position": "int",
        "audit_position": "int",
    }


def test_the_commitment_depends_on_each_of_its_parts() -> None:
    base = commitment(b"s" * 16, UUID(int=1), b"f" * 32, b"d" * 32)
    assert base != commitment(b"t" * 16, UUID(int=1), b"f" * 32, b"d" * 32)
    assert base != commitment(b"s" * 16, UUID(int=2), b"f" * 32, b"d" * 32)
    assert base != commitment(b"s" * 16, UUID(int=1), b"g" * 32, b"d" * 32)
    assert base != commitment(b"s" * 16, UUID(int=1), b"f" * 32, None)


OPERATION = OperationErasure(
    receipt_id=UUID(int=1),
    org_id=UUID(int=2),
    scope="number",
    selector_commitment=b"s" * 32,
    counts={"call": 1, "recording": 1},
    items=2,
    deferred=0,
    ledger_first=4,
    ledger_last=5,
    root=b"r" * 32,
    audit_position=907,
    audit_head=b"h" * 32,
    requested_at=NOON,
    unreadable_at=NOON + timedelta(milliseconds=40),
    copies_unusable_by=NOON + timedelta(hours=24),
)


def test_a_receipt_of_many_things_verifies_offline_and_every_single_byte_of_it_counts() -> None:
    text = canonical(operation_receipts.sign(OPERATION, KEY_ID, KEY))
    result = verify(text, KEYS)
    assert result.is_valid
    assert result.operation == OPERATION
    for position in range(len(text)):
        for other in (1, 4, 32, 0xFF):
            changed = bytearray(text)
            changed[position] ^= other
            assert not verify(bytes(changed), KEYS).is_valid, (position, other)


@pytest.mark.parametrize("name", sorted(operation_receipts.sign(OPERATION, KEY_ID, KEY)))
def test_a_receipt_of_many_things_without_one_of_its_fields_or_with_another_shape_is_rejected(name: str) -> None:
    made = operation_receipts.sign(OPERATION, KEY_ID, KEY)
    assert not verify(canonical({key: value for key, value in made.items() if key != name}), KEYS).is_valid
    for value in (None, True, -1, "", [], {}, "x", {"call": True}):
        assert not verify(canonical({**made, name: value}), KEYS).is_valid
