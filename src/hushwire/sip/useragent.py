"""The sans-I/O SIP core: transactions, dialogs and digest towards trunks behind one object.

Use: `receive` messages, call `handle_timer` when `deadline` is due, call commands; after each of these carry out `drain()`.
No method blocks, reads a clock or sends. What it does by itself, so that nobody above has to:

- retransmissions, 100 after 200 ms, ACK (also again for each retransmitted 2xx), 2xx until ACK, CANCEL only after a 1xx,
  2xx that crosses our CANCEL or comes from a second fork: acknowledged and ended by BYE;
- 400 for what is malformed but can be answered, 405, 416, 420, 481, 482, 483, 491 and 500 as RFC 3261 says; OPTIONS outside dialogs;
- CANCEL (200 and 487) and BYE (200) of the peer;
- PRACK for reliable 1xx, and reliable 1xx of ours where the caller requires them (RFC 3262); UPDATE without offer answered, 491 and
  500 where offers cross (RFC 3311); session timers with refresh by UPDATE, 422 both ways, BYE where nobody refreshes (RFC 4028);
- one digest retry (two when `stale`) for requests to a hop that was given credentials, and for no other.
"""

from collections.abc import Callable, Iterable

from hushwire.core.clock import Random
from hushwire.core.values import replace
from hushwire.sip.core import Core, Offer, Session, UserAgentConfig
from hushwire.sip.dialog import Dialog
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey, Effect, InviteId, RequestId, SubscriptionId, TxId
from hushwire.sip.errors import ParseError
from hushwire.sip.farewells import Farewell
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.headers import Line
from hushwire.sip.message import Message, Request
from hushwire.sip.outgoing import Outgoing
from hushwire.sip.refer import Replaces, refer_to_line
from hushwire.sip.reliable import OPTION as RELIABLE
from hushwire.sip.server_tx import Key, Unacknowledged
from hushwire.sip.subscriptions import EventName, HeldSubscription, Subscriptions
from hushwire.sip.uac import Client
from hushwire.sip.uas import Server
from hushwire.sip.uri import NameAddr, SipUri

__all__ = ["SDP", "UserAgent", "UserAgentConfig"]

SDP = "application/sdp"


