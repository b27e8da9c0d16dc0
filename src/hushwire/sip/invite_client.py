"""INVITE client transaction (RFC 3261 section 17.1.1 with RFC 6026 section 7.2)."""

from math import ceil
from typing import ClassVar

from hushwire.sip.headers import Headers
from hushwire.sip.message import Request, Response
from hushwire.sip.timers import Timer, Timings
from hushwire.sip.transaction import NOTHING, Action, Failed, State, Transaction


class InviteClient(Transaction):
    """One INVITE on its way. `silence_s` is Timer B: how long no response at all is borne."""

    __slots__ = ("_ack", "_data", "_interval", "_silence_s", "request")

    TRANSITIONS: ClassVar[frozenset[tuple[State, State]]] = frozenset(
        {
            (State.IDLE, State.CALLING),
            (State.CALLING, State.PROCEEDING),
            (State.CALLING, State.ACCEPTED),
            (State.CALLING, State.COMPLETED),
            (State.CALLING, State.TERMINATED),
            (State.PROCEEDING, State.ACCEPTED),
            (State.PROCEEDING, State.COMPLETED),
            (State.PROCEEDING, State.TERMINATED),
            (State.ACCEPTED, State.TERMINATED),
            (State.COMPLETED, State.TERMINATED),
        }
    )

    def __init__(self, request: Request, timings: Timings, *, is_reliable: bool, silence_s: float | None = None) -> None:
        super().__init__(timings, is_reliable=is_reliable)
        self.request = request
        self._data = request.to_bytes()
        self._ack = b""
        self._interval = timings.t1
        self._silence_s = timings.timeout if silence_s is None else silence_s

    def start(self, now: float) -> list[Action]:
        """Send the INVITE."""
        self._go(State.CALLING)
        # "For unreliable transports (such as UDP), the client transaction retransmits requests at an interval that starts at T1
        # seconds and doubles after every retransmission."
        if not self.is_reliable:
            self.timers[Timer.A] = now + self._interval
        self.timers[Timer.B] = now + self._silence_s
        return [self._data]

    def receive(self, response: Response, now: float) -> list[Action]:
        """Take a response that matched this transaction."""
        if self.state in (State.CALLING, State.PROCEEDING):
            return self._while_pending(response, now)
        if self.state is State.ACCEPTED:
            # RFC 6026: "If a 2xx response is received while in the Accepted state, it MUST be passed to the TU."
            return [response] if response.is_success else NOTHING
        if self.state is State.COMPLETED and response.status >= 300:
            # "Any retransmissions of the final response that are received while in the Completed state MUST cause the ACK to be
            # re-passed to the transport layer for retransmission, but the newly received response MUST NOT be passed up."
            return [self._ack]
        return NOTHING

    def _while_pending(self, response: Response, now: float) -> list[Action]:
        if response.is_provisional:
            # "If the client transaction receives a provisional response, it transitions to Proceeding": no more retransmissions.
            if self.state is State.CALLING:
                self._go(State.PROCEEDING)
            return [response]
        if response.is_success:
            self._go(State.ACCEPTED)
            # At the end of a tenth of a second: it only ends what is kept for repeated 2xx, and calls that end together wake us once.
            # All of a second's together would hold up who calls then.
            self.timers[Timer.M] = ceil(10 * (now + self.timings.timeout)) / 10
            return [response]
        # "When in either the Calling or Proceeding states, reception of a response with status code from 300-699 MUST cause the
        # client transaction to transition to Completed", and an ACK is generated.
        self._ack = _ack_for(self.request, response).to_bytes()
        if self.is_reliable:
            self._go(State.TERMINATED)  # Timer D is zero
        else:
            self._go(State.COMPLETED)
            self.timers[Timer.D] = now + max(32.0, self.timings.timeout)
        return [self._ack, response]

    def _fired(self, timer: Timer, at: float, now: float) -> list[Action]:
        if timer is Timer.A:
            self._interval *= 2
            self.timers[Timer.A] = max(at + self._interval, now)
            return [self._data]
        self._go(State.TERMINATED)
        # "If the client transaction is still in the Calling state when timer B fires, the client transaction SHOULD inform the TU
        # that a timeout has occurred."
        return [Failed(timer)] if timer is Timer.B else NOTHING


def _ack_for(request: Request, response: Response) -> Request:
    """The ACK to a 3xx-6xx (RFC 3261 section 17.1.1.3): single Via, the response's To, the INVITE's Route."""
    lines = [("Via", request.headers.get("Via") or "")]
    lines += [("Route", value) for value in request.headers.all("Route")]
    lines += [
        ("Max-Forwards", "70"),
        ("From", request.headers.get("From") or ""),
        ("To", response.headers.get("To") or ""),
        ("Call-ID", request.call_id),
        ("CSeq", f"{request.cseq.number} ACK"),
    ]
    return Request("ACK", request.uri, Headers(lines))
