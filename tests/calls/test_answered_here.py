"""A call that something of ours takes: answered for its caller alone, at once or instead of who was called."""

from dataclasses import replace

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import AnsweredBy, CallDirection, EndReason, Ports, Side
from hushwire.sdp.offer_answer import Srtp
from tests.calls.drive import Counted, Driven, Party, opened, plan, target

TAKEN = events.AnsweredHere(AnsweredBy.MESSAGE)


def diverting() -> Driven:
    made = replace(plan(target(), direction=CallDirection.INTERNAL), diverts=True)
    driven = opened(made, Party(4000, Srtp.REQUIRED).offer())
    driven.feed(events.Rejected(0, 486, is_silent=False))
    assert driven.last(effects.AskDiversion).reason is DiversionReason.USER_BUSY
    return driven


def test_who_found_nobody_is_answered_by_us_and_only_its_own_leg_is_stated() -> None:
    driven = diverting()
    driven.feed(TAKEN)
    assert driven.last(effects.Respond).status == 200
    assert [leg.leg for leg in driven.last(effects.SetLegs).legs] == [0]
    assert driven.last(effects.Answered).winner is None
    assert driven.call.state is State.ACTIVE
    assert not driven.call.plan.is_recorded, "a message is recorded by its own rules"
    driven.feed(events.HungUp(Side.CALLER))
    assert driven.ended.reason is EndReason.BYE_AGENT
    assert driven.all(effects.SendBye) == []


def test_a_phone_that_answers_when_the_machine_has_taken_over_is_sent_bye() -> None:
    driven = diverting()
    driven.feed(TAKEN)
    driven.feed(events.Accepted(0, b""))
    assert driven.last(effects.ByeBranch).branch == 0
    assert driven.call.state is State.ACTIVE


def test_what_we_end_is_ended_with_a_word() -> None:
    driven = diverting()
    driven.feed(TAKEN)
    driven.feed(events.Stopped(EndReason.MESSAGE_LEFT))
    bye = driven.last(effects.SendBye)
    assert (bye.side, bye.reason) == (Side.CALLER, 'SIP;cause=200;text="The message was taken"')


def test_who_offers_late_is_offered_and_answers_by_its_ack() -> None:
    caller = Party(4000, Srtp.REQUIRED)
    made = replace(plan(direction=CallDirection.INTERNAL), answered_by=AnsweredBy.MESSAGE)
    driven = Driven(Call(made, b"", Counted()))
    assert driven.call.start() == [effects.OpenMedia(is_echo=False, legs=(0,))]
    driven.feed(events.MediaOpened((Ports("192.0.2.1", 30000, 30001),)))
    answered = driven.last(effects.Respond)
    assert (answered.status, driven.call.state) == (200, State.OFFERING)
    assert not driven.all(effects.Answered)
    driven.feed(events.Acknowledged(Side.CALLER, caller.answer(answered.body)))
    assert driven.last(effects.Answered).winner is None
    assert driven.call.state is State.ACTIVE


def test_a_caller_that_can_not_be_answered_is_refused() -> None:
    made = replace(plan(direction=CallDirection.INTERNAL), answered_by=AnsweredBy.MESSAGE)
    driven = Driven(Call(made, Party(4000).offer(), Counted()))
    driven.call.start()
    driven.feed(events.MediaOpened((Ports("192.0.2.1", 30000, 30001),)))
    assert driven.last(effects.Respond).status == 488
    assert driven.ended.reason is EndReason.NO_COMMON_MEDIA


def test_another_process_goes_on_with_it_as_what_it_is() -> None:
    driven = diverting()
    driven.feed(TAKEN)
    kept = driven.call.keep()
    assert kept is not None
    again = Call.adopted(kept, Counted())
    assert again.plan.answered_by is AnsweredBy.MESSAGE
    assert [leg.leg for leg in again.resume()[0].legs] == [0]  # type: ignore[union-attr]
