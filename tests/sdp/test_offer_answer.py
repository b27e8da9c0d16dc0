"""Offer and answer for one audio leg."""

import base64

import pytest

from hushwire.sdp.codecs import codecs_of
from hushwire.sdp.offer_answer import (
    PCMA,
    PCMU,
    Answered,
    Codec,
    Direction,
    LegMedia,
    LocalMedia,
    Refusal,
    Srtp,
    Suite,
    accept_answer,
    answer_offer,
    build_offer,
)
from hushwire.sdp.session import parse_session

KEYS = {
    Suite.AES_256_CM_HMAC_SHA1_80: b"\x03" * 46,
    Suite.AES_CM_128_HMAC_SHA1_80: b"\x01" * 30,
    Suite.AES_CM_128_HMAC_SHA1_32: b"\x02" * 30,
}
THEIR_KEY = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
HEAD = "v=0\r\no=- 5 6 IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 192.0.2.99\r\nt=0 0\r\n"


def ours(**options: object) -> LocalMedia:
    given: dict[str, object] = {"address": "192.0.2.1", "port": 20000, "rtcp_port": 20001, "keys": KEYS, "session_id": 77, "version": 1}
    return LocalMedia(**(given | options))  # type: ignore[arg-type]


def theirs(**options: object) -> LocalMedia:
    keys = {suite: bytes(reversed(range(suite.key_bytes))) for suite in KEYS}
    return ours(address="192.0.2.99", port=4000, rtcp_port=4001, keys=keys, **options)


def offer(media: str, head: str = HEAD) -> bytes:
    return (head + media).encode()


def answered(data: bytes, srtp: Srtp = Srtp.OPTIONAL, **options: object) -> Answered:
    outcome = answer_offer(data, ours(), srtp, **options)  # type: ignore[arg-type]
    assert isinstance(outcome, Answered), outcome
    return outcome


def test_a_plain_offer_is_answered_in_its_order_and_with_its_payload_types() -> None:
    outcome = answered(offer("m=audio 4000 RTP/AVP 8 96 0 3\r\na=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-16\r\n"))
    media = outcome.media
    assert [codec.name for codec in media.codecs] == ["PCMA", "PCMU"]
    assert media.dtmf is not None
    assert media.dtmf.payload_type == 96
    assert (media.address, media.port, media.rtcp_port) == ("192.0.2.99", 4000, 4001)
    assert (media.send_crypto, media.recv_crypto) == (None, None)
    (section,) = parse_session(outcome.body).media
    assert (section.port, section.protocol, section.formats) == (20000, "RTP/AVP", ("8", "0", "96"))
    assert section.has("sendrecv")
    assert parse_session(outcome.body).session_id == 77


def test_the_codec_that_the_other_leg_speaks_comes_first() -> None:
    outcome = answered(offer("m=audio 4000 RTP/AVP 8 9 0\r\n"), prefer=("G722", "PCMU"))
    assert [codec.name for codec in outcome.media.codecs] == ["G722", "PCMU", "PCMA"]


def test_the_offerers_first_usable_crypto_line_is_taken_with_its_tag_and_a_key_of_our_own() -> None:
    lines = (
        "a=crypto:1 AEAD_AES_256_GCM inline:abc\r\n"
        f"a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:{THEIR_KEY}\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
    )
    outcome = answered(offer(f"m=audio 4000 RTP/SAVP 0\r\n{lines}"))
    assert outcome.media.recv_crypto is not None
    assert outcome.media.send_crypto is not None
    assert (outcome.media.recv_crypto.tag, outcome.media.recv_crypto.suite) == (2, Suite.AES_CM_128_HMAC_SHA1_32)
    assert outcome.media.send_crypto.key == KEYS[Suite.AES_CM_128_HMAC_SHA1_32]
    (section,) = parse_session(outcome.body).media
    assert section.protocol == "RTP/SAVP"
    assert section.all("crypto") == [outcome.media.send_crypto.to_attribute()]


@pytest.mark.parametrize("profile", ["RTP/AVP", "RTP/AVPF", "RTP/SAVP", "RTP/SAVPF"])
def test_profiles_are_answered_in_kind(profile: str) -> None:
    crypto = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n" if "SAVP" in profile else ""
    outcome = answered(offer(f"m=audio 4000 {profile} 0\r\n{crypto}"))
    assert parse_session(outcome.body).media[0].protocol == profile
    assert (outcome.media.send_crypto is not None) is ("SAVP" in profile)


def test_optional_srtp_of_phones_is_rtp_avp_with_crypto_lines() -> None:
    data = offer(f"m=audio 4000 RTP/AVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n")
    assert answered(data, Srtp.REQUIRED).media.send_crypto is not None
    assert answered(data, Srtp.NEVER).media.send_crypto is None


