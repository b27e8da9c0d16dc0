"""Reliable provisional responses of ours (RFC 3262 section 3): one at a time until PRACK, with numbers that rise by one."""

from collections import deque
from collections.abc import Callable
from typing import Final

from hushwire.sip.errors import ParseError
from hushwire.sip.headers import parse_number

OPTION: Final = "100rel"
# "The value of the header field is between 1 and 2**31 - 1", and ours begin low, so that they never get there.
_FIRST_MOST: Final = 1 << 16


def parse_rack(text: str) -> tuple[int, int, str]:
    """RAck's response number, CSeq number and method (section 7.2). Raises ParseError."""
    parts = text.split()
    if len(parts) != 3:
        raise ParseError("RAck does not follow its grammar")
    return parse_number(parts[0], "RAck"), parse_number(parts[1], "RAck", 2**31 - 1), parts[2]


class ReliableResponses:
    """The reliable 1xx of one INVITE; `send` sends one, `give_up` is called where none of 64*T1 was acknowledged."""

    __slots__ = (
        "_at",
        "_give_up",
        "_interval",
        "_left",
        "_send",
        "_sending",
        "_t1",
        "_timeout",
        "_until",
        "_waiting",
        "number",
        "scheduled",
    )

    def __init__(self, first: bytes, t1: float, timeout: float, send: Callable[[bytes], None], give_up: Callable[[float], None]) -> None:
        self.number = 1 + int.from_bytes(first[:4], "big") % _FIRST_MOST
        self._t1 = t1
        self._timeout = timeout
        self._send = send
        self._give_up = give_up
        # (number, data, has a session description), the one being sent and those that wait for its PRACK.
        self._sending: tuple[int, bytes, bool] | None = None
        self._waiting: deque[tuple[int, bytes, bool]] = deque()
        # What was sent and is not repeated any more, whose late PRACK is welcome all the same.
        self._left: set[int] = set()
        self._at: float | None = None
        self._interval = t1
        self._until = 0.0
        self.scheduled = float("inf")

    @property
    def is_open(self) -> bool:
        """Whether one waits for its PRACK."""
        return self._sending is not None

    @property
    def holds_2xx(self) -> bool:
        """Whether a session description waits: "it MUST NOT send a 2xx until those responses are acknowledged"."""
        waiting = [*([self._sending] if self._sending is not None else []), *self._waiting]
        return any(has_description for _, _, has_description in waiting)

    def next_number(self) -> int:
        """The RSeq of the response that is being made."""
        return self.number

    def push(self, data: bytes, now: float, *, has_description: bool) -> None:
        """Send it, or keep it until those before it are acknowledged."""
        self._waiting.append((self.number, data, has_description))
        self.number += 1
        if self._sending is None:
            self._next(now)

    def acknowledge(self, number: int, now: float) -> bool | None:
        """Take a PRACK: whether the response held a description, or None where it matches nothing that waits (481)."""
        if number in self._left:
            self._left.discard(number)
            return False
        if self._sending is None or self._sending[0] != number:
            return None
        had_description = self._sending[2]
        self._sending, self._at = None, None
        if self._waiting:
            self._next(now)
        return had_description

    def stop(self) -> None:
        """A final response makes them needless."""
        if self._sending is not None:
            self._left.add(self._sending[0])
        self._sending, self._at = None, None
        self._waiting.clear()

    def deadline(self) -> float | None:
        """When the next repetition is due."""
        return self._at

    def fire(self, now: float) -> None:
        """Repeat: "the UAS core starts with T1 and doubles", and after 64*T1 the INVITE has failed."""
        if self._sending is None:
            return
        if now >= self._until:
            self.stop()
            self._give_up(now)
            return
        self._send(self._sending[1])
        self._interval *= 2
        self._at = min(now + self._interval, self._until)

    def _next(self, now: float) -> None:
        self._sending = self._waiting.popleft()
        self._interval = self._t1
        self._at, self._until = now + self._t1, now + self._timeout
        self._send(self._sending[1])
