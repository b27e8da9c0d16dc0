"""Re-INVITEs through the call: hold and resume either way, glare, refusals, late offers, changed keys."""

from dataclasses import replace

import pytest

from hushwire.calls import effects, events
from hushwire.calls.model import CallDirection, EndReason, Side
from hushwire.calls.reoffer import MOST_RETRIES
from hushwire.sdp.offer_answer import PCMA, PCMU, Direction, LegMedia, Srtp
from tests.calls.drive import Driven, Party, answered, opened, plan


def talking() -> tuple[Driven, dict[Side, Party]]:
    parties = {Side.CALLER: Party(4000, Srtp.REQUIRED), Side.CALLEE: Party(5000)}
    return answered(parties[Side.CALLER], parties[Side.CALLEE]), parties


def legs(driven: Driven) -> dict[int, LegMedia]:
    return {leg.leg: leg.media for leg in driven.last(effects.SetLegs).legs}


@pytest.mark.parametrize("side", list(Side))
def test_hold_is_passed_on_and_stops_sound_to_who_is_held(side: Side) -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(side, 7, parties[side].offer(Direction.SENDONLY)))
    passed = driven.last(effects.SendReinvite)
    assert passed.side is side.other
    assert b"a=sendonly" in passed.body
    assert driven.all(effects.RespondReinvite) == []
    driven.feed(events.Reanswered(side.other, 200, parties[side.other].answer(passed.body)))
    answer = driven.last(effects.RespondReinvite)
    assert (answer.tx, answer.status) == (7, 200)
    assert parties[side].read(answer.body).direction is Direction.SENDONLY
    holder, held = (0, 1) if side is Side.CALLER else (1, 0)
    assert (legs(driven)[holder].direction, legs(driven)[held].direction) == (Direction.RECVONLY, Direction.SENDONLY)
    assert legs(driven)[holder].is_held


@pytest.mark.parametrize("side", list(Side))
def test_resume_brings_both_directions_back(side: Side) -> None:
    driven, parties = talking()
    for tx, direction in ((1, Direction.INACTIVE), (2, Direction.SENDRECV)):
        driven.feed(events.Reoffered(side, tx, parties[side].offer(direction)))
        body = parties[side.other].answer(driven.last(effects.SendReinvite).body)
        driven.feed(events.Reanswered(side.other, 200, body))
    assert {media.direction for media in legs(driven).values()} == {Direction.SENDRECV}
    assert len(driven.all(effects.RespondReinvite)) == 2


def test_a_refresh_that_changes_nothing_is_answered_without_troubling_the_other_side() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 3, parties[Side.CALLER].offer()))
    assert driven.all(effects.SendReinvite) == []
    assert driven.last(effects.RespondReinvite).status == 200


def test_a_moved_phone_is_followed_and_our_key_stays() -> None:
    driven, parties = talking()
    key = legs(driven)[0].send_crypto
    parties[Side.CALLER].local = Party(4800, Srtp.REQUIRED).local
    driven.feed(events.Reoffered(Side.CALLER, 3, parties[Side.CALLER].offer()))
    assert legs(driven)[0].port == 4800
    assert legs(driven)[0].send_crypto == key


def test_a_held_party_that_holds_too_leaves_both_silent_until_both_resume() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reanswered(Side.CALLEE, 200, parties[Side.CALLEE].answer(driven.last(effects.SendReinvite).body)))
    driven.feed(events.Reoffered(Side.CALLEE, 2, parties[Side.CALLEE].offer(Direction.INACTIVE)))
    driven.feed(events.Reanswered(Side.CALLER, 200, parties[Side.CALLER].answer(driven.last(effects.SendReinvite).body)))
    assert {media.direction for media in legs(driven).values()} == {Direction.INACTIVE}


def test_glare_is_passed_back_as_491_and_nothing_changes() -> None:
    driven, parties = talking()
    before = legs(driven)
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reanswered(Side.CALLEE, 491, b""))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(1, 491)
    assert legs(driven) == before


def test_an_offer_that_met_the_partys_own_is_made_again_after_its_time_and_who_waits_does_not_know() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    for status, pause in ((491, 2.5), (500, 4.0)):
        driven.feed(events.Reanswered(Side.CALLEE, status, b"", pause))
        assert driven.last(effects.ArmRetry) == effects.ArmRetry(Side.CALLEE, pause)
        driven.feed(events.RetryDue(Side.CALLEE))
    assert driven.all(effects.RespondReinvite) == []
    assert len(driven.all(effects.SendReinvite)) == 3
    driven.feed(events.Reanswered(Side.CALLEE, 200, parties[Side.CALLEE].answer(driven.last(effects.SendReinvite).body)))
    assert driven.last(effects.RespondReinvite).status == 200
    assert legs(driven)[0].is_held


def test_a_party_that_never_lets_an_offer_through_is_given_up_and_the_caller_hears_of_the_glare() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    for _ in range(MOST_RETRIES):
        driven.feed(events.Reanswered(Side.CALLEE, 491, b"", 1.0))
        driven.feed(events.RetryDue(Side.CALLEE))
    driven.feed(events.Reanswered(Side.CALLEE, 491, b"", 1.0))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(1, 491)
    driven.feed(events.RetryDue(Side.CALLEE))  # of no use to anybody any more
    assert len(driven.all(effects.SendReinvite)) == 1 + MOST_RETRIES


