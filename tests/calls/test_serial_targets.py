"""Several ways to one party, tried one after the other: when the next is tried, and when a refusal stands."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.calls import effects, events
from hushwire.calls.call import State
from hushwire.calls.model import EndReason, Plan, Side
from hushwire.sdp.offer_answer import PCMA, PCMU, Srtp
from tests.calls.drive import Driven, Party, opened, plan, target


def ways(count: int = 2) -> Plan:
    return replace(plan(*(target() for _ in range(count))), is_serial=True)


def begun(count: int = 2) -> tuple[Driven, Party]:
    caller = Party(4000, Srtp.REQUIRED)
    return opened(ways(count), caller.offer()), caller


def branches(driven: Driven) -> list[int]:
    return [effect.branch for effect in driven.all(effects.SendInvite)]


def test_one_way_is_tried_at_a_time() -> None:
    driven, _ = begun(3)
    assert branches(driven) == [0]


@pytest.mark.parametrize(
    "failure",
    [events.Rejected(0, 408, is_silent=True), events.Rejected(0, 503, is_silent=True)]
    + [events.Rejected(0, status, is_silent=False) for status in (401, 407, 408, 500, 502, 503, 504, 513, 580)],
    ids=lambda event: f"{event.status}-{'silent' if event.is_silent else 'said'}",
)
def test_what_fails_to_carry_the_call_is_followed_by_the_next_way(failure: events.Rejected) -> None:
    driven, caller = begun()
    driven.feed(failure)
    assert branches(driven) == [0, 1]
    assert not driven.all(effects.Ended)
    driven.feed(events.Accepted(1, Party(5002).answer(driven.last(effects.SendInvite).body)))
    assert driven.call.state is State.ACTIVE
    assert driven.all(effects.Answered) == [effects.Answered(1)]
    assert caller.read(driven.last(effects.Respond).body).send_crypto is not None


@pytest.mark.parametrize("status", [302, 400, 403, 404, 410, 480, 484, 486, 600, 603, 604, 607, 608])
def test_a_decision_about_the_call_is_nobody_elses_to_overrule(status: int) -> None:
    driven, _ = begun()
    driven.feed(events.Rejected(0, status, is_silent=False))
    assert branches(driven) == [0]
    assert driven.ended


@pytest.mark.parametrize("status", [302, 400, 403, 404, 415, 424, 486, 488, 600, 603])
def test_whatever_one_way_answers_a_call_for_help_goes_on_to_the_next(status: int) -> None:
    caller = Party(4000, Srtp.REQUIRED)
    driven = opened(replace(ways(), is_emergency=True), caller.offer())
    while branches(driven)[-1] == 0:
        assert not driven.all(effects.Ended)
        driven.feed(events.Rejected(0, status, is_silent=False))
    assert set(branches(driven)) == {0, 1}
    driven.feed(events.Rejected(1, status, is_silent=False))
    while not driven.all(effects.Ended):
        driven.feed(events.Rejected(1, status, is_silent=False))


def test_when_no_way_is_left_the_caller_hears_of_the_failure_once() -> None:
    driven, _ = begun(3)
    for branch in range(3):
        driven.feed(events.Rejected(branch, 503, is_silent=False))
    assert branches(driven) == [0, 1, 2]
    assert [effect.status for effect in driven.all(effects.Respond)] == [503]
    assert driven.ended.reason is EndReason.TRUNK_FAILED


def test_a_decision_of_the_second_way_is_what_the_caller_hears() -> None:
    driven, _ = begun()
    driven.feed(events.Rejected(0, 408, is_silent=True))
    driven.feed(events.Rejected(1, 486, is_silent=False))
    assert driven.ended == effects.Ended(EndReason.BUSY, 486)


def test_a_way_that_rang_without_sound_may_still_fail() -> None:
    driven, _ = begun()
    driven.feed(events.Progressed(0, 180, b""))
    driven.feed(events.Rejected(0, 503, is_silent=False))
    assert branches(driven) == [0, 1]


def test_once_the_caller_heard_one_way_no_other_is_tried() -> None:
    driven, _ = begun()
    driven.feed(events.Progressed(0, 183, Party(5000).answer(driven.last(effects.SendInvite).body)))
    driven.feed(events.Rejected(0, 503, is_silent=False))
    assert branches(driven) == [0]
    assert driven.ended.reason is EndReason.TRUNK_FAILED


def test_early_media_of_the_second_way_reaches_the_caller() -> None:
    driven, caller = begun()
    driven.feed(events.Rejected(0, 408, is_silent=True))
    driven.feed(events.Progressed(1, 183, Party(5002).answer(driven.last(effects.SendInvite).body)))
    early = driven.last(effects.Respond)
    assert early.status == 183
    assert caller.read(early.body).send_crypto is not None
    assert {leg.leg: leg.media.port for leg in driven.last(effects.SetLegs).legs}[1] == 5002


def test_early_media_that_is_not_to_be_heard_only_rings_and_leaves_other_ways_open() -> None:
    driven, _ = begun()
    answer = Party(5000).answer(driven.last(effects.SendInvite).body)
    driven.feed(events.Progressed(0, 183, answer, is_heard=False))
    assert driven.last(effects.Respond) == effects.Respond(180)
    assert not driven.all(effects.SetLegs)
    driven.feed(events.Rejected(0, 503, is_silent=False))
    assert branches(driven) == [0, 1]


def test_a_200_without_an_answer_stands_on_an_early_one_that_was_not_heard() -> None:
    driven, _ = begun()
    driven.feed(events.Progressed(0, 183, Party(5000).answer(driven.last(effects.SendInvite).body), is_heard=False))
    driven.feed(events.Accepted(0, b""))
    assert driven.call.state is State.ACTIVE


def test_a_200_without_any_description_is_ended_and_not_tried_elsewhere() -> None:
    driven, _ = begun()
    driven.feed(events.Accepted(0, b""))
    assert driven.last(effects.SendBye).side is Side.CALLEE
    assert branches(driven) == [0]
    assert driven.ended.reason is EndReason.NO_COMMON_MEDIA


def test_a_caller_that_gives_up_cancels_the_way_that_is_tried_now() -> None:
    driven, _ = begun()
    driven.feed(events.Rejected(0, 408, is_silent=True))
    driven.feed(events.Cancelled())
    assert [effect.branch for effect in driven.all(effects.SendCancel)] == [1]
    assert driven.ended.reason is EndReason.CANCELLED


def test_a_way_is_offered_its_own_codecs_in_its_order_and_no_others() -> None:
    one = target()
    limited = replace(one, terms=replace(one.terms, codecs=("PCMA", "PCMU")))
    driven = opened(plan(limited), Party(4000, Srtp.REQUIRED).offer())
    assert b"RTP/AVP 8 0 101\r\n" in driven.last(effects.SendInvite).body


def test_a_way_that_speaks_none_of_the_callers_codecs_is_offered_its_own_to_be_transcoded() -> None:
    one = target()
    limited = replace(one, terms=replace(one.terms, codecs=("PCMA",)))
    caller = Party(4000, Srtp.REQUIRED, (PCMU,))
    driven = opened(plan(limited), caller.offer())
    offer = driven.last(effects.SendInvite).body
    assert b"RTP/AVP 8 " in offer
    driven.feed(events.Accepted(0, Party(5000, codecs=(PCMA,)).answer(offer)))
    assert [codec.name for codec in caller.read(driven.last(effects.Respond).body).codecs] == ["PCMU"]


_EARLY = Party(5000).answer(begun()[0].last(effects.SendInvite).body)
_STORY = st.one_of(
    st.builds(events.Progressed, st.integers(0, 2), st.sampled_from([180, 183]), st.sampled_from([b"", b"v=0", _EARLY]), st.booleans()),
    st.builds(events.Rejected, st.integers(0, 2), st.sampled_from([401, 408, 486, 488, 503, 603]), st.booleans()),
    st.builds(events.Accepted, st.integers(0, 2), st.sampled_from([b"", _EARLY])),
    st.sampled_from([events.Cancelled(), events.RingTimeout(), events.HungUp(Side.CALLER), events.HungUp(Side.CALLEE)]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_STORY, max_size=12))
def test_whatever_the_ways_do_one_is_open_at_a_time_and_the_caller_hears_one_final_answer(story: list[events.Event]) -> None:
    driven, _ = begun(3)
    for event in story:
        if getattr(event, "branch", 0) < len(branches(driven)):
            driven.feed(event)
        assert sum(branch.is_open for branch in driven.call._branches) <= 1
    driven.feed(events.Stopped(EndReason.SHUTDOWN))
    assert driven.call.state is State.ENDED
    assert branches(driven) == sorted(branches(driven))
    finals = [effect.status for effect in driven.all(effects.Respond) if effect.status >= 200]
    assert len(finals) == (0 if driven.ended.reason is EndReason.CANCELLED else 1)
