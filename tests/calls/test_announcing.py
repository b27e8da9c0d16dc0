"""An announcement before the answer: the caller is answered early, and nobody is rung until it is over."""

from dataclasses import replace

import pytest

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.model import EndReason, Plan, Ports
from hushwire.sdp.offer_answer import G722, OPUS, PCMA, PCMU, Direction, Srtp
from tests.calls.drive import Counted, Driven, Party, plan, target

ANNOUNCED: Plan = replace(plan(target(), target()), announces_with=("PCMA", "PCMU", "G722", "opus"))


def announcing(offer: bytes, the_plan: Plan = ANNOUNCED, *, announces: bool = True) -> Driven:
    driven = Driven(Call(the_plan, offer, Counted()))
    driven.done += driven.call.start(announces=announces)
    driven.feed(events.MediaOpened((Ports("127.0.0.1", 20000, 20001), Ports("127.0.0.1", 20002, 20003))))
    return driven


def test_the_caller_is_answered_early_and_all_are_rung_once_the_announcement_is_over() -> None:
    caller = Party(4000, Srtp.REQUIRED)
    driven = announcing(caller.offer())
    assert driven.call.state is State.ANNOUNCING
    assert [type(effect) for effect in driven.done[1:]] == [effects.SetLegs, effects.Respond, effects.Announce]
    early = driven.last(effects.Respond)
    assert early.status == 183
    assert [codec.name for codec in caller.read(early.body).codecs] == ["PCMA"]
    steps = driven.feed(events.Announced())
    assert [type(effect) for effect in steps] == [effects.SendInvite, effects.SendInvite, effects.ArmRing]


def test_after_it_the_caller_hears_ringing_once_and_the_same_answer_in_every_response() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000, codecs=(PCMA, PCMU))
    driven = announcing(caller.offer())
    driven.feed(events.Announced())
    for status in (180, 183, 180):
        driven.feed(events.Progressed(0, status, b""))
    assert len(driven.all(effects.Ring)) == 1
    driven.feed(events.Accepted(1, callee.answer(driven.last(effects.SendInvite).body)))
    bodies = {answer.body for answer in driven.all(effects.Respond)}
    assert len(bodies) == 1
    assert driven.last(effects.Respond).status == 200


def test_a_caller_with_opus_alone_keeps_its_early_answer_where_the_call_is_transcoded() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED, codecs=(OPUS,)), Party(5000, codecs=(PCMU,))
    driven = announcing(caller.offer(), replace(ANNOUNCED, targets=(target(),)))
    early = driven.last(effects.Respond)
    assert [codec.name for codec in caller.read(early.body).codecs] == ["opus"]
    driven.feed(events.Announced())
    driven.feed(events.Rejected(0, 488, is_silent=False))
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    final = driven.last(effects.Respond)
    assert (final.status, final.body) == (200, early.body)
    assert driven.all(effects.SendReinvite) == []


@pytest.mark.parametrize(
    ("offer", "announces"),
    [
        (b"", True),
        (Party(4000, Srtp.REQUIRED).offer(), False),
        (Party(4000, Srtp.REQUIRED).offer(Direction.SENDONLY), True),
        (Party(4000, Srtp.REQUIRED).offer(Direction.INACTIVE), True),
    ],
    ids=["no offer", "not asked for", "the caller does not listen", "the caller holds"],
)
def test_who_can_not_be_answered_early_has_its_targets_rung_at_once(offer: bytes, announces: bool) -> None:
    driven = announcing(offer, announces=announces)
    assert driven.all(effects.Announce) == []
    assert len(driven.all(effects.SendInvite)) == 2
    assert driven.all(effects.Respond) == []


def test_codecs_that_no_sound_comes_in_are_not_answered_early() -> None:
    driven = announcing(Party(4000, Srtp.REQUIRED, codecs=(G722,)).offer(), replace(ANNOUNCED, announces_with=("PCMA",)))
    assert driven.all(effects.Announce) == []
    assert len(driven.all(effects.SendInvite)) == 2


@pytest.mark.parametrize(
    ("event", "reason", "statuses"),
    [
        (events.Cancelled(), EndReason.CANCELLED, [183]),
        (events.Stopped(EndReason.HANGUP), EndReason.HANGUP, [183, 480]),
        (events.Stopped(EndReason.MEDIA_LOST), EndReason.MEDIA_LOST, [183, 503]),
        (events.MediaFailed(), EndReason.MEDIA_FAILED, [183, 503]),
    ],
)
def test_what_ends_the_call_within_it_ends_it_with_nobody_rung_then_or_later(
    event: events.Event, reason: EndReason, statuses: list[int]
) -> None:
    driven = announcing(Party(4000, Srtp.REQUIRED).offer())
    driven.feed(event)
    driven.feed(events.Announced())
    assert driven.ended.reason is reason
    assert [answer.status for answer in driven.all(effects.Respond)] == statuses
    assert driven.all(effects.SendInvite) == []
