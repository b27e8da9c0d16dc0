"""PASSporTs (RFC 8225) with SHAKEN's claims (RFC 8588), against RFC 8225's own example and a JOSE library that we did not write."""

import base64
import hmac
import json
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jws
from joserfc.jwk import ECKey

from hushwire.sip.passport import DIV, SHAKEN, Attestation, Defect, Passport, PassportError, Token, parse, signed, verifies
from tests.sti import ORIGID

URL = "https://cert.example.org/passport.pem"
KEY = ec.derive_private_key(7, ec.SECP256R1())
PASSPORT = Passport(SHAKEN, URL, 1_443_208_345, "12155551212", ("12155551213",), Attestation.FULL, str(ORIGID))
HEADER: dict[str, Any] = {"alg": "ES256", "ppt": "shaken", "typ": "passport", "x5u": URL}
CLAIMS: dict[str, Any] = {
    "attest": "A",
    "dest": {"tn": ["12155551213"]},
    "iat": 1_443_208_345,
    "orig": {"tn": "12155551212"},
    "origid": str(ORIGID),
}


def jose_key(key: ec.EllipticCurvePrivateKey = KEY) -> ECKey:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return ECKey.import_key(pem)


def by_jose(header: dict[str, Any], claims: Any) -> str:
    """A token as the other library makes it."""
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    return jws.serialize_compact(header, json.dumps(claims).encode(), jose_key(), registry=registry)


def by_hand(header: Any, claims: Any, signature: bytes = bytes(64)) -> str:
    def part(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    texts = [item if isinstance(item, bytes) else json.dumps(item).encode() for item in (header, claims)]
    return ".".join([*map(part, texts), part(signature)])


def test_what_we_sign_another_jose_library_verifies() -> None:
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    found = jws.deserialize_compact(signed(PASSPORT, KEY), jose_key(), registry=registry)
    assert found.protected == HEADER
    assert json.loads(found.payload) == CLAIMS


def test_what_another_jose_library_signs_is_read_and_verified() -> None:
    token = parse(by_jose(HEADER, CLAIMS))
    assert token.passport == PASSPORT
    assert verifies(token, KEY.public_key())
    assert not verifies(token, ec.derive_private_key(8, ec.SECP256R1()).public_key())


def test_members_stand_in_the_canonical_order_and_signatures_need_no_chance() -> None:
    head, claims, _ = signed(PASSPORT, KEY).split(".")

    def plain(part: str) -> str:
        return base64.urlsafe_b64decode(part + "==").decode()

    # RFC 8225 section 9: lexicographic, without white space.
    assert plain(head) == f'{{"alg":"ES256","ppt":"shaken","typ":"passport","x5u":"{URL}"}}'
    assert (
        plain(claims)
        == f'{{"attest":"A","dest":{{"tn":["12155551213"]}},"iat":1443208345,"orig":{{"tn":"12155551212"}},"origid":"{ORIGID}"}}'
    )
    assert signed(PASSPORT, KEY) == signed(PASSPORT, KEY)


def test_the_es256_example_of_rfc_7515_verifies() -> None:
    # Appendix A.3. (The signature that RFC 8225 prints in section 9.2 is not one by the key of its appendix A.)
    point = b"\x04" + b"".join(
        base64.urlsafe_b64decode(text + "=")
        for text in ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
    )
    said = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    signature = base64.urlsafe_b64decode("DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q==")
    token = Token(PASSPORT, said.encode(), int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    assert verifies(token, key)
    assert not verifies(replace(token, signed=token.signed + b"A"), key)


def test_a_token_without_shakens_extension_is_none_of_shaken() -> None:
    # RFC 8225 section 9.2's example: it says who calls, but not with which right.
    text = (
        "eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwieDV1IjoiaHR0cHM6Ly9jZXJ0LmV4YW1wbGUub3JnL3Bhc3Nwb3J0LmNlciJ9"
        ".eyJkZXN0Ijp7InVyaSI6WyJzaXA6YWxpY2VAZXhhbXBsZS5jb20iXX0sImlhdCI6MTQ3MTM3NTQxOCwib3JpZyI6eyJ0biI6IjEyMTU1NTUxMjEyIn19"
        ".VLBCIVDCaeK6M4hLJb6SHQvacAQVvoiiEOWQ_iUkqk79UD81fHQ0E1b3_GluIkba7UWYRM47ZbNFdOJquE35cw"
    )
    with pytest.raises(PassportError) as caught:
        parse(text)
    assert caught.value.defect is Defect.CLAIMS


def test_a_diversion_is_written_and_read() -> None:
    passport = Passport(DIV, URL, 1_443_208_345, "12155551212", ("12155551214",), div="12155551213")
    token = parse(signed(passport, KEY))
    assert token.passport == passport
    assert verifies(token, KEY.public_key())


def test_a_token_changed_in_any_character_does_not_count() -> None:
    text = signed(PASSPORT, KEY)
    for place, was in enumerate(text):
        for letter in "Ab.~".replace(was, ""):
            try:
                token = parse(text[:place] + letter + text[place + 1 :])
            except PassportError:
                continue
            assert not verifies(token, KEY.public_key()), place


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ({"alg": "none"}, Defect.ALGORITHM),
        ({"alg": "HS256"}, Defect.ALGORITHM),
        ({"alg": "ES384"}, Defect.ALGORITHM),
        ({"alg": ["ES256"]}, Defect.ALGORITHM),
        ({"typ": "JWT"}, Defect.MALFORMED),
        ({"crit": ["exp"], "exp": 1}, Defect.MALFORMED),
        ({"ppt": "rph"}, Defect.CLAIMS),
        ({"ppt": None}, Defect.CLAIMS),
        ({"x5u": 1}, Defect.CLAIMS),
    ],
)
def test_headers_that_shaken_does_not_allow_are_refused(change: dict[str, Any], defect: Defect) -> None:
    with pytest.raises(PassportError) as caught:
        parse(by_hand(HEADER | change, CLAIMS))
    assert caught.value.defect is defect


