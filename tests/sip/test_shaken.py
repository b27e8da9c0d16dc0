"""Which Identity headers hold for a call (RFC 8224 section 6.2): no I/O, the time is given."""

import pytest

from hushwire.sip import shaken
from hushwire.sip.headers import Headers
from hushwire.sip.passport import DIV, SHAKEN, Attestation, Passport, Token, parse, signed
from hushwire.sip.shaken import Standing, Statement, Verdict
from hushwire.sip.sti_certificate import Fault, Signer, judge
from hushwire.sip.tn_authority import Numbers
from tests.sti import CODE_709J, NOW, ORIGID, Authority, issue, statement

URL = "https://cert.example.org/shaken.pem"
ROOT = issue("root", ca=True)
LEAF = issue("SHAKEN 709J", ROOT, numbers=CODE_709J)
CALLER, CALLED = "+12155551212", "+493023125000"
AT = NOW.timestamp()
SIGNED = statement(LEAF, URL, CALLER, CALLED, AT)
TOKEN = SIGNED.partition(";")[0]


def headers(*values: str) -> Headers:
    return Headers([("Identity", value) for value in values])


def verdict(
    value: str, caller: str | None = CALLER, called: str = CALLED, now: float = AT, signer: Signer | Fault | None = None
) -> Verdict:
    found = shaken.read(headers(value))
    if isinstance(found, Verdict):
        return found
    chain = shaken.about(found, caller, called, None, now)
    if isinstance(chain, Verdict):
        return chain
    return shaken.confirm([(one.token, signer or judge(LEAF.chain, [ROOT.certificate], NOW)) for one in chain])


def test_a_statement_for_this_call_passes_with_what_it_attests_and_who_signed() -> None:
    for attest in Attestation:
        value = statement(LEAF, URL, CALLER, CALLED, AT, attest)
        assert verdict(value) == Verdict(Standing.PASSED, None, attest, "709J")


@pytest.mark.parametrize(
    "value",
    [
        f"{TOKEN}; info=<{URL}> ; alg=ES256 ; ppt=shaken",
        f'{TOKEN};ppt="shaken";info=<{URL}>;alg="ES256"',
        f"{TOKEN};info=<{URL}>;ppt=shaken",
        f"{TOKEN};INFO=<{URL}>;PPT=shaken;unknown",
    ],
)
def test_parameters_may_be_quoted_spaced_and_in_any_order(value: str) -> None:
    assert verdict(value).standing is Standing.PASSED


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "malformed"),
        (f"{TOKEN}", "extension"),
        (f"{TOKEN};info=<{URL}>;alg=ES256", "extension"),
        (f"{TOKEN};info=<{URL}>;alg=ES256;ppt=div", "extension"),
        (f"{TOKEN};info=<{URL}>;alg=none;ppt=shaken", "algorithm"),
        (f"{TOKEN};info=<{URL}2>;ppt=shaken", "header-mismatch"),
        (f"{TOKEN};ppt=shaken", "header-mismatch"),
        (f"{TOKEN};info=<{URL}>;ppt=shaken;ppt=shaken", "malformed"),
        (f"{TOKEN};info=<{URL}>;ppt=shaken;=", "malformed"),
        (f'{TOKEN};info=<{URL}>;ppt="shaken', "malformed"),
        (f"..{TOKEN.rpartition('.')[2]};info=<{URL}>;ppt=shaken", "malformed"),  # the compact form, which SHAKEN does not use
        (f"{'A' * 5000};info=<{URL}>;ppt=shaken", "oversized"),
        (f"{'A' * 9000};info=<{URL}>;ppt=shaken", "oversized"),
    ],
)
def test_headers_that_do_not_hold_say_why(value: str, reason: str) -> None:
    assert verdict(value).reason == reason


def test_one_statement_among_those_of_other_extensions_is_found_and_of_two_none_counts() -> None:
    other = "eyJhIjoxfQ.eyJhIjoxfQ.AAAA;info=<https://other.example>;ppt=rph"
    assert isinstance(shaken.read(headers(other, SIGNED)), Statement)
    assert shaken.read(headers(SIGNED, SIGNED)) == shaken.failed("ambiguous")
    assert shaken.read(headers(*[other] * 9)) == shaken.failed("oversized")
    assert shaken.read(headers(other)) == shaken.unverified("extension")
    assert shaken.read(Headers()) == shaken.unverified("unsigned")
    assert isinstance(shaken.read(Headers([("y", SIGNED)])), Statement)  # the compact name (RFC 8224 section 4)


@pytest.mark.parametrize(
    "url",
    [
        "http://cert.example.org/a.pem", "https://user:secret@cert.example.org/a.pem", "https:///a.pem", "https://cert.example.org:99999/",
        "https://cert.example.org/a#b", "https://cert.example.org/ä", "https://cert.example.org/a b", "https://cert.example.org\\@inner/",
        "file:///etc/passwd", "ftp://cert.example.org/", "https://cert.example.org/" + "a" * 600, "https://[::1/", "cert.example.org", "",
        "https://cert.example.org/\r\nX-Evil: 1",
    ],
)  # fmt: skip
def test_certificates_are_asked_for_at_https_urls_alone(url: str) -> None:
    token = signed(Passport(SHAKEN, url, int(AT), CALLER[1:], (CALLED[1:],), Attestation.FULL, str(ORIGID)), LEAF.key)
    found = shaken.read(headers(f"{token};info=<{url}>;ppt=shaken"))
    assert isinstance(found, Verdict)
    assert found.standing is Standing.FAILED
    assert not shaken.is_https(url)


