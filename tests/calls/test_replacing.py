"""One party's place is taken by another's: what the machine asks for, what who stays is told, and that no way leaves a call half."""

import itertools
from dataclasses import replace

import pytest

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.ends import End
from hushwire.calls.model import CallDirection, EndReason, Side
from hushwire.sdp.offer_answer import Direction, Srtp
from tests.calls.drive import Counted, Driven, Party, answered, opened, plan, target


def talking(port: int = 4000) -> tuple[Driven, dict[Side, Party]]:
    parties = {Side.CALLER: Party(port, Srtp.REQUIRED), Side.CALLEE: Party(port + 1000)}
    return answered(parties[Side.CALLER], parties[Side.CALLEE]), parties


def comer(leg: int) -> tuple[End, Party]:
    """The other party of another call of the agent, as it comes out of that one."""
    other, parties = talking(7000)
    end = other.call.end(Side.CALLEE)
    assert end is not None
    end.terms = replace(end.terms, leg=leg)
    return end, parties[Side.CALLEE]


def test_the_legs_are_stated_anew_and_only_the_dialog_of_who_went_ends() -> None:
    driven, _ = talking()
    end, _ = comer(0)
    steps = driven.feed(events.Replaced(Side.CALLER, end))
    assert [type(step) for step in steps] == [effects.Succeed, effects.SetLegs, effects.FormatChanged]
    assert driven.call.end(Side.CALLER) is end
    assert [leg.leg for leg in driven.last(effects.SetLegs).legs] == [0, 1]
    driven.feed(events.HungUp(Side.CALLER))
    assert driven.all(effects.SendBye) == [effects.SendBye(Side.CALLEE)]


def test_who_was_held_is_offered_its_media_again_and_who_holds_goes_on_holding() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 7, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.Reanswered(Side.CALLEE, 200, parties[Side.CALLEE].answer(driven.last(effects.SendReinvite).body)))
    end, there = comer(0)
    driven.feed(events.Replaced(Side.CALLER, end))
    asked = driven.last(effects.SendReinvite)
    assert asked.side is Side.CALLEE
    assert b"a=sendrecv" in asked.body
    driven.feed(events.Reanswered(Side.CALLEE, 200, parties[Side.CALLEE].answer(asked.body, Direction.SENDONLY)))
    # It holds itself: who came is told, since nobody plays it music here.
    passed = driven.last(effects.SendReinvite)
    assert passed.side is Side.CALLER
    assert b"a=sendonly" in passed.body
    driven.feed(events.Reanswered(Side.CALLER, 200, there.answer(passed.body)))
    media = driven.call.media(Side.CALLER)
    assert media is not None
    assert media.direction is Direction.SENDONLY


def test_an_exchange_under_way_is_answered_and_begun_anew_by_whoever_wants_it() -> None:
    for side, status in ((Side.CALLER, 487), (Side.CALLEE, 491)):
        driven, parties = talking()
        driven.feed(events.Reoffered(side, 7, parties[side].offer(Direction.SENDONLY)))
        end, _ = comer(0)
        driven.feed(events.Replaced(Side.CALLER, end))
        assert driven.last(effects.RespondReinvite).status == status
        driven.feed(events.Reanswered(side.other, 200, b""))
        assert driven.call.state is State.ACTIVE


def test_a_party_stands_aside_and_the_other_waits_also_in_another_process() -> None:
    driven, _ = talking()
    driven.feed(events.StoodAside(Side.CALLER, is_gone=False))
    assert driven.all(effects.SendBye)[-1].side is Side.CALLER
    assert driven.call.state is State.WAITING
    kept = driven.call.keep()
    assert kept is not None
    again = Driven(Call.adopted(kept, Counted()))
    again.done += again.call.resume()
    assert [leg.leg for leg in again.last(effects.SetLegs).legs] == [1]
    assert again.call.end(Side.CALLER) is None
    end, _ = comer(0)
    again.feed(events.Replaced(Side.CALLER, end))
    assert again.call.state is State.ACTIVE
    assert [leg.leg for leg in again.last(effects.SetLegs).legs] == [0, 1]


def test_who_waits_and_hangs_up_ends_the_call_alone() -> None:
    driven, _ = talking()
    driven.feed(events.StoodAside(Side.CALLER, is_gone=True))
    driven.feed(events.HungUp(Side.CALLER))  # it is out already: its BYE crossed ours
    assert driven.call.state is State.WAITING
    driven.feed(events.HungUp(Side.CALLEE))
    assert driven.all(effects.SendBye) == []
    assert driven.ended.reason is EndReason.BYE_PEER


def test_the_call_that_gave_its_party_away_ends_and_says_bye_to_the_other_one_alone() -> None:
    driven, _ = talking()
    driven.feed(events.Yielded(Side.CALLEE))
    assert [bye.side for bye in driven.all(effects.SendBye)] == [Side.CALLER]
    assert driven.ended.reason is EndReason.TRANSFERRED


def test_a_ringing_call_is_picked_up_and_whoever_answers_too_late_is_let_go() -> None:
    caller = Party(4000, Srtp.REQUIRED)
    driven = opened(plan(target(), direction=CallDirection.INTERNAL), caller.offer())
    end, _ = comer(1)
    driven.feed(events.PickingUp())
    assert driven.all(effects.SendCancel)[-1].branch == 0
    assert driven.all(effects.DisarmRing), "while legs are moved nobody else is rung"
    driven.feed(events.Accepted(0, Party(5000).answer(driven.last(effects.SendInvite).body)))
    assert driven.all(effects.ByeBranch) == [effects.ByeBranch(0)]
    driven.feed(events.PickedUp(end, target()))
    assert driven.call.state is State.ACTIVE
    assert driven.last(effects.Respond).status == 200
    assert driven.call.keep() is not None


WISHES = ["replace", "aside", "yield", "hold", "bye-caller", "bye-callee", "stop"]


@pytest.mark.parametrize("wishes", list(itertools.permutations(WISHES, 2)), ids="-".join)
def test_whatever_comes_after_what_a_call_ends_once_or_goes_on_with_who_is_there(wishes: tuple[str, ...]) -> None:
    driven, parties = talking()
    for number, wish in enumerate(wishes):
        end, _ = comer(0)
        driven.feed(
            {
                "replace": events.Replaced(Side.CALLER, end),
                "aside": events.StoodAside(Side.CALLER, is_gone=False),
                "yield": events.Yielded(Side.CALLEE),
                "hold": events.Reoffered(Side.CALLEE, number, parties[Side.CALLEE].offer(Direction.SENDONLY)),
                "bye-caller": events.HungUp(Side.CALLER),
                "bye-callee": events.HungUp(Side.CALLEE),
                "stop": events.Stopped(EndReason.HANGUP),
            }[wish]  # type: ignore[arg-type]
        )
    driven.feed(events.Stopped(EndReason.SHUTDOWN))
    assert len(driven.all(effects.Ended)) == 1
    assert driven.call.state is State.ENDED