@pytest.mark.parametrize(
    ("change", "defect"),
    [
        ({"orig": {"tn": "+12155551212"}}, Defect.NUMBER_FORM),
        ({"orig": {"tn": "1 215 555 1212"}}, Defect.NUMBER_FORM),
        ({"orig": {"tn": "1215555１212"}}, Defect.NUMBER_FORM),
        ({"orig": {"tn": ""}}, Defect.NUMBER_FORM),
        ({"orig": {"tn": "1" * 33}}, Defect.NUMBER_FORM),
        ({"orig": {"tn": 12155551212}}, Defect.CLAIMS),
        ({"orig": {"tn": ["12155551212"]}}, Defect.CLAIMS),
        ({"orig": {"uri": "sip:a@example.com"}}, Defect.CLAIMS),
        ({"orig": "12155551212"}, Defect.CLAIMS),
        ({"dest": {"tn": "12155551213"}}, Defect.CLAIMS),
        ({"dest": {"tn": []}}, Defect.CLAIMS),
        ({"dest": {"tn": ["12155551213"] * 17}}, Defect.CLAIMS),
        ({"dest": {"tn": ["sip:a@b"]}}, Defect.NUMBER_FORM),
        ({"iat": "1443208345"}, Defect.CLAIMS),
        ({"iat": 1443208345.5}, Defect.CLAIMS),
        ({"iat": True}, Defect.CLAIMS),
        ({"iat": -1}, Defect.CLAIMS),
        ({"iat": 10**30}, Defect.CLAIMS),
        ({"attest": "D"}, Defect.CLAIMS),
        ({"attest": "a"}, Defect.CLAIMS),
        ({"attest": None}, Defect.CLAIMS),
        ({"origid": "x" * 65}, Defect.CLAIMS),
        ({"origid": ""}, Defect.CLAIMS),
        ({"origid": "ü"}, Defect.CLAIMS),
        ({"origid": f"{ORIGID}\n"}, Defect.CLAIMS),
    ],
)
def test_claims_in_a_wrong_form_are_refused(change: dict[str, Any], defect: Defect) -> None:
    with pytest.raises(PassportError) as caught:
        parse(by_hand(HEADER, CLAIMS | change))
    assert caught.value.defect is defect


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "..AAAA",
        "a.b",
        "a.b.c.d",
        signed(PASSPORT, KEY) + "=",
        signed(PASSPORT, KEY) + ".",
        by_hand(HEADER, CLAIMS, b""),
        by_hand(HEADER, CLAIMS, bytes(63)),
        by_hand(HEADER, CLAIMS, bytes(72)),
        by_hand(b"[]", CLAIMS),
        by_hand(b"[" * 1500, CLAIMS),
        by_hand(b'{"alg":"none","alg":"ES256","ppt":"shaken","typ":"passport","x5u":"https://a"}', CLAIMS),
        by_hand(HEADER, b'{"iat":NaN}'),
        by_hand(HEADER, b"\xff\xfe"),
        by_hand(HEADER, b'{"iat":' + b"9" * 1500 + b"}"),
    ],
)
def test_what_is_no_token_is_malformed(text: str) -> None:
    with pytest.raises(PassportError):
        parse(text)


def test_a_token_longer_than_any_is_not_looked_at() -> None:
    with pytest.raises(PassportError) as caught:
        parse("a" * 5000)
    assert caught.value.defect is Defect.OVERSIZED


@given(st.text(max_size=300))
def test_whatever_stands_there_is_read_or_refused(text: str) -> None:
    with suppress(PassportError):
        parse(text)


def test_a_key_that_a_token_brings_along_counts_for_nothing() -> None:
    other = ec.derive_private_key(9, ec.SECP256R1())
    header = HEADER | {"jwk": jose_key(other).as_dict(private=False), "kid": "1"}
    registry = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    token = parse(jws.serialize_compact(header, json.dumps(CLAIMS).encode(), jose_key(other), registry=registry))
    assert not verifies(token, KEY.public_key())


def test_a_mac_made_with_the_public_key_is_no_signature() -> None:
    secret = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    said = by_hand(HEADER | {"alg": "HS256"}, CLAIMS).rpartition(".")[0]
    mac = base64.urlsafe_b64encode(hmac.digest(secret, said.encode(), "sha256")).rstrip(b"=").decode()
    with pytest.raises(PassportError):
        parse(f"{said}.{mac}")
    # and with a signature's length it is refused for what it says it is
    with pytest.raises(PassportError) as caught:
        parse(f"{said}.{'A' * 86}")
    assert caught.value.defect is Defect.ALGORITHM
