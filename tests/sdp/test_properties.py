"""Whatever stands in a description: an answer that holds, or a refusal, and never less protection than is asked for."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.sdp.model import Keying, LegMedia, Srtp
from hushwire.sdp.offer_answer import Answered, Refusal, accept_answer, answer_offer, build_offer
from hushwire.sdp.session import parse_session
from tests.sdp.offers import CHROMIUM, CHROMIUM_ALL, DIGEST, OURS, SIP_DTLS, able, wire

SEEDS = [CHROMIUM, CHROMIUM_ALL, SIP_DTLS]
LINES = st.sampled_from(
    [
        f"a=fingerprint:sha-256 {DIGEST}",
        f"a=fingerprint:sha-1 {DIGEST[:59]}",
        f"a=fingerprint:sha-512 {DIGEST}:{DIGEST}",
        "a=fingerprint:",
        "a=setup:active",
        "a=setup:passive",
        "a=setup:holdconn",
        "a=ice-lite",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:" + "p" * 22,
        "a=ice-pwd:short",
        "a=candidate:1 1 udp 1 192.0.2.9 9 typ host",
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj",
        "a=crypto:1 AEAD_AES_128_GCM inline:" + "A" * 38,
        "a=rtcp-mux",
        "a=bundle-only",
        "a=mid:0",
        "a=mid:2",
        "a=group:BUNDLE 0 1 2",
        "a=ssrc:4294967296 cname:x",
        "a=ssrc:1 cname:x",
        "a=rtpmap:111 opus/48000",
        "a=rtpmap:0 telephone-event/8000",
        "a=fmtp:111 " + "x" * 300,
        "m=audio 9 RTP/AVP 0",
        "m=audio 0 UDP/TLS/RTP/SAVPF 111",
        "m=audio 9 UDP/TLS/RTP/SAVPF 0 0 0 111",
        "c=IN IP4 0.0.0.0",
        "a=inactive",
        "a=tls-id:" + "t" * 20,
    ]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


@st.composite
def descriptions(draw: Callable[..., object]) -> bytes:
    """A real offer with lines moved, doubled, lost, put in and spoilt."""
    lines = str(draw(st.sampled_from(SEEDS))).splitlines()
    for _ in range(int(draw(st.integers(0, 8)))):  # type: ignore[call-overload]
        at = int(draw(st.integers(1, len(lines) - 1)))  # type: ignore[call-overload]
        match draw(st.integers(0, 5)):
            case 0:
                lines.insert(at, str(draw(LINES)))
            case 1 if len(lines) > 2:
                del lines[at]
            case 2:
                lines.insert(at, lines[at])
            case 3:
                cut = int(draw(st.integers(0, len(lines[at]))))  # type: ignore[call-overload]
                lines[at] = lines[at][:cut] + str(draw(TEXT)) + lines[at][cut:]
            case 4:
                lines[at] = lines[at][: int(draw(st.integers(0, len(lines[at]))))]  # type: ignore[call-overload]
            case _:
                other = int(draw(st.integers(1, len(lines) - 1)))  # type: ignore[call-overload]
                lines[at], lines[other] = lines[other], lines[at]
    return "\r\n".join(lines).encode("utf-8", "surrogatepass") + b"\r\n"


def sound(media: LegMedia) -> None:
    """What must hold of everything that was agreed on."""
    assert media.codecs
    numbers = [codec.payload_type for codec in (*media.codecs, *media.events)]
    assert len(set(numbers)) == len(numbers)
    assert (media.send_crypto is None) is (media.recv_crypto is None)
    if media.dtls is not None:
        assert media.send_crypto is None
        assert media.dtls.fingerprints
        assert {len(item.digest) for item in media.dtls.fingerprints} <= {32, 48, 64}
        assert OURS not in media.dtls.fingerprints
    if media.ice is not None:
        assert media.dtls is not None
        assert 4 <= len(media.ice.remote.ufrag) <= 256
        assert 22 <= len(media.ice.remote.password) <= 256
        assert media.rtcp_mux


@given(descriptions(), st.sampled_from(Srtp))
@settings(max_examples=500, deadline=None)
def test_any_offer_is_answered_soundly_or_refused(offer: bytes, srtp: Srtp) -> None:
    outcome = answer_offer(offer, able(), srtp)
    if isinstance(outcome, Refusal):
        return
    sound(outcome.media)
    assert outcome.media.is_protected or srtp is not Srtp.REQUIRED
    assert not (outcome.media.is_protected and srtp is Srtp.NEVER)
    answer, asked = parse_session(outcome.body), parse_session(offer)
    assert [(one.kind, one.protocol) for one in answer.media] == [(one.kind, one.protocol) for one in asked.media]
    assert len([section for section in answer.media if section.port]) == 1


@given(descriptions(), st.sampled_from(Keying), st.sampled_from([Srtp.OPTIONAL, Srtp.REQUIRED]))
@settings(max_examples=500, deadline=None)
def test_any_answer_is_used_soundly_or_not_at_all(answer: bytes, keying: Keying, srtp: Srtp) -> None:
    outcome = accept_answer(build_offer(able(), srtp, keying=keying), answer, able())
    if isinstance(outcome, LegMedia):
        sound(outcome)
        assert outcome.is_protected or keying is Keying.BEST_EFFORT
        assert (outcome.dtls is not None) is (keying in (Keying.DTLS, Keying.WEBRTC))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_prefix_of_an_offer_is_answered_or_refused(seed: str) -> None:
    data = wire(seed)
    for end in range(len(data)):
        outcome = answer_offer(data[:end], able(), Srtp.REQUIRED)
        assert isinstance(outcome, Refusal) or outcome.media.is_protected


@given(st.binary(max_size=2000))
@settings(deadline=None)
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    assert isinstance(answer_offer(b"v=0\r\n" + data, able(), Srtp.REQUIRED), Answered | Refusal)


def test_of_hundreds_of_announced_sources_a_few_are_kept() -> None:
    lines = [f"a=ssrc:{number} cname:x" for number in range(300)]
    outcome = answer_offer(wire(CHROMIUM + "\n".join(lines) + "\n"), able(), Srtp.REQUIRED)
    assert isinstance(outcome, Answered)
    assert len(outcome.media.ssrcs) == 8
