"""INVITE server transaction (RFC 3261 section 17.2.1 with RFC 6026 section 7.1)."""

from typing import ClassVar, Final

from hushwire.sip.message import Request, response_to
from hushwire.sip.timers import Timer, Timings
from hushwire.sip.transaction import NOTHING, Action, Failed, State, Transaction

# "The server transaction MUST generate a 100 (Trying) response unless it knows that the TU will generate a provisional or final
# response within 200 ms."
TRYING_AFTER_S: Final = 0.2


class InviteServer(Transaction):
    """One INVITE to answer."""

    __slots__ = ("_interval", "_last", "request")

    TRANSITIONS: ClassVar[frozenset[tuple[State, State]]] = frozenset(
        {
            (State.IDLE, State.PROCEEDING),
            (State.PROCEEDING, State.ACCEPTED),
            (State.PROCEEDING, State.COMPLETED),
            (State.PROCEEDING, State.TERMINATED),
            (State.ACCEPTED, State.TERMINATED),
            (State.COMPLETED, State.CONFIRMED),
            (State.COMPLETED, State.TERMINATED),
            (State.CONFIRMED, State.TERMINATED),
        }
    )

    def __init__(self, request: Request, timings: Timings, *, is_reliable: bool) -> None:
        super().__init__(timings, is_reliable=is_reliable)
        self.request = request
        self._last = b""
        self._interval = timings.t1

    def start(self, now: float) -> list[Action]:
        """Hand the INVITE up."""
        self._go(State.PROCEEDING)
        self.timers[Timer.TRYING] = now + TRYING_AFTER_S
        return [self.request]

    def receive(self, request: Request, now: float) -> list[Action]:
        """Take a retransmitted INVITE or the ACK to a 3xx-6xx."""
        if request.method == "ACK":
            if self.state is State.COMPLETED:
                # "If an ACK is received while in Completed, the server transaction MUST transition to Confirmed": no more Timer G.
                if self.is_reliable:
                    self._go(State.TERMINATED)  # Timer I is zero
                else:
                    self._go(State.CONFIRMED)
                    self.timers[Timer.I] = now + self.timings.t4
            return NOTHING
        if self.state in (State.PROCEEDING, State.COMPLETED) and self._last:
            # "If a request retransmission is received while in Proceeding, the most recent provisional response MUST be passed to
            # the transport layer"; in Completed likewise the final one. In Accepted it is absorbed (RFC 6026).
            return [self._last]
        return NOTHING

    def respond(self, status: int, data: bytes, now: float) -> list[Action]:
        """Send a response."""
        if self.state is State.ACCEPTED and 200 <= status < 300:
            # RFC 6026: "retransmissions of the 2xx are passed to the transport" by the core, which counts the time to the ACK.
            return [data]
        if self.state is not State.PROCEEDING:
            return NOTHING
        if status < 200:
            self.timers.pop(Timer.TRYING, None)
            self._last = data
        elif status < 300:
            self._go(State.ACCEPTED)
            self.timers[Timer.L] = now + self.timings.timeout
        else:
            self._last = data
            self._go(State.COMPLETED)
            if not self.is_reliable:
                self.timers[Timer.G] = now + self._interval
            self.timers[Timer.H] = now + self.timings.timeout
        return [data]

    def remains(self) -> tuple[bytes, float] | None:
        """Nothing to be said, and until when, once a retransmission or an ACK changes nothing (timers I and L)."""
        if self.state is State.CONFIRMED:
            return b"", self.timers[Timer.I]
        return (b"", self.timers[Timer.L]) if self.state is State.ACCEPTED else None

    def _fired(self, timer: Timer, at: float, now: float) -> list[Action]:
        if timer is Timer.TRYING:
            self._last = response_to(self.request, 100).to_bytes()
            return [self._last]
        if timer is Timer.G:
            # "When timer G fires, the response is passed to the transport once more; timer G is set to MIN(2*T1, T2)."
            self._interval = min(self._interval * 2, self.timings.t2)
            self.timers[Timer.G] = max(at + self._interval, now)
            return [self._last]
        self._go(State.TERMINATED)
        return [Failed(timer)] if timer is Timer.H else NOTHING
