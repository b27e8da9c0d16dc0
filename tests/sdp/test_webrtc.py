"""Offers and answers for browsers: ICE-lite, BUNDLE of one section, RTCP multiplexed, Opus beside G.711."""

import re

import pytest
from aiortc.sdp import SessionDescription

from hushwire.sdp.dtls import LocalDtls, Setup
from hushwire.sdp.ice import MAX_CANDIDATES
from hushwire.sdp.model import Keying, LegMedia, LocalMedia, Srtp
from hushwire.sdp.offer_answer import Answered, Refusal, accept_answer, answer_offer, build_offer
from hushwire.sdp.session import parse_session
from tests.sdp.offers import CHROMIUM, CHROMIUM_ALL, OURS, able, wire


def answered(offer: str, local: LocalMedia | None = None, **options: object) -> Answered:
    outcome = answer_offer(wire(offer), local or able(), Srtp.REQUIRED, **options)  # type: ignore[arg-type]
    assert isinstance(outcome, Answered), outcome
    return outcome


def refused(offer: str) -> Refusal:
    outcome = answer_offer(wire(offer), able(), Srtp.REQUIRED)
    assert isinstance(outcome, Refusal)
    return outcome


def without(offer: str, pattern: str) -> str:
    kept = [line for line in offer.splitlines() if not re.match(pattern, line)]
    assert len(kept) < len(offer.splitlines())
    return "\n".join(kept) + "\n"


def test_a_browsers_offer_is_answered_as_a_lite_agent_that_waits_for_the_client_hello() -> None:
    outcome = answered(CHROMIUM)
    session = parse_session(outcome.body)
    (section,) = session.media
    assert section.protocol == "UDP/TLS/RTP/SAVPF"
    assert session.has("ice-lite")
    assert session.first("group") == "BUNDLE 0"
    assert (section.first("mid"), section.first("setup")) == ("0", "passive")
    assert (section.first("ice-ufrag"), section.first("ice-pwd")) == ("OURS", "ourpasswordourpassword")
    assert section.all("candidate") == ["1 1 udp 2130706431 192.0.2.1 20000 typ host"]
    assert section.has("end-of-candidates")
    assert section.first("fingerprint") == OURS.to_attribute()
    assert section.has("rtcp-mux")
    assert not section.has("rtcp")


def test_only_what_we_do_is_answered_no_extension_no_feedback_no_redundancy() -> None:
    (section,) = parse_session(answered(CHROMIUM).body).media
    assert section.formats == ("111", "9", "0", "8", "13", "110", "126")
    names = {name for name, _ in section.attributes}
    assert not names & {"extmap", "rtcp-fb", "msid", "ssrc", "rtcp-xr", "rtcp-rsize", "crypto"}
    assert "111 opus/48000/2" in section.all("rtpmap")
    assert "111 minptime=10;useinbandfec=1" in section.all("fmtp")


def test_what_the_leg_agreed_on_names_credentials_fingerprint_role_and_sources_but_no_address_to_send_to() -> None:
    media = answered(CHROMIUM).media
    assert media.is_protected
    assert media.dtls is not None
    assert not media.dtls.is_client
    assert [item.hash_name for item in media.dtls.fingerprints] == ["sha-256"]
    assert media.ice is not None
    assert (media.ice.local.ufrag, media.ice.remote.ufrag) == ("OURS", "iShk")
    assert media.rtcp_mux
    assert media.ssrcs == (2061728073,)
    assert not media.is_held, "c=0.0.0.0 of a trickling browser is no hold"
    assert media.direction.value == "sendrecv"
    assert (media.codecs[0].name, media.clock_rate) == ("opus", 48000)


def test_digits_travel_at_the_clock_of_the_codec_in_use() -> None:
    media = answered(CHROMIUM).media
    assert media.dtmf is not None
    assert (media.dtmf.payload_type, media.dtmf.rate) == (110, 48000)
    media = answered(CHROMIUM, prefer=("PCMU",)).media
    assert media.codecs[0].name == "PCMU"
    assert media.dtmf is not None
    assert (media.dtmf.payload_type, media.dtmf.rate) == (126, 8000)
    assert {event.rate for event in media.events} == {8000, 48000}


def test_the_sound_is_taken_from_among_video_and_data_which_are_refused_under_their_own_names() -> None:
    session = parse_session(answered(CHROMIUM_ALL).body)
    assert session.first("group") == "BUNDLE 1"
    video, audio, data = session.media
    assert (video.port, data.port) == (0, 0)
    assert [section.first("mid") for section in session.media] == ["0", "1", "2"]
    assert data.protocol == "UDP/DTLS/SCTP"
    assert audio.port == 20000


def test_sound_that_only_the_bundle_carries_takes_its_transport_from_the_section_that_speaks_for_it() -> None:
    head, tail = CHROMIUM_ALL.split("m=audio")
    lines = [line for line in tail.splitlines() if not re.match("a=(ice|fingerprint|setup|rtcp-mux)", line)]
    bundled = head + "m=audio" + "\n".join(lines).replace(" 9 UDP", " 0 UDP", 1) + "\na=bundle-only\n"
    bundled = bundled.replace("a=mid:1\n", "a=mid:1\na=bundle-only\n")
    media = answered(bundled).media
    assert media.ice is not None
    assert media.ice.remote.ufrag == "7s/q"
    assert media.dtls is not None


