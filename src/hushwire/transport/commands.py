"""The commands of a SIP endpoint: those of its engine at the moment of now, and what they cause is sent."""

from collections.abc import Iterable

from hushwire.sip.dialog import Dialog
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey, InviteId, RequestId, SubscriptionId, TxId
from hushwire.sip.farewells import Farewell
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.headers import Line
from hushwire.sip.message import Request
from hushwire.sip.refer import Replaces
from hushwire.sip.server_tx import Unacknowledged
from hushwire.sip.subscriptions import EventName, HeldSubscription
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.sip.useragent import SDP, UserAgent


class Commands:
    """What an endpoint is told to do. Who inherits has the engine, the time, and the means to send."""

    @property
    def ua(self) -> UserAgent:
        """The engine."""
        raise NotImplementedError

    def now(self) -> float:
        """The monotonic second that the engine lives in."""
        raise NotImplementedError

    def flush(self) -> None:
        """Carry out what the engine asks for."""
        raise NotImplementedError

    def respond(
        self,
        tx: TxId,
        status: int,
        *,
        reason: str | None = None,
        headers: Iterable[Line] = (),
        body: bytes = b"",
        content_type: str = SDP,
        contact: NameAddr | None = None,
        follow_contact: bool = False,
    ) -> DialogKey | None:
        """See UserAgent.respond."""
        key = self.ua.respond(
            tx,
            status,
            now=self.now(),
            reason=reason,
            headers=headers,
            body=body,
            content_type=content_type,
            contact=contact,
            follow_contact=follow_contact,
        )
        self.flush()
        return key

    def unanswered(self, tx: TxId) -> tuple[Request, Flow] | None:
        """See UserAgent.unanswered."""
        return self.ua.unanswered(tx)

    def release(self, tx: TxId) -> None:
        """See UserAgent.release."""
        self.ua.release(tx)

    def under_way(self, invite: InviteId) -> tuple[Request, Hop] | None:
        """See UserAgent.under_way."""
        return self.ua.under_way(invite)

    def take_back(self, invite: Request, hop: Hop) -> None:
        """See UserAgent.take_back."""
        self.ua.take_back(invite, hop, now=self.now())
        self.flush()

    def unacknowledged(self, dialog: DialogKey) -> Unacknowledged | None:
        """See UserAgent.unacknowledged."""
        return self.ua.unacknowledged(dialog)

    def say_again(self, said: Unacknowledged) -> None:
        """See UserAgent.say_again."""
        self.ua.say_again(said, now=self.now())
        self.flush()

    def refuse(self, request: Request, flow: Flow, status: int, *, headers: Iterable[Line] = ()) -> None:
        """See UserAgent.refuse."""
        self.ua.refuse(request, flow, status, now=self.now(), headers=headers)
        self.flush()

    def invite(
        self,
        *,
        hop: Hop,
        uri: SipUri | str,
        from_: NameAddr,
        to: NameAddr,
        body: bytes = b"",
        content_type: str = SDP,
        headers: Iterable[Line] = (),
        contact: NameAddr | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        max_forwards: int = 70,
        silence_s: float = 32.0,
        progress_s: float | None = None,
        follow_contact: bool = False,
    ) -> InviteId:
        """See UserAgent.invite."""
        invite = self.ua.invite(
            hop=hop,
            uri=uri,
            from_=from_,
            to=to,
            now=self.now(),
            body=body,
            content_type=content_type,
            headers=headers,
            contact=contact,
            credentials=credentials,
            call_id=call_id,
            max_forwards=max_forwards,
            silence_s=silence_s,
            progress_s=progress_s,
            follow_contact=follow_contact,
        )
        self.flush()
        return invite

    def cancel(self, invite: InviteId, *, headers: Iterable[Line] = ()) -> None:
        """See UserAgent.cancel."""
        self.ua.cancel(invite, now=self.now(), headers=headers)
        self.flush()

    def ack(self, dialog: DialogKey, *, body: bytes = b"", content_type: str = SDP) -> None:
        """See UserAgent.ack."""
        self.ua.ack(dialog, now=self.now(), body=body, content_type=content_type)
        self.flush()

    def reinvite(
        self, dialog: DialogKey, *, body: bytes, headers: Iterable[Line] = (), identity: NameAddr | None = None
    ) -> RequestId | None:
        """See UserAgent.reinvite."""
        request = self.ua.reinvite(dialog, now=self.now(), body=body, headers=headers, identity=identity)
        self.flush()
        return request

    def update(self, dialog: DialogKey, *, body: bytes, headers: Iterable[Line] = ()) -> RequestId | None:
        """See UserAgent.update."""
        request = self.ua.update(dialog, now=self.now(), body=body, headers=headers)
        self.flush()
        return request

    def request(
        self, dialog: DialogKey, method: str, *, headers: Iterable[Line] = (), body: bytes = b"", content_type: str = SDP
    ) -> RequestId | None:
        """See UserAgent.request."""
        request = self.ua.request(dialog, method, now=self.now(), headers=headers, body=body, content_type=content_type)
        self.flush()
        return request

    def bye(self, dialog: DialogKey, *, headers: Iterable[Line] = ()) -> RequestId | None:
        """See UserAgent.bye."""
        request = self.ua.bye(dialog, now=self.now(), headers=headers)
        self.flush()
        return request

    def farewell(self, dialog: DialogKey) -> Farewell | None:
        """See UserAgent.farewell."""
        return self.ua.farewell(dialog)

    def say_farewell(self, farewell: Farewell) -> None:
        """See UserAgent.say_farewell."""
        self.ua.say_farewell(farewell, now=self.now())
        self.flush()

    def forget_unheard(self) -> None:
        """See UserAgent.forget_unheard."""
        self.ua.forget_unheard(now=self.now())

    def send(
        self,
        method: str,
        *,
        hop: Hop,
        uri: SipUri | str,
        from_: NameAddr,
        to: NameAddr,
        headers: Iterable[Line] = (),
        body: bytes = b"",
        content_type: str = SDP,
        contact: NameAddr | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        silence_s: float = 32.0,
    ) -> RequestId:
        """See UserAgent.send."""
        request = self.ua.send(
            method,
            hop=hop,
            uri=uri,
            from_=from_,
            to=to,
            now=self.now(),
            headers=headers,
            body=body,
            content_type=content_type,
            contact=contact,
            credentials=credentials,
            call_id=call_id,
            cseq=cseq,
            silence_s=silence_s,
        )
        self.flush()
        return request

    def accept_subscription(self, tx: TxId, *, longest_s: int = 3600, headers: Iterable[Line] = ()) -> SubscriptionId | None:
        """See UserAgent.accept_subscription."""
        subscription = self.ua.accept_subscription(tx, now=self.now(), longest_s=longest_s, headers=headers)
        self.flush()
        return subscription

    def notify(
        self,
        subscription: SubscriptionId,
        *,
        body: bytes = b"",
        content_type: str = "",
        is_final: bool = False,
        reason: str | None = None,
        headers: Iterable[Line] = (),
    ) -> bool:
        """See UserAgent.notify."""
        is_sent = self.ua.notify(
            subscription, now=self.now(), body=body, content_type=content_type, is_final=is_final, reason=reason, headers=headers
        )
        self.flush()
        return is_sent

    def subscription(self, subscription: SubscriptionId) -> HeldSubscription | None:
        """See UserAgent.subscription."""
        return self.ua.subscription(subscription, now=self.now())

    def refer(
        self, dialog: DialogKey, uri: SipUri, *, replaces: Replaces | None = None, headers: Iterable[Line] = ()
    ) -> tuple[RequestId, SubscriptionId] | None:
        """See UserAgent.refer."""
        asked = self.ua.refer(dialog, uri, now=self.now(), replaces=replaces, headers=headers)
        self.flush()
        return asked

    def adopt_subscription(self, dialog: DialogKey, event: EventName, *, longest_s: int) -> SubscriptionId | None:
        """See UserAgent.adopt_subscription."""
        return self.ua.adopt_subscription(dialog, event, now=self.now(), longest_s=longest_s)

    def dialog(self, key: DialogKey) -> Dialog | None:
        """See UserAgent.dialog."""
        return self.ua.dialog(key)

    def move(self, key: DialogKey, hop: Hop) -> None:
        """See UserAgent.move."""
        self.ua.move(key, hop)
