"""Envelopes: every vector, every cut, every flipped bit, and who may open what."""

import json
from pathlib import Path
from typing import Any, get_args
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hushwire.vault.buckets import KeyKind
from hushwire.vault.envelopes import HEADER_BYTES, KINDS, Subject, answer_challenge, challenge, open_envelope, parse, seal
from hushwire.vault.failures import EnvelopeError, Failure
from hushwire.vault.recipients import Algorithm, PrivateKey, load_private

FILE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "custody" / "vectors.json").read_text())
EXPECTED = Subject(UUID(FILE["org_id"]), FILE["kind"], UUID(FILE["object_id"]))
KEYS: dict[str, PrivateKey] = {name: load_private(entry["private"].encode()) for name, entry in FILE["keys"].items()}
every_algorithm = pytest.mark.parametrize("algorithm", list(Algorithm))


def ours(algorithm: str) -> PrivateKey:
    return KEYS[f"{algorithm}/ours"]


def failure_of(blob: bytes, key: PrivateKey, expected: Subject = EXPECTED) -> Failure | None:
    try:
        opened = open_envelope(blob, key, expected)
    except EnvelopeError as error:
        return error.failure
    assert opened.hex() == FILE["data_key"]
    return None


@pytest.mark.parametrize("vector", FILE["vectors"], ids=[vector["name"] for vector in FILE["vectors"]])
def test_every_vector_opens_or_fails_by_its_name(vector: dict[str, Any]) -> None:
    assert failure_of(bytes.fromhex(vector["envelope"]), ours(vector["algorithm"])) == vector["failure"]


def test_the_vectors_hold_every_failure_for_every_algorithm() -> None:
    for algorithm in Algorithm:
        named = {vector["failure"] for vector in FILE["vectors"] if vector["algorithm"] == algorithm}
        assert named == {None} | {failure.value for failure in Failure if failure is not Failure.NOT_HERE}


@pytest.mark.parametrize("name", list(KEYS))
def test_a_keys_public_half_and_fingerprint_are_those_of_the_vectors(name: str) -> None:
    entry, public = FILE["keys"][name], KEYS[name].public
    assert (public.encoded.hex(), public.fingerprint.hex()) == (entry["public"], entry["fingerprint"])


@every_algorithm
def test_every_cut_is_truncated_and_every_byte_more_is_trailing(algorithm: Algorithm) -> None:
    good = seal(bytes(32), ours(algorithm).public, EXPECTED)
    for length in range(len(good)):
        with pytest.raises(EnvelopeError) as caught:
            parse(good[:length])
        assert caught.value.failure is Failure.TRUNCATED, length
    assert parse(good).header + parse(good).ciphertext == good
    for more in (b"\0", good):
        with pytest.raises(EnvelopeError) as caught:
            parse(good + more)
        assert caught.value.failure is Failure.TRAILING


@every_algorithm
def test_a_bit_flipped_at_any_byte_is_named_and_opens_nothing(algorithm: Algorithm) -> None:
    good = bytes.fromhex(next(v["envelope"] for v in FILE["vectors"] if v["name"] == f"{algorithm}/whole"))
    named: dict[int, Failure] = {}
    for place in range(len(good)):
        for bit in range(8) if place < HEADER_BYTES else (place % 8,):
            changed = bytearray(good)
            changed[place] ^= 1 << bit
            failure = failure_of(bytes(changed), ours(algorithm))
            assert failure is not None, (place, bit)
            named[place] = failure
    assert {named[place] for place in range(4)} == {Failure.NOT_AN_ENVELOPE}
    assert {named[place] for place in (4, 7)} == {Failure.UNSUPPORTED}
    assert {named[place] for place in range(8, 40)} == {Failure.FOREIGN}
    assert {named[place] for place in range(40, 72)} == {Failure.WRONG_KEY}
    assert {named[place] for place in (72, 73)} <= {Failure.TRUNCATED, Failure.TRAILING}
    assert {named[place] for place in range(HEADER_BYTES, len(good))} == {Failure.DAMAGED}


@every_algorithm
def test_the_same_key_sealed_twice_gives_other_bytes(algorithm: Algorithm) -> None:
    one, two = (seal(bytes(32), ours(algorithm).public, EXPECTED) for _ in range(2))
    assert one[:HEADER_BYTES] == two[:HEADER_BYTES]
    assert one[HEADER_BYTES:] != two[HEADER_BYTES:]


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(EnvelopeError):
        open_envelope(data, ours("x25519"), EXPECTED)


def test_every_kind_of_key_has_a_code_of_its_own() -> None:
    assert set(get_args(KeyKind)) == KINDS.keys() - {"challenge"}
    assert len(set(KINDS.values())) == len(KINDS)


@pytest.mark.parametrize("entry", FILE["challenges"], ids=[entry["algorithm"] for entry in FILE["challenges"]])
def test_a_challenge_is_answered_by_who_holds_the_key(entry: dict[str, str]) -> None:
    assert answer_challenge(bytes.fromhex(entry["challenge"]), ours(entry["algorithm"])).hex() == entry["answer"]
    with pytest.raises(EnvelopeError) as caught:
        answer_challenge(bytes.fromhex(entry["challenge"]), KEYS[f"{entry['algorithm']}/other"])
    assert caught.value.failure is Failure.WRONG_KEY


@every_algorithm
def test_who_answers_challenges_answers_nothing_that_was_sealed_for_a_recording(algorithm: Algorithm) -> None:
    key = ours(algorithm)
    envelope = seal(bytes(32), key.public, EXPECTED)
    with pytest.raises(EnvelopeError) as caught:
        answer_challenge(envelope, key)
    assert caught.value.failure is Failure.FOREIGN
    with pytest.raises(EnvelopeError) as caught:
        answer_challenge(envelope[:6] + bytes([KINDS["challenge"]]) + envelope[7:], key)
    assert caught.value.failure is Failure.DAMAGED
    secret, org, recipient = bytes(range(32)), uuid4(), uuid4()
    assert answer_challenge(challenge(secret, key.public, org, recipient), key) != secret
