"""Parties that share no codec: asked in their own way first, then with all codecs; each keeps its own."""

import pytest

from hushwire.calls import effects, events
from hushwire.calls.model import EndReason, Side
from hushwire.sdp.codecs import G722, OPUS, PCMA, PCMU
from hushwire.sdp.offer_answer import Direction, Refusal, Srtp, answer_offer
from tests.calls.drive import Driven, Party, opened, plan, target


def talking(caller: Party, callee: Party) -> Driven:
    driven = opened(plan(target(callee.srtp)), caller.offer())
    first = driven.last(effects.SendInvite).body
    assert answer_offer(first, callee.local, callee.srtp) is Refusal.NO_COMMON_CODEC
    driven.feed(events.Rejected(0, 488, is_silent=False))
    driven.feed(events.Accepted(0, callee.answer(driven.last(effects.SendInvite).body)))
    return driven


@pytest.mark.parametrize(("mine", "theirs"), [(OPUS, PCMU), (PCMA, G722), (PCMU, OPUS)])
def test_a_callee_that_refuses_the_callers_codecs_is_offered_the_others_and_each_keeps_its_own(mine: object, theirs: object) -> None:
    caller, callee = Party(4000, Srtp.REQUIRED, codecs=(mine,)), Party(5000, codecs=(theirs,))  # type: ignore[arg-type]
    driven = talking(caller, callee)
    answer = driven.last(effects.Respond)
    assert answer.status == 200
    assert [codec.name for codec in caller.read(answer.body).codecs] == [mine.name]  # type: ignore[attr-defined]
    legs = {leg.leg: leg.media for leg in driven.last(effects.SetLegs).legs}
    assert [[codec.name for codec in legs[n].codecs] for n in (0, 1)] == [[mine.name], [theirs.name]]  # type: ignore[attr-defined]
    assert driven.call.media(Side.CALLEE) is not None


def test_a_callee_that_shares_a_codec_is_never_offered_another() -> None:
    caller, callee = Party(4000, Srtp.REQUIRED, codecs=(PCMU,)), Party(5000)
    driven = opened(plan(target()), caller.offer())
    offer = driven.last(effects.SendInvite).body
    assert b"opus" not in offer
    assert b"G722" not in offer
    driven.feed(events.Accepted(0, callee.answer(offer)))
    assert len(driven.all(effects.SendInvite)) == 1


def test_protection_is_tried_anew_with_all_codecs_and_in_the_end_the_call_fails() -> None:
    driven = opened(plan(target(Srtp.OPTIONAL)), Party(4000, Srtp.REQUIRED, codecs=(OPUS,)).offer())
    for _ in range(4):
        assert driven.all(effects.Ended) == []
        driven.feed(events.Rejected(0, 488, is_silent=False))
    offers = [invite.body for invite in driven.all(effects.SendInvite)]
    assert [b"RTP/SAVP" in offer for offer in offers] == [True, False, True, False]
    assert [b"PCMU" in offer for offer in offers] == [False, False, True, True]
    assert driven.ended.reason is EndReason.NO_COMMON_MEDIA


@pytest.mark.parametrize("side", list(Side))
def test_hold_and_resume_pass_through_with_each_partys_own_codecs(side: Side) -> None:
    parties = {Side.CALLER: Party(4000, Srtp.REQUIRED, codecs=(OPUS,)), Side.CALLEE: Party(5000, codecs=(PCMU,))}
    driven = talking(parties[Side.CALLER], parties[Side.CALLEE])
    for tx, direction in ((1, Direction.SENDONLY), (2, Direction.SENDRECV)):
        driven.feed(events.Reoffered(side, tx, parties[side].offer(direction)))
        passed = driven.last(effects.SendReinvite)
        driven.feed(events.Reanswered(side.other, 200, parties[side.other].answer(passed.body)))
        answer = driven.last(effects.RespondReinvite)
        assert (answer.tx, answer.status) == (tx, 200)
        parties[side].read(answer.body)
    legs = {leg.leg: leg.media for leg in driven.last(effects.SetLegs).legs}
    assert {media.direction for media in legs.values()} == {Direction.SENDRECV}
    assert [legs[n].codecs[0].name for n in (0, 1)] == ["opus", "PCMU"]
