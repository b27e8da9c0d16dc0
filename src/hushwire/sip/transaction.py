"""What the four transaction machines share (RFC 3261 section 17).

A machine is driven by `start`, `receive`, `respond` and `fire`; each returns what to do: bytes to transmit, messages to hand to the
user above, or a Failed. It keeps its own timers: `deadline` says when `fire` is due. A machine in TERMINATED is to be dropped.
"""

from enum import StrEnum
from math import ceil
from typing import ClassVar

from hushwire.core.values import frozen
from hushwire.sip.message import Request, Response
from hushwire.sip.timers import Timer, Timings


class State(StrEnum):
    """States of figures 5 to 8 of RFC 3261, with Accepted of RFC 6026."""

    IDLE = "idle"
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    ACCEPTED = "accepted"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    TERMINATED = "terminated"


@frozen
class Failed:
    """The transaction gave up: its last timer fired without what it waited for."""

    timer: Timer


Action = bytes | Request | Response | Failed
NOTHING: list[Action] = []


class Transaction:
    """State, timers and the table of allowed transitions."""

    __slots__ = ("is_reliable", "state", "timers", "timings")

    TRANSITIONS: ClassVar[frozenset[tuple[State, State]]] = frozenset()

    def __init__(self, timings: Timings, *, is_reliable: bool) -> None:
        self.timings = timings
        self.is_reliable = is_reliable
        self.state = State.IDLE
        self.timers: dict[Timer, float] = {}

    def deadline(self) -> float | None:
        """Monotonic second at which `fire` must next be called, or None."""
        return min(self.timers.values()) if self.timers else None

    def fire(self, now: float) -> list[Action]:
        """What the timers that are due by `now` cause, in the order of their times."""
        actions: list[Action] = []
        while self.timers:
            at = min(self.timers.values())
            if at > now:
                break
            timer = next(timer for timer, due in self.timers.items() if due == at)
            del self.timers[timer]
            actions += self._fired(timer, at, now)
        return actions

    def terminate(self) -> None:
        """End the machine from outside: its flow failed or its user gave up."""
        self.state = State.TERMINATED
        self.timers.clear()

    def forgo_sending(self) -> None:
        """Send the request no more; what it is answered is still heard."""
        for timer in (Timer.A, Timer.E):
            self.timers.pop(timer, None)

    def forgo_retransmission(self, now: float) -> None:
        """Send the final response no more by ourselves, and forget it after T4: a challenge to a stranger.

        RFC 3261 section 26.3.2.4: "forgoing the normal response retransmission algorithm, and thus behaving statelessly towards
        unauthenticated requests", so that a forged source is neither flooded nor remembered.
        """
        self.timers.pop(Timer.G, None)
        for timer in (Timer.H, Timer.J):
            if timer in self.timers:
                # At the end of a tenth of a second, so that those who are forgotten together wake us once.
                self.timers[timer] = min(self.timers[timer], ceil(10 * (now + self.timings.t4)) / 10)

    def _fired(self, timer: Timer, at: float, now: float) -> list[Action]:
        raise NotImplementedError

    def _go(self, state: State) -> None:
        self.state = state
        self.timers.clear()
