"""DTLS-SRTP in SDP: fingerprints that can be checked, one role each, and no way down to less."""

import pytest

from hushwire.sdp.dtls import Fingerprint, LocalDtls, Setup, parse_fingerprint, strongest
from hushwire.sdp.model import Keying, LegMedia, Srtp
from hushwire.sdp.offer_answer import Answered, Refusal, accept_answer, answer_offer, build_offer
from hushwire.sdp.session import SdpError, parse_session
from tests.sdp.offers import DIGEST, OURS, SIP_DTLS, able, wire

SHA1 = ":".join(["AB"] * 20)
SHA384, SHA512 = ":".join(["01"] * 48), ":".join(["02"] * 64)
LINE = f"a=fingerprint:sha-256 {DIGEST}\n"


def outcome(offer: str, srtp: Srtp = Srtp.REQUIRED, **options: object) -> Answered | Refusal:
    return answer_offer(wire(offer), able(**options), srtp)


@pytest.mark.parametrize("protocol", ["UDP/TLS/RTP/SAVP", "UDP/TLS/RTP/SAVPF", "RTP/SAVP", "RTP/SAVPF"])
def test_a_sip_phones_offer_is_answered_in_its_profile_without_ice(protocol: str) -> None:
    result = outcome(SIP_DTLS.replace("UDP/TLS/RTP/SAVP", protocol))
    assert isinstance(result, Answered)
    (section,) = parse_session(result.body).media
    assert (section.protocol, section.first("setup"), section.first("fingerprint")) == (protocol, "passive", OURS.to_attribute())
    assert not section.has("ice-ufrag")
    assert not section.has("crypto")
    assert (result.media.address, result.media.port) == ("192.0.2.99", 4000)
    assert (result.media.send_crypto, result.media.recv_crypto) == (None, None)
    assert result.media.is_protected


@pytest.mark.parametrize(
    ("offered", "standing", "answered"),
    [
        ("actpass", None, "passive"),
        ("active", None, "passive"),
        ("passive", None, "active"),
        ("actpass", Setup.ACTIVE, "active"),
        ("actpass", Setup.PASSIVE, "passive"),
        ("ACTPASS", None, "passive"),
    ],
)
def test_both_roles_are_answered_and_a_standing_association_keeps_them(offered: str, standing: Setup | None, answered: str) -> None:
    result = outcome(SIP_DTLS.replace("setup:actpass", f"setup:{offered}"), dtls=LocalDtls(OURS, standing))
    assert isinstance(result, Answered)
    assert parse_session(result.body).media[0].first("setup") == answered
    assert result.media.dtls is not None
    assert result.media.dtls.is_client is (answered == "active")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (LINE, "", Refusal.NO_FINGERPRINT),
        (LINE, f"a=fingerprint:sha-1 {SHA1}\n", Refusal.NO_FINGERPRINT),
        (LINE, f"a=fingerprint:md5 {':'.join(['AB'] * 16)}\n", Refusal.NO_FINGERPRINT),
        (LINE, f"a=fingerprint:sha-257 {DIGEST}\n", Refusal.NO_FINGERPRINT),
        (LINE, "a=fingerprint\n", Refusal.MALFORMED),
        (LINE, "a=fingerprint:sha-256\n", Refusal.MALFORMED),
        (LINE, f"a=fingerprint:sha-256 {SHA1}\n", Refusal.MALFORMED),
        (LINE, f"a=fingerprint:sha-256 {DIGEST[:-3]}\n", Refusal.MALFORMED),
        (LINE, f"a=fingerprint:sha-256 {DIGEST}:00\n", Refusal.MALFORMED),
        (LINE, f"a=fingerprint:sha-256 {DIGEST[:-1]}G\n", Refusal.MALFORMED),
        (LINE, f"a=fingerprint:sha-256 {DIGEST.replace(':', '')}\n", Refusal.MALFORMED),
        (LINE, LINE + "a=fingerprint:sha-256 00\n", Refusal.MALFORMED),
        (LINE, LINE * 9, Refusal.MALFORMED),
        ("a=setup:actpass\n", "", Refusal.MALFORMED),
        ("a=setup:actpass\n", "a=setup\n", Refusal.MALFORMED),
        ("a=setup:actpass\n", "a=setup:holdconn\n", Refusal.MALFORMED),
        ("a=setup:actpass\n", "a=setup:actpass\na=setup:active\n", Refusal.MALFORMED),
        ("a=setup:actpass\n", "a=setup:actpass\na=tls-id:short\n", Refusal.MALFORMED),
        (LINE, f"a=fingerprint:{OURS.to_attribute()}\n", Refusal.NO_COMMON_CRYPTO),
    ],
)
def test_what_could_not_be_checked_later_is_refused_now(old: str, new: str, reason: Refusal) -> None:
    assert old in SIP_DTLS
    assert outcome(SIP_DTLS.replace(old, new)) is reason


