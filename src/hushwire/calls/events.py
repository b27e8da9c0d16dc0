"""What happens to a call, from wherever it comes."""

from hushwire.calls.ends import End
from hushwire.calls.model import AnsweredBy, EndReason, Ports, Side, Target
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.reason import Reason


@frozen
class MediaOpened:
    """The bridge stands; `ports` in the order of `Plan.legs`."""

    ports: tuple[Ports, ...]


@frozen
class MediaFailed:
    """The media process refused something that the call needs."""


@frozen
class MediaLost:
    """The media process is gone with the call's bridge. MediaOpened follows once another holds a new one, or Stopped."""


@frozen
class Announced:
    """What the caller was to hear before anybody is rung is over, or can't be heard by it."""


@frozen
class Progressed:
    """A target sent 101-199; `body` is an early answer or empty. `is_heard`: the caller is to hear what is played with it."""

    branch: int
    status: int
    body: bytes
    is_heard: bool = True


@frozen
class Accepted:
    """A target sent 2xx."""

    branch: int
    body: bytes


@frozen
class Rejected:
    """A target came to nothing. `is_silent`: no answer or no connection, and `status` is what the engine made of that."""

    branch: int
    status: int
    is_silent: bool
    said: tuple[Reason, ...] = ()
    """Why, in the peer's words as far as they may travel on (`sip.reason.carried`); here and below."""


@frozen
class Cancelled:
    """The caller took its INVITE back; it is answered already."""

    said: tuple[Reason, ...] = ()


@frozen
class Acknowledged:
    """A party acknowledged our 2xx; `body` is its answer where our 2xx held the offer."""

    side: Side
    body: bytes


@frozen
class Reoffered:
    """A party sent a re-INVITE, to be answered under `tx`; an empty body asks for our offer."""

    side: Side
    tx: int
    body: bytes


@frozen
class Reanswered:
    """The final response to our re-INVITE. 491 also where it could not be sent because another was under way.

    `retry_after_s`: after so many seconds the same may be tried again; None: there is no such word.
    """

    side: Side
    status: int
    body: bytes
    retry_after_s: float | None = None


@frozen
class RetryDue:
    """The time of an ArmRetry has come."""

    side: Side


@frozen
class RefreshDue:
    """A party's session ends soon unless we say by re-INVITE that it goes on (RFC 4028)."""

    side: Side


@frozen
class PortsMoved:
    """A leg has other ports from now on: its party has to be told by a re-INVITE."""

    leg: int
    ports: Ports


@frozen(repr=False)
class Replaced:
    """Another takes the place of the party on `side`: its media is `end`, which is in this call's bridge already.

    `told` are the sides whose party is offered anew what is agreed, since it is to learn who it talks with.
    """

    side: Side
    end: End
    told: frozenset[Side] = frozenset()

    def __repr__(self) -> str:
        return f"Replaced({self.side})"


@frozen
class PickingUp:
    """Somebody else answers instead of those who are rung, as soon as its leg is here: PickedUp follows, or RingTimeout, or Stopped."""


@frozen(repr=False)
class PickedUp:
    """Somebody answers instead of those who were rung: its media is `end`, which is in this call's bridge; `target` stands for it."""

    end: End
    target: Target

    def __repr__(self) -> str:
        return "PickedUp()"


@frozen
class StoodAside:
    """The party on `side` is out of the call, and somebody else is to take its place; the other one waits. `is_gone`: by its own BYE."""

    side: Side
    is_gone: bool


@frozen
class Yielded:
    """The party on `side` goes on in another call, which has its media and its dialog: this one is over."""

    side: Side


@frozen
class HungUp:
    """A party sent BYE; it is answered already."""

    side: Side
    said: tuple[Reason, ...] = ()


@frozen
class NeverAcknowledged:
    """A party never acknowledged our 2xx; it was sent BYE already."""

    side: Side


@frozen(repr=False)
class Diverted:
    """Ring these next. `is_serial` and `are_several` as in a plan; `leads_out`: they are ways to a carrier.

    A plan's recording can end so, never begin.
    """

    targets: tuple[Target, ...]
    ring_s: float
    is_serial: bool = False
    leads_out: bool = False
    is_recorded: bool = True
    are_several: bool = False

    def __repr__(self) -> str:
        return f"Diverted({SHOWN})"


@frozen(repr=False)
class CallerCame:
    """Who calls comes out of another call: its media is `end`, which is in this call's bridge already."""

    end: End

    def __repr__(self) -> str:
        return "CallerCame()"


@frozen
class AnsweredHere:
    """Nobody else is rung: something of ours takes the call."""

    by: AnsweredBy


@frozen
class NotDiverted:
    """There is nobody else: what those who were rung said stands."""


@frozen
class RingTimeout:
    """Nobody answered in time."""


@frozen
class Stopped:
    """We end the call: by command, shutdown, or because something that it needs is gone."""

    reason: EndReason


Event = (
    MediaOpened
    | MediaFailed
    | MediaLost
    | Announced
    | Progressed
    | Accepted
    | Rejected
    | Cancelled
    | Acknowledged
    | Reoffered
    | Reanswered
    | RetryDue
    | RefreshDue
    | PortsMoved
    | Replaced
    | PickingUp
    | PickedUp
    | StoodAside
    | Yielded
    | HungUp
    | NeverAcknowledged
    | Diverted
    | CallerCame
    | AnsweredHere
    | NotDiverted
    | RingTimeout
    | Stopped
)
