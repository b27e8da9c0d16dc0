"""Where calls go: what reaches a trunk, who counts as a trunk, and what keys need protection."""

import ipaddress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest

from hushwire.core.errors import LocalError
from hushwire.core.ids import TrunkId
from hushwire.core.personal import Personal
from hushwire.policy.model import Allow, Emergency, NumberClass
from hushwire.policy.trunk_number import NumberFormat
from hushwire.sdp.offer_answer import Keying, Srtp
from hushwire.services.agent_terms import agent_terms
from hushwire.services.snapshot import Organisation
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_targets import carries, leads_to, sends_from, trunk_target
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.uri import parse_sip_uri

URI = parse_sip_uri("sip:carrier.example.net:5080;transport=tcp")
TRUNK = Trunk(TrunkId(UUID(int=1)), "carrier", URI, "never", None, frozenset({"192.0.2.1"}), "auto", is_declared=False)
ALLOWED = Allow("+442079460123", "GB", NumberClass.FIXED, "Allowed.")


def flow(host: str, port: int = 5060, transport: Transport = Transport.UDP) -> Flow:
    return Flow(transport, 1, Address("192.0.2.99", 5060), Address(host, port))


def test_the_request_uri_is_the_judged_number_at_the_trunks_host_and_nothing_else() -> None:
    target = trunk_target(TRUNK, ALLOWED, Personal("+493023125000"), "voice.example.org")
    assert target.uri == "sip:+442079460123@carrier.example.net:5080;transport=tcp"
    assert target.hop == Target(Transport.TCP, "carrier.example.net", 5080)
    assert str(target.from_) == "<sip:+493023125000@voice.example.org>"
    assert target.headers == (("P-Early-Media", "supported"),)


def test_an_emergency_verdict_reaches_the_trunk_too() -> None:
    target = trunk_target(TRUNK, Emergency("112", "DE", "Emergency."), None, "voice.example.org")
    assert target.uri.startswith("sip:112@carrier.example.net")
    assert str(target.from_) == '"Anonymous" <sip:anonymous@anonymous.invalid>'


def test_a_listed_short_code_leaves_as_dialled_and_never_by_a_carrier_of_another_country() -> None:
    code = Allow("116117", "DE", NumberClass.SHORT_CODE, "Listed.")
    for form in NumberFormat:
        target = trunk_target(replace(TRUNK, number_format=form, country="DE"), code, None, "voice.example.org")
        assert target.uri == "sip:116117@carrier.example.net:5080;transport=tcp"
    prefixed = replace(TRUNK, prefixes=("+49",))
    assert [carries(replace(prefixed, country=country), code) for country in ("DE", None, "FR")] == [True, True, False]
    with pytest.raises(LocalError):
        trunk_target(TRUNK, replace(code, number="+49116117"), None, "voice.example.org")


@pytest.mark.parametrize("number", ["+44207946%3012", "+442;maddr=evil", "+44@evil.example", "+44?Route=x", ""])
def test_what_would_not_arrive_byte_for_byte_as_judged_is_never_built(number: str) -> None:
    with pytest.raises(LocalError):
        trunk_target(TRUNK, replace(ALLOWED, number=number), None, "voice.example.org")


@pytest.mark.parametrize(("host", "port", "is_trunk"), [("192.0.2.1", 5080, True), ("192.0.2.1", 5081, False), ("192.0.2.2", 5080, False)])
def test_an_undeclared_trunk_is_its_uris_own_address_and_port(host: str, port: int, is_trunk: bool) -> None:
    assert sends_from(TRUNK, flow(host, port)) is is_trunk