@pytest.mark.parametrize(
    ("media", "srtp", "reason"),
    [
        ("m=audio 4000 RTP/AVP 0\r\n", Srtp.REQUIRED, Refusal.SRTP_REQUIRED),
        (f"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n", Srtp.NEVER, Refusal.SRTP_NOT_ALLOWED),
        ("m=audio 4000 RTP/SAVP 0\r\n", Srtp.REQUIRED, Refusal.NO_COMMON_CRYPTO),
        ("m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:AAAA\r\n", Srtp.REQUIRED, Refusal.NO_COMMON_CRYPTO),
        ("m=audio 4000 RTP/AVP 3 18\r\n", Srtp.NEVER, Refusal.NO_COMMON_CODEC),
        ("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 telephone-event/8000\r\n", Srtp.NEVER, Refusal.NO_COMMON_CODEC),
        ("m=video 4000 RTP/AVP 0\r\n", Srtp.NEVER, Refusal.NO_AUDIO),
        ("m=audio 0 RTP/AVP 0\r\n", Srtp.NEVER, Refusal.NO_AUDIO),
        ("m=audio 4000 UDP/TLS/RTP/SAVPF 0\r\n", Srtp.REQUIRED, Refusal.NO_COMMON_CRYPTO),
        ("nonsense", Srtp.NEVER, Refusal.MALFORMED),
    ],
)
def test_what_can_not_be_answered_says_why(media: str, srtp: Srtp, reason: Refusal) -> None:
    assert answer_offer(offer(media), ours(), srtp) is reason


def test_our_own_key_reflected_is_refused() -> None:
    key = base64.b64encode(KEYS[Suite.AES_CM_128_HMAC_SHA1_80]).decode()
    data = offer(f"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{key}\r\n")
    assert answer_offer(data, ours(), Srtp.REQUIRED) is Refusal.NO_COMMON_CRYPTO


def test_other_streams_are_refused_with_port_0_in_their_places() -> None:
    data = offer(
        "m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\nm=audio 4000 RTP/AVP 0\r\n"
        "m=audio 4002 RTP/AVP 8\r\nm=image 6000 udptl t38\r\n"
    )
    sections = parse_session(answered(data).body).media
    assert [(media.kind, media.port, media.formats) for media in sections] == [
        ("video", 0, ("99",)),
        ("audio", 20000, ("0",)),
        ("audio", 0, ("8",)),
        ("image", 0, ("t38",)),
    ]


def test_of_a_secure_and_a_plain_stream_the_secure_one_is_taken() -> None:
    crypto = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
    outcome = answered(offer(f"m=audio 4000 RTP/AVP 0\r\nm=audio 4002 RTP/SAVP 0\r\n{crypto}"))
    assert [media.port for media in parse_session(outcome.body).media] == [0, 20000]
    assert outcome.media.send_crypto is not None


@pytest.mark.parametrize(
    ("line", "answer", "is_held"),
    [
        ("sendrecv", Direction.SENDRECV, False),
        ("sendonly", Direction.RECVONLY, True),
        ("recvonly", Direction.SENDONLY, False),
        ("inactive", Direction.INACTIVE, True),
    ],
)
def test_hold_by_direction(line: str, answer: Direction, is_held: bool) -> None:
    for data in (offer(f"m=audio 4000 RTP/AVP 0\r\na={line}\r\n"), offer("m=audio 4000 RTP/AVP 0\r\n", HEAD + f"a={line}\r\n")):
        outcome = answered(data)
        assert (outcome.media.direction, outcome.media.is_held) == (answer, is_held)
        assert parse_session(outcome.body).media[0].has(answer.value)


def test_hold_by_the_null_address() -> None:
    media = answered(offer("m=audio 4000 RTP/AVP 0\r\n", HEAD.replace("c=IN IP4 192.0.2.99", "c=IN IP4 0.0.0.0"))).media
    assert media.is_held
    assert media.direction is Direction.RECVONLY


def test_our_own_wish_narrows_the_answer() -> None:
    assert answered(offer("m=audio 4000 RTP/AVP 0\r\n"), direction=Direction.SENDONLY).media.direction is Direction.SENDONLY
    assert answered(offer("m=audio 4000 RTP/AVP 0\r\na=sendonly\r\n"), direction=Direction.SENDONLY).media.direction is Direction.INACTIVE


def test_rtcp_is_multiplexed_where_both_can_and_else_goes_to_its_own_port() -> None:
    muxed = answered(offer("m=audio 4000 RTP/AVP 0\r\na=rtcp-mux\r\n"))
    assert (muxed.media.rtcp_mux, muxed.media.rtcp_port) == (True, 4000)
    assert parse_session(muxed.body).media[0].has("rtcp-mux")
    apart = answered(offer("m=audio 4000 RTP/AVP 0\r\na=rtcp:4444 IN IP4 10.0.0.1\r\n"))
    assert (apart.media.rtcp_mux, apart.media.rtcp_port, apart.media.address) == (False, 4444, "192.0.2.99")
    assert parse_session(apart.body).media[0].first("rtcp") == "20001"


