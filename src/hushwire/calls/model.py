"""What a call is made of: sides, parties' terms, plans, and how it may end. Frozen values, no decision."""

from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.calls.diversion import DiversionReason
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sdp.offer_answer import Keying, Srtp
from hushwire.sip.digest import Credentials
from hushwire.sip.flow import Hop
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr


class Side(StrEnum):
    """The two ends of a call in the order of its set-up."""

    CALLER = "caller"
    CALLEE = "callee"

    @property
    def other(self) -> "Side":
        """The opposite end."""
        return Side.CALLEE if self is Side.CALLER else Side.CALLER


class CallDirection(StrEnum):
    """As rows name it."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    INTERNAL = "internal"
    ECHO = "echo"
    SUPERVISION = "supervision"  # a supervisor in somebody else's call
    CONFERENCE = "conference"
    VOICEMAIL = "voicemail"  # an agent at its own mailbox


class AnsweredBy(StrEnum):
    """What of ours answers a call that no party does."""

    MESSAGE = "message"  # who calls leaves a message (calls/voicemail.py)
    MAILBOX = "mailbox"  # who calls hears its own messages (calls/mailbox.py)
    GREETING = "greeting"  # who calls records its own greeting (calls/greeting.py)


class JoinedAs(StrEnum):
    """As what a party joined somebody else's call. Rows carry it."""

    LISTEN = "listen"  # it hears, and is heard by nobody
    WHISPER = "whisper"  # the agent alone hears it
    BARGE = "barge"  # all hear it
    MEMBER = "member"  # of a conference
    SUCCESSOR = "successor"  # it is to take the place of one of the call's parties, and hears nobody until then


SUPERVISING: Final = frozenset({JoinedAs.LISTEN, JoinedAs.WHISPER, JoinedAs.BARGE})


class EndReason(StrEnum):
    """Why a call is over; stable, since rows carry it."""

    BYE_AGENT = "bye-agent"
    BYE_PEER = "bye-peer"
    CANCELLED = "cancelled"
    ANSWERED_ELSEWHERE = "answered-elsewhere"  # cancelled, since another device of the caller's choice took it: nobody missed it
    BUSY = "busy"
    DECLINED = "declined"
    NO_ANSWER = "no-answer"
    AGENT_NOT_REACHED = "agent-not-reached"  # a call begun in its name: none of its own phones took it
    UNAVAILABLE = "unavailable"  # no device registered, or none that may be called without protection
    NOT_FOUND = "not-found"  # the far side knows no such number
    REJECTED = "rejected"  # the far side refuses for a reason of its own
    NO_COMMON_MEDIA = "no-common-media"
    TRUNK_FAILED = "trunk-failed"
    NO_ACK = "no-ack"
    HANGUP = "hangup"  # by the API
    MESSAGE_LEFT = "message-left"  # a caller's message is complete
    MAILBOX_LEFT = "mailbox-left"  # there is nothing more to hear
    SUSPENDED = "suspended"  # an agent of the call may call no more
    RULES_CHANGED = "rules-changed"  # its destination is not allowed any more, and the change was to hold for live calls too
    CREDENTIAL_LOCKED = "credential-locked"  # by the fraud breaker, until an admin has looked
    LIMIT_REACHED = "limit-reached"  # a day's budget is used up, and the limit says that calls end then
    MEDIA_LOST = "media-lost"
    MEDIA_FAILED = "media-failed"
    MEDIA_TIMEOUT = "media-timeout"
    NOT_PROTECTED = "not-protected"  # a party's DTLS handshake failed, or never came: nothing was sent to it
    NO_RECORDING = "no-recording"
    SHUTDOWN = "shutdown"
    NOT_ALLOWED = "not-allowed"  # the law, or who objected, does not let anybody listen any more
    EVERYBODY_LEFT = "everybody-left"  # a conference's room
    JOINED_ENDED = "joined-ended"  # the call that this one had joined is over
    TRANSFERRED = "transferred"  # its other party goes on in another call
    ORPHANED = "orphaned"
    INTERNAL_ERROR = "internal-error"


@frozen(repr=False)
class Terms:
    """What is agreed with one party before any SDP: `leg` is its number in the media process (0 the agent, 1 the other party).

    `srtp` is what its media must be. `signalling_address` is where its signalling comes from, None where that is not yet known.
    `keyings` are the ways in which its media may be protected: offers try them in this order, answers take whichever it offers.
    """

    leg: int
    srtp: Srtp
    signalling_address: str | None
    keyings: tuple[Keying, ...] = (Keying.SDES,)
    codecs: tuple[str, ...] = ()
    """Names of the audio codecs that may be spoken with the party; empty: all of ours."""
    is_outside: bool = False
    """Somebody behind a carrier took an agent's place: the leg is not an agent's, whatever its number."""


@frozen(repr=False)
class Target:
    """One place to ring: a device of an agent, or the trunk. `terms.srtp` OPTIONAL: tried protected first, then in the clear.

    `silence_s` is how long it may give no sign at all, `progress_s` how long no more than 100 after that (None: the default, for ever).
    """

    hop: Hop
    uri: str
    from_: NameAddr
    to: NameAddr
    terms: Terms
    headers: tuple[Line, ...] = ()
    credentials: Credentials | None = None
    device_id: UUID | None = None
    """Whose credential the device registered with; None for a trunk."""
    silence_s: float | None = None
    progress_s: float | None = None
    early_media: bool = True
    """Whether what it lets the caller hear before its answer is passed on."""

    def __repr__(self) -> str:
        return f"Target({SHOWN})"


@frozen(repr=False)
class Plan:
    """What the services decided about a call; the machine carries it out.

    No targets: an echo call, one that joins another, or one of which the services are asked at once whom to ring.
    """

    direction: CallDirection
    caller: Terms
    targets: tuple[Target, ...]
    ring_s: float
    is_recorded: bool
    rings_with: tuple[str, ...] = ()
    """Codecs, best first: a caller that knows one of them hears ringing from us, answered early in it. None: the caller rings by itself."""
    announces_with: tuple[str, ...] = ()
    """Codecs, best first: a caller that knows one of them may be answered early in it, to hear something before anybody is rung."""
    holds_with_music: bool = False
    """Who holds is answered by us, and the other party hears music; else the hold is passed on to it."""
    is_serial: bool = False
    """The targets are ways to one and the same party: the next is tried only where the one before could not carry the call."""
    joins: int | None = None
    """The leg as which this call's only party joins another call's bridge."""
    is_room: bool = False
    """A conference's room: it has no party of its own."""
    are_several: bool = False
    """The targets are several parties' phones: who declines speaks for nobody else."""
    diverts: bool = False
    """The services are asked whom to ring next where nobody who was rung takes the call."""
    not_rung: DiversionReason | None = None
    """Why there are no targets to begin with: the services are asked at once."""
    answered_by: AnsweredBy | None = None
    """What of ours answers instead of a party; the targets, if there are any, did not take the call."""
    is_emergency: bool = False
    """Somebody calls for help: whatever one way answers, the next is tried."""

    @property
    def is_echo(self) -> bool:
        """Whether the caller hears itself."""
        return self.direction is CallDirection.ECHO

    @property
    def legs(self) -> tuple[int, ...]:
        """The media legs that the call needs."""
        if self.is_room:
            return ()
        if self.joins is not None:
            return (self.joins,)
        return (self.caller.leg,) if self.is_echo or self.answered_by is not None else (0, 1)


@frozen
class Ports:
    """Where hushwire receives on one leg."""

    address: str
    rtp: int
    rtcp: int