@pytest.mark.parametrize(
    ("entry", "host", "port", "is_trunk"),
    [
        ("192.0.2.7", "192.0.2.7", 33000, True),
        ("192.0.2.7", "192.0.2.8", 33000, False),
        ("192.0.2.0/28", "192.0.2.14", 1, True),
        ("192.0.2.0/28", "192.0.2.16", 1, False),
        ("192.0.2.7:5062", "192.0.2.7", 5062, True),
        ("192.0.2.7:5062", "192.0.2.7", 5063, False),
        ("2001:db8::7", "2001:db8::7", 5060, True),
        ("[2001:db8::7]:5062", "2001:db8::7", 5063, False),
        ("[2001:db8::7]:5062", "2001:db8::7", 5062, True),
        ("2001:db8::/64", "2001:db8::ffff", 1, True),
        ("2001:db8::/64", "192.0.2.7", 1, False),
        ("192.0.2.7", "::ffff:192.0.2.7", 1, True),
        ("::ffff:192.0.2.7", "::ffff:192.0.2.7", 1, True),
        ("192.0.2.7:none", "192.0.2.7", 5060, False),
        ("carrier.example.net", "192.0.2.7", 5060, False),
        ("192.0.2.7", "carrier.example.net", 5060, False),
    ],
)
def test_declared_addresses_may_be_networks_or_name_a_port(entry: str, host: str, port: int, is_trunk: bool) -> None:
    trunk = replace(TRUNK, addresses=frozenset({entry}), is_declared=True)
    assert sends_from(trunk, flow(host, port)) is is_trunk


def test_declared_addresses_are_read_once_when_the_trunk_is_and_not_at_each_message(monkeypatch: pytest.MonkeyPatch) -> None:
    trunk = replace(TRUNK, addresses=frozenset({"192.0.2.0/28", "198.51.100.0/24"}), is_declared=True)
    assert sends_from(trunk, flow("192.0.2.14", 1))

    def read(*_: object, **__: object) -> None:
        raise AssertionError("an address was read again")

    for name in ("ip_network", "ip_address", "IPv4Network", "IPv4Address"):
        monkeypatch.setattr(ipaddress, name, read)
    assert sends_from(trunk, flow("192.0.2.14", 2))


def test_a_trunks_srtp_setting_is_its_legs_term() -> None:
    assert trunk_target(replace(TRUNK, srtp="required"), ALLOWED, None, "voice.example.org").terms.srtp is Srtp.REQUIRED


@pytest.mark.parametrize(
    ("host", "port", "is_there"),
    [("192.0.2.1", 5080, True), ("192.0.2.1", 5081, False), ("192.0.2.2", 5080, False)],
)
def test_a_device_that_registered_from_the_trunks_address_is_the_trunk(host: str, port: int, is_there: bool) -> None:
    assert leads_to(TRUNK, flow(host, port)) is is_there
    assert leads_to(TRUNK, Target(Transport.UDP, host, port)) is is_there


def test_where_inbound_addresses_are_declared_the_trunks_own_address_is_no_device_either() -> None:
    trunk = replace(TRUNK, uri=parse_sip_uri("sip:192.0.2.1"), addresses=frozenset({"198.51.100.0/24"}), is_declared=True)
    assert leads_to(trunk, flow("192.0.2.1", 5060))
    assert leads_to(trunk, flow("198.51.100.7", 40000))
    assert not leads_to(trunk, flow("192.0.2.1", 5062))


@pytest.mark.parametrize(
    ("transport", "host", "allows_clear", "keyings"),
    [
        (Transport.TLS, "192.0.2.7", False, (Keying.SDES, Keying.DTLS)),
        (Transport.UDP, "127.0.0.1", False, (Keying.SDES, Keying.DTLS)),
        (Transport.UDP, "192.0.2.7", True, (Keying.SDES, Keying.DTLS)),
        (Transport.UDP, "192.0.2.7", False, (Keying.DTLS,)),
        (Transport.TCP, "2001:db8::7", False, (Keying.DTLS,)),
    ],
)
@pytest.mark.parametrize("srtp", [Srtp.REQUIRED, Srtp.OPTIONAL])
def test_keys_travel_in_sdp_only_where_signalling_is_protected_and_handshakes_do_everywhere(
    srtp: Srtp, transport: Transport, host: str, allows_clear: bool, keyings: tuple[Keying, ...]
) -> None:
    terms = agent_terms(organisation(srtp, allows_clear), transport, host, leg=0)
    assert (terms.srtp, terms.keyings) == (srtp, keyings)


@pytest.mark.parametrize("transport", [Transport.WS, Transport.WSS])
def test_browsers_are_always_protected_whatever_the_organisation_says(transport: Transport) -> None:
    terms = agent_terms(organisation(Srtp.OPTIONAL, True), transport, "192.0.2.7", leg=0)
    assert (terms.srtp, terms.keyings) == (Srtp.REQUIRED, (Keying.WEBRTC,))


