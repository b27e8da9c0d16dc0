"""Customers' keys in every form that they come in, and what is refused."""

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from hushwire.vault.recipients import Algorithm, PrivateKey, RecipientKeyError, generate, load_private, load_public
from tests.vault.test_envelopes import KEYS, every_algorithm, ours

PASSPHRASE = b"correct horse battery"


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def number(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))


def rsa_jwk(key: RSAPublicKey, **more: Any) -> dict[str, Any]:
    numbers = key.public_numbers()
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e), "alg": "RSA-OAEP-256", "use": "enc"} | more


def pem(key: Any) -> str:
    text: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


@every_algorithm
def test_a_public_key_reads_back_from_its_own_pem_and_raw_form(algorithm: Algorithm) -> None:
    public = ours(algorithm).public
    for given in (public.pem().decode(), base64.b64encode(public.encoded).decode(), b64url(public.encoded), "\n" + public.pem().decode()):
        assert load_public(algorithm, given) == public


def test_json_web_keys_of_x25519_and_rsa_are_read() -> None:
    public = ours("x25519").public
    jwk = {"kty": "OKP", "crv": "X25519", "x": b64url(public.encoded), "kid": "ours"}
    assert load_public(Algorithm.X25519, jwk) == load_public(Algorithm.X25519, json.dumps(jwk)) == public
    handle = ours("rsa-oaep-256").public.handle
    assert isinstance(handle, RSAPublicKey)
    assert load_public(Algorithm.RSA, rsa_jwk(handle)) == ours("rsa-oaep-256").public


@every_algorithm
def test_a_private_key_reads_back_with_and_without_a_passphrase(algorithm: Algorithm) -> None:
    key = ours(algorithm)
    assert load_private(key.pem(None)).public == key.public
    locked = key.pem(PASSPHRASE)
    assert b"ENCRYPTED" in locked
    assert load_private(locked, PASSPHRASE).public == key.public
    with pytest.raises(RecipientKeyError, match="passphrase"):
        load_private(locked)
    with pytest.raises(RecipientKeyError, match="passphrase is another one"):
        load_private(locked, b"another one of some length")
    with pytest.raises(RecipientKeyError, match="at least 16"):
        key.pem(b"short")


@every_algorithm
def test_a_private_key_is_never_taken_for_a_public_one(algorithm: Algorithm) -> None:
    for given in (ours(algorithm).pem(None).decode(), ours(algorithm).pem(PASSPHRASE).decode()):
        with pytest.raises(RecipientKeyError, match="this is a private key"):
            load_public(algorithm, given)
    with pytest.raises(RecipientKeyError, match="this is a private key"):
        load_public(algorithm, {"kty": "OKP", "crv": "X25519", "x": "AA", "d": "AA"})


def test_keys_of_one_pair_are_told_from_those_of_another_and_print_nothing() -> None:
    assert len({key.public.fingerprint for key in KEYS.values()}) == len(KEYS)
    for key in KEYS.values():
        assert key.public.encoded.hex()[:16] not in repr(key)
    # The same 32 bytes under two algorithms are two keys.
    assert len(generate(Algorithm.HYBRID).public.encoded) == 1216


def _weak() -> list[tuple[str, Algorithm, Any]]:
    small = rsa.generate_private_key(65537, 1024).public_key()
    low = rsa.generate_private_key(3, 2048).public_key()
    x = ours("x25519").public
    hybrid = ours("mlkem768-x25519").public
    order = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
    return [
        ("rsa of 1024 bits", Algorithm.RSA, pem(small)),
        ("rsa of 1024 bits as jwk", Algorithm.RSA, rsa_jwk(small)),
        ("rsa with exponent 3", Algorithm.RSA, pem(low)),
        ("rsa of 16384 bits", Algorithm.RSA, {"kty": "RSA", "n": number((1 << 16384) - 1), "e": "AQAB"}),
        ("rsa with an even modulus", Algorithm.RSA, {"kty": "RSA", "n": number(1 << 2047), "e": "AQAB"}),
        ("zero point", Algorithm.X25519, b64url(bytes(32))),
        ("point of small order", Algorithm.X25519, b64url(order)),
        ("small order in the hybrid", Algorithm.HYBRID, b64url(hybrid.encoded[:1184] + order)),
        ("31 bytes", Algorithm.X25519, b64url(bytes(31))),
        ("hybrid cut", Algorithm.HYBRID, b64url(hybrid.encoded[:-1])),
        ("hybrid of noise", Algorithm.HYBRID, b64url(b"\xff" * 1184 + x.encoded)),
        ("halves swapped", Algorithm.HYBRID, "".join(reversed(_blocks(hybrid.pem().decode())))),
        ("half of a hybrid", Algorithm.HYBRID, x.pem().decode()),
        ("x25519 said to be rsa", Algorithm.RSA, x.pem().decode()),
        ("elliptic curve", Algorithm.X25519, pem(ec.generate_private_key(ec.SECP256R1()).public_key())),
        ("signing key", Algorithm.X25519, pem(ed25519.Ed25519PrivateKey.generate().public_key())),
        ("signing jwk", Algorithm.X25519, {"kty": "OKP", "crv": "Ed25519", "x": b64url(x.encoded)}),
        ("jwk for signatures", Algorithm.X25519, {"kty": "OKP", "crv": "X25519", "x": b64url(x.encoded), "use": "sig"}),
        ("jwk of another alg", Algorithm.RSA, rsa_jwk(rsa.generate_private_key(65537, 2048).public_key(), alg="RSA-OAEP")),
        ("nothing", Algorithm.X25519, ""),
        ("no base64", Algorithm.X25519, "!" * 43),
        ("nul", Algorithm.X25519, "\0" * 43),
        ("beyond ascii", Algorithm.X25519, "ä" * 43),
        ("broken json", Algorithm.X25519, "{"),
        ("json of no object", Algorithm.X25519, '{"kty": 1, "x": []}'),
        ("deep json", Algorithm.X25519, "{" + '"a":{' * 5000),
        ("three blocks", Algorithm.HYBRID, x.pem().decode() * 3),
        ("certificate", Algorithm.RSA, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"),
        ("empty block", Algorithm.RSA, "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"),
        ("endless", Algorithm.X25519, "A" * (1 << 17)),
    ]


def _blocks(text: str) -> list[str]:
    end = "-----END PUBLIC KEY-----\n"
    return [block + end for block in text.split(end) if block]


@pytest.mark.parametrize(("algorithm", "given"), [entry[1:] for entry in _weak()], ids=[entry[0] for entry in _weak()])
def test_what_is_no_key_or_a_weak_one_is_refused_in_words(algorithm: Algorithm, given: Any) -> None:
    with pytest.raises(RecipientKeyError) as caught:
        load_public(algorithm, given)
    assert isinstance(given, dict) or not given or given[:40] not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"", b"x", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----", KEYS["x25519/ours"].public.pem()]
)
def test_a_file_that_holds_no_private_key_is_refused(text: bytes) -> None:
    with pytest.raises(RecipientKeyError):
        load_private(text)


def test_an_rsa_key_of_an_odd_size_seals_and_opens() -> None:
    from hushwire.vault.envelopes import open_envelope, seal
    from tests.vault.test_envelopes import EXPECTED

    made = rsa.generate_private_key(65537, 2056)
    form = serialization.PrivateFormat.PKCS8
    key: PrivateKey = load_private(made.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    assert open_envelope(seal(bytes(32), key.public, EXPECTED), key, EXPECTED) == bytes(32)
