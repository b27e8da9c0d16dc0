"""The server half of the user agent: transactions, responses, and 2xx until ACK. What is checked of a request is in `inspection.py`."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from hushwire.core.values import replace
from hushwire.sip.answered import Answered, AnsweredRequests
from hushwire.sip.core import Core, Offer, Session
from hushwire.sip.dialog import dialog_of_callee
from hushwire.sip.effects import (
    AckReceived,
    CancelReceived,
    Cause,
    DialogEnded,
    DialogKey,
    DialogTimedOut,
    InDialogRequest,
    RequestId,
    Responded,
    SubscriptionId,
    TxId,
)
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.headers import Headers, Line
from hushwire.sip.inspection import Answer, Inspection
from hushwire.sip.invite_server import InviteServer
from hushwire.sip.message import REASONS, Request, Response, copied, response_bytes
from hushwire.sip.parse import parse
from hushwire.sip.pracks import Pracks
from hushwire.sip.reliable import OPTION as RELIABLE
from hushwire.sip.reliable import ReliableResponses
from hushwire.sip.request_server import RequestServer
from hushwire.sip.routing import next_hop
from hushwire.sip.server_tx import Held, Key, ServerTx, Unacknowledged, fallback, stamped, transaction_key
from hushwire.sip.session_timer import OPTION as TIMER
from hushwire.sip.session_timer import SessionTimer, agree
from hushwire.sip.subscriptions import Subscriptions, event_name
from hushwire.sip.transaction import Action, Failed, State
from hushwire.sip.uac import Client
from hushwire.sip.uri import NameAddr, SipUri

_SUBSCRIBED_S: Final = 3600


class Server:
    """All incoming requests."""

    def __init__(self, core: Core, client: Client, subscriptions: Subscriptions) -> None:
        self.core = core
        self.client = client
        self.subscriptions = subscriptions
        self.transactions: dict[Key, ServerTx] = {}
        self.waiting: dict[TxId, ServerTx] = {}
        self._pracks = Pracks(core, self.answer, self.carry)
        self.answered = AnsweredRequests(self._forgotten)
        self._merged: set[Key] = set()
        self._inspection = Inspection(core, client.is_ours, self._merged)
        self._unacked: dict[DialogKey, ServerTx] = {}

    # -------------------------------------------------------------------------------------------------------- inputs

    def receive(self, request: Request, flow: Flow, now: float) -> None:
        """Take a request."""
        key = transaction_key(request)
        tx = self.transactions.get(key)
        if tx is not None:
            self.carry(tx, tx.machine.receive(request, now), now)
            return
        answered = self.answered.find(key, now)
        if answered is not None:
            if answered.data and request.method != "ACK":
                self.core.send(answered.hop, answered.data)
            return
        if request.method == "ACK":
            self._acknowledged(request, now)
            return
        request, hop = stamped(request, flow)
        if len(self.transactions) + len(self.answered) >= self.core.config.max_transactions:
            self._stateless(request, hop, 503, [("Retry-After", "5")])
            return
        tx = self._begin(request, key, flow, hop, now)
        method = request.method
        try:
            if method == "CANCEL":
                self._cancelled(tx, request, flow, now)
                return
            outcome = self._inspection.inspect(tx, request, flow)
            if isinstance(outcome, Answer):
                self.answer(tx, outcome.status, now, headers=outcome.headers)
            elif not isinstance(outcome, Session):
                self.core.emit(outcome)
            elif method == "BYE":
                self._ended(tx, outcome, request, now)
            elif method == "PRACK":
                self._pracks.acknowledged(tx, outcome, request, flow, now)
            elif method == "NOTIFY":
                self.answer(tx, 200 if self.subscriptions.notified(outcome, request, now) else 481, now)
            else:
                self._resubscribed(tx, outcome, request, flow, now)
        except ParseError as error:
            self.answer(tx, error.status or 400, now)

    def is_first(self, key: Key, merge_key: Key, now: float) -> bool:
        """Whether a request outside dialogs is the first of its transaction, came by no other path, and there is room for it."""
        return (
            key not in self.transactions
            and self.answered.find(key, now) is None
            and merge_key not in self._merged
            and len(self.transactions) + len(self.answered) < self.core.config.max_transactions
        )

    def answered_at_once(
        self, key: Key, merge_key: Key, flow: Flow, hop: Hop, data: bytes, to_tag: str, now: float, *, is_challenge: bool
    ) -> None:
        """Such a request was answered by `data` without a word to anybody above: its retransmissions get the same."""
        if flow.transport.is_reliable:
            return  # Timer J is zero
        self._merged.add(merge_key)
        lasts_s = self.core.timings.t4 if is_challenge else self.core.timings.timeout
        if self.answered.remember(Answered(key, now + lasts_s, flow, hop, data, to_tag, merge_key), now):
            self.core.schedule(self.answered)

    def refuse(self, request: Request, flow: Flow, status: int, now: float, headers: Iterable[Line]) -> None:
        """Answer what another process took and can't answer any more; without a word to anybody above."""
        key = transaction_key(request)
        if key not in self.transactions and self.answered.find(key, now) is None:
            request, hop = stamped(request, flow)
            self.answer(self._begin(request, key, flow, hop, now), status, now, headers=headers)

    def unacknowledged(self, dialog: DialogKey) -> Unacknowledged | None:
        """Our 2xx to the INVITE in a dialog whose ACK we wait for."""
        tx = self._unacked.get(dialog)
        return None if tx is None else Unacknowledged(dialog, tx.request.to_bytes(), tx.flow, tx.ok_data, tx.ok_until)

    def say_again(self, said: Unacknowledged, now: float) -> None:
        """Say what another process said last, or was about to: the peer may never have got it, and waits. Until its ACK, or its time is
        over: who acknowledged it to the other process may do no more of it, so nothing follows from silence but a BYE that waited for it.
        """
        with suppress(ParseError):
            request = parse(said.request)
            key, session = said.dialog, self.core.call(said.dialog)
            if not isinstance(request, Request) or now >= said.until or session is None:
                return
            session.unacked_cseq = request.cseq.number
            request, hop = stamped(request, said.flow)
            tx = self._begin(request, transaction_key(request), said.flow, hop, now)
            tx.to_tag, tx.is_answered = key.local_tag, True
            self.waiting.pop(tx.id, None)
            self._await_ack(tx, key, said.response, now)
            tx.ok_until = said.until
            self.carry(tx, tx.machine.respond(200, said.response, now), now)

    def heard_at(self, is_now_at: Callable[[Hop], bool]) -> None:
        """Peers came back by another connection: who waits for a 2xx of ours need not wait for the next time that it is said."""
        for tx in self._unacked.values():
            if tx.hop.transport.is_reliable and is_now_at(tx.hop):
                self.core.send(tx.hop, tx.ok_data)

    def _begin(self, request: Request, key: Key, flow: Flow, hop: Hop, now: float) -> ServerTx:
        kind = InviteServer if request.method == "INVITE" else RequestServer
        machine = kind(request, self.core.timings, is_reliable=flow.transport.is_reliable)
        tx = ServerTx(self, TxId(self.core.number()), key, machine, flow, hop)
        tx.to_tag = request.to_tag or self.core.token(6)
        self.transactions[key] = tx
        self.waiting[tx.id] = tx
        machine.start(now)
        self.core.schedule(tx)
        return tx

    def receive_malformed(self, error: ParseError, flow: Flow) -> None:
        """Answer what can be answered of a malformed request, without keeping state; never an ACK, never a response."""
        request = error.request
        if request is None or error.status is None or request.method == "ACK":
            return
        request, hop = stamped(request, flow)
        self._stateless(request, hop, error.status, [])

    def fire(self, tx: ServerTx, now: float) -> None:
        """Timers of one transaction."""
        if tx.ok_at is not None and tx.ok_at <= now:
            if now >= tx.ok_until:
                self._never_acknowledged(tx, now)
            else:
                # RFC 3261 section 13.3.1.4: "passed to the transport with an interval that starts at T1 and doubles until T2".
                self.core.send(tx.hop, tx.ok_data)
                tx.ok_interval = min(tx.ok_interval * 2, self.core.timings.t2)
                tx.ok_at = min(now + tx.ok_interval, tx.ok_until)
        self.carry(tx, tx.machine.fire(now), now)

    # ------------------------------------------------------------------------------------------------------ commands

    def respond(
        self, tx_id: TxId, status: int, now: float, reason: str | None, headers: Iterable[Line], body: bytes, content_type: str,
        contact: NameAddr | None, follow_contact: bool,
    ) -> DialogKey | None:  # fmt: skip
        """Answer a request that waits."""
        tx = self.waiting.get(tx_id)
        if tx is None or tx.is_answered or tx.held is not None:
            return None
        return self.answer(tx, status, now, reason, headers, body, content_type, contact, follow_contact)

    def unanswered(self, tx_id: TxId) -> tuple[Request, Flow] | None:
        """A request that nothing was said to but 100; None where it is answered, or given up."""
        tx = self.waiting.get(tx_id)
        if tx is None or tx.is_answered or tx.held is not None or tx.session is not None or tx.reliable is not None:
            return None
        return tx.request, tx.flow

    def release(self, tx_id: TxId) -> None:
        """Forget such a request: another one answers it."""
        tx = self.waiting.get(tx_id)
        if tx is not None and self.unanswered(tx_id) is not None:
            tx.machine.terminate()
            self.carry(tx, [], 0.0)

    def answer(
        self,
        tx: ServerTx,
        status: int,
        now: float,
        reason: str | None = None,
        headers: Iterable[Line] = (),
        body: bytes = b"",
        content_type: str = "",
        contact: NameAddr | None = None,
        follow_contact: bool = False,
    ) -> DialogKey | None:
        """Build and send a response; make, confirm or end the dialog."""
        core, request = self.core, tx.request
        if tx.reliable is not None and status >= 200:
            if status < 300 and tx.session is not None and (tx.reliable.holds_2xx or tx.session.updating is not None):
                tx.held = Held(status, reason, list(headers), body, content_type, contact)
                return tx.session.dialog.key
            tx.held = None
            tx.reliable.stop()
        lines = copied(request, status, tx.to_tag)
        is_invite = request.method == "INVITE"
        reliable: ReliableResponses | None = None
        if is_invite and 100 < status < 300:
            if tx.session is None:
                own = contact or core.contact(tx.flow, is_sips=_asks_for_sips(tx.request))
                dialog = dialog_of_callee(request, tx.to_tag, own, tx.flow, is_early=status < 200)
                if follow_contact:
                    dialog = replace(dialog, hop=next_hop(dialog, tx.flow))
                tx.session = Session(dialog)
                tx.session.answering = tx.id
                tx.session.offer = Offer.THEIRS if request.body else None
                core.sessions[dialog.key] = tx.session
            # "the UAS MUST copy all Record-Route header field values from the request into the response" (section 12.1.1).
            lines += [("Record-Route", value) for value in request.headers.index.get("record-route", ())]
            lines.append(("Contact", str(contact or tx.session.dialog.contact)))
            if status >= 200:
                lines.append(("Allow", core.allow))
                if core.supported:
                    lines.append(("Supported", core.supported))
            elif tx.session.dialog.is_early and RELIABLE in request.require:
                reliable = self._pracks.of(tx, tx.session)
                lines += [("Require", RELIABLE), ("RSeq", str(reliable.next_number()))]
        elif request.method == "UPDATE" and 200 <= status < 300 and tx.session is not None:
            lines.append(("Contact", str(contact or tx.session.dialog.contact)))
        elif status == 405:
            lines.append(("Allow", core.allow))
        elif status == 489:
            # "This response MUST include an Allow-Events header field" (RFC 6665 section 8.3.2).
            lines.append(("Allow-Events", ", ".join(core.config.events)))
        if tx.session is not None and 200 <= status < 300 and (is_invite or request.method == "UPDATE"):
            lines += self._keep(tx.session, request, now)
        lines += headers
        if core.config.product and status >= 200:
            lines.append(("Server", core.config.product))
        if body:
            lines.append(("Content-Type", content_type))
        data = response_bytes(status, reason, lines, body)
        if reliable is not None:
            reliable.push(data, now, has_description=bool(body))
            core.schedule(reliable)
            return tx.session.dialog.key if tx.session is not None else None
        actions = tx.machine.respond(status, data, now)
        if status in (401, 407):
            tx.machine.forgo_retransmission(now)
        if status >= 200:
            tx.is_answered = True
            self.waiting.pop(tx.id, None)
            self._settle(tx, status, data, now)
        self.carry(tx, actions, now)
        session = tx.session
        if status >= 200 and session is not None and session.reliable is not None and request.method in ("PRACK", "UPDATE"):
            self._pracks.release(session.reliable, now)
        return None if session is None or core.call(session.dialog.key) is None else session.dialog.key

    def subscribe(self, tx_id: TxId, now: float, longest_s: int, headers: Iterable[Line]) -> SubscriptionId | None:
        """Take a SUBSCRIBE (200) or a REFER (202): a subscription of the peer's in the dialog, which is made where there is none."""
        tx, core = self.waiting.get(tx_id), self.core
        if tx is None or tx.is_answered:
            return None
        request = tx.request
        if request.method == "SUBSCRIBE" and self._is_too_short(tx, request, now):
            return None
        if not self.subscriptions.may_open(tx.session):
            self.answer(tx, 503, now, headers=[("Retry-After", "10")])
            return None
        session = tx.session
        if session is None:
            own = core.contact(tx.flow, is_sips=_asks_for_sips(request))
            dialog = dialog_of_callee(request, tx.to_tag, own, tx.flow, is_early=False)
            session = tx.session = core.sessions[dialog.key] = Session(dialog, has_call=False)
        asked = request.expires
        lines: list[Line] = [("Contact", str(session.dialog.contact)), *headers]
        lines += [("Record-Route", value) for value in request.headers.all("Record-Route")]
        seconds = longest_s if asked is None or request.method == "REFER" else min(asked, longest_s)
        if request.method == "SUBSCRIBE":
            lines.append(("Expires", str(seconds)))
        self.answer(tx, 200 if request.method == "SUBSCRIBE" else 202, now, headers=lines)
        # With 0 it asks for the state once (RFC 6665 section 4.4.3): time enough to say it.
        opened = self.subscriptions.open(session, event_name(request), now, seconds or 32.0, is_notifier=True)
        return opened.id

    def _keep(self, session: Session, request: Request, now: float) -> list[Line]:
        """The session timer of our 2xx (RFC 4028 section 9)."""
        config = self.core.config
        said = agree(request, config.session_expires_s, config.min_se_s) if TIMER in config.supported else None
        if self.core.call(session.dialog.key) is None:
            return []
        self.core.keep(session, None if said is None else SessionTimer(said.seconds, said.refresher == "uas"), now)
        if said is None:
            return []
        # "If the refresher is uac, the UAS MUST place a Require header with `timer` in the response."
        return [said.line(), ("Require", TIMER)] if said.refresher == "uac" else [said.line()]

    # ------------------------------------------------------------------------------------- what is done without asking

    def _resubscribed(self, tx: ServerTx, session: Session, request: Request, flow: Flow, now: float) -> None:
        """More time for, or the end of, a subscription that there is (RFC 6665 section 4.2.1); one that is new goes up."""
        subscription = self.subscriptions.find(session, event_name(request), is_notifier=True)
        if subscription is None:
            self.core.emit(InDialogRequest(session.dialog.key, tx.id, request, flow))
            return
        if self._is_too_short(tx, request, now):
            return
        seconds = min(_SUBSCRIBED_S if request.expires is None else request.expires, _SUBSCRIBED_S)
        self.answer(tx, 200, now, headers=[("Contact", str(session.dialog.contact)), ("Expires", str(seconds))])
        self.subscriptions.refreshed(subscription, seconds, now)

    def _is_too_short(self, tx: ServerTx, request: Request, now: float) -> bool:
        """Whether a SUBSCRIBE wants to come again sooner than we like; then it is refused (RFC 6665 section 4.2.1.1)."""
        shortest = self.core.config.min_subscription_s
        if not request.expires or request.expires >= shortest:
            return False
        self.answer(tx, 423, now, headers=[("Min-Expires", str(shortest))])
        return True

    def _cancelled(self, tx: ServerTx, request: Request, flow: Flow, now: float) -> None:
        """CANCEL (RFC 3261 section 9.2): found by the INVITE's branch and sent-by, and believed only from the INVITE's own source."""
        key = (*tx.key[:-1], "INVITE")
        invite = self.transactions.get(key) or self.answered.find(key, now)
        if invite is None or invite.flow.remote.host != flow.remote.host or invite.flow.transport is not flow.transport:
            self.answer(tx, 481, now)
            return
        tx.to_tag = invite.to_tag
        self.answer(tx, 200, now)
        if isinstance(invite, Answered) or invite.is_answered:
            # "If the original request has a final response already, the CANCEL has no effect."
            return
        held, session = invite.held, invite.session
        self.answer(invite, 487, now)
        if held is not None and session is not None:
            # Above they believe that it is answered.
            self.core.emit(DialogEnded(session.dialog.key, request))
        else:
            self.core.emit(CancelReceived(invite.id, request))

    def _ended(self, tx: ServerTx, session: Session, request: Request, now: float) -> None:
        key = session.dialog.key
        self.core.end(key)
        self.answer(tx, 200, now)
        waiting = self.waiting.get(session.answering) if session.answering is not None else None
        if waiting is not None:
            # "The UAS MUST still respond to any pending requests received for that dialog", 487 for choice (section 15.1.2).
            self.answer(waiting, 487, now)
        unacked = self._unacked.pop(key, None)
        if unacked is not None:
            unacked.ok_at = None
            self.carry(unacked, [], now)
        if session.farewell is not None:
            self.client.farewells.on_over(key)
            self.core.emit(Responded(session.farewell[0], 200, None, Cause.RESPONSE))
            return
        self.core.emit(DialogEnded(key, request))

    def _acknowledged(self, request: Request, now: float) -> None:
        key = DialogKey(request.call_id, request.to_tag, request.from_tag)
        tx = self._unacked.get(key)
        if tx is not None and tx.request.cseq.number == request.cseq.number:
            del self._unacked[key]
            tx.ok_at = None
            self.carry(tx, [], now)
        session = self.core.call(key)
        if session is None or session.unacked_cseq != request.cseq.number:
            return
        session.unacked_cseq = None
        session.offer = None
        if session.farewell is not None:
            self._say_farewell(session, now)
            return
        self.core.emit(AckReceived(key, request))

    # ------------------------------------------------------------------------------------------------------ the 2xx

    def _settle(self, tx: ServerTx, status: int, data: bytes, now: float) -> None:
        """What a final response means for the dialog."""
        session = tx.session
        if session is None:
            return
        method = tx.request.method
        if status < 300 and method in ("INVITE", "UPDATE") and self.core.call(session.dialog.key) is not None:
            session.dialog = replace(
                session.dialog.refreshed(tx.request), is_early=False if method == "INVITE" else session.dialog.is_early
            )
        if method in ("UPDATE", "PRACK") and session.updating == tx.id:
            session.updating = session.offer = None
        if method != "INVITE" or session.answering != tx.id:
            return
        session.answering = None
        session.offer = None
        if status >= 300:
            if session.dialog.is_early:
                self.core.end(session.dialog.key)
            return
        if not tx.request.body:
            session.offer = Offer.OURS
        session.unacked_cseq = tx.request.cseq.number
        self._await_ack(tx, session.dialog.key, data, now)

    def _await_ack(self, tx: ServerTx, dialog: DialogKey, data: bytes, now: float) -> None:
        self._unacked[dialog] = tx
        tx.ok_data = data
        tx.ok_interval = self.core.timings.t1
        tx.ok_at = now + tx.ok_interval
        tx.ok_until = now + self.core.timings.timeout

    def _never_acknowledged(self, tx: ServerTx, now: float) -> None:
        """RFC 3261 section 13.3.1.4: without ACK for 64*T1 "the dialog is confirmed, but the session SHOULD be terminated": BYE."""
        tx.ok_at = None
        session = tx.session
        if session is None:  # said again for another process
            for key in [key for key, other in self._unacked.items() if other is tx]:
                del self._unacked[key]
                if (known := self.core.call(key)) is not None:
                    known.unacked_cseq = None
                    self._say_farewell(known, now)
            return
        key = session.dialog.key
        self._unacked.pop(key, None)
        if self.core.call(key) is None:
            return
        session.unacked_cseq = session.offer = None
        if session.farewell is None:
            session.farewell = (RequestId(self.core.number()), [])
            self.core.emit(DialogTimedOut(key))
            self._say_farewell(session, now, is_silent=True)
        else:
            self._say_farewell(session, now)

    def _say_farewell(self, session: Session, now: float, *, is_silent: bool = False) -> None:
        if session.farewell is None:
            return
        id_, lines = session.farewell
        self.core.end(session.dialog.key)
        outgoing = self.client.in_dialog(session, "BYE", lines, id_=id_)
        outgoing.is_ended = is_silent
        self.client.start(outgoing, now)

    # ------------------------------------------------------------------------------------------------------- details

    def _stateless(self, request: Request, hop: Hop, status: int, extra: list[Line]) -> None:
        """A response to what may lack headers: what is there is copied."""
        lines = [("Via", value) for value in request.headers.all("Via")]
        lines += [(name, value) for name in ("From", "To", "Call-ID", "CSeq") if (value := request.headers.get(name)) is not None]
        self.core.send(hop, Response(status, REASONS.get(status, "Error"), Headers([*lines, *extra]), b"").to_bytes())

    def carry(self, tx: ServerTx, actions: list[Action], now: float) -> None:
        """Carry out what a machine asked for."""
        for action in actions:
            if isinstance(action, bytes):
                other = fallback(tx) if tx.flow.transport.is_reliable else None
                self.core.send(tx.hop, action, None, other)
            elif isinstance(action, Failed):
                pass  # Timer H: nobody acknowledged a refusal, which changes nothing
        if tx.ok_at is not None:
            self.core.schedule(tx)
            return
        machine = tx.machine
        if machine.state is State.TERMINATED:
            self._drop(tx)
            if tx.merge_key is not None:
                self._merged.discard(tx.merge_key)
                tx.merge_key = None
            return
        last = machine.remains()
        if last is None:
            self.core.schedule(tx)
            return
        self._drop(tx)
        data, expires_at = last
        answered = Answered(tx.key, expires_at, tx.flow, tx.hop, data, tx.to_tag, tx.merge_key)
        machine.terminate()
        self.core.forget(tx)
        if self.answered.remember(answered, now):
            self.core.schedule(self.answered)

    def _drop(self, tx: ServerTx) -> None:
        if self.transactions.get(tx.key) is tx:
            del self.transactions[tx.key]
        self.waiting.pop(tx.id, None)

    def _forgotten(self, answered: Answered) -> None:
        if answered.merge_key is not None:
            self._merged.discard(answered.merge_key)


def _asks_for_sips(request: Request) -> bool:
    """Whether our Contact must be a SIPS URI (RFC 3261 section 12.1.1): the Request-URI is, or the top Record-Route, else the Contact."""
    if request.uri[:5].lower() == "sips:":
        return True
    named = request.record_routes[:1] or request.contacts[:1]
    return any(isinstance(name.uri, SipUri) and name.uri.secure for name in named)
