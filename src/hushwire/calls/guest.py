"""A party that we ring to join somebody else's call: a supervisor. It has a leg there, and no caller of its own.

    NEW -> OPENING -> RINGING -> ACTIVE -> ENDED

What it is offered is all that we speak: the media process codes anew for it. Re-INVITEs of it are its own affair and are answered at once.
"""

from hushwire.calls import effects, events, failures
from hushwire.calls.call import Call, State
from hushwire.calls.model import EndReason, Plan, Side
from hushwire.core.clock import Random
from hushwire.sdp.dtls import Fingerprint
from hushwire.sip import reason as reasons


class Guest(Call):
    """One such party. `plan.joins` is its leg; who would be the caller of another call is the call that it joins."""

    def __init__(self, plan: Plan, random: Random, fingerprint: Fingerprint | None = None) -> None:
        if plan.joins is None or not (plan.targets or plan.not_rung):
            raise ValueError("a guest is rung, and joins as a leg of another call")
        super().__init__(plan, b"", random, fingerprint)

    def _opened(self, event: events.MediaOpened) -> None:
        self._ports = dict(zip(self.plan.legs, event.ports, strict=True))
        if self.plan.not_rung is not None:
            self._ask_diversion(self.plan.not_rung, 480, EndReason.UNAVAILABLE)
        else:
            self._ring_targets()

    def _diverted(self, event: events.Diverted) -> None:
        self._turn(event)
        self._ring_targets()

    def _answered_here(self, event: events.AnsweredHere) -> None:
        """Nobody of ours answers who is rung: there is no caller to hear it."""
        self._not_diverted(events.NotDiverted())

    def _progressed(self, event: events.Progressed) -> None:
        """It rings there; nobody here waits to hear of it."""

    def _accepted(self, event: events.Accepted) -> None:
        branch = self._branches[event.branch]
        self.winner = branch.index
        branch.is_open = False
        self._cancel_branches(str(reasons.ELSEWHERE))
        if branch.end.take_answer(event.body) is not None:
            self._do(effects.SendBye(Side.CALLEE, failures.ENDED_BY[EndReason.NO_COMMON_MEDIA]))
            self._end(EndReason.NO_COMMON_MEDIA, 488)
            return
        self.state = State.ACTIVE
        self._set_legs(branch.end)
        self._do(effects.Answered(branch.index))