def test_a_refused_section_stays_refused_where_no_bundle_carries_it() -> None:
    assert refused(CHROMIUM.replace("m=audio 9", "m=audio 0")) is Refusal.NO_AUDIO


def test_two_lite_ends_check_nothing() -> None:
    outcome = answered(CHROMIUM.replace("t=0 0\n", "t=0 0\na=ice-lite\n"))
    assert outcome.media.ice is None
    assert not parse_session(outcome.body).has("ice-lite")
    assert not parse_session(outcome.body).media[0].has("ice-ufrag")


def test_without_ice_of_our_own_a_full_agent_gets_none() -> None:
    assert answered(CHROMIUM, able(ice=None)).media.ice is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a=ice-ufrag:iShk\n", ""),
        ("a=ice-pwd:tzaJ6NPyLYnkBapU3sMjrG4B\n", ""),
        ("a=ice-ufrag:iShk", "a=ice-ufrag:iSh"),
        ("a=ice-ufrag:iShk", "a=ice-ufrag:" + "x" * 257),
        ("a=ice-ufrag:iShk", "a=ice-ufrag:iS:k"),
        ("a=ice-ufrag:iShk", "a=ice-ufrag"),
        ("a=ice-ufrag:iShk", "a=ice-ufrag:iShk\na=ice-ufrag:iShk"),
        ("a=ice-pwd:tzaJ6NPyLYnkBapU3sMjrG4B", "a=ice-pwd:tooshort"),
        ("a=ice-pwd:tzaJ6NPyLYnkBapU3sMjrG4B", "a=ice-pwd:" + "x" * 257),
        ("a=mid:0", "a=mid:0\na=mid:1"),
        ("a=mid:0", "a=mid:a b"),
        ("a=rtcp-mux", "a=rtcp-mux\n" + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\n" * MAX_CANDIDATES),
    ],
)
def test_credentials_and_candidates_that_no_honest_browser_sends_are_malformed(old: str, new: str) -> None:
    assert old in CHROMIUM
    assert refused(CHROMIUM.replace(old, new)) is Refusal.MALFORMED


@pytest.mark.parametrize("group", ["a=group", "a=group:", "a=group:BUNDLE", "a=group:LS 0", "a=group:BUNDLE 7"])
def test_a_group_without_the_section_is_no_bundle_of_it(group: str) -> None:
    outcome = answered(CHROMIUM.replace("a=group:BUNDLE 0", group))
    assert not parse_session(outcome.body).has("group")
    assert parse_session(outcome.body).media[0].first("mid") == "0"


@pytest.mark.parametrize("count", [4, 256])
def test_credentials_of_every_legal_length_are_taken(count: int) -> None:
    media = answered(CHROMIUM.replace("a=ice-ufrag:iShk", "a=ice-ufrag:" + "u" * count)).media
    assert media.ice is not None
    assert len(media.ice.remote.ufrag) == count


def test_an_offer_to_a_browser_is_answered_by_the_same_rules() -> None:
    local = able()
    offer = build_offer(local, Srtp.REQUIRED, keying=Keying.WEBRTC)
    session = parse_session(offer)
    assert session.has("ice-lite")
    assert session.first("group") == "BUNDLE 0"
    assert session.media[0].first("setup") == "actpass"
    browser = CHROMIUM.replace("a=setup:actpass", "a=setup:active").replace("m=audio 9", "m=audio 52325")
    media = accept_answer(offer, wire(browser), local)
    assert isinstance(media, LegMedia)
    assert media.dtls is not None
    assert not media.dtls.is_client
    assert media.ice is not None
    passive = accept_answer(offer, wire(browser.replace("setup:active", "setup:passive")), local)
    assert isinstance(passive, LegMedia)
    assert passive.dtls is not None
    assert passive.dtls.is_client


def test_opus_is_asked_for_with_what_the_other_party_can_do_with_it() -> None:
    offered = CHROMIUM.replace("useinbandfec=1", "useinbandfec=1;usedtx=1;x-evil=1;stereo=7")
    media = answered(offered).media
    assert media.codecs[0].fmtp == "minptime=10;useinbandfec=1;usedtx=1"
    assert "111 minptime=10;useinbandfec=1;usedtx=1" in parse_session(
        build_offer(able(codecs=media.codecs, events=media.events), Srtp.NEVER)
    ).media[0].all("fmtp")


@pytest.mark.parametrize("role", [None, Setup.PASSIVE, Setup.ACTIVE])
def test_aiortc_reads_our_offers_and_answers_as_we_mean_them(role: Setup | None) -> None:
    local = able(dtls=LocalDtls(OURS, role))
    for body in (build_offer(local, Srtp.REQUIRED, keying=Keying.WEBRTC), answered(CHROMIUM, local).body):
        description = SessionDescription.parse(body.decode())
        (section,) = description.media
        assert section.dtls.fingerprints[0].value == OURS.digest.hex(":").upper()
        assert section.ice.usernameFragment == "OURS"
        assert section.ice.iceLite
        assert [item.port for item in section.ice_candidates] == [20000]
        assert section.rtcp_mux
        assert section.rtp.muxId == "0"
        assert {codec.mimeType for codec in section.rtp.codecs} >= {"audio/opus", "audio/PCMU", "audio/G722"}
