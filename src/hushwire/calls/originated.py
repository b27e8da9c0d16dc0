"""A call that we begin in an agent's name: its caller is rung first, or comes out of another call, and then the destination (RFC 3725).

    NEW -> OPENING -> SUMMONING (the agent's own phones ring) -> DIVERTING (the destination is judged once more)
        -> [ANNOUNCING ->] RINGING -> ACTIVE -> ENDED

The caller has a dialog of its own from its answer on, so whoever ends the call before the destination took it says BYE there. Both parties
are offered all that we speak, the second one first what the first agreed to; the media process codes anew where they chose otherwise.
"""

from dataclasses import replace
from typing import Final

from hushwire.calls import effects, events, failures
from hushwire.calls.call import Call, State
from hushwire.calls.ends import End
from hushwire.calls.machine import Branch
from hushwire.calls.model import EndReason, Plan, Side
from hushwire.calls.states import STEPS
from hushwire.core.clock import Random
from hushwire.sdp.dtls import Fingerprint
from hushwire.sdp.offer_answer import LegMedia, Refusal
from hushwire.sip import reason as reasons
from hushwire.sip.refusals import REFUSALS, reason_header

_BEFORE_ANSWER: Final = (State.DIVERTING, State.ANNOUNCING, State.RINGING)


class Originated(Call):
    """One such call. The plan's targets are the caller's own phones, or nobody's where it comes (`CallerCame`); `Diverted` names the
    destination's, once `CallerThere` asked for them."""

    steps = STEPS | {(state, events.HungUp): "_left" for state in _BEFORE_ANSWER} | {
        (state, events.RefreshDue): "_refresh_later" for state in _BEFORE_ANSWER
    }  # fmt: skip

    def __init__(self, plan: Plan, random: Random, fingerprint: Fingerprint | None = None) -> None:
        super().__init__(plan, b"", random, fingerprint)
        self._leads_out = False
        self._refusal = (503, EndReason.TRUNK_FAILED)
        self._awaits_caller = not plan.targets

    def side_of(self, branch: int) -> Side:
        """Whose phone it is."""
        return Side.CALLER if self._caller is None else Side.CALLEE

    def awaits(self, branch: int) -> bool:
        """Whether an answer of this target would be taken."""
        return self.state in (State.SUMMONING, State.RINGING) and self._branches[branch].is_open

    # The caller.

    def _opened(self, event: events.MediaOpened) -> None:
        self._ports = dict(zip(self.plan.legs, event.ports, strict=True))
        self.state = State.SUMMONING
        for _ in self.plan.targets:
            self._ring_next()
        if not self._awaits_caller:
            self._do(effects.ArmRing(self.plan.ring_s))

    def _accepted(self, event: events.Accepted) -> None:
        if self._caller is not None:
            super()._accepted(event)
            return
        branch = self._branches[event.branch]
        branch.is_open = False
        self._cancel_branches(str(reasons.ELSEWHERE))
        if branch.end.take_answer(event.body) is not None:
            words = failures.ENDED_BY[EndReason.NO_COMMON_MEDIA]
            self._do(effects.SendBye(Side.CALLER, words))
            self._end(EndReason.NO_COMMON_MEDIA, 488)
            return
        self._found(branch.end)
        self._do(effects.CallerThere(branch.index))

    def _came(self, event: events.CallerCame) -> None:
        """The caller's leg is in this call's bridge already."""
        if self._awaits_caller and self._caller is None:
            self._found(event.end)
            self._do(effects.CallerThere(None))

    def _found(self, caller: End) -> None:
        self._caller, self._offered = caller, caller.agreed
        self._first = len(self._branches)
        self.plan = replace(self.plan, caller=caller.terms)
        self.state = State.DIVERTING
        self._set_legs(caller)

    def _left(self, event: events.HungUp) -> None:
        """The caller hangs up before anybody answered."""
        if event.side is Side.CALLER:
            self._cancel_branches(reasons.value(event.said))
            self._end(EndReason.CANCELLED, 487)

    def _refresh_later(self, event: events.RefreshDue) -> None:
        self._own.owe(event.side)

    def _reoffered_early(self, event: events.Reoffered) -> None:
        """It stays between the caller and us: who is rung is asked nothing."""
        caller = self._caller
        body = Refusal.NO_AUDIO if caller is None or event.side is not Side.CALLER or not event.body else caller.answer(event.body)
        if caller is None or isinstance(body, Refusal):
            self._do(effects.RespondReinvite(event.tx, 488))
            return
        self._offered = caller.agreed
        heard = (branch.end for branch in self._branches[self._first :] if branch.has_early_answer and branch.is_open)
        self._set_legs(caller, *heard)
        self._do(effects.RespondReinvite(event.tx, 200, body))

    # The destination.

    def _diverted(self, event: events.Diverted) -> None:
        if not event.targets and self.plan.not_rung is not None and self._first == len(self._branches):
            self._ask_diversion(self.plan.not_rung, 480, EndReason.UNAVAILABLE)
            return
        if not event.targets or self._caller is None:
            self._not_diverted(events.NotDiverted())
            return
        self._turn(event)
        self._ring_or_announce(self._caller)

    def _answer_early(self, caller: End, offered: LegMedia, names: tuple[str, ...]) -> bool:
        return True  # it was answered long ago

    def _progressed(self, event: events.Progressed) -> None:
        branch, caller = self._branches[event.branch], self._caller
        if caller is None or not branch.is_open:
            return
        if event.body and not self._rings_many and not branch.has_early_answer and branch.end.take_answer(event.body) is None:
            branch.has_answered = True
            if event.is_heard:
                branch.has_early_answer = True
                self._set_legs(caller, branch.end)
                if self._is_ringing:
                    self._do(effects.StopRinging())
                return
        is_heard = any(other.has_early_answer and other.is_open for other in self._branches[self._first :])
        if event.status in (180, 183) and not self._is_ringing and not is_heard and caller.agreed is not None:
            self._is_ringing = True
            self._do(effects.Ring(caller.agreed))

    def _taken(self, branch: Branch, caller: End) -> None:
        self.state = State.ACTIVE
        self._set_legs(caller, branch.end)
        self._do(effects.Answered(branch.index))
        self._move_next()

    def _answer_ourselves(self, caller: End) -> None:
        self.state = State.ACTIVE
        self._set_legs(caller)
        self._do(effects.Answered(None))

    # Its end before the answer.

    def _not_taken(self, status: int, why: EndReason) -> None:
        if self._caller is None:
            self._refuse(480, EndReason.AGENT_NOT_REACHED)
        else:
            super()._not_taken(status, why)

    def _refuse(self, status: int, why: EndReason, words: str | None = None) -> None:
        told = words or (REFUSALS[why.value].words if why.value in REFUSALS else None)
        self._part(reason_header(status, told))
        super()._refuse(status, why, words)

    def _stop(self, why: EndReason) -> None:
        if self.state in _BEFORE_ANSWER:
            self._part(failures.ENDED_BY.get(why))
        super()._stop(why)

    def _part(self, words: str | None) -> None:
        if self._caller is not None:
            self._do(effects.SendBye(Side.CALLER, words))
