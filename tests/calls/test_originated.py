"""A call that we begin: the caller's own phones first, then the destination; who is there is told how it ends."""

from hushwire.calls import effects, events
from hushwire.calls.call import State
from hushwire.calls.effects import Effect
from hushwire.calls.model import CallDirection, EndReason, Plan, Ports, Side
from hushwire.calls.originated import Originated
from hushwire.sdp.offer_answer import AUDIO_CODECS
from tests.calls.drive import Counted, Party, target

PORTS = (Ports("192.0.2.1", 20000, 20001), Ports("192.0.2.1", 20002, 20003))


def plan(phones: int = 1) -> Plan:
    phone = target(leg=0)
    return Plan(CallDirection.OUTBOUND, phone.terms, (phone,) * phones, 60.0, True)


def kinds(steps: list[Effect]) -> list[str]:
    return [type(step).__name__ for step in steps]


def summoned(phones: int = 1) -> tuple[Originated, list[Effect]]:
    call = Originated(plan(phones), Counted())
    assert kinds(call.start()) == ["OpenMedia"]
    return call, call.handle(events.MediaOpened(PORTS))


def dialling() -> tuple[Originated, Party, effects.SendInvite]:
    """The caller is there, and the destination rings."""
    call, steps = summoned()
    phone = Party(41000)
    (invite,) = (step for step in steps if isinstance(step, effects.SendInvite))
    assert kinds(call.handle(events.Accepted(0, phone.answer(invite.body)))) == ["SetLegs", "CallerThere"]
    assert call.state is State.DIVERTING
    steps = call.handle(events.Diverted((target(),), 60.0, is_serial=True, leads_out=True))
    (invite,) = (step for step in steps if isinstance(step, effects.SendInvite))
    assert invite.branch == 1
    return call, phone, invite


def test_all_phones_ring_and_the_first_that_is_taken_is_the_caller() -> None:
    call, steps = summoned(2)
    assert kinds(steps) == ["SendInvite", "SendInvite", "ArmRing"]
    invites = [step for step in steps if isinstance(step, effects.SendInvite)]
    assert [call.side_of(branch) for branch in (0, 1)] == [Side.CALLER] * 2
    taken = call.handle(events.Accepted(1, Party(41000).answer(invites[1].body)))
    assert kinds(taken) == ["SendCancel", "SetLegs", "CallerThere"]
    late = call.handle(events.Accepted(0, Party(41002).answer(invites[0].body)))
    assert kinds(late) == ["ByeBranch"], "it crossed our CANCEL"


def test_nobody_is_called_for_a_caller_who_does_not_come() -> None:
    for event in (events.Rejected(0, 486, is_silent=False), events.Rejected(0, 408, is_silent=True), events.RingTimeout()):
        call, _ = summoned()
        ended = call.handle(event)[-1]
        assert ended == effects.Ended(EndReason.AGENT_NOT_REACHED, 480)


def test_both_talk_though_they_know_no_common_codec() -> None:
    call, steps = summoned()
    invite = next(step for step in steps if isinstance(step, effects.SendInvite))
    opus, pcma = (tuple(codec for codec in AUDIO_CODECS if codec.name == name) for name in ("opus", "PCMA"))
    call.handle(events.Accepted(0, Party(41000, codecs=opus).answer(invite.body)))
    call.handle(events.Diverted((target(),), 60.0, is_serial=True, leads_out=True))
    again = call.handle(events.Rejected(1, 488, is_silent=False))
    (invite,) = (step for step in again if isinstance(step, effects.SendInvite))
    answered = call.handle(events.Accepted(1, Party(41002, codecs=pcma).answer(invite.body)))
    assert kinds(answered) == ["SetLegs", "Answered"]
    assert [media.codecs[0].name for media in call.legs().values()] == ["opus", "PCMA"]


def test_the_caller_hears_ringing_until_the_destination_is_heard_itself() -> None:
    call, _, invite = dialling()
    far = Party(41002)
    assert kinds(call.handle(events.Progressed(1, 180, b""))) == ["Ring"]
    assert call.handle(events.Progressed(1, 180, b"")) == []
    assert kinds(call.handle(events.Progressed(1, 183, far.answer(invite.body)))) == ["SetLegs", "StopRinging"]
    assert kinds(call.handle(events.Accepted(1, b""))) == ["SetLegs", "Answered"]
    assert call.state is State.ACTIVE
    kept = call.keep()
    assert kept is not None
    assert len(kept.plan.targets) == 1


def test_whoever_ends_it_before_the_answer_the_caller_is_told_by_bye() -> None:
    for event, reason in (
        (events.Rejected(1, 486, is_silent=False), EndReason.BUSY),
        (events.RingTimeout(), EndReason.NO_ANSWER),
        (events.Stopped(EndReason.HANGUP), EndReason.HANGUP),
        (events.Stopped(EndReason.RULES_CHANGED), EndReason.RULES_CHANGED),
        (events.MediaFailed(), EndReason.MEDIA_FAILED),
    ):
        call, _, _ = dialling()
        steps = call.handle(event)
        assert [step.side for step in steps if isinstance(step, effects.SendBye)] == [Side.CALLER], event
        ended = steps[-1]
        assert isinstance(ended, effects.Ended)
        assert ended.reason is reason
        assert call.handle(event) == []


def test_a_caller_who_hangs_up_or_holds_while_it_rings() -> None:
    call, phone, _ = dialling()
    steps = call.handle(events.Reoffered(Side.CALLER, 7, phone.offer()))
    assert kinds(steps) == ["SetLegs", "RespondReinvite"]
    assert [step.status for step in steps if isinstance(step, effects.RespondReinvite)] == [200]
    steps = call.handle(events.HungUp(Side.CALLER))
    assert kinds(steps) == ["SendCancel", "Ended"]
    assert steps[-1] == effects.Ended(EndReason.CANCELLED, 487)
