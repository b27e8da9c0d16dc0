"""Non-INVITE server transaction (RFC 3261 section 17.2.2)."""

from typing import ClassVar

from hushwire.sip.message import Request, response_to
from hushwire.sip.timers import Timer, Timings
from hushwire.sip.transaction import NOTHING, Action, State, Transaction


class RequestServer(Transaction):
    """One request other than INVITE and ACK to answer."""

    __slots__ = ("_last", "request")

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

    def __init__(self, request: Request, timings: Timings, *, is_reliable: bool) -> None:
        super().__init__(timings, is_reliable=is_reliable)
        self.request = request
        self._last = b""

    def start(self, now: float) -> list[Action]:
        """Hand the request up."""
        self._go(State.TRYING)
        # A user above that never answers must not keep the transaction for good: the client has given up by then (Timer F).
        self.timers[Timer.J] = now + 2 * self.timings.timeout
        # RFC 4320 section 4.1: 100 no sooner than when the client's Timer E has grown to T2, so that it stops asking more often.
        self.timers[Timer.TRYING] = now + max(self.timings.t2 - self.timings.t1, self.timings.t1)
        return [self.request]

    def receive(self, request: Request, now: float) -> list[Action]:
        """Take a retransmission."""
        # "While in Trying, retransmissions are discarded"; later "the most recently sent response MUST be passed to the transport".
        return [self._last] if self._last else NOTHING

    def respond(self, status: int, data: bytes, now: float) -> list[Action]:
        """Send a response."""
        if self.state not in (State.TRYING, State.PROCEEDING):
            # "Any other final responses passed by the TU to the server transaction MUST be discarded while in Completed."
            return NOTHING
        if status < 200:
            # RFC 4320 section 4.1: "MUST NOT send any provisional response with a status other than 100 to a non-INVITE request".
            return NOTHING
        # RFC 4320 section 4.2: "MUST NOT send a response with Status-Code of 408 to a non-INVITE request": the client's own timer says it.
        self._last = b"" if status == 408 else data
        if self.is_reliable:
            self._go(State.TERMINATED)  # Timer J is zero
        else:
            self._go(State.COMPLETED)
            self.timers[Timer.J] = now + self.timings.timeout
        return [data] if self._last else NOTHING

    def remains(self) -> tuple[bytes, float] | None:
        """The answer that each retransmission gets, and until when, once nothing else can happen (Timer J)."""
        return (self._last, self.timers[Timer.J]) if self.state is State.COMPLETED else None

    def _fired(self, timer: Timer, at: float, now: float) -> list[Action]:
        if timer is Timer.TRYING:
            self.state = State.PROCEEDING
            self._last = response_to(self.request, 100).to_bytes()
            return [self._last]
        self._go(State.TERMINATED)
        return NOTHING
