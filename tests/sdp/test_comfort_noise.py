"""Comfort noise in SDP (RFC 3389): answered where it was offered, passed on as a party said it, offered by ourselves where we transcode."""

from dataclasses import replace

import pytest

from hushwire.calls import effects, events
from hushwire.calls.ends import payload_map, recording_format
from hushwire.sdp.codecs import COMFORT_NOISE, TELEPHONE_EVENT
from hushwire.sdp.offer_answer import G722, OPUS, PCMA, PCMU, Answered, Codec, LegMedia, Srtp, accept_answer, answer_offer, build_offer
from tests.calls.drive import Driven, Party, opened, plan, target

BOTH = (TELEPHONE_EVENT, COMFORT_NOISE)


def party(port: int, srtp: Srtp = Srtp.NEVER, codecs: tuple[Codec, ...] = (PCMA, PCMU), *, noise: bool = True) -> Party:
    made = Party(port, srtp, codecs)
    made.local = replace(made.local, events=BOTH if noise else (TELEPHONE_EVENT,), noise=noise)
    return made


def has_noise(body: bytes) -> bool:
    (line,) = [line for line in body.decode().splitlines() if line.startswith("m=audio")]
    return "13" in line.split()[3:]


def agreed(driven: Driven, leg: int) -> LegMedia:
    return next(one.media for one in driven.last(effects.SetLegs).legs if one.leg == leg)


def test_payload_type_13_needs_no_rtpmap_is_no_codec_and_never_the_digits() -> None:
    offer = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 13 8\r\n"
    local = party(5000).local
    outcome = answer_offer(offer, local, Srtp.NEVER)
    assert isinstance(outcome, Answered)
    assert outcome.media.codecs == (PCMA,)
    assert outcome.media.events == (COMFORT_NOISE,)
    assert outcome.media.dtmf is None
    assert b"a=rtpmap:13 CN/8000" in outcome.body
    alone = answer_offer(offer.replace(b" 13 8", b" 13"), local, Srtp.NEVER)
    assert not isinstance(alone, Answered)


@pytest.mark.parametrize(("beside", "codecs"), [("13", (OPUS,)), ("118", (PCMA,)), ("119", (PCMA,))])
def test_comfort_noise_of_another_clock_than_the_codecs_is_not_agreed_on(beside: str, codecs: tuple[Codec, ...]) -> None:
    numbers = " ".join(str(codec.payload_type) for codec in codecs)
    offer = (
        f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP {numbers} {beside}\r\n"
        "a=rtpmap:111 opus/48000/2\r\na=rtpmap:118 CN/32000\r\na=rtpmap:119 CN/16000\r\n"
    )
    outcome = answer_offer(offer.encode(), party(5000, codecs=(PCMA, OPUS)).local, Srtp.NEVER)
    assert isinstance(outcome, Answered)
    assert outcome.media.events == ()


def test_an_offer_of_our_own_has_it_only_where_it_was_put_in_and_an_answer_agrees_on_what_both_name() -> None:
    local = party(5000).local
    plain = replace(local, events=None)
    assert not has_noise(build_offer(plain, Srtp.NEVER))
    offer = build_offer(replace(local, dtmf=False), Srtp.NEVER)
    assert has_noise(offer)
    assert b"telephone-event" not in offer
    answer = answer_offer(offer, local, Srtp.NEVER)
    assert isinstance(answer, Answered)
    media = accept_answer(offer, answer.body, local)
    assert isinstance(media, LegMedia)
    assert media.events == (COMFORT_NOISE,)
    refused = answer_offer(offer, replace(local, noise=False), Srtp.NEVER)
    assert isinstance(refused, Answered)
    assert refused.media.events == ()


@pytest.mark.parametrize(("caller_has", "callee_has"), [(True, True), (True, False), (False, True)])
def test_a_relayed_call_has_it_on_both_legs_or_on_none(caller_has: bool, callee_has: bool) -> None:
    caller, callee = party(4000, Srtp.REQUIRED, noise=caller_has), party(5000, noise=callee_has)
    driven = opened(plan(target()), caller.offer())
    assert has_noise(driven.last(effects.SendInvite).body) is caller_has
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    for leg in (0, 1):
        assert (COMFORT_NOISE in agreed(driven, leg).events) is (caller_has and callee_has)
    assert has_noise(driven.last(effects.Respond).body) is (caller_has and callee_has)


def test_where_speech_is_transcoded_each_leg_has_what_its_own_party_understands() -> None:
    for caller_has in (True, False):
        caller, callee = party(4000, Srtp.REQUIRED, codecs=(G722,), noise=caller_has), party(5000, codecs=(PCMU,))
        driven = opened(plan(target()), caller.offer())
        driven.feed(events.Rejected(0, 488, is_silent=False))
        offered = driven.last(effects.SendInvite).body
        assert has_noise(offered)
        driven.feed(events.Accepted(0, callee.answer(offered)))
        assert (COMFORT_NOISE in agreed(driven, 0).events) is caller_has
        assert COMFORT_NOISE in agreed(driven, 1).events


def test_a_recordings_format_names_it_and_another_payload_type_of_it_is_mapped() -> None:
    here = answer_offer(build_offer(party(4000).local, Srtp.NEVER), party(5000).local, Srtp.NEVER)
    assert isinstance(here, Answered)
    there = replace(here.media, events=(TELEPHONE_EVENT, replace(COMFORT_NOISE, payload_type=98)))
    assert payload_map(here.media, there) == ((13, 98),)
    assert b'"13":"CN/8000"' in recording_format([here.media])