def test_g722_at_its_true_rate_is_still_g722() -> None:
    assert answered(offer("m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 g722/16000\r\n")).media.codecs[0].name == "G722"


@pytest.mark.parametrize("srtp", list(Srtp))
def test_two_ends_of_ours_agree(srtp: Srtp) -> None:
    mine, peer = ours(), theirs(codecs=(PCMA, PCMU))
    data = build_offer(mine, srtp)
    outcome = answer_offer(data, peer, srtp)
    assert isinstance(outcome, Answered)
    media = accept_answer(data, outcome.body, mine)
    assert isinstance(media, LegMedia)
    assert media.send_crypto == outcome.media.recv_crypto
    assert media.recv_crypto == outcome.media.send_crypto
    assert (media.send_crypto is None) is (srtp is Srtp.NEVER)
    assert (media.address, media.port) == ("192.0.2.99", 4000)
    assert [codec.name for codec in media.codecs] == ["PCMU", "PCMA"]
    assert media.dtmf is not None
    assert media.rtcp_mux


def test_an_answer_may_not_fall_back_to_plain_rtp() -> None:
    mine = ours()
    data = build_offer(mine, Srtp.REQUIRED)
    assert accept_answer(data, offer("m=audio 4000 RTP/AVP 0\r\n"), mine) is Refusal.SRTP_REQUIRED
    assert accept_answer(data, offer("m=audio 4000 RTP/SAVP 0\r\n"), mine) is Refusal.NO_COMMON_CRYPTO
    wrong_tag = f"m=audio 4000 RTP/SAVP 0\r\na=crypto:9 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
    assert accept_answer(data, offer(wrong_tag), mine) is Refusal.NO_COMMON_CRYPTO
    other_suite = f"m=audio 4000 RTP/SAVP 0\r\na=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
    assert accept_answer(data, offer(other_suite), mine) is Refusal.NO_COMMON_CRYPTO
    right = f"m=audio 4000 RTP/SAVP 0\r\na=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"
    assert isinstance(accept_answer(data, offer(right), mine), LegMedia)
    assert accept_answer(build_offer(mine, Srtp.NEVER), offer(right), mine) is Refusal.SRTP_NOT_ALLOWED


def test_an_answer_that_refuses_or_shares_nothing_is_told() -> None:
    mine = ours()
    data = build_offer(mine, Srtp.NEVER)
    assert accept_answer(data, offer("m=audio 0 RTP/AVP 0\r\n"), mine) is Refusal.NO_AUDIO
    assert accept_answer(data, offer("m=audio 4000 RTP/AVP 18\r\n"), mine) is Refusal.NO_COMMON_CODEC
    assert accept_answer(data, b"", mine) is Refusal.MALFORMED
    assert accept_answer(data, HEAD.encode(), mine) is Refusal.NO_AUDIO


def test_our_hold_is_answered_and_understood() -> None:
    mine = ours()
    data = build_offer(mine, Srtp.NEVER, direction=Direction.SENDONLY)
    media = accept_answer(data, offer("m=audio 4000 RTP/AVP 0\r\na=recvonly\r\n"), mine)
    assert isinstance(media, LegMedia)
    assert media.direction is Direction.SENDONLY
    assert not media.is_held


def test_the_payload_type_of_dtmf_follows_the_other_leg() -> None:
    events = (Codec(96, "telephone-event"),)
    assert parse_session(build_offer(ours(codecs=(PCMU,), events=events), Srtp.NEVER)).media[0].first("fmtp") == "96 0-16"


def test_nothing_personal_or_secret_is_printed() -> None:
    outcome = answered(offer(f"m=audio 4000 RTP/SAVP 0\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{THEIR_KEY}\r\n"))
    shown = repr(outcome) + repr(outcome.media) + repr(ours())
    assert "192.0.2" not in shown
    assert THEIR_KEY not in shown


def test_what_a_section_says_of_its_codecs_is_its_readers_own() -> None:
    section = parse_session(b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8\r\na=ptime:20\r\n").media[0]
    first = codecs_of(section)
    first.clear()
    assert [codec.name for codec in codecs_of(section)] == ["PCMU", "PCMA"]


def test_sections_with_the_same_formats_and_other_maps_have_other_codecs() -> None:
    head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nt=0 0\r\nm=audio 4000 RTP/AVP 96\r\n"
    said = ("a=rtpmap:96 opus/48000/2\r\n", "a=rtpmap:96 G722/8000\r\n", "", "a=rtpmap:96 opus/48000/2\r\na=fmtp:96 stereo=1\r\n")
    found = [[(codec.name, codec.fmtp) for codec in codecs_of(parse_session(f"{head}{lines}".encode()).media[0])] for lines in said]
    assert found == [[("opus", None)], [("G722", None)], [], [("opus", "stereo=1")]]