def test_a_statement_about_somebody_else_or_another_time_fails() -> None:
    assert verdict(SIGNED, caller="+12155551213").reason == "caller-mismatch"
    assert verdict(SIGNED, caller=None) == shaken.unverified("no-number")
    assert verdict(SIGNED, called="+493023125001").reason == "called-mismatch"
    assert verdict(SIGNED, now=AT + 60).standing is Standing.PASSED
    assert verdict(SIGNED, now=AT + 60.5).reason == "stale"
    assert verdict(SIGNED, now=AT - 60).standing is Standing.PASSED
    assert verdict(SIGNED, now=AT - 60.5).reason == "not-yet-valid"


def test_who_signs_must_hold_the_key_and_the_number() -> None:
    found = judge(LEAF.chain, [ROOT.certificate], NOW)
    assert isinstance(found, Signer)
    other = issue("other", ROOT, numbers=CODE_709J)
    assert verdict(statement(other, URL, CALLER, CALLED, AT)).reason == "signature"
    assert verdict(SIGNED, signer=Signer(found.key, Numbers((), (("12155551213", "12155551299"),)), found.until)).reason == "not-its-number"
    mine = verdict(SIGNED, signer=Signer(found.key, Numbers((), (("12155551200", "12155551299"),)), found.until))
    assert mine == Verdict(Standing.PASSED, None, Attestation.FULL, None)
    for fault in Fault:
        assert verdict(SIGNED, signer=fault) == shaken.failed(fault.value)


def diverted(signer: Authority, from_: str, to: str, at: float = AT, caller: str = CALLER) -> str:
    """What somebody signs who sends a call elsewhere (RFC 8946)."""
    token = signed(Passport(DIV, URL, int(at), caller[1:], (to[1:],), div=from_[1:]), signer.key)
    return f"{token};info=<{URL}>;alg=ES256;ppt=div"


def test_a_diverted_call_passes_where_each_step_to_who_is_called_is_signed() -> None:
    second, third = "+493023125001", "+493023125002"
    found = judge(LEAF.chain, [ROOT.certificate], NOW)
    assert isinstance(found, Signer)
    steps = (diverted(LEAF, second, third), SIGNED, diverted(LEAF, CALLED, second))
    statement_ = shaken.read(headers(*steps))
    assert isinstance(statement_, Statement)
    chain = shaken.about(statement_, CALLER, third, None, AT)
    assert isinstance(chain, tuple)
    assert [one.token.passport.ppt for one in chain] == ["shaken", "div", "div"]
    assert shaken.confirm([(one.token, found) for one in chain]).standing is Standing.PASSED
    # Not needed, not asked for.
    direct = shaken.about(statement_, CALLER, CALLED, None, AT)
    assert isinstance(direct, tuple)
    assert len(direct) == 1
    # A step that somebody else signed, or that has no right to the number that it was diverted from.
    stranger = issue("stranger", ROOT, numbers=CODE_709J)
    chain = shaken.about(shaken.read(headers(SIGNED, diverted(stranger, CALLED, second))), CALLER, second, None, AT)  # type: ignore[arg-type]
    assert isinstance(chain, tuple)
    assert shaken.confirm([(one.token, found) for one in chain]) == shaken.failed("signature")
    other = Signer(found.key, Numbers((), ((CALLER[1:], CALLER[1:]),)), found.until)
    chain = shaken.about(shaken.read(headers(SIGNED, diverted(LEAF, CALLED, second))), CALLER, second, None, AT)  # type: ignore[arg-type]
    assert isinstance(chain, tuple)
    assert shaken.confirm([(one.token, other) for one in chain]) == shaken.failed("not-its-number")


def test_steps_that_lead_elsewhere_are_old_or_of_another_caller_prove_nothing() -> None:
    second, third = "+493023125001", "+493023125002"
    for step, reason in (
        (diverted(LEAF, second, third), "called-mismatch"),
        (diverted(LEAF, CALLED, second), "called-mismatch"),
        (diverted(LEAF, CALLED, third, caller="+12155551299"), "called-mismatch"),
        (diverted(LEAF, CALLED, third, at=AT - 61), "stale"),
        (diverted(LEAF, CALLED, CALLED), "called-mismatch"),  # a circle ends
    ):
        found = shaken.read(headers(SIGNED, step))
        assert isinstance(found, Statement)
        assert shaken.about(found, CALLER, third, None, AT) == shaken.failed(reason)


def test_a_call_that_was_diverted_by_who_signs_nothing_is_not_verified_and_no_lie() -> None:
    found = shaken.read(headers(SIGNED))
    assert isinstance(found, Statement)
    assert shaken.about(found, CALLER, "+493023125001", CALLED, AT) == shaken.unverified("diverted")
    assert shaken.about(found, CALLER, "+493023125001", "+493023125001", AT) == shaken.failed("called-mismatch")


def test_both_spellings_of_one_signature_say_the_same_statement() -> None:
    # ECDSA: (r, n - s) verifies as well; whoever remembers statements must not remember signatures.
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    token = parse(TOKEN)
    twin = Token(token.passport, token.signed, token.r, order - token.s)
    found = judge(LEAF.chain, [ROOT.certificate], NOW)
    assert shaken.confirm([(twin, found)]).standing is Standing.PASSED
    assert twin.mark == token.mark
    assert twin.mark != Token(token.passport, token.signed, token.r, token.s - 1).mark
