"""BYEs of ours until their peers have answered them: nobody is to sit in a call that is over because one message did not arrive.

A BYE whose connection is gone can't be said now. It is said once its peer has come back by another connection, or by another process,
which finds it in a journal; an answer ends it, and so does time.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import DialogKey
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.headers import Line
from hushwire.sip.server_tx import Unacknowledged

if TYPE_CHECKING:
    from hushwire.sip.outgoing import Outgoing

KEPT_S: Final = 300.0
"""So long a peer may take to come back by another connection."""
_MOST: Final = 1024


@frozen(repr=False)
class Farewell:
    """What another process says in place of this one: BYE in this dialog, with these headers.

    `unacknowledged`: BYE waits for the ACK to this 2xx of ours, or for the end of its time (RFC 3261 section 15).
    """

    dialog: Dialog
    lines: tuple[Line, ...] = ()
    unacknowledged: Unacknowledged | None = None

    def __repr__(self) -> str:
        return f"Farewell({SHOWN})"


class Farewells:
    """Those of one user agent, by dialog."""

    __slots__ = ("_said", "_unheard", "on_over")

    def __init__(self) -> None:
        self._said: dict[DialogKey, Outgoing] = {}
        self._unheard: dict[DialogKey, tuple[Farewell, float]] = {}
        self.on_over: Callable[[DialogKey], None] = lambda _dialog: None
        """Told of each dialog whose BYE was answered, or is given up."""

    def of(self, dialog: DialogKey) -> Farewell | None:
        """The BYE of a dialog that nobody has answered yet."""
        said = self._said.get(dialog)
        if said is not None:
            return _farewell(said)
        unheard = self._unheard.get(dialog)
        return None if unheard is None else unheard[0]

    def begins(self, bye: "Outgoing") -> None:
        """A BYE sets out."""
        assert bye.session is not None
        key = bye.session.dialog.key
        self._said[key] = bye
        self._unheard.pop(key, None)

    def answered(self, bye: "Outgoing") -> None:
        """Its peer said something final to it: whatever that is, there is no call over there."""
        self._over(bye)

    def failed(self, bye: "Outgoing", now: float) -> None:
        """It came to nothing. Whose connection is gone may come back; who was silent over UDP for so long will not."""
        if bye.session is None or not isinstance(bye.hop, Flow) or not bye.hop.transport.is_reliable:
            self._over(bye)
            return
        key = bye.session.dialog.key
        if self._said.get(key) is not bye:
            return
        del self._said[key]
        self._unheard[key] = _farewell(bye), now + KEPT_S
        if len(self._unheard) > _MOST:
            self._forget(next(iter(self._unheard)))

    def unheard(self) -> Iterator[tuple[DialogKey, Hop]]:
        """Those that wait for their peers to come back, and by which way these were last known."""
        return iter([(key, farewell.dialog.hop) for key, (farewell, _) in self._unheard.items()])

    def take(self, dialog: DialogKey) -> Farewell | None:
        """One of them, to be said now."""
        found = self._unheard.pop(dialog, None)
        return None if found is None else found[0]

    def expire(self, now: float) -> None:
        """Give up those whose peers did not come back."""
        for key in [key for key, (_, until) in self._unheard.items() if until <= now]:
            self._forget(key)

    def __bool__(self) -> bool:
        return bool(self._unheard)

    def _over(self, bye: "Outgoing") -> None:
        assert bye.session is not None
        key = bye.session.dialog.key
        if self._said.get(key) is bye:
            del self._said[key]
            self.on_over(key)

    def _forget(self, key: DialogKey) -> None:
        del self._unheard[key]
        self.on_over(key)


def _farewell(bye: "Outgoing") -> Farewell:
    assert bye.session is not None
    return Farewell(bye.session.dialog, tuple(bye.headers))
