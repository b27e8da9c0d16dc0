"""Ringing from us: the caller is answered early in one codec, and both sides end up with what they agreed to."""

from dataclasses import replace

from hushwire.calls import effects, events
from hushwire.calls.model import Side
from hushwire.sdp.offer_answer import G722, PCMA, PCMU, Srtp
from tests.calls.drive import Driven, Party, opened, plan, target


def ringing(caller: Party) -> Driven:
    driven = opened(replace(plan(target()), rings_with=("PCMA", "PCMU")), caller.offer())
    driven.feed(events.Progressed(0, 180, b""))
    return driven


def test_on_180_the_caller_is_answered_in_one_codec_and_hears_ringing_until_the_answer_that_is_the_same() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000)
    driven = ringing(caller)
    early = driven.last(effects.Respond)
    assert early.status == 183
    assert [codec.name for codec in caller.read(early.body).codecs] == ["PCMA"]
    assert [leg.leg for leg in driven.last(effects.SetLegs).legs] == [0]
    assert driven.last(effects.Ring).media.codecs[0].name == "PCMA"
    driven.feed(events.Progressed(0, 180, b""))
    assert len(driven.all(effects.Ring)) == 1
    callee.local = replace(callee.local, codecs=(PCMA, PCMU))
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    final = driven.last(effects.Respond)
    assert (final.status, final.body) == (200, early.body)


def test_a_callee_that_would_send_another_codec_is_told_by_reinvite_what_the_caller_has() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED, codecs=(G722, PCMU, PCMA)), Party(5000)
    driven = ringing(caller)
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    assert driven.last(effects.Respond).body == driven.all(effects.Respond)[0].body
    offered = driven.last(effects.SendReinvite)
    assert offered.side is Side.CALLEE
    assert b"PCMA/8000" in offered.body
    assert b"G722" not in offered.body
    driven.feed(events.Reanswered(Side.CALLEE, 200, callee.answer(offered.body)))
    agreed = {leg.leg: [codec.name for codec in leg.media.codecs] for leg in driven.last(effects.SetLegs).legs}
    assert agreed == {0: ["PCMA"], 1: ["PCMA"]}
    driven.feed(events.Reoffered(Side.CALLER, 9, caller.offer()))  # nothing is pending any more
    assert driven.last(effects.RespondReinvite).status == 200


def test_a_callee_without_the_early_codec_gives_the_caller_another_answer() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000, codecs=(PCMU,))
    driven = ringing(caller)
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    final = driven.last(effects.Respond)
    assert final.status == 200
    assert [codec.name for codec in caller.read(final.body).codecs] == ["PCMU"]


def test_the_other_sides_own_early_media_takes_the_place_of_ringing() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED), Party(5000, codecs=(PCMA,))
    driven = ringing(caller)
    driven.feed(events.Progressed(0, 183, callee.answer(driven.last(effects.SendInvite).body)))
    assert driven.all(effects.StopRinging)
    assert [leg.leg for leg in driven.last(effects.SetLegs).legs] == [0, 1]


def test_a_caller_without_one_of_the_codecs_or_without_an_offer_rings_by_itself() -> None:
    for offer in (Party(4000, Srtp.REQUIRED, codecs=(G722,)).offer(), b""):
        driven = opened(replace(plan(target()), rings_with=("PCMA", "PCMU")), offer)
        driven.feed(events.Progressed(0, 180, b""))
        assert driven.all(effects.Ring) == []
        assert driven.last(effects.Respond).status == 180