def test_best_effort_keys_are_offered_where_the_organisation_says_so() -> None:
    terms = agent_terms(organisation(Srtp.OPTIONAL, False, Keying.BEST_EFFORT), Transport.TLS, "192.0.2.7", leg=0)
    assert terms.keyings == (Keying.BEST_EFFORT, Keying.DTLS)


def test_a_trunk_is_spoken_to_in_the_keying_that_it_is_set_to() -> None:
    target = trunk_target(replace(TRUNK, srtp="required", keying=Keying.DTLS), ALLOWED, None, "voice.example.org")
    assert (target.terms.srtp, target.terms.keyings) == (Srtp.REQUIRED, (Keying.DTLS,))


def organisation(srtp: Srtp, allows_clear: bool, sdes: Keying = Keying.SDES) -> Organisation:
    """Only what decides on media."""
    return cast(Organisation, SimpleNamespace(agent_srtp=srtp, sdes=sdes, allows_sdes_in_clear=allows_clear))


@pytest.mark.parametrize(
    ("form", "country", "user"),
    [(NumberFormat.PLUS, None, "+442079460123"), (NumberFormat.BARE, None, "442079460123"),
     (NumberFormat.NATIONAL, "DE", "00442079460123"), (NumberFormat.NATIONAL, "GB", "02079460123")],
)  # fmt: skip
def test_the_number_is_written_as_the_trunk_takes_it_and_is_read_there_as_what_was_judged(
    form: NumberFormat, country: str | None, user: str
) -> None:
    target = trunk_target(replace(TRUNK, number_format=form, country=country), ALLOWED, Personal("+493023125000"), "voice.example.org")
    assert parse_sip_uri(target.uri).user == user
    assert target.to.sip_uri.user == user


def test_a_number_that_a_trunk_can_not_write_is_never_sent_there() -> None:
    with pytest.raises(LocalError):
        trunk_target(replace(TRUNK, number_format=NumberFormat.NATIONAL, country=None), ALLOWED, None, "voice.example.org")


def test_an_emergency_number_is_never_rewritten() -> None:
    trunk = replace(TRUNK, number_format=NumberFormat.NATIONAL, country="DE")
    assert trunk_target(trunk, Emergency("112", "DE", "Emergency."), None, "voice.example.org").uri.startswith("sip:112@")


@pytest.mark.parametrize(
    ("rules", "own", "shown"),
    [
        ({}, "+493023125000", "+493023125000"),
        ({}, None, "anonymous"),
        ({"caller_id": "anonymous"}, "+493023125000", "anonymous"),
        ({"caller_id": "+493099999999"}, "+493023125000", "+493099999999"),
        ({"caller_id": "+493099999999"}, None, "+493099999999"),
        ({"caller_ids": ("+493023125*",)}, "+493023125000", "+493023125000"),
        ({"caller_ids": ("+493023125001", "+4940*")}, "+493023125000", "anonymous"),
        ({"caller_ids": ("+4940*",), "caller_id_otherwise": "+494099999999"}, "+493023125000", "+494099999999"),
        ({"caller_ids": ("+4940*",), "caller_id_otherwise": "+494099999999"}, None, "anonymous"),
    ],
)
def test_a_trunk_shows_only_the_numbers_that_its_rules_let_pass(rules: dict[str, Any], own: str | None, shown: str) -> None:
    number = None if own is None else Personal(own)
    target = trunk_target(replace(TRUNK, trusted=True, **rules), ALLOWED, number, "voice.example.org")
    assert target.from_.sip_uri.user == shown
    asserted = dict(target.headers).get("P-Asserted-Identity")
    assert asserted == (None if shown == "anonymous" else f"<sip:{shown}@voice.example.org>")
    untrusted = trunk_target(replace(TRUNK, **rules), ALLOWED, number, "voice.example.org")
    assert untrusted.from_ == target.from_
    assert "P-Asserted-Identity" not in dict(untrusted.headers)


def test_the_callers_number_is_written_as_the_trunk_takes_numbers() -> None:
    trunk = replace(TRUNK, number_format=NumberFormat.BARE)
    assert trunk_target(trunk, ALLOWED, Personal("+493023125000"), "voice.example.org").from_.sip_uri.user == "493023125000"
