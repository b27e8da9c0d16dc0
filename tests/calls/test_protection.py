"""Which protection a leg is offered, what comes after a refusal, and what later descriptions must not undo."""

from dataclasses import replace

import pytest

from hushwire.calls.ends import End, payload_map
from hushwire.calls.model import Ports, Terms
from hushwire.sdp.dtls import Setup
from hushwire.sdp.offer_answer import Keying, Refusal, Srtp
from hushwire.sdp.session import parse_session
from tests.calls.drive import Counted
from tests.sdp.offers import CHROMIUM, OURS, SIP_DTLS, wire

ALL = (Keying.SDES, Keying.DTLS)
SDES = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n"


def end(srtp: Srtp = Srtp.REQUIRED, *keyings: Keying) -> End:
    return End(Terms(0, srtp, "192.0.2.99", keyings or ALL), Ports("127.0.0.1", 20000, 20001), Counted(), OURS)


def protocol(body: bytes) -> str:
    return parse_session(body).media[0].protocol


def agreed(made: End, offer: str) -> End:
    assert isinstance(made.answer(wire(offer)), bytes)
    return made


@pytest.mark.parametrize(
    ("srtp", "keyings", "protocols"),
    [
        (Srtp.REQUIRED, ALL, ["RTP/SAVP", "UDP/TLS/RTP/SAVP"]),
        (Srtp.OPTIONAL, ALL, ["RTP/SAVP", "UDP/TLS/RTP/SAVP", "RTP/AVP"]),
        (Srtp.OPTIONAL, (Keying.BEST_EFFORT, Keying.DTLS), ["RTP/AVP", "UDP/TLS/RTP/SAVP", "RTP/AVP"]),
        (Srtp.REQUIRED, (Keying.DTLS,), ["UDP/TLS/RTP/SAVP"]),
        (Srtp.REQUIRED, (Keying.WEBRTC,), ["UDP/TLS/RTP/SAVPF"]),
        (Srtp.NEVER, ALL, ["RTP/AVP"]),
    ],
)
def test_offers_go_down_the_list_and_into_the_clear_only_where_protection_is_optional(
    srtp: Srtp, keyings: tuple[Keying, ...], protocols: list[str]
) -> None:
    made = end(srtp, *keyings)
    seen = [protocol(made.offer())]
    while made.fall_back():
        seen.append(protocol(made.offer()))
    assert seen == protocols


def test_a_party_that_must_be_protected_and_has_no_means_is_offered_nothing_that_it_could_take() -> None:
    made = End(Terms(0, Srtp.REQUIRED, None, (Keying.DTLS,)), Ports("127.0.0.1", 20000, 20001), Counted())
    section = parse_session(made.offer()).media[0]
    assert (section.protocol, section.has("crypto"), section.has("fingerprint")) == ("RTP/SAVP", False, False)


def test_keys_in_the_description_are_neither_offered_nor_taken_where_only_a_handshake_may_make_them() -> None:
    made = end(Srtp.REQUIRED, Keying.DTLS)
    offer = SIP_DTLS.replace("UDP/TLS/RTP/SAVP", "RTP/SAVP").replace("a=setup", SDES + "a=setup").replace("a=fingerprint", "a=x-finger")
    assert made.read(wire(offer)) is Refusal.NO_COMMON_CRYPTO
    assert made.read(wire(SIP_DTLS.replace("UDP/TLS/RTP/SAVP", "RTP/AVP"))) is Refusal.SRTP_REQUIRED
    assert not isinstance(made.read(wire(SIP_DTLS)), Refusal)


@pytest.mark.parametrize("weaker", ["RTP/AVP", "RTP/AVPF"])
def test_a_leg_that_was_protected_by_dtls_is_never_clear_again(weaker: str) -> None:
    made = agreed(end(Srtp.OPTIONAL), SIP_DTLS)
    assert made.answer(wire(SIP_DTLS.replace("UDP/TLS/RTP/SAVP", weaker))) is Refusal.SRTP_REQUIRED
    assert protocol(made.offer()) == "UDP/TLS/RTP/SAVP"


def test_a_best_effort_answer_may_be_clear_at_first_and_not_once_the_leg_was_protected() -> None:
    made = end(Srtp.OPTIONAL, Keying.BEST_EFFORT, Keying.DTLS)
    plain = SIP_DTLS.replace("UDP/TLS/RTP/SAVP", "RTP/AVP").replace("a=fingerprint", "a=x-finger")
    made.offer()
    tag = 1 + [suite.value for suite in made.local.keys].index("AES_CM_128_HMAC_SHA1_80")
    protected = plain.replace("a=setup", SDES.replace("crypto:1", f"crypto:{tag}") + "a=setup")
    assert made.take_answer(wire(protected)) is None
    assert made.agreed is not None
    assert made.agreed.is_protected
    assert protocol(made.offer()) == "RTP/AVP"
    assert made.take_answer(wire(plain)) is Refusal.SRTP_REQUIRED
    other = end(Srtp.OPTIONAL, Keying.BEST_EFFORT)
    other.offer()
    assert other.take_answer(wire(plain)) is None
    assert other.agreed is not None
    assert not other.agreed.is_protected


def test_the_role_of_a_handshake_stays_in_later_offers_and_answers() -> None:
    made = agreed(end(), SIP_DTLS.replace("setup:actpass", "setup:passive"))
    assert made.local.dtls is not None
    assert made.local.dtls.role is Setup.ACTIVE
    assert parse_session(made.offer()).media[0].first("setup") == "active"
    again = made.answer(wire(SIP_DTLS))
    assert isinstance(again, bytes)
    assert parse_session(again).media[0].first("setup") == "active"


def test_with_ice_no_address_of_the_description_is_believed() -> None:
    made = agreed(
        end(Srtp.REQUIRED, Keying.WEBRTC), CHROMIUM.replace("IN IP4 0.0.0.0", "IN IP4 192.0.2.99").replace("audio 9", "audio 9999")
    )
    assert made.agreed is not None
    assert (made.agreed.address, made.agreed.port) == ("0.0.0.0", 0)


def test_new_credentials_of_the_peer_are_a_restart_and_answered_with_new_ones_and_nothing_else_changes_them() -> None:
    made = agreed(end(Srtp.REQUIRED, Keying.WEBRTC), CHROMIUM)
    assert made.agreed is not None
    first = made.agreed.ice
    agreed(made, CHROMIUM.replace("a=sendrecv", "a=sendonly"))
    assert made.agreed.ice == first
    agreed(made, CHROMIUM.replace("iShk", "AAAA").replace("tzaJ6NPyLYnkBapU3sMjrG4B", "B" * 24))
    second = made.agreed.ice
    assert first is not None
    assert second is not None
    assert second.remote.ufrag == "AAAA"
    assert second.local.ufrag != first.local.ufrag
    assert second.local.password != first.local.password
    offered = parse_session(made.offer()).media[0]
    assert offered.first("ice-ufrag") == second.local.ufrag
    assert offered.first("setup") == "passive"


def test_digits_of_one_clock_are_not_sent_under_the_number_of_another() -> None:
    browser, phone = agreed(end(), CHROMIUM).agreed, agreed(end(), SIP_DTLS).agreed
    assert browser is not None
    assert phone is not None
    assert payload_map(browser, phone) == ((126, 101),)
    assert payload_map(phone, browser) == ((101, 126),)
    numbered = replace(phone, codecs=(replace(browser.codecs[0], payload_type=96),))
    assert payload_map(numbered, browser) == ((96, 111), (101, 126))