def test_the_strongest_hash_function_counts_and_old_ones_are_passed_over() -> None:
    values = [f"sha-1 {SHA1}", f"sha-256 {DIGEST}", f"SHA-384 {SHA384}", f"sha-384 {SHA384.lower()}"]
    assert strongest(values) == (Fingerprint("sha-384", b"\x01" * 48),)
    assert strongest([*values, f"sha-512 {SHA512}"]) == (Fingerprint("sha-512", b"\x02" * 64),)
    assert strongest([f"sha-1 {SHA1}"]) == ()


def test_several_certificates_of_one_hash_function_are_all_expected() -> None:
    assert len(strongest([f"sha-384 {SHA384}", f"sha-384 {':'.join(['03'] * 48)}"])) == 2


def test_a_fingerprint_of_ours_reads_the_same() -> None:
    assert parse_fingerprint(OURS.to_attribute()) == OURS
    with pytest.raises(SdpError):
        parse_fingerprint("sha-256  " + OURS.digest.hex())


def test_what_stands_in_the_section_goes_before_what_stands_in_the_session() -> None:
    whole = SIP_DTLS.replace("t=0 0\n", f"t=0 0\na=fingerprint:sha-384 {SHA384}\na=setup:active\n")
    media = answer_media(whole)
    assert media.dtls is not None
    assert [item.hash_name for item in media.dtls.fingerprints] == ["sha-256"]
    media = answer_media(whole.replace(LINE, "").replace("a=setup:actpass\n", ""))
    assert media.dtls is not None
    assert [item.hash_name for item in media.dtls.fingerprints] == ["sha-384"]


def answer_media(offer: str) -> LegMedia:
    result = outcome(offer)
    assert isinstance(result, Answered), result
    return result.media


@pytest.mark.parametrize("keying", [Keying.DTLS, Keying.WEBRTC])
def test_two_of_us_agree_and_each_knows_the_others_fingerprint_and_its_own_role(keying: Keying) -> None:
    theirs = able(dtls=LocalDtls(Fingerprint("sha-256", b"\x09" * 32)), address="192.0.2.2", port=30000)
    offer = build_offer(able(), Srtp.REQUIRED, keying=keying)
    result = answer_offer(offer, theirs, Srtp.REQUIRED)
    assert isinstance(result, Answered)
    ours = accept_answer(offer, result.body, able())
    assert isinstance(ours, LegMedia)
    assert ours.dtls is not None
    assert result.media.dtls is not None
    assert ours.dtls.is_client
    assert not result.media.dtls.is_client
    assert ours.dtls.fingerprints == (Fingerprint("sha-256", b"\x09" * 32),)
    assert result.media.dtls.fingerprints == (OURS,)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("UDP/TLS/RTP/SAVP", "RTP/AVP", Refusal.SRTP_REQUIRED),
        ("UDP/TLS/RTP/SAVP", "RTP/SAVP", Refusal.NO_COMMON_CRYPTO),
        (LINE, "", Refusal.NO_FINGERPRINT),
        ("setup:active", "setup:actpass", Refusal.MALFORMED),
        ("a=setup:active\n", "", Refusal.MALFORMED),
    ],
)
def test_an_answer_that_offers_less_than_was_asked_is_not_used(old: str, new: str, reason: Refusal) -> None:
    offer = build_offer(able(), Srtp.OPTIONAL, keying=Keying.DTLS)
    answer = SIP_DTLS.replace("setup:actpass", "setup:active").replace(old, new)
    assert accept_answer(offer, wire(answer), able()) is reason


