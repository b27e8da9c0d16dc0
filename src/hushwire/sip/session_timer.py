"""Session timers (RFC 4028): for how long a dialog lives without a sign of life, and who gives it.

The negotiation is pure functions; `SessionWatch` keeps the times of all dialogs.
"""

import heapq
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Literal

from hushwire.core.values import frozen
from hushwire.sip.headers import Line, parse_number
from hushwire.sip.message import Request, Response
from hushwire.sip.uri import parse_params

if TYPE_CHECKING:
    from hushwire.sip.core import Session

Role = Literal["uac", "uas"]
"""Who refreshes, named by its part in the transaction that says so."""

# "The absolute minimum for the Session-Expires header field is 90 seconds" (section 4), and more than a day is no timer.
LEAST_S: Final = 90
MOST_S: Final = 86_400
OPTION: Final = "timer"


@frozen
class SessionTimer:
    """What both ends agreed to: the interval in seconds, and whether we are who refreshes."""

    interval_s: int
    is_ours: bool


@frozen
class SessionExpires:
    """A Session-Expires value; `refresher` is None where it was left open."""

    seconds: int
    refresher: Role | None

    def line(self) -> Line:
        """As a header."""
        return ("Session-Expires", str(self.seconds) if self.refresher is None else f"{self.seconds};refresher={self.refresher}")


def session_expires(message: Request | Response) -> SessionExpires | None:
    """The Session-Expires of a message (section 4), or None. Raises ParseError."""
    text = message.headers.get("Session-Expires")
    if text is None:
        return None
    digits, semicolon, tail = text.partition(";")
    refresher = dict(parse_params(tail)).get("refresher") if semicolon else None
    role: Role | None = None
    if refresher is not None:
        role = "uac" if refresher.lower() == "uac" else "uas" if refresher.lower() == "uas" else None
    return SessionExpires(min(parse_number(digits, "Session-Expires"), MOST_S), role)


def least(message: Request | Response) -> int:
    """The Min-SE of a message, at least 90 (section 5). Raises ParseError."""
    text = message.headers.get("Min-SE")
    return LEAST_S if text is None else max(LEAST_S, min(parse_number(text.partition(";")[0], "Min-SE"), MOST_S))


def is_too_brief(request: Request, least_s: int) -> bool:
    """Whether the request gets 422 (section 6 and 9): it asks for less than we take, and its sender can ask again. Raises ParseError."""
    asked = session_expires(request)
    return asked is not None and asked.seconds < least_s and OPTION in request.supported


def agree(request: Request, longest_s: int, least_s: int) -> SessionExpires | None:
    """What our 2xx to an INVITE or UPDATE says (section 9, table 2), or None: no timer. Raises ParseError."""
    asked, is_supported = session_expires(request), OPTION in request.supported
    if asked is None and not is_supported:
        return None
    seconds = longest_s if asked is None else min(asked.seconds, longest_s)
    refresher: Role = "uas"
    if is_supported:
        # Where the caller leaves it open it refreshes: it knows best for how long it is there.
        refresher = "uac" if asked is None or asked.refresher is None else asked.refresher
    return SessionExpires(max(seconds, least_s, least(request)), refresher)


def agreed(response: Response) -> SessionTimer | None:
    """What a 2xx to our INVITE or UPDATE says (section 7.2); None where no timer runs. Raises ParseError."""
    said = session_expires(response)
    return None if said is None else SessionTimer(max(said.seconds, LEAST_S), said.refresher != "uas")


class SessionWatch:
    """The times at which dialogs are to be refreshed or given up, in steps of a second; those that end early leave nothing behind."""

    __slots__ = ("_due", "_queue", "_tell", "scheduled")

    def __init__(self, tell: "Callable[[Session, float], None]") -> None:
        self._due: dict[int, dict[int, Session]] = {}
        self._queue: list[int] = []
        self._tell = tell
        self.scheduled = float("inf")

    def put(self, session: "Session", at: float) -> None:
        """Tell of the session at this second (rounded up), and no more at the one noted before."""
        self.drop(session)
        step = int(at) + 1
        found = self._due.get(step)
        if found is None:
            found = self._due[step] = {}
            heapq.heappush(self._queue, step)
        found[id(session)] = session
        session.due = step

    def drop(self, session: "Session") -> None:
        """Forget the session."""
        found = None if session.due is None else self._due.get(session.due)
        if found is not None:
            found.pop(id(session), None)
            if not found and session.due is not None:
                del self._due[session.due]
        session.due = None

    def deadline(self) -> float | None:
        """The first second at which a session is due."""
        while self._queue and self._queue[0] not in self._due:
            heapq.heappop(self._queue)
        return float(self._queue[0]) if self._queue else None

    def fire(self, now: float) -> None:
        """Tell of all that are due."""
        while (at := self.deadline()) is not None and at <= now:
            for session in list(self._due.pop(int(at)).values()):
                session.due = None
                self._tell(session, now)
