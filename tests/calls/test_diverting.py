"""A call that nobody takes: the machine asks whom to ring next, and goes on as it is told."""

from dataclasses import replace

import pytest

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import CallDirection, EndReason, Plan, Ports
from hushwire.sdp.offer_answer import Srtp
from tests.calls.drive import Counted, Driven, Party, opened, plan, target


def diverting(count: int = 1, **changes: object) -> Plan:
    made = plan(*(target() for _ in range(count)), direction=CallDirection.INTERNAL)
    return replace(made, **{"diverts": True, **changes})  # type: ignore[arg-type]


def begun(count: int = 1, **changes: object) -> Driven:
    return opened(diverting(count, **changes), Party(4000, Srtp.REQUIRED).offer())


def onward(count: int = 1, **changes: object) -> events.Diverted:
    return replace(events.Diverted(tuple(target() for _ in range(count)), 20.0), **changes)  # type: ignore[arg-type]


def asked(driven: Driven) -> DiversionReason:
    return driven.last(effects.AskDiversion).reason


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (events.RingTimeout(), DiversionReason.NO_ANSWER),
        (events.Rejected(0, 486, is_silent=False), DiversionReason.USER_BUSY),
        (events.Rejected(0, 600, is_silent=False), DiversionReason.USER_BUSY),
        (events.Rejected(0, 603, is_silent=False), DiversionReason.USER_BUSY),
        (events.Rejected(0, 480, is_silent=False), DiversionReason.UNAVAILABLE),
        (events.Rejected(0, 408, is_silent=True), DiversionReason.UNAVAILABLE),
        (events.Rejected(0, 503, is_silent=True), DiversionReason.UNAVAILABLE),
    ],
)
def test_what_kept_the_call_from_being_taken_is_the_reason_that_is_asked_with(event: events.Event, reason: DiversionReason) -> None:
    driven = begun()
    driven.feed(event)
    assert asked(driven) is reason
    assert driven.call.state is State.DIVERTING
    assert not driven.all(effects.Ended)


def test_the_caller_is_told_and_who_comes_next_is_rung_and_can_take_the_call() -> None:
    driven = begun()
    driven.feed(events.RingTimeout())
    assert driven.last(effects.SendCancel).branch == 0
    driven.feed(onward())
    assert driven.last(effects.Respond).status == 181
    assert driven.last(effects.SendInvite).branch == 1
    assert driven.last(effects.ArmRing) == effects.ArmRing(20.0)
    driven.feed(events.Accepted(1, Party(5002).answer(driven.last(effects.SendInvite).body)))
    assert driven.call.state is State.ACTIVE
    assert driven.call.keep() is not None


def test_where_there_is_nobody_else_the_caller_hears_what_the_first_said() -> None:
    driven = begun()
    driven.feed(events.Rejected(0, 486, is_silent=False))
    driven.feed(events.NotDiverted())
    assert driven.last(effects.Respond).status == 486
    assert driven.ended == effects.Ended(EndReason.BUSY, 486)


def test_an_answer_that_crosses_the_cancel_is_acknowledged_and_ended_and_the_next_one_rings_on() -> None:
    driven = begun()
    driven.feed(events.RingTimeout())
    driven.feed(onward())
    assert not driven.call.awaits(0)
    steps = driven.feed(events.Accepted(0, Party(5002).answer(driven.all(effects.SendInvite)[0].body)))
    assert steps == [effects.ByeBranch(0)]
    assert driven.call.state is State.RINGING
    assert driven.call.awaits(1)


def test_who_is_not_rung_at_all_is_asked_about_before_anybody_hears_of_the_call() -> None:
    driven = begun(0, not_rung=DiversionReason.DO_NOT_DISTURB)
    assert asked(driven) is DiversionReason.DO_NOT_DISTURB
    assert not driven.all(effects.SendInvite)
    driven.feed(onward(2))
    assert [effect.branch for effect in driven.all(effects.SendInvite)] == [0, 1]


def test_a_call_goes_on_again_where_the_next_one_does_not_take_it_either() -> None:
    driven = begun()
    driven.feed(events.RingTimeout())
    driven.feed(onward(2))
    driven.feed(events.Rejected(1, 486, is_silent=False))
    assert len(driven.all(effects.AskDiversion)) == 1, "one of two still rings"
    driven.feed(events.Rejected(2, 480, is_silent=False))
    assert asked(driven) is DiversionReason.USER_BUSY, "the most telling of what these two said; what the first said is over"
    driven.feed(onward(1))
    assert driven.last(effects.SendInvite).branch == 3


