"""Subscriptions (RFC 6665) as uses of dialogs: what REFER, message waiting and dialog-info need.

As notifier: SUBSCRIBE and REFER that the layer above accepts. One NOTIFY at a time; what comes meanwhile is replaced by what is newer.
As subscriber: the implicit subscription of a REFER of ours. A dialog lives as long as its call or a subscription does (RFC 5057).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from hushwire.core.values import frozen
from hushwire.sip.core import Core, Session
from hushwire.sip.dialog import Dialog
from hushwire.sip.effects import Notified, NotifyTaken, SubscriptionEnded, SubscriptionId, SubscriptionRefreshed
from hushwire.sip.errors import ParseError
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.uri import parse_params

if TYPE_CHECKING:
    from hushwire.sip.uac import Client

# In one dialog; more is nobody's need.
_MOST: Final = 8
# How long the last word of a subscription may still be asked for after its end.
_GRACE_S: Final = 32.0


@frozen
class EventName:
    """An Event value (RFC 6665 section 8.4): the package in lower case, and the id that tells subscriptions of one dialog apart."""

    package: str
    id: str | None = None

    def __str__(self) -> str:
        return self.package if self.id is None else f"{self.package};id={self.id}"


def event_name(request: Request) -> EventName:
    """The Event of a SUBSCRIBE or NOTIFY; of a REFER the implied one. Raises ParseError: exactly one."""
    if request.method == "REFER":
        return EventName("refer", str(request.cseq.number))
    values = request.headers.all("Event")
    if len(values) != 1:
        raise ParseError("Event is missing or stands twice", status=489)
    package, semicolon, tail = values[0].partition(";")
    if not package.strip(" \t"):
        raise ParseError("Event is empty", status=489)
    return EventName(package.strip(" \t").lower(), dict(parse_params(tail)).get("id") if semicolon else None)


@frozen
class HeldSubscription:
    """A subscription of a peer's as another process needs it, with the seconds that it has left."""

    dialog: Dialog
    event: str
    left_s: float


def parse_event(text: str) -> EventName:
    """What `str` of an EventName wrote."""
    package, semicolon, tail = text.partition(";id=")
    return EventName(package, tail if semicolon else None)


@frozen
class _State:
    body: bytes
    content_type: str
    is_final: bool
    reason: str | None
    headers: tuple[Line, ...]


class Subscription:
    """One subscription and its time."""

    __slots__ = ("event", "expires_at", "id", "is_notifier", "is_notifying", "owner", "pending", "scheduled", "session")

    def __init__(self, owner: "Subscriptions", id_: SubscriptionId, session: Session, event: EventName, *, is_notifier: bool) -> None:
        self.owner = owner
        self.id = id_
        self.session = session
        self.event = event
        self.is_notifier = is_notifier
        self.expires_at: float | None = None
        self.is_notifying = False
        self.pending: _State | None = None
        self.scheduled = float("inf")

    def deadline(self) -> float | None:
        """When it ends by itself."""
        return self.expires_at

    def fire(self, now: float) -> None:
        """Its time is over."""
        if self.expires_at is not None and self.expires_at <= now:
            self.owner.expire(self, now)