def test_an_answer_can_not_take_the_role_that_we_keep() -> None:
    standing = able(dtls=LocalDtls(OURS, Setup.ACTIVE))
    offer = build_offer(standing, Srtp.REQUIRED, keying=Keying.DTLS)
    assert parse_session(offer).media[0].first("setup") == "active"
    assert accept_answer(offer, wire(SIP_DTLS.replace("setup:actpass", "setup:active")), standing) is Refusal.MALFORMED
    assert isinstance(accept_answer(offer, wire(SIP_DTLS.replace("setup:actpass", "setup:passive")), standing), LegMedia)


@pytest.mark.parametrize("srtp", list(Srtp))
def test_a_leg_without_a_certificate_or_without_protection_takes_no_dtls(srtp: Srtp) -> None:
    expected = Refusal.SRTP_NOT_ALLOWED if srtp is Srtp.NEVER else Refusal.NO_COMMON_CRYPTO
    assert outcome(SIP_DTLS, srtp, dtls=None) is expected


def test_where_keys_must_not_travel_only_dtls_is_taken() -> None:
    sdes = SIP_DTLS.replace(LINE, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n")
    assert outcome(sdes.replace("UDP/TLS/RTP/SAVP", "RTP/SAVP"), keys={}) is Refusal.NO_COMMON_CRYPTO
    assert isinstance(outcome(SIP_DTLS, keys={}), Answered)


def test_dtls_payload_types_that_a_multiplexed_port_would_take_for_rtcp_are_not_used() -> None:
    offer = SIP_DTLS.replace("SAVP 8 101", "SAVP 72 8 101").replace("a=rtpmap:8 ", "a=rtpmap:72 PCMU/8000\na=rtpmap:8 ")
    assert [codec.payload_type for codec in answer_media(offer).codecs] == [8]


def test_an_offer_of_keys_shows_a_fingerprint_too_and_the_answer_decides() -> None:
    offer = build_offer(able(), Srtp.REQUIRED)
    section = parse_session(offer).media[0]
    assert (section.protocol, len(section.all("crypto")), section.first("setup")) == ("RTP/SAVP", 5, "actpass")
    by_handshake = SIP_DTLS.replace("UDP/TLS/RTP/SAVP", "RTP/SAVP").replace("setup:actpass", "setup:active")
    media = accept_answer(offer, wire(by_handshake), able())
    assert isinstance(media, LegMedia)
    assert media.dtls is not None
    by_keys = by_handshake + "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n"
    media = accept_answer(offer, wire(by_keys), able())
    assert isinstance(media, LegMedia)
    assert media.dtls is None
    assert media.send_crypto is not None
    assert accept_answer(offer, wire(by_handshake.replace(LINE, "")), able()) is Refusal.NO_COMMON_CRYPTO
    assert accept_answer(build_offer(able(dtls=None), Srtp.REQUIRED), wire(by_handshake), able()) is Refusal.NO_COMMON_CRYPTO


def test_a_best_effort_offer_shows_keys_in_plain_profile_and_takes_either_answer() -> None:
    offer = build_offer(able(), Srtp.OPTIONAL, keying=Keying.BEST_EFFORT)
    section = parse_session(offer).media[0]
    assert (section.protocol, len(section.all("crypto")), section.has("fingerprint")) == ("RTP/AVP", 5, False)
    plain = SIP_DTLS.replace("UDP/TLS/RTP/SAVP", "RTP/AVP").replace(LINE, "")
    clear = accept_answer(offer, wire(plain), able())
    assert isinstance(clear, LegMedia)
    assert not clear.is_protected
    keyed = accept_answer(
        offer, wire(plain + "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj\n"), able()
    )
    assert isinstance(keyed, LegMedia)
    assert keyed.is_protected
    assert accept_answer(offer, wire(plain + "a=crypto:4 AES_CM_128_HMAC_SHA1_80 inline:short\n"), able()) is Refusal.NO_COMMON_CRYPTO
