"""The call machine: set-up, early media, refusals, races and ends."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.calls import effects, events
from hushwire.calls.call import LIVE, Call, State
from hushwire.calls.ends import recording_format
from hushwire.calls.model import CallDirection, EndReason, Plan, Ports, Side
from hushwire.calls.states import STEPS
from hushwire.sdp.offer_answer import G722, PCMA, PCMU, Codec, Direction, Srtp, Suite
from tests.calls.drive import Counted, Driven, Party, answered, opened, plan, target


def test_the_bridge_is_opened_before_anything_is_sent() -> None:
    call = Call(plan(target()), Party(4000, Srtp.REQUIRED).offer(), Counted())
    assert call.start() == [effects.OpenMedia(is_echo=False, legs=(0, 1))]


def test_the_callee_is_offered_only_what_the_caller_offered_under_its_payload_types() -> None:
    caller = Party(4000, Srtp.REQUIRED, (PCMA, G722), dtmf_payload_type=97)
    offer = opened(plan(target()), caller.offer()).last(effects.SendInvite).body
    assert b"m=audio 20002 RTP/AVP 8 9 97\r\n" in offer
    assert b"a=rtpmap:97 telephone-event/8000" in offer
    assert b"crypto" not in offer


def test_the_caller_is_answered_with_what_the_callee_chose() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000, codecs=(PCMA,))
    driven = answered(caller, callee)
    media = caller.read(driven.last(effects.Respond).body)
    assert [codec.name for codec in media.codecs] == ["PCMA"]
    assert media.send_crypto is not None
    statement = driven.last(effects.SetLegs)
    assert {leg.leg: leg.media.port for leg in statement.legs} == {0: 4000, 1: 5000}
    assert [leg.media.send_crypto is None for leg in sorted(statement.legs, key=lambda leg: leg.leg)] == [False, True]
    assert driven.all(effects.Answered) == [effects.Answered(0)]


def test_media_is_set_before_the_caller_reads_that_it_is_answered() -> None:
    driven = answered(Party(4000, Srtp.REQUIRED), Party(5000))
    kinds = [type(effect) for effect in driven.done]
    assert kinds.index(effects.SetLegs) < kinds.index(effects.Respond) < kinds.index(effects.Answered)


def test_payload_types_that_the_callee_numbers_otherwise_are_mapped_both_ways() -> None:
    caller = Party(4000, Srtp.REQUIRED, (PCMU,), dtmf_payload_type=97)
    driven = opened(plan(target()), caller.offer())
    offer = driven.last(effects.SendInvite).body
    answer = Party(5000, codecs=(PCMU,)).answer(offer).replace(b" 97", b" 110").replace(b":97", b":110")
    driven.feed(events.Accepted(0, answer))
    maps = {leg.leg: leg.payload_types for leg in driven.last(effects.SetLegs).legs}
    assert maps == {0: ((97, 110),), 1: ((110, 97),)}


def test_ringing_passes_through_and_is_not_repeated() -> None:
    driven = opened(plan(target()), Party(4000, Srtp.REQUIRED).offer())
    for _ in range(3):
        driven.feed(events.Progressed(0, 180, b""))
    assert driven.all(effects.Respond) == [effects.Respond(180)]


def test_early_media_gives_the_caller_its_answer_and_the_200_repeats_it() -> None:
    caller, carrier = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = opened(plan(target()), caller.offer())
    answer = carrier.answer(driven.last(effects.SendInvite).body)
    driven.feed(events.Progressed(0, 183, answer))
    early = driven.last(effects.Respond)
    assert early.status == 183
    assert len(driven.last(effects.SetLegs).legs) == 2
    driven.feed(events.Accepted(0, answer))
    assert driven.last(effects.Respond) == effects.Respond(200, early.body)


def test_a_caller_that_was_answered_early_may_offer_anew_and_nobody_else_is_asked() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = opened(plan(target()), caller.offer())
    driven.feed(events.Progressed(0, 183, callee.answer(driven.last(effects.SendInvite).body)))
    caller.local = Party(4800, Srtp.REQUIRED, (PCMA,)).local
    driven.feed(events.Reoffered(Side.CALLER, 9, caller.offer()))
    answer = driven.last(effects.RespondReinvite)
    assert (answer.tx, answer.status) == (9, 200)
    assert [codec.name for codec in caller.read(answer.body).codecs] == ["PCMA"]
    statement = {leg.leg: leg.media for leg in driven.last(effects.SetLegs).legs}
    assert (statement[0].port, statement[1].port) == (4800, 5000)
    assert driven.all(effects.SendReinvite) == []
    driven.feed(events.Accepted(0, b""))
    assert driven.call.state is State.ACTIVE
    assert driven.last(effects.Respond).status == 200
    assert driven.call.legs()[0].port == 4800


@pytest.mark.parametrize("body", [b"", b"v=0", Party(4000).offer()])
def test_an_early_offer_that_does_not_fit_is_refused_and_early_media_stays(body: bytes) -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = opened(plan(target()), caller.offer())
    driven.feed(events.Progressed(0, 183, callee.answer(driven.last(effects.SendInvite).body)))
    before = driven.last(effects.SetLegs)
    driven.feed(events.Reoffered(Side.CALLER, 9, body))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(9, 488)
    assert driven.last(effects.SetLegs) is before


def test_who_was_not_answered_early_can_not_offer_anew_yet() -> None:
    driven = opened(plan(target()), Party(4000, Srtp.REQUIRED).offer())
    driven.feed(events.Reoffered(Side.CALLER, 9, Party(4000, Srtp.REQUIRED).offer()))
    assert driven.last(effects.RespondReinvite) == effects.RespondReinvite(9, 488)


def test_a_200_without_an_answer_stands_on_the_early_one() -> None:
    caller = Party(4000, Srtp.REQUIRED)
    driven = opened(plan(target()), caller.offer())
    driven.feed(events.Progressed(0, 183, Party(5000).answer(driven.last(effects.SendInvite).body)))
    driven.feed(events.Accepted(0, b""))
    assert driven.call.state is State.ACTIVE


def test_a_200_with_an_answer_that_cannot_be_used_ends_both_sides() -> None:
    driven = opened(plan(target()), Party(4000, Srtp.REQUIRED).offer())
    driven.feed(events.Accepted(0, b"v=0\r\nnonsense"))
    assert driven.last(effects.SendBye).side is Side.CALLEE
    assert driven.last(effects.Respond).status == 488
    assert driven.ended.reason is EndReason.NO_COMMON_MEDIA


@pytest.mark.parametrize(
    ("srtp", "terms"), [(Srtp.NEVER, Srtp.REQUIRED), (Srtp.REQUIRED, Srtp.NEVER)], ids=["clear-where-required", "srtp-where-never"]
)
def test_an_offer_against_the_terms_gets_488_and_nobody_is_rung(srtp: Srtp, terms: Srtp) -> None:
    driven = opened(plan(target(), srtp=terms), Party(4000, srtp).offer())
    assert driven.last(effects.Respond).status == 488
    assert driven.all(effects.SendInvite) == []
    assert driven.ended.status == 488


def test_protection_that_is_optional_is_tried_first_and_left_out_after_488() -> None:
    driven = opened(plan(target(Srtp.OPTIONAL)), Party(4000, Srtp.REQUIRED).offer())
    assert b"RTP/SAVP" in driven.last(effects.SendInvite).body
    driven.feed(events.Rejected(0, 488, is_silent=False))
    assert b"RTP/AVP" in driven.last(effects.SendInvite).body
    driven.feed(events.Rejected(0, 488, is_silent=False))
    assert driven.ended.reason is EndReason.NO_COMMON_MEDIA


def test_protection_that_is_required_is_never_left_out() -> None:
    driven = opened(plan(target(Srtp.REQUIRED)), Party(4000, Srtp.REQUIRED).offer())
    driven.feed(events.Rejected(0, 488, is_silent=False))
    assert len(driven.all(effects.SendInvite)) == 1
    assert driven.last(effects.Respond).status == 488


@pytest.mark.parametrize(
    ("status", "is_silent", "to_trunk", "seen", "reason"),
    [
        (486, False, True, 486, EndReason.BUSY),
        (600, False, True, 486, EndReason.BUSY),
        (603, False, True, 603, EndReason.DECLINED),
        (404, False, True, 404, EndReason.NOT_FOUND),
        (484, False, True, 484, EndReason.NOT_FOUND),
        (480, False, True, 480, EndReason.UNAVAILABLE),
        (403, False, True, 403, EndReason.REJECTED),
        (407, False, True, 503, EndReason.TRUNK_FAILED),
        (302, False, True, 480, EndReason.REJECTED),
        (500, False, True, 503, EndReason.TRUNK_FAILED),
        (408, True, True, 503, EndReason.TRUNK_FAILED),
        (503, True, True, 503, EndReason.TRUNK_FAILED),
        (408, True, False, 480, EndReason.UNAVAILABLE),
        (503, True, False, 480, EndReason.UNAVAILABLE),
        (401, False, False, 480, EndReason.REJECTED),
    ],
)
def test_each_refusal_has_its_status_for_the_caller_and_its_reason_for_the_row(
    status: int, is_silent: bool, to_trunk: bool, seen: int, reason: EndReason
) -> None:
    direction = CallDirection.OUTBOUND if to_trunk else CallDirection.INTERNAL
    driven = opened(plan(target(), direction=direction), Party(4000, Srtp.REQUIRED).offer())
    driven.feed(events.Rejected(0, status, is_silent=is_silent))
    assert driven.last(effects.Respond).status == seen
    assert driven.ended == effects.Ended(reason, seen)


def inbound(*srtp: Srtp) -> tuple[Driven, Party]:
    caller = Party(4000)
    targets = tuple(target(item, leg=0) for item in srtp)
    return opened(plan(*targets, direction=CallDirection.INBOUND, srtp=Srtp.NEVER), caller.offer()), caller


def test_every_device_is_rung_with_keys_of_its_own() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    one, two = (invite.body for invite in driven.all(effects.SendInvite))
    lines = [{line for line in body.splitlines() if line.startswith(b"a=crypto")} for body in (one, two)]
    assert len(lines[0]) == len(Suite)
    assert not lines[0] & lines[1]


def test_the_first_answer_wins_and_the_other_devices_are_cancelled() -> None:
    driven, caller = inbound(Srtp.REQUIRED, Srtp.REQUIRED, Srtp.REQUIRED)
    phone = Party(6000, Srtp.REQUIRED)
    driven.feed(events.Accepted(1, phone.answer(driven.all(effects.SendInvite)[1].body)))
    assert [cancel.branch for cancel in driven.all(effects.SendCancel)] == [0, 2]
    assert driven.call.winner == 1
    caller.read(driven.last(effects.Respond).body)


def test_a_second_answer_is_ended_at_once() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    invites = driven.all(effects.SendInvite)
    driven.feed(events.Accepted(0, Party(6000, Srtp.REQUIRED).answer(invites[0].body)))
    assert driven.feed(events.Accepted(1, Party(7000, Srtp.REQUIRED).answer(invites[1].body))) == [effects.ByeBranch(1)]


def test_several_devices_only_ring_whatever_early_media_they_send() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    body = Party(6000, Srtp.REQUIRED).answer(driven.all(effects.SendInvite)[0].body)
    driven.feed(events.Progressed(0, 183, body))
    assert driven.last(effects.Respond) == effects.Respond(180)
    assert driven.all(effects.SetLegs) == []


def test_one_busy_device_does_not_end_the_search_and_busy_is_told_when_all_refused() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    assert driven.feed(events.Rejected(0, 486, is_silent=False)) == []
    driven.feed(events.Rejected(1, 408, is_silent=True))
    assert driven.last(effects.Respond).status == 486


def test_one_decline_speaks_for_the_agent() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    driven.feed(events.Rejected(0, 603, is_silent=False))
    assert [cancel.branch for cancel in driven.all(effects.SendCancel)] == [1]
    assert driven.ended == effects.Ended(EndReason.DECLINED, 603)


def test_nobody_answering_cancels_all_and_says_480() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    driven.feed(events.RingTimeout())
    assert len(driven.all(effects.SendCancel)) == 2
    assert driven.ended == effects.Ended(EndReason.NO_ANSWER, 480)


def test_a_cancelled_call_is_cancelled_everywhere_and_not_answered_again() -> None:
    driven, _ = inbound(Srtp.REQUIRED, Srtp.REQUIRED)
    driven.feed(events.Cancelled())
    assert len(driven.all(effects.SendCancel)) == 2
    assert driven.all(effects.Respond) == []
    assert driven.ended == effects.Ended(EndReason.CANCELLED, 487)


@pytest.mark.parametrize(("side", "reason"), [(Side.CALLER, EndReason.BYE_AGENT), (Side.CALLEE, EndReason.BYE_PEER)])
def test_a_bye_from_either_side_ends_the_other(side: Side, reason: EndReason) -> None:
    driven = answered(Party(4000, Srtp.REQUIRED), Party(5000))
    driven.feed(events.HungUp(side))
    assert driven.all(effects.SendBye) == [effects.SendBye(side.other)]
    assert driven.ended == effects.Ended(reason, None)


def test_an_agent_that_is_called_and_hangs_up_is_still_the_agent() -> None:
    driven, _ = inbound(Srtp.REQUIRED)
    driven.feed(events.Accepted(0, Party(6000, Srtp.REQUIRED).answer(driven.last(effects.SendInvite).body)))
    driven.feed(events.HungUp(Side.CALLEE))
    assert driven.ended.reason is EndReason.BYE_AGENT


@pytest.mark.parametrize("reason", [EndReason.MEDIA_LOST, EndReason.HANGUP, EndReason.SHUTDOWN])
def test_what_we_end_is_told_to_both_sides(reason: EndReason) -> None:
    driven = answered(Party(4000, Srtp.REQUIRED), Party(5000))
    driven.feed(events.Stopped(reason))
    assert [bye.side for bye in driven.all(effects.SendBye)] == [Side.CALLER, Side.CALLEE]
    assert all(bye.reason for bye in driven.all(effects.SendBye))
    assert driven.ended.reason is reason


def test_what_we_end_while_it_rings_is_answered_and_cancelled() -> None:
    driven, _ = inbound(Srtp.REQUIRED)
    driven.feed(events.Stopped(EndReason.MEDIA_LOST))
    assert driven.last(effects.Respond).status == 503
    assert len(driven.all(effects.SendCancel)) == 1


def test_without_media_the_caller_gets_503() -> None:
    driven = Driven(Call(plan(target()), Party(4000, Srtp.REQUIRED).offer(), Counted()))
    driven.call.start()
    driven.feed(events.MediaFailed())
    assert driven.last(effects.Respond).status == 503
    assert driven.ended.reason is EndReason.MEDIA_FAILED


def test_an_invite_without_an_offer_is_offered_what_the_callee_chose_and_the_ack_completes_it() -> None:
    driven = opened(plan(target(), direction=CallDirection.INBOUND, srtp=Srtp.NEVER), b"")
    driven.feed(events.Accepted(0, Party(5000, codecs=(PCMA,)).answer(driven.last(effects.SendInvite).body)))
    offer = driven.last(effects.Respond)
    assert offer.status == 200
    assert b"RTP/AVP 8 101\r\n" in offer.body
    assert driven.call.state is State.OFFERING
    driven.feed(events.Acknowledged(Side.CALLER, Party(4000).answer(offer.body)))
    assert driven.call.state is State.ACTIVE
    assert len(driven.last(effects.SetLegs).legs) == 2
    assert driven.all(effects.Answered) == [effects.Answered(0)]


@pytest.mark.parametrize("body", [b"", b"nonsense"])
def test_an_ack_without_a_usable_answer_ends_both_sides(body: bytes) -> None:
    driven = opened(plan(target(), direction=CallDirection.INBOUND, srtp=Srtp.NEVER), b"")
    driven.feed(events.Accepted(0, Party(5000).answer(driven.last(effects.SendInvite).body)))
    driven.feed(events.Acknowledged(Side.CALLER, body))
    assert [bye.side for bye in driven.all(effects.SendBye)] == [Side.CALLER, Side.CALLEE]
    assert driven.ended.reason is EndReason.NO_COMMON_MEDIA


def test_a_party_that_never_acknowledges_ends_the_other() -> None:
    driven = answered(Party(4000, Srtp.REQUIRED), Party(5000))
    driven.feed(events.NeverAcknowledged(Side.CALLER))
    assert [bye.side for bye in driven.all(effects.SendBye)] == [Side.CALLEE]
    assert driven.ended.reason is EndReason.NO_ACK


def test_echo_is_answered_from_one_leg() -> None:
    caller = Party(4000, Srtp.REQUIRED)
    driven = opened(plan(direction=CallDirection.ECHO, is_recorded=False), caller.offer())
    assert driven.all(effects.OpenMedia) == [effects.OpenMedia(is_echo=True, legs=(0,))]
    caller.read(driven.last(effects.Respond).body)
    assert [leg.leg for leg in driven.last(effects.SetLegs).legs] == [0]
    driven.feed(events.HungUp(Side.CALLER))
    assert driven.all(effects.SendBye) == []


def test_after_the_loss_of_media_both_parties_are_offered_other_ports_and_keys_and_the_call_goes_on() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = answered(caller, callee)
    before = driven.last(effects.SetLegs)
    driven.feed(events.MediaLost())
    assert driven.call.state is State.RENEWING
    assert len(driven.all(effects.OpenMedia)) == 2
    driven.feed(events.Reoffered(Side.CALLEE, 5, callee.offer()))
    assert driven.last(effects.RespondReinvite).status == 491  # not now
    driven.feed(events.MediaOpened((Ports("127.0.0.1", 20004, 20005), Ports("127.0.0.1", 20006, 20007))))
    offers = {effect.side: effect.body for effect in driven.all(effects.SendReinvite)}
    assert b"m=audio 20004 " in offers[Side.CALLER]
    assert b"m=audio 20006 " in offers[Side.CALLEE]
    driven.feed(events.Reanswered(Side.CALLEE, 200, callee.answer(offers[Side.CALLEE])))
    assert driven.last(effects.SetLegs) is before  # not before both know
    driven.feed(events.Reanswered(Side.CALLER, 200, caller.answer(offers[Side.CALLER])))
    assert driven.call.state is State.ACTIVE
    assert len(driven.all(effects.MediaRenewed)) == 1
    keys = [next(leg.media.send_crypto for leg in legs.legs if leg.leg == 0) for legs in (before, driven.last(effects.SetLegs))]
    assert keys[0] is not None
    assert keys[1] is not None
    assert keys[0].key != keys[1].key


def test_each_loss_of_media_has_its_own_retries_however_often_it_was_lost_before() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = answered(caller, callee)
    for _ in range(8):
        driven.feed(events.MediaLost())
        driven.feed(events.MediaOpened((Ports("127.0.0.1", 20004, 20005), Ports("127.0.0.1", 20006, 20007))))
        driven.feed(events.Reanswered(Side.CALLEE, 491, b"", 1.0))
        driven.feed(events.RetryDue(Side.CALLEE))
        offers = {effect.side: effect.body for effect in driven.all(effects.SendReinvite)}
        driven.feed(events.Reanswered(Side.CALLEE, 200, callee.answer(offers[Side.CALLEE])))
        driven.feed(events.Reanswered(Side.CALLER, 200, caller.answer(offers[Side.CALLER])))
        assert driven.call.state is State.ACTIVE


@pytest.mark.parametrize("status", [408, 481, 488, 491, 500])
def test_a_party_that_does_not_take_the_new_media_ends_the_call_for_both(status: int) -> None:
    driven = answered(Party(4000, Srtp.REQUIRED), Party(5000))
    driven.feed(events.MediaLost())
    driven.feed(events.MediaOpened((Ports("127.0.0.1", 20004, 20005), Ports("127.0.0.1", 20006, 20007))))
    driven.feed(events.Reanswered(Side.CALLER, status, b""))
    assert driven.ended.reason is EndReason.MEDIA_LOST
    assert {effect.side for effect in driven.all(effects.SendBye)} == set(Side)


def test_an_address_that_the_peer_may_not_name_is_not_sent_to() -> None:
    caller = Party(4000, Srtp.REQUIRED, address="127.0.0.1")
    statement = answered(caller, Party(5000)).last(effects.SetLegs)
    agent = next(leg for leg in statement.legs if leg.leg == 0)
    assert (agent.media.address, agent.media.port) == ("0.0.0.0", 0)
    assert agent.signalling_address == "192.0.2.7"


def test_the_recordings_format_names_each_legs_payload_types() -> None:
    driven = answered(Party(4000, Srtp.REQUIRED), Party(5000, codecs=(PCMA,)))
    expected = b'{"legs":[{"8":"PCMA/8000","101":"telephone-event/8000"},{"8":"PCMA/8000","101":"telephone-event/8000"}]}'
    legs = driven.call.legs()
    assert recording_format(legs.get(leg) for leg in (0, 1)) == expected


def test_every_state_but_the_first_and_last_can_be_stopped() -> None:
    assert {state for state, event in STEPS if event is events.Stopped} == LIVE
    assert all(hasattr(Call, name) for name in STEPS.values())


_CALLER, _CALLEE = Party(4000, Srtp.REQUIRED), Party(5000)
_ANSWER = _CALLEE.answer(opened(plan(target()), _CALLER.offer()).last(effects.SendInvite).body)
_SIDES = st.sampled_from(list(Side))
_BODIES = st.sampled_from([b"", b"v=0", _ANSWER, _CALLER.offer(), _CALLER.offer(Direction.SENDONLY), Party(5000).offer(Direction.INACTIVE)])
_EVENTS = st.one_of(
    st.builds(events.Progressed, st.integers(0, 1), st.sampled_from([180, 183]), _BODIES),
    st.builds(events.Accepted, st.integers(0, 1), _BODIES),
    st.builds(events.Rejected, st.integers(0, 1), st.sampled_from([302, 408, 486, 488, 603]), st.booleans()),
    st.builds(events.Acknowledged, _SIDES, _BODIES),
    st.builds(events.Reoffered, _SIDES, st.integers(1, 5), _BODIES),
    st.builds(events.Reanswered, _SIDES, st.sampled_from([200, 408, 481, 488, 491]), _BODIES),
    st.builds(events.Reanswered, _SIDES, st.sampled_from([491, 500]), st.just(b""), st.just(2.0)),
    st.builds(events.RetryDue, _SIDES),
    st.builds(events.HungUp, _SIDES),
    st.builds(events.NeverAcknowledged, _SIDES),
    st.sampled_from([events.Cancelled(), events.RingTimeout(), events.MediaFailed(), events.Stopped(EndReason.HANGUP)]),
    st.sampled_from([events.MediaLost(), events.MediaOpened((Ports("127.0.0.1", 20004, 20005), Ports("127.0.0.1", 20006, 20007)))]),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_EVENTS, max_size=12), st.sampled_from([CallDirection.OUTBOUND, CallDirection.INBOUND]), st.booleans())
def test_whatever_comes_in_whatever_order_the_call_ends_once_and_every_re_invite_is_answered_exactly_once(
    story: list[events.Event], direction: CallDirection, has_offer: bool
) -> None:
    is_inbound = direction is CallDirection.INBOUND
    targets = [target(Srtp.NEVER, leg=0 if is_inbound else 1) for _ in range(2)]
    the_plan: Plan = plan(*targets, direction=direction, srtp=Srtp.NEVER if is_inbound else Srtp.REQUIRED)
    offer = (Party(4000) if is_inbound else _CALLER).offer() if has_offer else b""
    driven = Driven(Call(the_plan, offer, Counted()))
    driven.call.start()
    driven.feed(events.MediaOpened((Ports("127.0.0.1", 20000, 20001), Ports("127.0.0.1", 20002, 20003))))
    numbers = itertools.count(1)
    asked = []
    for event in story:
        if isinstance(event, events.Reoffered):
            event = events.Reoffered(event.side, next(numbers), event.body)
            asked.append(event.tx)
        driven.feed(event)
    driven.feed(events.Stopped(EndReason.SHUTDOWN))
    assert driven.call.state is State.ENDED
    assert len(driven.all(effects.Ended)) == 1
    finals = [effect.status for effect in driven.all(effects.Respond) if effect.status >= 200]
    assert len(finals) == (0 if driven.ended.reason is EndReason.CANCELLED else 1)
    answers = [effect.tx for effect in driven.all(effects.RespondReinvite)]
    assert sorted(answers) == asked


def test_a_codec_that_we_do_not_know_is_left_out() -> None:
    caller = Party(4000, Srtp.REQUIRED, (Codec(111, "opus", 48000), PCMU))
    assert b"opus" not in opened(plan(target()), caller.offer()).last(effects.SendInvite).body