def test_ways_to_a_carrier_are_tried_one_after_the_other_and_its_failure_is_a_carriers() -> None:
    driven = begun()
    driven.feed(events.RingTimeout())
    driven.feed(onward(2, is_serial=True, leads_out=True))
    assert driven.last(effects.SendInvite).branch == 1
    driven.feed(events.Rejected(1, 503, is_silent=True))
    assert driven.last(effects.SendInvite).branch == 2
    driven.feed(events.Rejected(2, 503, is_silent=False))
    driven.feed(events.NotDiverted())
    assert driven.ended == effects.Ended(EndReason.TRUNK_FAILED, 503)


def test_a_caller_who_gives_up_while_it_is_decided_rings_nobody_else() -> None:
    driven = begun()
    driven.feed(events.RingTimeout())
    driven.feed(events.Cancelled())
    assert driven.ended == effects.Ended(EndReason.CANCELLED, 487)
    assert driven.feed(onward()) == []


def test_a_call_that_may_not_be_recorded_where_it_goes_on_to_is_not() -> None:
    driven = begun(is_recorded=True)
    driven.feed(events.RingTimeout())
    driven.feed(onward(is_recorded=False))
    assert not driven.call.plan.is_recorded
    driven.feed(events.RingTimeout())
    driven.feed(onward(is_recorded=True))
    assert not driven.call.plan.is_recorded, "what was ruled out once stays so"


def test_who_diverts_before_anybody_is_rung_has_the_announcement_heard_once_and_then_rings() -> None:
    the_plan = diverting(0, not_rung=DiversionReason.UNCONDITIONAL, announces_with=("PCMA",))
    driven = Driven(Call(the_plan, Party(4000, Srtp.REQUIRED).offer(), Counted()))
    driven.done += driven.call.start(announces=True)
    driven.feed(events.MediaOpened(tuple(Ports("127.0.0.1", 20000 + 2 * leg, 20001 + 2 * leg) for leg in (0, 1))))
    driven.feed(onward())
    assert driven.all(effects.Announce)
    assert not driven.all(effects.SendInvite)
    driven.feed(events.Announced())
    driven.feed(events.RingTimeout())
    driven.feed(onward())
    assert len(driven.all(effects.Announce)) == 1
    assert [effect.branch for effect in driven.all(effects.SendInvite)] == [0, 1]


def test_who_is_rung_after_an_announcement_is_offered_first_what_the_caller_heard_it_in() -> None:
    callee = Party(5000)
    driven = Driven(Call(replace(plan(target()), announces_with=("PCMA",)), Party(4000, Srtp.REQUIRED).offer(), Counted()))
    driven.done += driven.call.start(announces=True)
    driven.feed(events.MediaOpened(tuple(Ports("127.0.0.1", 20000 + 2 * leg, 20001 + 2 * leg) for leg in (0, 1))))
    driven.feed(events.Announced())
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    assert driven.all(effects.SendReinvite) == [], "it takes the first, and needs to be told nothing else"
    agreed = {leg.leg: leg.media.codecs[0].name for leg in driven.last(effects.SetLegs).legs}
    assert agreed == {0: "PCMA", 1: "PCMA"}


def test_a_call_that_does_not_divert_asks_nobody() -> None:
    driven = begun(diverts=False)
    driven.feed(events.RingTimeout())
    assert not driven.all(effects.AskDiversion)
    assert driven.ended == effects.Ended(EndReason.NO_ANSWER, 480)


def test_an_early_answer_of_who_did_not_take_the_call_lets_the_caller_hear_who_rings_next() -> None:
    driven = begun()
    body = driven.last(effects.SendInvite).body
    driven.feed(events.Progressed(0, 183, Party(5002).answer(body)))
    driven.feed(events.Rejected(0, 486, is_silent=False))
    driven.feed(onward())
    told = driven.last(effects.Respond)
    assert told.status == 181
    assert told.body, "once there was an answer, every response has it"
    driven.feed(events.Progressed(1, 180, b""))
    assert driven.all(effects.Ring)
