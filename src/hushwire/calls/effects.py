"""What a call asks for; carried out in order."""

from hushwire.calls.diversion import DiversionReason
from hushwire.calls.model import EndReason, Side, Target
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sdp.offer_answer import LegMedia


@frozen
class OpenMedia:
    """Open the bridge and its legs; MediaOpened or MediaFailed follows."""

    is_echo: bool
    legs: tuple[int, ...]


@frozen(repr=False)
class LegStatement:
    """How one leg stands from now on. `payload_types`: (received here, sent to the other leg) where they differ."""

    leg: int
    media: LegMedia
    signalling_address: str | None
    payload_types: tuple[tuple[int, int], ...] = ()

    def __repr__(self) -> str:
        return f"LegStatement({self.leg}, {SHOWN})"


@frozen
class SetLegs:
    """State these legs to the media process."""

    legs: tuple[LegStatement, ...]


@frozen(repr=False)
class SendInvite:
    """Ring a target; Progressed, Accepted and Rejected of this `branch` follow."""

    branch: int
    target: Target
    body: bytes

    def __repr__(self) -> str:
        return f"SendInvite({self.branch})"


@frozen
class SendCancel:
    """Take a branch back."""

    branch: int
    reason: str | None = None


@frozen(repr=False)
class Respond:
    """Answer the caller's INVITE. `reason` is a Reason header's value (RFC 3326)."""

    status: int
    body: bytes = b""
    reason: str | None = None

    def __repr__(self) -> str:
        return f"Respond({self.status})"


@frozen(repr=False)
class RespondReinvite:
    """Answer a re-INVITE."""

    tx: int
    status: int
    body: bytes = b""

    def __repr__(self) -> str:
        return f"RespondReinvite({self.status})"


@frozen(repr=False)
class SendReinvite:
    """Offer anew; Reanswered follows."""

    side: Side
    body: bytes

    def __repr__(self) -> str:
        return f"SendReinvite({self.side})"


@frozen
class ArmRetry:
    """RetryDue shall come after this time: a re-INVITE to this party met one of its own."""

    side: Side
    seconds: float


@frozen
class SendBye:
    """End a party's dialog. `reason` is a Reason header's value."""

    side: Side
    reason: str | None = None


@frozen
class Succeed:
    """The dialog of a party's successor is that side's from now on; the one before is ended. `reason` is a Reason header's value."""

    side: Side
    reason: str | None = None


@frozen
class ByeBranch:
    """End the dialog of a target that answered when nobody needed it any more."""

    branch: int


@frozen
class ArmRing:
    """RingTimeout shall come after this time."""

    seconds: float


@frozen
class DisarmRing:
    """RingTimeout shall not come any more."""


@frozen
class AskDiversion:
    """Nobody takes the call, for this reason: is there somebody else to ring? Diverted or NotDiverted follows."""

    reason: DiversionReason


@frozen
class CallerThere:
    """Who calls is there, by this branch or out of another call: whom does it want to reach? Diverted, NotDiverted or Stopped follows."""

    branch: int | None


@frozen
class Answered:
    """The call is answered: `winner` is the target's branch, None for echo. Write it down, and record if the plan says so."""

    winner: int | None


@frozen
class FormatChanged:
    """Payload types or codecs are others now: a running recording must hold the new format."""


@frozen
class Announce:
    """The caller was answered early, and nobody is rung yet: let it hear the announcement. Announced follows, heard or not."""


@frozen(repr=False)
class Ring:
    """The caller was answered early, as `media` says: let it hear ringing until the other side is heard or answers."""

    media: LegMedia

    def __repr__(self) -> str:
        return f"Ring({SHOWN})"


@frozen
class StopRinging:
    """The other side is heard itself, before its answer."""


@frozen
class MediaRenewed:
    """Both parties agreed to the new bridge's ports and keys: what was recorded goes on as the next segment."""


@frozen
class Ended:
    """The call is over: close its media, write it down, forget it. `status` is the SIP status that ended its set-up, if it did."""

    reason: EndReason
    status: int | None


Effect = (
    OpenMedia
    | SetLegs
    | SendInvite
    | SendCancel
    | Respond
    | RespondReinvite
    | SendReinvite
    | ArmRetry
    | SendBye
    | Succeed
    | ByeBranch
    | ArmRing
    | DisarmRing
    | AskDiversion
    | CallerThere
    | Answered
    | FormatChanged
    | Announce
    | Ring
    | StopRinging
    | MediaRenewed
    | Ended
)
