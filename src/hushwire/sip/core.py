"""What the client and server halves of the user agent share: effects, timers, dialogs, and how we name ourselves."""

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from hushwire.core.clock import Random
from hushwire.core.values import frozen, replace
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import DialogKey, Effect, RequestId, Send, TxId
from hushwire.sip.flow import Address, Flow, Hop, Transport
from hushwire.sip.headers import CSeq, Headers, Line
from hushwire.sip.message import Request
from hushwire.sip.session_timer import SessionTimer, SessionWatch
from hushwire.sip.timers import Timings
from hushwire.sip.uri import NameAddr, SipUri

if TYPE_CHECKING:
    from hushwire.sip.outgoing import Outgoing
    from hushwire.sip.server_tx import ServerTx
    from hushwire.sip.subscriptions import Subscription

BRANCH_COOKIE = "z9hG4bK"
_NEVER = float("inf")
_MOST_NAMES = 1024
_WILDCARDS = ("0.0.0.0", "::")


@frozen
class UserAgentConfig:
    """`sent_by`: what Via and Contact call us, for each transport that we listen on.

    Where that is a wildcard, `local_towards` tells our address as a numeric address or name sees it. `session_expires_s` is how long a
    dialog lives unrefreshed, `min_se_s` the least that we take of others (RFC 4028). `events` are the packages that peers may subscribe to
    (RFC 6665), for `min_subscription_s` at least; subscriptions have room of their own, so that they never keep calls out.
    `tells_unknown_replaces`: an INVITE with Replaces of a dialog that is not here is told, since others may have it; else it is refused.
    """

    sent_by: Mapping[Transport, Address] = field(default_factory=dict)
    product: str = "hushwire"
    allow: tuple[str, ...] = (
        "INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "MESSAGE", "SUBSCRIBE", "NOTIFY", "REFER", "PRACK", "UPDATE",
    )  # fmt: skip
    supported: tuple[str, ...] = ("100rel", "timer")
    answers_options: bool = True
    max_transactions: int = 50_000
    max_dialogs: int = 20_000
    events: tuple[str, ...] = ()
    max_subscriptions: int = 20_000
    min_subscription_s: int = 60
    session_expires_s: int = 1800
    min_se_s: int = 90
    timings: Timings = field(default_factory=Timings)
    local_towards: Callable[[str], str] | None = None
    tells_unknown_replaces: bool = False


class Timed(Protocol):
    """Something with a deadline; `scheduled` is kept by the core."""

    scheduled: float

    def deadline(self) -> float | None:
        """When `fire` is due."""

    def fire(self, now: float) -> None:
        """Do what is due."""


class Offer(Enum):
    """Whose session description waits for its answer: one exchange at a time (RFC 3264 section 4, RFC 3311 section 5)."""

    OURS = "ours"
    THEIRS = "theirs"


