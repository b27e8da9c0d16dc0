"""What a call shows of its caller: pure."""

from dataclasses import replace

import pytest

from hushwire.core.personal import Personal
from hushwire.policy.model import Emergency
from hushwire.services.caller_id import asked_for, from_outside, from_shown
from hushwire.services.trunk_targets import trunk_target
from hushwire.sip.headers import Headers
from hushwire.sip.message import Request
from hushwire.sip.uri import SipUri
from tests.services.test_routing import ALLOWED, TRUNK

OWN = Personal("+493023125000")
DOMAIN = "voice.example.org"
TRUSTED = replace(TRUNK, trusted=True)


def invite(*headers: tuple[str, str], uri: str = f"sip:101@{DOMAIN}", from_: str = "<sip:+442079460123@carrier.example>") -> Request:
    return Request("INVITE", uri, Headers([("From", f"{from_};tag=1"), ("To", "<sip:x@y>"), *headers]))


def test_a_hidden_number_is_told_to_a_trusted_carrier_alone_and_hidden_there_too() -> None:
    trusted = trunk_target(TRUSTED, ALLOWED, OWN, DOMAIN, hides=True)
    told = dict(trusted.headers)
    assert (told["P-Asserted-Identity"], told["Privacy"]) == (f"<sip:+493023125000@{DOMAIN}>", "id")
    untrusted = trunk_target(TRUNK, ALLOWED, OWN, DOMAIN, hides=True)
    assert dict(untrusted.headers).get("Privacy") == "id"
    for target in (trusted, untrusted):
        assert str(target.from_) == '"Anonymous" <sip:anonymous@anonymous.invalid>'
    assert "3023125000" not in f"{untrusted.headers}{untrusted.from_}{untrusted.to}{untrusted.uri}"


@pytest.mark.parametrize("rules", [{}, {"caller_id": "anonymous"}, {"caller_ids": ("+4940*",)}])
def test_an_emergency_call_shows_its_number_whatever_hides_it(rules: dict[str, object]) -> None:
    target = trunk_target(replace(TRUNK, **rules), Emergency("112", "DE", "Emergency."), OWN, DOMAIN, hides=True)  # type: ignore[arg-type]
    assert target.from_.sip_uri.user == OWN.reveal()
    assert "Privacy" not in dict(target.headers)


@pytest.mark.parametrize(
    ("request_", "shown", "known", "is_hidden"),
    [
        (invite(), "+442079460123", "+442079460123", False),
        (invite(("P-Asserted-Identity", "<tel:+442079460999>")), "+442079460999", "+442079460999", False),
        (invite(("P-Asserted-Identity", "<tel:7123-4511;phone-context=+53>")), "+5371234511", "+5371234511", False),
        (invite(("P-Asserted-Identity", "<tel:7123-4511;phone-context=pbx.example>")), "71234511", "71234511", False),
        (invite(("P-Asserted-Identity", "<tel:+442079460999>"), ("Privacy", "id")), None, "+442079460999", True),
        (invite(("Privacy", "user;critical")), None, "+442079460123", True),
        (
            invite(("P-Asserted-Identity", "<tel:+442079460999>"), from_='"Anonymous" <sip:anonymous@anonymous.invalid>'),
            None,
            "+442079460999",
            True,
        ),
        (
            invite(("P-Asserted-Identity", "<tel:+442079460999>"), ("Privacy", "none"), from_="<sip:anonymous@anonymous.invalid>"),
            "+442079460999",
            "+442079460999",
            False,
        ),
        (invite(from_="<sip:Anonymous@carrier.example>"), None, None, True),
    ],
)
def test_what_a_trusted_carrier_says_of_its_caller_is_shown_unless_it_is_to_be_hidden(
    request_: Request, shown: str | None, known: str | None, is_hidden: bool
) -> None:
    caller = from_outside(request_, TRUSTED)
    assert (caller.shown and caller.shown.reveal(), caller.known and caller.known.reveal(), caller.is_hidden) == (shown, known, is_hidden)
    from_, _ = from_shown(caller, DOMAIN)
    assert from_.sip_uri.user == (shown or "anonymous")


def test_an_identity_that_an_untrusted_carrier_asserts_is_not_believed_and_its_callers_wish_is() -> None:
    caller = from_outside(invite(("P-Asserted-Identity", "<tel:+442079460999>")), TRUNK)
    assert caller.shown is not None
    assert caller.shown.reveal() == "+442079460123"
    assert from_outside(invite(("Privacy", "id")), TRUNK).shown is None


@pytest.mark.parametrize(
    ("dialled", "headers", "hides", "left"),
    [
        ("*31+442079460123", (), True, "+442079460123"),
        ("*82102", (("Privacy", "id"),), False, "102"),
        ("*31112", (), True, "112"),
        ("*31", (), None, "*31"),
        ("102", (("Privacy", "id"),), True, "102"),
        ("102", (("Privacy", "none"),), False, "102"),
        ("102", (), None, "102"),
    ],
)
def test_a_code_before_the_number_or_the_phones_own_wish_decides_for_one_call(
    dialled: str, headers: tuple[tuple[str, str], ...], hides: bool | None, left: str
) -> None:
    asked, request = asked_for(invite(*headers, uri=f"sip:{dialled}@{DOMAIN}"), dialled)
    uri = request.request_uri
    assert asked is hides
    assert isinstance(uri, SipUri)
    assert uri.user == left
