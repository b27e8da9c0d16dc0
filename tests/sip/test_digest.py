"""Digest: RFC 7616's own example, and what the server refuses."""

import pytest

from hushwire.sip.digest import (
    Algorithm,
    Authorization,
    Challenger,
    Credentials,
    Outcome,
    authorization,
    choose_challenge,
    digest_response,
    ha1,
    parse_authorization,
    parse_challenge,
)
from hushwire.sip.errors import ParseError
from tests.sip.world import SeededRandom

REALM = "hushwire.example"
URI = "sip:hushwire.example"


def challenger(**options: float) -> Challenger:
    return Challenger(b"s" * 32, REALM, SeededRandom(3), **options)  # type: ignore[arg-type]


def answered(
    value: str, *, password: str = "open sesame", method: str = "REGISTER", uri: str = URI, nc: int = 1, realm: str | None = None
) -> Authorization:
    challenge = parse_challenge(value)
    assert challenge is not None
    credentials = Credentials("anna", password, realm)
    return parse_authorization(authorization(challenge, credentials, method=method, uri=uri, body=b"", cnonce="c0ffee", nc=nc))


def kept(algorithm: Algorithm) -> str:
    return ha1(algorithm, "anna", REALM, "open sesame")


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        (Algorithm.MD5, "8ca523f5e9506fed4657c9700eebdbec"),
        (Algorithm.SHA256, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_example_of_rfc_7616_section_3_9_1(algorithm: Algorithm, expected: str) -> None:
    secret = ha1(algorithm, "Mufasa", "http-auth@example.org", "Circle of Life")
    response = digest_response(
        algorithm,
        secret,
        "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "GET",
        "/dir/index.html",
        qop="auth",
        nc="00000001",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert response == expected


def test_the_example_of_rfc_2617_without_qop() -> None:
    secret = ha1(Algorithm.MD5, "Mufasa", "testrealm@host.com", "Circle Of Life")
    nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093"
    assert (
        digest_response(Algorithm.MD5, secret, nonce, "GET", "/dir/index.html", qop="auth", nc="00000001", cnonce="0a4f113b")
        == "6629fae49393a05397450978507c4ef1"
    )
    assert (
        digest_response(Algorithm.MD5, secret, nonce, "GET", "/dir/index.html", qop=None, nc="", cnonce="")
        == "670fd8c2df070c60b045671b8b24ff02"
    )


def test_sha_256_is_offered_before_md5() -> None:
    values = challenger().challenge(100.0)
    assert [parsed.algorithm for value in values if (parsed := parse_challenge(value))] == [Algorithm.SHA256, Algorithm.MD5]
    assert all('qop="auth"' in value for value in values)
    chosen = choose_challenge(reversed(values), Credentials("anna", "x"))
    assert chosen is not None
    assert chosen.algorithm is Algorithm.SHA256


@pytest.mark.parametrize("index", [0, 1])
def test_a_right_answer_passes_once_and_its_replay_is_refused(index: int) -> None:
    server = challenger()
    given = answered(server.challenge(100.0)[index])
    secret = kept(given.algorithm)
    assert server.check(given, secret, method="REGISTER", uri=URI, now=101.0) is Outcome.OK
    assert server.check(given, secret, method="REGISTER", uri=URI, now=102.0) is Outcome.REPLAY


def test_counts_may_come_late_but_only_once() -> None:
    server = challenger()
    value = server.challenge(100.0)[0]
    outcomes = [
        server.check(answered(value, nc=nc), kept(Algorithm.SHA256), method="REGISTER", uri=URI, now=101.0)
        for nc in (5, 3, 3, 4, 5, 100, 5)
    ]
    assert [str(outcome) for outcome in outcomes] == ["ok", "ok", "replay", "ok", "replay", "ok", "replay"]


def test_a_wrong_password_realm_method_or_uri_is_bad() -> None:
    server = challenger()
    value = server.challenge(100.0)[0]
    secret = kept(Algorithm.SHA256)
    assert server.check(answered(value, password="guess"), secret, method="REGISTER", uri=URI, now=101.0) is Outcome.BAD
    assert server.check(answered(value), secret, method="INVITE", uri=URI, now=101.0) is Outcome.BAD
    assert server.check(answered(value), secret, method="REGISTER", uri="sip:elsewhere.example", now=101.0) is Outcome.BAD
    assert server.check(answered(value), None, method="REGISTER", uri=URI, now=101.0) is Outcome.BAD
    assert server.check(answered(value), "", method="REGISTER", uri=URI, now=101.0) is Outcome.BAD
    other = Challenger(b"s" * 32, "other.example", SeededRandom(3))
    assert other.check(answered(value), secret, method="REGISTER", uri=URI, now=101.0) is Outcome.BAD
    assert server.check(answered(value), secret, method="REGISTER", uri=URI, now=101.0) is Outcome.OK


def test_a_guess_with_an_unknown_users_zeros_is_bad() -> None:
    server = challenger()
    value = server.challenge(100.0)[0]
    parsed = parse_challenge(value)
    assert parsed is not None
    response = digest_response(Algorithm.SHA256, "0" * 64, parsed.nonce, "REGISTER", URI, qop="auth", nc="00000001", cnonce="c")
    given = Authorization("nobody", REALM, parsed.nonce, URI, response, Algorithm.SHA256, "auth", 1, "c")
    assert server.check(given, None, method="REGISTER", uri=URI, now=101.0) is Outcome.BAD


def test_a_changed_destination_is_bad_but_a_dropped_parameter_is_not() -> None:
    server = challenger()
    dialled = "sip:+4930123@hushwire.example;user=phone"
    given = answered(server.challenge(100.0)[0], method="INVITE", uri=dialled)
    secret = kept(Algorithm.SHA256)
    assert server.check(given, secret, method="INVITE", uri="sip:+900666@hushwire.example;user=phone", now=101.0) is Outcome.BAD
    assert server.check(given, secret, method="INVITE", uri="sip:+4930123@hushwire.example", now=101.0) is Outcome.OK


def test_an_old_nonce_is_stale_for_who_knows_the_password_and_bad_for_who_does_not() -> None:
    server = challenger(ttl_s=60.0)
    value = server.challenge(100.0)[0]
    assert server.check(answered(value), kept(Algorithm.SHA256), method="REGISTER", uri=URI, now=161.0) is Outcome.STALE
    assert server.check(answered(value, password="no"), kept(Algorithm.SHA256), method="REGISTER", uri=URI, now=161.0) is Outcome.BAD
    assert "stale=true" in server.challenge(161.0, stale=True)[0]


def test_another_nodes_nonce_is_stale() -> None:
    elsewhere = Challenger(b"t" * 32, REALM, SeededRandom(3))
    given = answered(elsewhere.challenge(100.0)[0])
    assert challenger().check(given, kept(Algorithm.SHA256), method="REGISTER", uri=URI, now=101.0) is Outcome.STALE


def test_a_nonce_from_the_future_is_stale() -> None:
    server = challenger()
    assert server.check(answered(server.challenge(500.0)[0]), kept(Algorithm.SHA256), method="REGISTER", uri=URI, now=1.0) is Outcome.STALE


def test_a_nonce_that_fell_out_of_the_table_is_stale_never_fresh() -> None:
    server = challenger(table_size=2)
    first = answered(server.challenge(100.0)[0])
    secret = kept(Algorithm.SHA256)
    assert server.check(first, secret, method="REGISTER", uri=URI, now=100.0) is Outcome.OK
    for at in (101.0, 102.0):
        assert server.check(answered(server.challenge(at)[0]), secret, method="REGISTER", uri=URI, now=at) is Outcome.OK
    assert server.check(first, secret, method="REGISTER", uri=URI, now=103.0) is Outcome.STALE


def test_an_answer_without_qop_or_with_auth_int_is_bad() -> None:
    server = challenger()
    value = server.challenge(100.0)[0]
    secret = kept(Algorithm.SHA256)
    for offered in (value.replace('qop="auth", ', ""), value.replace('qop="auth"', 'qop="auth-int"')):
        assert server.check(answered(offered), secret, method="REGISTER", uri=URI, now=101.0) is Outcome.BAD


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Digest",
        "Basic YTpi",
        'Digest username="a"',
        'Digest username="a", username="b", realm="r", nonce="n", uri="u", response="x"',
        'Digest username="a" realm="r"',
        'Digest username="a, realm="r", nonce="n", uri="u", response="x"',
        'Digest username="a", realm="r", nonce="n", uri="u", response="x", nc=zz',
        'Digest username="a", realm="r", nonce="n", uri="u", response="x", qop=auth',
        'Digest username="a", realm="r", nonce="n", uri="u", response="x", algorithm=SHA-512-256',
        'Digest username="a", realm="r", nonce="n", uri="u", response="x", algorithm=MD5-sess',
        'Digest username="' + "\\" * 5000,
    ],
)
def test_malformed_authorization_is_a_parse_error(value: str) -> None:
    with pytest.raises(ParseError):
        parse_authorization(value)


def test_quoting_survives_a_round_trip() -> None:
    challenge = parse_challenge('Digest realm="say \\"hi\\"", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o"')
    assert challenge is not None
    assert challenge.realm == 'say "hi"'
    value = authorization(challenge, Credentials('an"na', "p"), method="INVITE", uri="sip:x", body=b"", cnonce="c", nc=1)
    given = parse_authorization(value)
    assert (given.username, given.realm, given.qop) == ('an"na', 'say "hi"', "auth")


def test_challenges_that_are_not_ours_to_answer_are_passed_over() -> None:
    assert parse_challenge('Digest realm="r", nonce="n", algorithm=TOKEN') is None
    assert parse_challenge('Digest realm="r", nonce="n", qop="future"') is None
    assert choose_challenge(['Basic realm="r"', "Digest"], Credentials("a", "b")) is None
