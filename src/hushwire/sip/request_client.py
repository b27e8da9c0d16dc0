"""Non-INVITE client transaction (RFC 3261 section 17.1.2)."""

from typing import ClassVar

from hushwire.sip.message import Request, Response
from hushwire.sip.timers import Timer, Timings
from hushwire.sip.transaction import NOTHING, Action, Failed, State, Transaction


class RequestClient(Transaction):
    """One request other than INVITE and ACK on its way. `silence_s` is Timer F."""

    __slots__ = ("_data", "_interval", "_silence_s", "request")

    TRANSITIONS: ClassVar[frozenset[tuple[State, State]]] = frozenset(
        {
            (State.IDLE, State.TRYING),
            (State.TRYING, State.PROCEEDING),
            (State.TRYING, State.COMPLETED),
            (State.TRYING, State.TERMINATED),
            (State.PROCEEDING, State.COMPLETED),
            (State.PROCEEDING, State.TERMINATED),
            (State.COMPLETED, State.TERMINATED),
        }
    )

    def __init__(self, request: Request, timings: Timings, *, is_reliable: bool, silence_s: float | None = None) -> None:
        super().__init__(timings, is_reliable=is_reliable)
        self.request = request
        self._data = request.to_bytes()
        self._interval = timings.t1
        self._silence_s = timings.timeout if silence_s is None else silence_s

    def start(self, now: float) -> list[Action]:
        """Send the request."""
        self._go(State.TRYING)
        if not self.is_reliable:
            self.timers[Timer.E] = now + self._interval
        self.timers[Timer.F] = now + self._silence_s
        return [self._data]

    def receive(self, response: Response, now: float) -> list[Action]:
        """Take a response that matched this transaction."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            # "Once in the Completed state, retransmissions of responses are absorbed."
            return NOTHING
        if response.is_provisional:
            self.state = State.PROCEEDING
            return [response]
        if self.is_reliable:
            self._go(State.TERMINATED)  # Timer K is zero
        else:
            self._go(State.COMPLETED)
            self.timers[Timer.K] = now + self.timings.t4
        return [response]

    def _fired(self, timer: Timer, at: float, now: float) -> list[Action]:
        if timer is Timer.E:
            # "In the Trying state, the timer is reset with MIN(2*T1, T2)"; "in Proceeding, with a value of T2 seconds".
            self._interval = self.timings.t2 if self.state is State.PROCEEDING else min(self._interval * 2, self.timings.t2)
            self.timers[Timer.E] = max(at + self._interval, now)
            return [self._data]
        self._go(State.TERMINATED)
        return [Failed(timer)] if timer is Timer.F else NOTHING