def test_the_time_of_an_exchange_that_is_over_moves_nothing_of_the_next() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    assert driven.feed(events.RetryDue(Side.CALLEE)) == []
    assert len(driven.all(effects.SendReinvite)) == 1


def test_a_hold_meanwhile_ended_by_the_other_side_is_answered_and_tried_no_more() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reanswered(Side.CALLEE, 491, b"", 1.0))
    driven.feed(events.HungUp(Side.CALLEE))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(1, 487)
    assert driven.feed(events.RetryDue(Side.CALLEE)) == []


def test_a_second_re_invite_during_the_first_gets_491() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reoffered(Side.CALLEE, 2, parties[Side.CALLEE].offer()))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(2, 491)


def test_a_hold_that_the_other_side_refuses_is_granted_on_our_side() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reanswered(Side.CALLEE, 488, b""))
    assert driven.last(effects.RespondReinvite).status == 200
    assert legs(driven)[0].direction is Direction.RECVONLY


def test_an_offer_without_a_common_codec_gets_488_and_the_call_goes_on() -> None:
    driven = answered(Party(4000, Srtp.REQUIRED, (PCMU, PCMA)), Party(5000, codecs=(PCMU,)))
    driven.feed(events.Reoffered(Side.CALLER, 1, Party(4000, Srtp.REQUIRED, (PCMA,)).offer()))
    assert b"RTP/AVP 8" in driven.last(effects.SendReinvite).body
    driven.feed(events.Reanswered(Side.CALLEE, 488, b""))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(1, 488)
    assert driven.all(effects.Ended) == []


def test_a_re_invite_without_protection_where_it_is_required_gets_488() -> None:
    driven, _ = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, Party(4000).offer()))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(1, 488)


@pytest.mark.parametrize("status", [408, 481])
def test_a_re_invite_into_a_dialog_that_is_gone_ends_the_call(status: int) -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reanswered(Side.CALLEE, status, b""))
    assert driven.last(effects.SendBye).side is Side.CALLER
    assert driven.ended.reason is EndReason.BYE_PEER


def test_a_re_invite_without_an_offer_gets_ours_and_the_ack_completes_it() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLEE, 1, b""))
    answer = driven.last(effects.RespondReinvite)
    assert answer.status == 200
    driven.feed(events.Acknowledged(Side.CALLEE, parties[Side.CALLEE].answer(answer.body)))
    assert legs(driven)[1].port == 5000
    driven.feed(events.Reoffered(Side.CALLER, 2, parties[Side.CALLER].offer()))
    assert driven.last(effects.RespondReinvite).status == 200


def test_a_bye_during_a_re_invite_answers_it_and_ends_the_other_side() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.HungUp(Side.CALLEE))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(1, 487)
    assert driven.last(effects.SendBye).side is Side.CALLER


def test_an_echo_call_can_be_held() -> None:
    caller = Party(4000, Srtp.REQUIRED)
    driven = opened(plan(direction=CallDirection.ECHO, is_recorded=False), caller.offer())
    driven.feed(events.Reoffered(Side.CALLER, 1, caller.offer(Direction.SENDONLY)))
    assert driven.last(effects.RespondReinvite).status == 200
    assert legs(driven)[0].direction is Direction.RECVONLY


def test_the_format_is_told_again_when_a_re_invite_changed_media() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 3, parties[Side.CALLER].offer()))
    assert len(driven.all(effects.FormatChanged)) == 1


def talking_with_music() -> tuple[Driven, dict[Side, Party]]:
    driven, parties = talking()
    driven.call.plan = replace(driven.call.plan, holds_with_music=True)
    return driven, parties


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("direction", [Direction.SENDONLY, Direction.INACTIVE])
def test_with_music_a_hold_stays_between_its_party_and_us_and_who_waits_is_sent_to_but_not_taken_from(
    side: Side, direction: Direction
) -> None:
    driven, parties = talking_with_music()
    driven.feed(events.Reoffered(side, 7, parties[side].offer(direction)))
    assert driven.all(effects.SendReinvite) == []
    answer = driven.last(effects.RespondReinvite)
    assert (answer.tx, answer.status) == (7, 200)
    assert parties[side].read(answer.body).direction is direction
    holder, held = (0, 1) if side is Side.CALLER else (1, 0)
    assert legs(driven)[holder].is_held
    assert legs(driven)[held].direction is Direction.SENDONLY
    driven.feed(events.Reoffered(side, 8, parties[side].offer(Direction.SENDRECV)))
    assert driven.all(effects.SendReinvite) == []
    assert {media.direction for media in legs(driven).values()} == {Direction.SENDRECV}


def test_with_music_both_may_hold_and_each_resumes_by_itself() -> None:
    driven, parties = talking_with_music()
    driven.feed(events.Reoffered(Side.CALLER, 1, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reoffered(Side.CALLEE, 2, parties[Side.CALLEE].offer(Direction.SENDONLY)))
    assert not any(media.direction.sends for media in legs(driven).values())
    driven.feed(events.Reoffered(Side.CALLER, 3, parties[Side.CALLER].offer(Direction.SENDRECV)))
    assert legs(driven)[0].direction is Direction.SENDONLY  # hears the music of who holds still
    assert not legs(driven)[1].direction.sends
    assert driven.all(effects.SendReinvite) == []