class Session:
    """One dialog and what is under way in it."""

    __slots__ = (
        "ack_due", "answering", "dialog", "due", "expires_at", "farewell", "has_call", "inviting", "offer", "reliable", "rseq",
        "subscriptions", "unacked_cseq", "updating",
    )  # fmt: skip

    def __init__(self, dialog: Dialog, *, has_call: bool = True) -> None:
        self.dialog = dialog
        # A dialog lives as long as one of its uses does (RFC 5057): a call, subscriptions.
        self.has_call = has_call
        self.subscriptions: list[Subscription] = []
        # Our INVITE or re-INVITE waits for its final response: a second one must wait (RFC 3261 section 14.1).
        self.inviting = False
        # The peer's INVITE waits for our final response.
        self.answering: TxId | None = None
        # CSeq of the peer's INVITE whose 2xx is not acknowledged yet.
        self.unacked_cseq: int | None = None
        # The INVITE of ours that went without an offer and whose 2xx waits for `ack`.
        self.ack_due: Outgoing | None = None
        # A BYE of ours that waits for the peer's ACK (RFC 3261 section 15).
        self.farewell: tuple[RequestId, list[Line]] | None = None
        self.offer: Offer | None = None
        # The peer's UPDATE waits for our final response: a second one must wait (RFC 3311 section 5.2).
        self.updating: TxId | None = None
        # The number of the peer's last reliable 1xx that we acknowledged, and our INVITE server transaction that sends such.
        self.rseq: int | None = None
        self.reliable: ServerTx | None = None
        # When the dialog ends unless it is refreshed, and the second at which `Core.watch` tells of it.
        self.expires_at = _NEVER
        self.due: int | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an exchange is under way that forbids to begin one with an offer (RFC 3261 section 14.1, RFC 3311 section 5.1)."""
        return (
            self.inviting
            or self.answering is not None
            or self.unacked_cseq is not None
            or self.ack_due is not None
            or self.offer is not None
            or self.updating is not None
        )


class Core:
    """State that both halves of a user agent work on."""

    def __init__(self, config: UserAgentConfig, random: Random) -> None:
        self.config = config
        self.random = random
        self.timings = config.timings
        self.effects: list[Effect] = []
        self.sessions: dict[DialogKey, Session] = {}
        self.subscribed = 0
        # Names for dialogs that somebody else may replace, without learning what would let it into them.
        self.aliases: dict[DialogKey, DialogKey] = {}
        self.allow = ", ".join(config.allow)
        self.supported = ", ".join(config.supported)
        self.watch = SessionWatch(self._session_due)
        self.on_session_due: Callable[[Session, float], None] = lambda _session, _now: None
        self._names: dict[tuple[Transport, Address, bool], _Name] = {}
        self._heap: list[tuple[float, int, Timed]] = []
        self._first: tuple[float, int, Timed] | None = None
        self._touched: dict[Timed, None] = {}
        self._count = 0

    # ------------------------------------------------------------------------------------------------------- effects

    def emit(self, effect: Effect) -> None:
        """Put one effect in the queue."""
        self.effects.append(effect)

    def send(self, hop: Hop, data: bytes, transaction: str | None = None, fallback: Hop | None = None) -> None:
        """Put a message in the queue."""
        self.effects.append(Send(hop, data, transaction, fallback))

    # ------------------------------------------------------------------------------------------------------- sessions

    @property
    def has_room(self) -> bool:
        """Whether there is room for the dialog of one more call, however many subscriptions there are."""
        return len(self.sessions) - self.subscribed < self.config.max_dialogs

    def call(self, key: DialogKey) -> Session | None:
        """The dialog, where a call is in it."""
        session = self.sessions.get(key)
        return session if session is not None and session.has_call else None

    def end(self, key: DialogKey) -> None:
        """The call is gone, and its dialog where nothing else is in it."""
        session = self.sessions.get(key)
        if session is None:
            return
        session.has_call = False
        if session.due is not None:
            self.watch.drop(session)
        if not session.subscriptions:
            del self.sessions[key]

    def keep(self, session: Session, timer: SessionTimer | None, now: float) -> None:
        """Note when a dialog is to be refreshed, or ends because nobody refreshed it (RFC 4028 section 10)."""
        if timer is None:
            if session.dialog.timer is not None:
                session.dialog = replace(session.dialog, timer=None)
                self.watch.drop(session)
            return
        if timer != session.dialog.timer:
            session.dialog = replace(session.dialog, timer=timer)
        # "BYE should be sent min(32, interval/3) seconds before", and "it is RECOMMENDED to refresh at half the interval".
        session.expires_at = now + timer.interval_s - min(32.0, timer.interval_s / 3)
        self.look_again(session, now + timer.interval_s / 2 if timer.is_ours else session.expires_at)

    def look_again(self, session: Session, at: float) -> None:
        """Be told of the session at this second."""
        self.watch.put(session, min(at, session.expires_at))
        self.schedule(self.watch)

    def _session_due(self, session: Session, now: float) -> None:
        self.on_session_due(session, now)

    # -------------------------------------------------------------------------------------------------------- timers

    def schedule(self, timed: Timed) -> None:
        """Note something whose timers may have changed."""
        # Looked at once the message or command is dealt with: its timers may change several times before.
        self._touched[timed] = None

    def forget(self, timed: Timed) -> None:
        """It has no timers any more."""
        self._touched.pop(timed, None)

    def _settle(self) -> None:
        # Entries that became too early are corrected when they come up, which costs less than taking them out of the heap.
        for timed in self._touched:
            if self._first is not None and self._first[2] is timed:
                self._first = None
            at = timed.deadline()
            if at is not None and at < timed.scheduled:
                self._enter(timed, at)
        self._touched.clear()

    def _enter(self, timed: Timed, at: float) -> None:
        timed.scheduled = at
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, timed))

    def deadline(self) -> float | None:
        """The earliest entry; looked at closely once it is the earliest, not each time that it still is."""
        if self._touched:
            self._settle()
        heap = self._heap
        while heap and heap[0] is not self._first:
            at, _, timed = heap[0]
            due = timed.deadline() if timed.scheduled == at else None
            if due is not None and due <= at:
                self._first = heap[0]
                break
            heapq.heappop(heap)
            if timed.scheduled == at:
                timed.scheduled = _NEVER
                if due is not None:
                    self._enter(timed, due)  # so that nobody is woken up to find nothing due
        return heap[0][0] if heap else None

    def fire(self, now: float) -> None:
        """Fire all that is due."""
        self._settle()
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, timed = heapq.heappop(heap)
            if timed.scheduled != at:
                continue
            timed.scheduled = _NEVER
            due = timed.deadline()
            if due is not None and due <= now:
                timed.fire(now)
                self._settle()
                due = timed.deadline()
            if due is not None and due < timed.scheduled:
                self._enter(timed, due)

    # --------------------------------------------------------------------------------------------------------- names

    def number(self) -> int:
        """A number that was never given out before."""
        self._count += 1
        return self._count

    def token(self, count: int = 8) -> str:
        """Hex of `count` random bytes: tags (RFC 3261 section 19.3) and branches."""
        return self.random.token_bytes(count).hex()

    def sent_by(self, hop: Hop) -> Address:
        """Our own address as this hop should see it."""
        named = self.config.sent_by.get(hop.transport)
        if isinstance(hop, Flow):
            if named is None:
                return hop.local
            if named.host in _WILDCARDS:
                return Address(hop.local.host, named.port)
            return named
        if named is None:
            first = next(iter(self.config.sent_by.values()), Address("127.0.0.1", 0))
            named = Address(first.host, hop.transport.default_port)
        if named.host in _WILDCARDS and self.config.local_towards is not None:
            return Address(self.config.local_towards(hop.host), named.port)
        return named

    def via(self, hop: Hop, branch: str) -> str:
        """A Via value of ours; rport always (RFC 3581 section 3)."""
        return self._name(hop, is_sips=False).via + branch

    def contact(self, hop: Hop, *, is_sips: bool = False) -> NameAddr:
        """Our Contact on this hop; a SIPS URI where the dialog's own are (RFC 3261 sections 8.1.1.8 and 12.1.1)."""
        return self._name(hop, is_sips=is_sips).contact

    def _name(self, hop: Hop, *, is_sips: bool) -> "_Name":
        key = (hop.transport, self.sent_by(hop), is_sips)
        found = self._names.get(key)
        if found is None:
            if len(self._names) >= _MOST_NAMES:
                self._names.clear()
            found = self._names[key] = _Name.of(*key)
        return found


