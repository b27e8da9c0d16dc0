"""SDES key lines: the examples of RFC 4568, and what is passed over."""

import base64

import pytest

from hushwire.sdp.crypto import Crypto, Suite, parse_crypto


@pytest.mark.parametrize(
    ("line", "tag", "suite"),
    [
        # RFC 4568 section 4.1
        ("1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20", 1, Suite.AES_CM_128_HMAC_SHA1_80),
        # RFC 4568 section 7.1.1 (unencrypted RTCP apart): the answer's line
        ("1 AES_CM_128_HMAC_SHA1_80 inline:PS1uQCVeeCFCanVmcjkpPywjNWhcYD0mXXtxaVBR|2^20", 1, Suite.AES_CM_128_HMAC_SHA1_80),
        ("1 AES_CM_128_HMAC_SHA1_32 inline:NzB4d1BINUAvLEw6UzF3WSJ+PSdFcGdUJShpX1Zj", 1, Suite.AES_CM_128_HMAC_SHA1_32),
        ("7  aes_cm_128_hmac_sha1_80  inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|1048576", 7, Suite.AES_CM_128_HMAC_SHA1_80),
        ("3 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj KDR=0 WSH=128", 3, Suite.AES_CM_128_HMAC_SHA1_80),
        ("2 AES_256_CM_HMAC_SHA1_80 inline:" + base64.b64encode(bytes(46)).decode().rstrip("="), 2, Suite.AES_256_CM_HMAC_SHA1_80),
    ],
)
def test_lines_as_peers_write_them(line: str, tag: int, suite: Suite) -> None:
    found = parse_crypto(line)
    assert found is not None
    assert (found.tag, found.suite, len(found.key)) == (tag, suite, suite.key_bytes)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "1",
        "x AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
        "1 F8_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
        "1 AES_CM_128_HMAC_SHA1_80 inline:short",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSo!",
        "1 AES_CM_128_HMAC_SHA1_80 uri:https://keys.example",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20|1:4",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj|2^20;inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj UNENCRYPTED_SRTP",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj UNAUTHENTICATED_SRTP",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj FEC_ORDER=FEC_SRTP",
        "1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj UNENCRYPTED_SRTCP",
    ],
)
def test_lines_that_we_could_not_keep_are_passed_over(line: str) -> None:
    assert parse_crypto(line) is None


def test_a_line_of_ours_reads_the_same_and_prints_no_key() -> None:
    crypto = Crypto(1, Suite.AES_CM_128_HMAC_SHA1_80, bytes(range(30)))
    assert parse_crypto(crypto.to_attribute()) == crypto
    assert base64.b64encode(crypto.key).decode() not in repr(crypto)
