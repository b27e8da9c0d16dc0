"""Our part in session timers (RFC 4028): what our requests say, refreshing in time, and the end of what nobody refreshes."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from hushwire.core.values import replace
from hushwire.sip.core import Core, Session
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import DialogTimedOut, RefreshDue
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Response
from hushwire.sip.session_timer import MOST_S, OPTION, SessionExpires, agreed, least

if TYPE_CHECKING:
    from hushwire.sip.outgoing import Outgoing

# How long an exchange under way puts off a refresh, which it most likely is itself.
_BUSY_S: Final = 2.0
_ENDED: Final = ("Reason", 'SIP;cause=408;text="The session was not refreshed"')


class Refresher:
    """`update` sends an UPDATE with these lines, `farewell` a BYE."""

    def __init__(
        self,
        core: Core,
        update: Callable[[Session, list[Line], float], None],
        farewell: Callable[[Dialog, float, Iterable[Line]], None],
    ) -> None:
        self._core = core
        self._update = update
        self._farewell = farewell
        core.on_session_due = self._due

    def lines(self, session: Session | None = None) -> list[Line]:
        """Session-Expires of an INVITE or UPDATE of ours (sections 7.1 and 7.4): in a dialog the roles stay as they are."""
        config = self._core.config
        if OPTION not in config.supported:
            return []
        if session is None:
            return [SessionExpires(config.session_expires_s, None).line()]
        timer = session.dialog.timer
        return [] if timer is None else [SessionExpires(timer.interval_s, "uac" if timer.is_ours else "uas").line()]

    def note(self, session: Session, response: Response, now: float) -> None:
        """A 2xx to an INVITE or UPDATE of ours says what holds from now on."""
        if self._core.call(session.dialog.key) is session:
            with suppress(ParseError):  # one that can't be read agrees to nothing new
                self._core.keep(session, agreed(response), now)

    def pause(self, session: Session) -> float:
        """Seconds until an exchange that met the peer's may be tried again: 2.1 to 4 for who made the Call-ID, else 0 to 2."""
        chance = int.from_bytes(self._core.random.token_bytes(2), "big") / 0xFFFF
        return round(2.1 + 1.9 * chance if session.dialog.is_caller else 2.0 * chance, 2)

    def refreshed(self, session: Session, status: int, now: float | None) -> None:
        """What became of an UPDATE that was to refresh. `now` is None where nobody answered."""
        core, key = self._core, session.dialog.key
        if core.call(key) is not session or status < 300:
            return
        if now is None or status in (408, 481):
            # RFC 3261 section 12.2.1.2: the dialog is gone over there.
            core.end(key)
            core.emit(DialogTimedOut(key))
        elif status in (405, 420, 501):
            session.dialog = replace(session.dialog, allows_update=False)
            core.emit(RefreshDue(key))
        else:
            core.look_again(session, now + self.pause(session))

    def raise_interval(self, outgoing: "Outgoing", response: Response) -> bool:
        """Make the request ask for what a 422 wants (section 7.3), once; False where that is no way out."""
        was = next((value for name, value in outgoing.headers if name == "Session-Expires"), None)
        if response.status != 422 or was is None or outgoing.is_raised or outgoing.cancel_lines is not None:
            return False
        try:
            seconds = least(response)
        except ParseError:
            return False
        if seconds >= MOST_S:
            return False
        outgoing.is_raised = True
        digits, semicolon, tail = was.partition(";")
        raised = f"{max(seconds, int(digits))}{semicolon}{tail}"
        lines = [line for line in outgoing.headers if line[0] not in ("Session-Expires", "Min-SE")]
        outgoing.headers = [*lines, ("Session-Expires", raised), ("Min-SE", str(seconds))]
        return True

    def _due(self, session: Session, now: float) -> None:
        dialog, core = session.dialog, self._core
        if core.call(dialog.key) is not session or dialog.timer is None:
            return
        if now >= session.expires_at:
            core.end(dialog.key)
            core.emit(DialogTimedOut(dialog.key))
            if session.farewell is None:
                self._farewell(dialog, now, [_ENDED])
        elif session.is_busy:
            core.look_again(session, now + _BUSY_S)
        else:
            core.look_again(session, session.expires_at)
            if dialog.allows_update:
                self._update(session, [("Contact", str(dialog.contact)), ("Supported", core.supported), *self.lines(session)], now)
            else:
                core.emit(RefreshDue(dialog.key))
