"""A call that goes on in another process: what is kept of it, and that everything works from there as if nothing had happened."""

import pytest

from hushwire.calls import effects, events
from hushwire.calls.call import Call, State
from hushwire.calls.model import CallDirection, EndReason, Ports, Side
from hushwire.sdp.offer_answer import PCMU, Direction, LegMedia, Srtp
from tests.calls.drive import Counted, Driven, Party, answered, opened, plan, target


def talking() -> tuple[Driven, dict[Side, Party]]:
    parties = {Side.CALLER: Party(4000, Srtp.REQUIRED), Side.CALLEE: Party(5000)}
    return answered(parties[Side.CALLER], parties[Side.CALLEE]), parties


def taken_over(driven: Driven) -> Driven:
    kept = driven.call.keep()
    assert kept is not None
    again = Driven(Call.adopted(kept, Counted()))
    again.done += again.call.resume()
    return again


def media(driven: Driven) -> dict[int, LegMedia]:
    return {leg.leg: leg.media for leg in driven.last(effects.SetLegs).legs}


def version(body: bytes) -> int:
    return int(body.split(b"o=")[1].split()[2])


def test_the_media_process_is_told_what_it_was_told_before() -> None:
    driven, _ = talking()
    again = taken_over(driven)
    assert again.last(effects.SetLegs) == driven.last(effects.SetLegs)
    assert [type(effect) for effect in again.done] == [effects.SetLegs]
    assert again.call.legs() == driven.call.legs()


@pytest.mark.parametrize("side", list(Side))
def test_hold_resume_and_the_end_work_from_both_sides(side: Side) -> None:
    driven, parties = talking()
    again = taken_over(driven)
    for tx, direction in ((7, Direction.SENDONLY), (8, Direction.SENDRECV)):
        again.feed(events.Reoffered(side, tx, parties[side].offer(direction)))
        passed = again.last(effects.SendReinvite)
        again.feed(events.Reanswered(side.other, 200, parties[side.other].answer(passed.body)))
        assert parties[side].read(again.last(effects.RespondReinvite).body).direction is direction
        again = taken_over(again)
    again.feed(events.HungUp(side))
    assert again.all(effects.SendBye) == [effects.SendBye(side.other)]
    assert again.ended.reason is (EndReason.BYE_AGENT if side is Side.CALLER else EndReason.BYE_PEER)


def test_our_keys_stay_and_every_later_description_is_newer_than_those_before() -> None:
    driven, parties = talking()
    first = version(driven.last(effects.Respond).body)
    key = media(driven)[0].send_crypto
    seen = [first]
    for tx in range(4):
        driven = taken_over(driven)
        driven.feed(events.Reoffered(Side.CALLER, tx, parties[Side.CALLER].offer()))
        seen.append(version(driven.last(effects.RespondReinvite).body))
        assert media(driven)[0].send_crypto == key
    assert seen == sorted(set(seen))


def test_an_exchange_that_was_under_way_is_begun_anew_with_the_same_request() -> None:
    driven, parties = talking()
    offer = parties[Side.CALLEE].offer(Direction.SENDONLY)
    driven.feed(events.Reoffered(Side.CALLEE, 7, offer))
    lost = driven.last(effects.SendReinvite)
    again = taken_over(driven)
    assert again.all(effects.SendReinvite) == []
    again.feed(events.Reoffered(Side.CALLEE, 1, offer))
    passed = again.last(effects.SendReinvite)
    assert version(passed.body) > version(lost.body)
    again.feed(events.Reanswered(Side.CALLER, 200, parties[Side.CALLER].answer(passed.body)))
    assert again.last(effects.RespondReinvite).status == 200


def test_a_party_that_had_not_heard_of_new_ports_hears_of_them_from_the_next_process() -> None:
    driven, parties = talking()
    driven.feed(events.PortsMoved(0, Ports("127.0.0.1", 30000, 30001)))
    assert b"m=audio 30000 " in driven.last(effects.SendReinvite).body
    again = taken_over(driven)
    offer = again.last(effects.SendReinvite)
    assert offer.side is Side.CALLER
    assert b"m=audio 30000 " in offer.body
    again.feed(events.Reanswered(Side.CALLER, 200, parties[Side.CALLER].answer(offer.body)))
    assert len(taken_over(again).all(effects.SendReinvite)) == 0


def test_of_several_devices_the_one_that_answered_is_kept() -> None:
    caller, phone = Party(4000), Party(5200)
    the_plan = plan(target(leg=0), target(leg=0), direction=CallDirection.INBOUND, srtp=Srtp.NEVER)
    driven = opened(the_plan, caller.offer())
    driven.feed(events.Accepted(1, phone.answer(driven.all(effects.SendInvite)[1].body)))
    again = taken_over(driven)
    assert again.call.winner == 0
    assert again.call.plan.targets == (the_plan.targets[1],)
    assert media(again) == media(driven)


def test_an_echo_call_is_kept_too() -> None:
    driven = opened(plan(direction=CallDirection.ECHO, srtp=Srtp.NEVER), Party(4000).offer())
    again = taken_over(driven)
    again.feed(events.HungUp(Side.CALLER))
    assert again.all(effects.SendBye) == []
    assert again.ended.reason is EndReason.BYE_AGENT


def test_a_call_that_lost_its_bridge_gets_another_one_in_the_next_process() -> None:
    driven, parties = talking()
    again = taken_over(driven)
    again.feed(events.MediaLost())
    assert again.call.state is State.RENEWING
    assert again.call.keep() is not None
    again.feed(events.MediaOpened((Ports("127.0.0.1", 31000, 31001), Ports("127.0.0.1", 31002, 31003))))
    for offer in again.all(effects.SendReinvite):
        again.feed(events.Reanswered(offer.side, 200, parties[offer.side].answer(offer.body)))
    assert again.all(effects.MediaRenewed) == [effects.MediaRenewed()]


def test_nothing_is_kept_of_a_call_that_is_set_up_or_over() -> None:
    driven = opened(plan(target()), Party(4000, Srtp.REQUIRED, (PCMU,)).offer())
    assert driven.call.keep() is None
    driven.feed(events.Cancelled())
    assert driven.call.keep() is None
