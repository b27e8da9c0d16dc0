"""A leg leaves its shared port while the call goes on: its party is told by a re-INVITE, and only it."""

import pytest

from hushwire.calls import effects, events
from hushwire.calls.model import Ports, Side
from hushwire.sdp.offer_answer import Direction, Srtp
from tests.calls.drive import Driven, Party, answered, opened, plan, target

OWN = Ports("127.0.0.1", 30000, 30001)


def talking() -> tuple[Driven, dict[Side, Party]]:
    parties = {Side.CALLER: Party(4000, Srtp.REQUIRED), Side.CALLEE: Party(5000)}
    return answered(parties[Side.CALLER], parties[Side.CALLEE]), parties


@pytest.mark.parametrize(("leg", "side"), [(0, Side.CALLER), (1, Side.CALLEE)])
def test_who_has_new_ports_is_offered_what_was_agreed_with_these_ports(leg: int, side: Side) -> None:
    driven, parties = talking()
    before = len(driven.all(effects.SetLegs))
    driven.feed(events.PortsMoved(leg, OWN))
    offer = driven.last(effects.SendReinvite)
    assert offer.side is side
    assert b"m=audio 30000 " in offer.body
    assert len(driven.all(effects.SetLegs)) == before  # what is sent moves once the party knows
    driven.feed(events.Reanswered(side, 200, parties[side].answer(offer.body)))
    stated = {item.leg: item.media for item in driven.last(effects.SetLegs).legs}
    assert len(driven.all(effects.SetLegs)) == before + 1
    assert stated[leg].port == parties[side].port
    assert (stated[0].send_crypto is None, stated[1].send_crypto is None) == (False, True)
    assert len(driven.all(effects.SendReinvite)) == 1


def test_a_move_waits_for_an_exchange_that_is_under_way_and_an_offer_waits_for_a_move() -> None:
    driven, parties = talking()
    driven.feed(events.Reoffered(Side.CALLER, 7, parties[Side.CALLER].offer(Direction.SENDONLY)))
    driven.feed(events.PortsMoved(0, OWN))
    (hold,) = driven.all(effects.SendReinvite)
    assert hold.side is Side.CALLEE
    driven.feed(events.Reanswered(Side.CALLEE, 200, parties[Side.CALLEE].answer(hold.body)))
    assert b"m=audio 30000 " in driven.last(effects.RespondReinvite).body
    move = driven.last(effects.SendReinvite)
    assert move.side is Side.CALLER
    assert b"a=recvonly" in move.body  # still held
    driven.feed(events.Reoffered(Side.CALLEE, 8, parties[Side.CALLEE].offer()))
    assert (driven.last(effects.RespondReinvite).tx, driven.last(effects.RespondReinvite).status) == (8, 491)
    driven.feed(events.Reanswered(Side.CALLER, 200, parties[Side.CALLER].answer(move.body)))
    driven.feed(events.Reoffered(Side.CALLEE, 9, parties[Side.CALLEE].offer(Direction.RECVONLY)))
    assert driven.last(effects.RespondReinvite).status == 200


def test_a_move_that_meets_the_partys_own_offer_comes_after_it() -> None:
    driven, parties = talking()
    driven.feed(events.PortsMoved(0, OWN))
    driven.feed(events.Reanswered(Side.CALLER, 491, b""))
    assert len(driven.all(effects.SendReinvite)) == 1
    driven.feed(events.Reoffered(Side.CALLER, 7, parties[Side.CALLER].offer()))
    assert b"m=audio 30000 " in driven.last(effects.RespondReinvite).body
    assert len(driven.all(effects.SendReinvite)) == 2


def test_ports_that_move_while_it_rings_are_told_once_the_call_is_answered_and_acknowledged() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = opened(plan(target()), caller.offer())
    driven.feed(events.PortsMoved(0, OWN))
    driven.feed(events.PortsMoved(1, Ports("127.0.0.1", 30002, 30003)))
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    assert b"m=audio 30000 " in driven.last(effects.Respond).body  # not answered before: the answer has them
    driven.feed(events.Acknowledged(Side.CALLER, b""))
    offers = driven.all(effects.SendReinvite)
    assert Side.CALLER in {offer.side for offer in offers}


def test_ports_that_are_told_while_the_party_asks_for_something_itself_are_told_again_in_time() -> None:
    driven, parties = talking()
    driven.feed(events.PortsMoved(1, OWN))
    for _ in range(2):
        driven.feed(events.Reanswered(Side.CALLEE, 491, b"", 1.5))
        assert driven.last(effects.ArmRetry) == effects.ArmRetry(Side.CALLEE, 1.5)
        driven.feed(events.RetryDue(Side.CALLEE))
    body = driven.last(effects.SendReinvite).body
    assert b"m=audio 30000 " in body
    driven.feed(events.Reanswered(Side.CALLEE, 200, parties[Side.CALLEE].answer(body)))
    assert len(driven.all(effects.SendReinvite)) == 3


def test_a_party_that_refuses_keeps_what_it_had_and_one_that_is_gone_ends_the_call() -> None:
    for status, has_ended in ((488, False), (481, True)):
        driven, _ = talking()
        before = len(driven.all(effects.SetLegs))
        driven.feed(events.PortsMoved(1, OWN))
        driven.feed(events.Reanswered(Side.CALLEE, status, b""))
        assert len(driven.all(effects.SetLegs)) == before
        assert bool(driven.all(effects.Ended)) is has_ended