class Subscriptions:
    """All subscriptions."""

    def __init__(self, core: Core, client: "Client") -> None:
        self._core = core
        self._client = client
        self._all: dict[SubscriptionId, Subscription] = {}

    def __len__(self) -> int:
        return len(self._all)

    def may_open(self, session: Session | None) -> bool:
        """Whether there is room for one more."""
        if len(self._all) >= self._core.config.max_subscriptions:
            return False
        return session is None or len(session.subscriptions) < _MOST

    def open(self, session: Session, event: EventName, now: float, expires_s: float, *, is_notifier: bool) -> Subscription:
        """A new use of the dialog."""
        made = Subscription(self, SubscriptionId(self._core.number()), session, event, is_notifier=is_notifier)
        self._all[made.id] = made
        self._core.subscribed = len(self._all)
        session.subscriptions.append(made)
        self.extend(made, now, expires_s)
        return made

    def extend(self, subscription: Subscription, now: float, expires_s: float) -> None:
        """It ends by itself at another time."""
        subscription.expires_at = now + expires_s
        self._core.schedule(subscription)

    def find(self, session: Session, event: EventName, *, is_notifier: bool) -> Subscription | None:
        """The dialog's subscription to this event. Without an id the only one of the package is meant (RFC 3515 section 2.4.6)."""
        fitting = [item for item in session.subscriptions if item.is_notifier is is_notifier and item.event.package == event.package]
        # A NOTIFY may come before the answer that tells us under which CSeq our REFER was taken.
        if len(fitting) == 1 and (event.id is None or not is_notifier):
            return fitting[0]
        return next((item for item in fitting if item.event.id == event.id), None)

    # ------------------------------------------------------------------------------------------------------- as notifier

    def notify(
        self,
        id_: SubscriptionId,
        now: float,
        body: bytes,
        content_type: str,
        reason: str | None,
        headers: Iterable[Line],
        *,
        is_final: bool,
    ) -> bool:
        """Send the state, at once or after the answer to the NOTIFY under way. False where the subscription is gone."""
        subscription = self._all.get(id_)
        if subscription is None or not subscription.is_notifier or (subscription.pending is not None and subscription.pending.is_final):
            return False
        subscription.pending = _State(body, content_type, is_final, reason, tuple(headers))
        self._send_pending(subscription, now)
        return True

    def held(self, id_: SubscriptionId, now: float) -> HeldSubscription | None:
        """A peer's subscription, to journal; None where it is over."""
        found = self._all.get(id_)
        if found is None or not found.is_notifier:
            return None
        left_s = max(0.0, (found.expires_at or now) - now)
        return HeldSubscription(found.session.dialog, str(found.event), left_s)

    def adopt(self, held: HeldSubscription, now: float) -> SubscriptionId:
        """Go on with a peer's subscription of a process before this one."""
        session = self._core.sessions.get(held.dialog.key)
        if session is None:
            session = self._core.sessions[held.dialog.key] = Session(held.dialog, has_call=False)
        return self.open(session, parse_event(held.event), now, held.left_s, is_notifier=True).id

    def refreshed(self, subscription: Subscription, expires_s: int, now: float) -> None:
        """The subscriber asks for more time, or (0) for the last word: the layer above answers with a NOTIFY either way."""
        self.extend(subscription, now, expires_s or _GRACE_S)
        self._core.emit(SubscriptionRefreshed(subscription.id, expires_s))

    def expire(self, subscription: Subscription, now: float) -> None:
        """Nobody refreshed it, or the last word was never said."""
        if not subscription.is_notifier:
            self._drop(subscription)
            self._core.emit(SubscriptionEnded(subscription.id, "timeout"))
            return
        subscription.expires_at = None
        subscription.pending = _State(b"", "", True, "timeout", ())
        self._core.emit(SubscriptionEnded(subscription.id, "timeout"))
        self._send_pending(subscription, now)

    def _send_pending(self, subscription: Subscription, now: float) -> None:
        state = subscription.pending
        if state is None or subscription.is_notifying:
            return
        subscription.pending = None
        left = max(0, round((subscription.expires_at or now) - now))
        if state.is_final:
            words = "terminated" if state.reason is None else f"terminated;reason={state.reason}"
        else:
            words = f"active;expires={left}"
        session = subscription.session
        lines: list[Line] = [
            ("Contact", str(session.dialog.contact)),
            ("Event", str(subscription.event)),
            ("Subscription-State", words),
            *state.headers,
        ]
        subscription.is_notifying = True
        outgoing = self._client.in_dialog(session, "NOTIFY", lines, state.body, state.content_type)

        def answered(status: int, at: float | None) -> None:
            subscription.is_notifying = False
            # RFC 6665 section 4.2.2: a subscriber that answers with an error, or not at all, is gone.
            if status >= 300 and not state.is_final and subscription.id in self._all:
                self._drop(subscription)
                self._core.emit(SubscriptionEnded(subscription.id, "rejected"))
            elif at is not None and subscription.id in self._all:
                self._send_pending(subscription, at)
                if not subscription.is_notifying:
                    self._core.emit(NotifyTaken(subscription.id))

        outgoing.on_done, outgoing.is_quiet = answered, True
        if state.is_final:
            self._drop(subscription)
        self._client.start(outgoing, now)

    # ----------------------------------------------------------------------------------------------------- as subscriber

    def notified(self, session: Session, request: Request, now: float) -> bool:
        """Take a NOTIFY. False where it is of no subscription of ours (481). Raises ParseError."""
        subscription = self.find(session, event_name(request), is_notifier=False)
        state = request.headers.get("Subscription-State")
        if state is None or not state.strip(" \t"):
            raise ParseError("Subscription-State is missing")
        if subscription is None:
            return False
        word, semicolon, tail = state.partition(";")
        params = dict(parse_params(tail)) if semicolon else {}
        is_over = word.strip(" \t").lower() == "terminated"
        expires = params.get("expires")
        if is_over:
            self._drop(subscription)
        elif expires is not None and expires.isascii() and expires.isdigit() and len(expires) < 8:
            self.extend(subscription, now, int(expires))
        self._core.emit(Notified(subscription.id, request, is_over, params.get("reason")))
        return True

    def forget(self, id_: SubscriptionId) -> None:
        """What was to be subscribed to was refused."""
        subscription = self._all.get(id_)
        if subscription is not None:
            self._drop(subscription)

    def _drop(self, subscription: Subscription) -> None:
        self._all.pop(subscription.id, None)
        self._core.subscribed = len(self._all)
        subscription.expires_at = None
        session = subscription.session
        if subscription in session.subscriptions:
            session.subscriptions.remove(subscription)
        if not session.subscriptions and not session.has_call and self._core.sessions.get(session.dialog.key) is session:
            del self._core.sessions[session.dialog.key]
