"""Privacy (RFC 3323), asserted identities (RFC 3325) and Reason (RFC 3326)."""

from dataclasses import replace

import pytest

from hushwire.sip.asserted import ANONYMOUS, Caller, caller_of, from_for, lines_for, privacy
from hushwire.sip.message import Request
from hushwire.sip.parse import parse
from hushwire.sip.reason import Reason, carried, is_answered_elsewhere, reasons, value
from hushwire.sip.uri import parse_name_addr
from tests.sip.world import request_text

ANNA = parse_name_addr('"Anna" <sip:+493012345@carrier.example>')
TEL = parse_name_addr("<tel:+493012345>")


def request(extra: str) -> Request:
    message = parse(request_text(extra=extra))
    assert isinstance(message, Request)
    return message


def test_an_identity_is_believed_from_a_trusted_peer_alone() -> None:
    message = request(f"P-Asserted-Identity: {ANNA}, {TEL}\r\n")
    assert caller_of(message, is_trusted=True) == Caller((ANNA, TEL))
    assert caller_of(message, is_trusted=False) == Caller()


@pytest.mark.parametrize(
    "value",
    ["<sip:a b@c>", "<http://a.example>", f"{ANNA}, {ANNA}", f"{TEL}, {TEL}", f"{ANNA}, {TEL}, <sips:x@y.example>", '"open <sip:a@b>'],
)
def test_what_does_not_follow_the_grammar_asserts_nothing(value: str) -> None:
    assert caller_of(request(f"P-Asserted-Identity: {value}\r\n"), is_trusted=True).identities == ()


@pytest.mark.parametrize(
    ("value", "is_hidden"),
    [
        ("id", True), ("none", False), ("id;critical", True), ("header; user", True), ("ID", True), ("session,id", True),
        ("none;id", False), ("history", False), ("", False),
    ],
)  # fmt: skip
def test_what_a_caller_wants_hidden(value: str, is_hidden: bool) -> None:
    assert caller_of(request(f"Privacy: {value}\r\n"), is_trusted=True).is_hidden is is_hidden


def test_privacy_values_are_read_over_all_lines() -> None:
    assert privacy(request("Privacy: id\r\nPrivacy: user;critical\r\n")) == {"id", "user", "critical"}


def test_an_identity_goes_to_a_trusted_peer_alone_also_where_it_is_hidden() -> None:
    hidden = Caller((ANNA,), is_hidden=True)
    assert lines_for(hidden, is_trusted=True) == [("P-Asserted-Identity", str(ANNA)), ("Privacy", "id")]
    assert lines_for(hidden, is_trusted=False) == [("Privacy", "id")]
    assert lines_for(Caller((ANNA,)), is_trusted=True) == [("P-Asserted-Identity", str(ANNA))]
    assert lines_for(Caller((ANNA,)), is_trusted=False) == []


def test_a_hidden_caller_has_no_name_in_from() -> None:
    assert from_for(ANNA, Caller((ANNA,), is_hidden=True)) == ANONYMOUS
    assert from_for(ANNA, Caller((ANNA,))) == ANNA
    assert str(ANONYMOUS) == '"Anonymous" <sip:anonymous@anonymous.invalid>'


def test_reasons_are_read_in_order_and_what_is_unreadable_is_passed_over() -> None:
    message = request(
        'Reason: Q.850;cause=16;text="Normal, clearing"\r\nReason: SIP ; cause = 600, SIP;cause="x;y", broken;;, X;cause=9999\r\n'
    )
    assert reasons(message) == (Reason("Q.850", 16, "Normal, clearing"), Reason("SIP", 600), Reason("SIP", None), Reason("X", None))


@pytest.mark.parametrize(
    ("said", "is_elsewhere"),
    [('SIP;cause=200;text="Call completed elsewhere"', True), ("Q.850;cause=200", False), ("SIP;cause=487", False), ('"', False)],
)
def test_a_call_that_was_answered_elsewhere_is_not_missed(said: str, is_elsewhere: bool) -> None:
    assert is_answered_elsewhere(reasons(request(f"Reason: {said}\r\n"))) is is_elsewhere


def test_of_a_peers_reasons_known_causes_travel_on_in_our_words_and_nothing_else() -> None:
    said = (
        'SIP;cause=486;text="call me on +442079460123", SIP;cause=487, Q.850;cause=17;text="she is with the doctor",'
        ' Q.850;cause=16, STIR;cause=436, X-Inner;cause=1;text="secret", Q.850;cause=99999, SIP;cause=200001'
    )
    told = value(carried(request(f"Reason: {said}\r\n")))
    assert told == 'SIP;cause=486;text="Busy Here", Q.850;cause=17;text="User busy"'
    assert value(carried(request('Reason: SIP;cause=299, Q.850;cause=0, Preemption;cause=1;text="x"\r\n'))) is None


def test_a_cancel_of_the_telephone_network_that_was_answered_elsewhere_says_so_to_phones_in_the_words_of_sip() -> None:
    cancel = replace(request("Reason: Q.850;cause=26\r\n"), method="CANCEL")
    assert value(carried(cancel)) == 'SIP;cause=200;text="Call completed elsewhere", Q.850;cause=26;text="Answered elsewhere"'


def test_a_reason_is_written_as_it_is_read() -> None:
    for reason in (Reason("Q.850", 16, 'a "quoted", b'), Reason("SIP", 200), Reason("X", None, "words")):
        assert reasons(request(f"Reason: {reason}\r\n")) == (reason,)