@frozen
class _Name:
    """How we name ourselves in one place: a Via up to its branch, and a Contact."""

    via: str
    contact: NameAddr

    @classmethod
    def of(cls, transport: Transport, address: Address, is_sips: bool) -> "_Name":
        host = f"[{address.host}]" if ":" in address.host else address.host
        is_sips = is_sips and transport.is_protected
        param = {"udp": None, "wss": "ws"}.get(transport, transport.value)
        if is_sips and transport is Transport.TLS:
            param = None  # sips says it already (RFC 5630 section 3.1.4)
        uri = SipUri(host, None, address.port, (("transport", param),) if param else (), secure=is_sips)
        return cls(f"SIP/2.0/{transport.upper()} {address.host_port()};rport;branch=", NameAddr(uri))


def compose(
    method: str,
    uri: str,
    *,
    via: str,
    from_: NameAddr,
    to: NameAddr,
    call_id: str,
    cseq: int,
    max_forwards: int = 70,
    routes: Iterable[Line] = (),
    headers: Iterable[Line] = (),
    body: bytes = b"",
    content_type: str = "",
) -> Request:
    """A request with the mandatory headers in their customary order; what they mean is not read again from what is written here."""
    number = CSeq(cseq, method)
    lines: list[Line] = [
        ("Via", via),
        *routes,
        ("Max-Forwards", str(max_forwards)),
        ("From", str(from_)),
        ("To", str(to)),
        ("Call-ID", call_id),
        ("CSeq", f"{cseq} {method}"),
        *headers,
    ]
    if body:
        lines.append(("Content-Type", content_type))
    request = Request(method, uri, Headers(lines), body)
    request._typed.update({"From": from_, "To": to, "Call-ID": call_id, "CSeq": number})
    return request