class UserAgent:
    """One SIP user agent, client and server, over any number of flows. `now` is a monotonic second everywhere."""

    def __init__(self, config: UserAgentConfig, random: Random) -> None:
        self._core = Core(config, random)
        self.effects = self._core.effects
        """What `drain` would return; who carries it out may instead walk along it while it grows, and clear it."""
        self._client = Client(self._core)
        self._subscriptions = Subscriptions(self._core, self._client)
        self._server = Server(self._core, self._client, self._subscriptions)

    # ------------------------------------------------------------------------------------------------------- inputs

    def receive(self, message: Message, flow: Flow, now: float) -> None:
        """Take one parsed message that came by `flow`."""
        if isinstance(message, Request):
            self._server.receive(message, flow, now)
        else:
            self._client.receive(message, flow, now)

    def receive_malformed(self, error: ParseError, flow: Flow) -> None:
        """Take what `parse` refused: answered without state where that is possible, else silence."""
        self._server.receive_malformed(error, flow)

    def answer_options(self, wanted: bool) -> None:
        """Whether OPTIONS outside dialogs is answered 200 here (as the configuration says at first), or told like other requests."""
        self._core.config = replace(self._core.config, answers_options=wanted)

    def handle_timer(self, now: float) -> None:
        """Fire what is due."""
        self._core.fire(now)

    def deadline(self) -> float | None:
        """Monotonic second at which `handle_timer` must next be called, or None."""
        return self._core.deadline()

    def send_failed(self, transaction: str, now: float) -> None:
        """A `Send` with this transaction could not be carried out: its request fails with Cause.TRANSPORT (RFC 3261 section 17.1.4)."""
        self._client.send_failed(transaction, now)

    def flow_closed(self, hop: Hop, now: float) -> None:
        """A connection ended: requests under way on it fail with Cause.TRANSPORT. Its dialogs stay (see `move`).

        `hop` is its flow, and in a second call the target that it was opened to: there an INVITE that rings already is waited for.
        """
        self._client.flow_closed(hop, now)

    def awaits(self, transaction: str) -> bool:
        """Whether a `Send` of this transaction is still wanted, for those that had to wait for a connection."""
        return self._client.awaits(transaction)

    def via(self, hop: Hop, branch: str) -> str:
        """A Via value of ours on this hop."""
        return self._core.via(hop, branch)

    def contact(self, hop: Hop) -> NameAddr:
        """How we name ourselves to who is at this hop."""
        return self._core.contact(hop)

    def drain(self) -> list[Effect]:
        """What is to be sent and told, in order; empty afterwards."""
        effects = list(self.effects)
        self.effects.clear()
        return effects

    # ------------------------------------------------------------------------------------------------------- server

    def respond(
        self,
        tx: TxId,
        status: int,
        *,
        now: float,
        reason: str | None = None,
        headers: Iterable[Line] = (),
        body: bytes = b"",
        content_type: str = SDP,
        contact: NameAddr | None = None,
        follow_contact: bool = False,
    ) -> DialogKey | None:
        """Answer a request. Returns the dialog where one exists: our To tag is the same in all answers to one INVITE.

        101-199 and 2xx to an INVITE carry a Contact (by default our own for the flow) and make the dialog; 2xx is repeated until ACK.
        A `tx` that is already answered for good or cancelled is ignored, and None returned: crossing events are no error.
        `follow_contact` as in `invite`.
        """
        return self._server.respond(tx, status, now, reason, headers, body, content_type, contact, follow_contact)

    def refuse(self, request: Request, flow: Flow, status: int, *, now: float, headers: Iterable[Line] = ()) -> None:
        """Answer a request that another process took and never answered, with a refusal (300-699)."""
        self._server.refuse(request, flow, status, now, headers)

    def under_way(self, invite: InviteId) -> tuple[Request, Hop] | None:
        """An INVITE of ours that nobody has answered for good, as it was sent last, for another process to take back; else None."""
        return self._client.under_way(invite)

    def take_back(self, invite: Request, hop: Hop, *, now: float) -> None:
        """CANCEL what another process sent and nobody had answered for good (RFC 3261 section 9.1). Nothing is told of it."""
        self._client.take_back(invite, hop, now)

    def is_first(self, key: Key, merge_key: Key, *, now: float) -> bool:
        """Whether a request outside dialogs, which was not parsed, is to be handled now: as if `receive` told of it."""
        return self._server.is_first(key, merge_key, now)

    def answered_at_once(
        self, key: Key, merge_key: Key, flow: Flow, hop: Hop, data: bytes, to_tag: str, *, now: float, is_challenge: bool = False
    ) -> None:
        """Such a request was answered, as by `respond`; whoever calls this sends `data`."""
        self._server.answered_at_once(key, merge_key, flow, hop, data, to_tag, now, is_challenge=is_challenge)

    def unacknowledged(self, dialog: DialogKey) -> Unacknowledged | None:
        """The 2xx to an INVITE in this dialog that is said until its ACK comes, for another process to say; None where there is none."""
        return self._server.unacknowledged(dialog)

    def say_again(self, said: Unacknowledged, *, now: float) -> None:
        """Say it in place of another process, in a dialog that was adopted. Nothing follows where no ACK comes."""
        self._server.say_again(said, now)

    def heard_at(self, is_now_at: Callable[[Hop], bool], *, now: float) -> None:
        """Peers came back by another connection, which `is_now_at` tells by how they were known: say now what could not be said before."""
        self._server.heard_at(is_now_at)
        farewells = self._client.farewells
        for key, hop in farewells.unheard() if farewells else ():
            if is_now_at(hop) and (farewell := farewells.take(key)) is not None:
                self.say_farewell(farewell, now=now)

    def unanswered(self, tx: TxId) -> tuple[Request, Flow] | None:
        """A request to which nothing was said but 100, and by which flow it came; None where it was answered, or its caller gave up."""
        return self._server.unanswered(tx)

    def release(self, tx: TxId) -> None:
        """Give up such a request, since another one answers it: what still comes of its transaction is nothing of ours any more."""
        self._server.release(tx)

    # ------------------------------------------------------------------------------------------------------- client

    def invite(
        self,
        *,
        hop: Hop,
        uri: SipUri | str,
        from_: NameAddr,
        to: NameAddr,
        now: float,
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
        """Send an INVITE outside dialogs. Ends in exactly one Accepted or Rejected, after any number of Progress.

        `from_` gets our tag. `credentials` may answer the challenges of this `hop`, for this INVITE and its dialogs.
        `silence_s` is how long the hop may give no sign at all (Timer B), `progress_s` how long no more than 100 after that (None: for
        ever). Where it then rings or answers all the same it is cancelled, or acknowledged and sent BYE.
        In-dialog requests go to `hop` again, unless `follow_contact`: then to the address in the peer's Record-Route or Contact, where
        that is numeric, allowed and of the same transport.
        """
        own = contact or self._core.contact(hop, is_sips=_is_sips(uri))
        outgoing = Outgoing(
            self._core.number(),
            "INVITE",
            hop=hop,
            uri=str(uri),
            from_=from_.with_param("tag", self._core.token()),
            to=to,
            call_id=call_id or self._core.token(16),
            cseq=1,
            headers=[
                ("Contact", str(own)),
                ("Allow", self._core.allow),
                *self._options(body),
                *self._client.refresher.lines(),
                ("User-Agent", self._core.config.product),
                *headers,
            ],
            body=body,
            content_type=content_type,
            contact=own,
            credentials=credentials,
            max_forwards=max_forwards,
            silence_s=silence_s,
            progress_s=progress_s,
            follow_contact=follow_contact,
        )
        self._client.start(outgoing, now)
        return InviteId(outgoing.id)

    def cancel(self, invite: InviteId, *, now: float, headers: Iterable[Line] = ()) -> None:
        """Take an INVITE back; Rejected(487, cause=CANCELLED or RESPONSE) follows, whatever the peer does. Unknown ids are ignored."""
        self._client.cancel(invite, headers, now)

    def ack(self, dialog: DialogKey, *, now: float, body: bytes = b"", content_type: str = SDP) -> None:
        """Acknowledge the 2xx to an INVITE or re-INVITE that we sent without an offer; `body` is the answer to theirs."""
        session = self._core.call(dialog)
        if session is not None:
            self._client.acknowledge(session, body, content_type)

    def reinvite(
        self, dialog: DialogKey, *, now: float, body: bytes, headers: Iterable[Line] = (), identity: NameAddr | None = None
    ) -> RequestId | None:
        """Send a re-INVITE; Responded follows. None where the dialog is gone or an INVITE is under way in it (try again later).

        `identity`: whom the peer talks with from now on. Where it follows that (RFC 4916), From says it, here and in what comes later.
        """
        session = self._core.call(dialog)
        # RFC 3261 section 14.1: not while another INVITE transaction of either side is in progress.
        if session is None or session.dialog.is_early or session.is_busy:
            return None
        session.inviting = True
        session.offer = Offer.OURS if body else None
        if identity is not None:
            session.dialog = session.dialog.shown_as(identity)
        lines = [("Contact", str(session.dialog.contact)), ("Allow", self._core.allow), *self._options(b"")]
        lines += [*self._client.refresher.lines(session), *headers]
        outgoing = self._client.in_dialog(session, "INVITE", lines, body, SDP)
        self._client.start(outgoing, now)
        return RequestId(outgoing.id)

    def update(self, dialog: DialogKey, *, now: float, body: bytes, headers: Iterable[Line] = ()) -> RequestId | None:
        """Offer within a dialog by UPDATE (RFC 3311), also before the answer; Responded follows.

        None where the dialog is gone, its peer takes no UPDATE, or another exchange is under way in it (try again later).
        """
        session = self._core.call(dialog)
        if session is None or not session.dialog.allows_update or session.offer is not None or session.updating is not None:
            return None
        if not session.dialog.is_early and session.is_busy:
            return None
        session.offer = Offer.OURS
        lines = [("Contact", str(session.dialog.contact)), *self._options(b""), *self._client.refresher.lines(session), *headers]
        outgoing = self._client.in_dialog(session, "UPDATE", lines, body, SDP)
        self._client.start(outgoing, now)
        return RequestId(outgoing.id)

    def _options(self, offer: bytes) -> list[Line]:
        """Supported; a reliable 1xx to an INVITE without offer would want its answer in PRACK, which we don't do."""
        options = [option for option in self._core.config.supported if offer or option != RELIABLE]
        return [("Supported", ", ".join(options))] if options else []

    def request(
        self,
        dialog: DialogKey,
        method: str,
        *,
        now: float,
        headers: Iterable[Line] = (),
        body: bytes = b"",
        content_type: str = SDP,
    ) -> RequestId | None:
        """Send a request that has no command of its own (INFO, MESSAGE...) in a dialog; Responded follows. None where that is gone."""
        session = self._core.call(dialog)
        if session is None:
            return None
        lines = [("Contact", str(session.dialog.contact))] if method == "SUBSCRIBE" else []
        outgoing = self._client.in_dialog(session, method, [*lines, *headers], body, content_type)
        self._client.start(outgoing, now)
        return RequestId(outgoing.id)

    def bye(self, dialog: DialogKey, *, now: float, headers: Iterable[Line] = ()) -> RequestId | None:
        """End a dialog; Responded follows. None where it is gone already.

        As a callee whose 2xx is not acknowledged yet, BYE waits for that.
        Early dialogs are not ended this way: the caller cancels, the callee refuses.
        """
        session = self._core.call(dialog)
        if session is None or session.dialog.is_early or session.farewell is not None:
            return None
        if session.unacked_cseq is not None:
            # "the callee's UA MUST NOT send a BYE on a confirmed dialog until it has received an ACK" (section 15).
            session.farewell = (RequestId(self._core.number()), list(headers))
            return session.farewell[0]
        if session.ack_due is not None:
            self._client.acknowledge(session, b"", SDP)
        self._core.end(dialog)
        outgoing = self._client.in_dialog(session, "BYE", headers)
        self._client.start(outgoing, now)
        return RequestId(outgoing.id)

    def farewell(self, dialog: DialogKey) -> Farewell | None:
        """The BYE of ours in this dialog that its peer has not answered yet, for another process to say; None where there is none."""
        found = self._client.farewells.of(dialog)
        if found is not None:
            return found
        session = self._core.call(dialog)
        if session is None or session.farewell is None:
            return None
        return Farewell(session.dialog, tuple(session.farewell[1]), self._server.unacknowledged(dialog))

    def say_farewell(self, farewell: Farewell, *, now: float) -> None:
        """Say BYE in place of another process, or once more. The peer may have answered one already: then it says 481."""
        key = farewell.dialog.key
        if self._core.call(key) is None:
            self._core.sessions[key] = Session(farewell.dialog)
        if farewell.unacknowledged is not None:
            self._server.say_again(farewell.unacknowledged, now)
        self.bye(key, now=now, headers=farewell.lines)

    def on_parted(self, told: Callable[[DialogKey], None]) -> None:
        """Have somebody told of each dialog whose BYE was answered, or is given up."""
        self._client.farewells.on_over = told

    def forget_unheard(self, *, now: float) -> None:
        """Give up BYEs whose peers did not come back in time."""
        self._client.farewells.expire(now)

    def send(
        self,
        method: str,
        *,
        hop: Hop,
        uri: SipUri | str,
        from_: NameAddr,
        to: NameAddr,
        now: float,
        headers: Iterable[Line] = (),
        body: bytes = b"",
        content_type: str = SDP,
        contact: NameAddr | None = None,
        credentials: Credentials | None = None,
        call_id: str | None = None,
        cseq: int = 1,
        silence_s: float = 32.0,
    ) -> RequestId:
        """Send a request outside dialogs (OPTIONS, REGISTER, MESSAGE...); exactly one Responded follows.

        Contact is sent for REGISTER and where `contact` is given.
        """
        own = contact or self._core.contact(hop, is_sips=_is_sips(uri))
        lines = [("Contact", str(own))] if contact is not None or method == "REGISTER" else []
        outgoing = Outgoing(
            self._core.number(),
            method,
            hop=hop,
            uri=str(uri),
            from_=from_.with_param("tag", self._core.token()),
            to=to,
            call_id=call_id or self._core.token(16),
            cseq=cseq,
            headers=[*lines, ("User-Agent", self._core.config.product), *headers],
            body=body,
            content_type=content_type,
            contact=own,
            credentials=credentials,
            silence_s=silence_s,
        )
        self._client.start(outgoing, now)
        return RequestId(outgoing.id)

    # ------------------------------------------------------------------------------------------------ subscriptions

    def accept_subscription(self, tx: TxId, *, now: float, longest_s: int = 3600, headers: Iterable[Line] = ()) -> SubscriptionId | None:
        """Take a SUBSCRIBE or REFER: 200 or 202, and a subscription for as long as asked, `longest_s` at most. Then `notify` at once.

        None where the request is answered already, or there is no room (503). To refuse one is `respond`'s business; to do what a REFER
        asks without a subscription too (RFC 4488): 202 with `Refer-Sub: false`.
        """
        return self._server.subscribe(tx, now, longest_s, headers)

    def notify(
        self,
        subscription: SubscriptionId,
        *,
        now: float,
        body: bytes = b"",
        content_type: str = "",
        is_final: bool = False,
        reason: str | None = None,
        headers: Iterable[Line] = (),
    ) -> bool:
        """Tell a subscriber the state; `is_final` ends the subscription, `reason` is RFC 6665's (`noresource`, `deactivated`...).

        What was not sent yet is replaced: a state that nobody saw is no news. False where the subscription is over.
        """
        return self._subscriptions.notify(subscription, now, body, content_type, reason, headers, is_final=is_final)

    def subscription(self, subscription: SubscriptionId, *, now: float) -> HeldSubscription | None:
        """A peer's subscription, to journal."""
        return self._subscriptions.held(subscription, now)

    def restore_subscription(self, held: HeldSubscription, *, now: float) -> SubscriptionId:
        """Go on with a peer's subscription of a process before this one: `notify` it all."""
        return self._subscriptions.adopt(held, now)

    def refer(
        self, dialog: DialogKey, uri: SipUri, *, now: float, replaces: Replaces | None = None, headers: Iterable[Line] = ()
    ) -> tuple[RequestId, SubscriptionId] | None:
        """Ask the peer to call `uri` (RFC 3515), in place of the call that `replaces` names to it; Responded follows, then Notified
        until one is over, or SubscriptionEnded after three minutes of silence. None where the dialog is gone."""
        session = self._core.call(dialog)
        if session is None or session.dialog.is_early:
            return None
        lines = [("Contact", str(session.dialog.contact)), refer_to_line(uri, replaces), ("Referred-By", f"<{session.dialog.local.uri}>")]
        outgoing = self._client.in_dialog(session, "REFER", [*lines, *headers])
        subscription = self._subscriptions.open(session, EventName("refer", str(outgoing.cseq)), now, 180.0, is_notifier=False)

        def answered(status: int, _at: float | None) -> None:
            subscription.event = EventName("refer", str(outgoing.cseq))
            if status >= 300:
                self._subscriptions.forget(subscription.id)

        outgoing.on_done = answered
        self._client.start(outgoing, now)
        return RequestId(outgoing.id), subscription.id

    # ------------------------------------------------------------------------------------------------------ dialogs

    def dialog(self, key: DialogKey) -> Dialog | None:
        """The dialog's state, to read or to journal."""
        session = self._core.call(key)
        return None if session is None else session.dialog

    def adopt(self, dialog: Dialog, *, now: float | None = None) -> None:
        """Take over a dialog that another process had. With `now` its session timer begins anew: who refreshes does so soon."""
        session = self._core.sessions[dialog.key] = Session(dialog)
        if now is not None and dialog.timer is not None:
            self._core.keep(session, dialog.timer, now)
            if dialog.timer.is_ours:
                # How long ago the last refresh was is not known: the sooner the next one, the better.
                self._core.look_again(session, now + 5.0)

    def adopt_subscription(self, dialog: DialogKey, event: EventName, *, now: float, longest_s: int) -> SubscriptionId | None:
        """Take over a subscription of the peer's in an adopted dialog; None where that is gone."""
        session = self._core.sessions.get(dialog)
        if session is None or not self._subscriptions.may_open(session):
            return None
        return self._subscriptions.open(session, event, now, longest_s, is_notifier=True).id

    def name(self, alias: DialogKey, dialog: DialogKey | None) -> None:
        """Let Replaces name a dialog by `alias` too, which nothing else is believed by; None: not any more."""
        if dialog is None:
            self._core.aliases.pop(alias, None)
        else:
            self._core.aliases[alias] = dialog

    def move(self, key: DialogKey, hop: Hop) -> None:
        """Send the dialog's requests another way from now on (a phone came back on a new connection)."""
        session = self._core.sessions.get(key)
        if session is not None:
            session.dialog = replace(session.dialog, hop=hop)


def _is_sips(uri: SipUri | str) -> bool:
    return uri.secure if isinstance(uri, SipUri) else uri[:5].lower() == "sips:"
