"""The client half of the user agent: outgoing INVITEs with forks, other requests, ACK and CANCEL."""

from collections.abc import Iterable
from contextlib import suppress

from hushwire.core.values import replace
from hushwire.sip.challenges import Challenges
from hushwire.sip.core import BRANCH_COOKIE, Core, Offer, Session, compose
from hushwire.sip.dialog import Dialog, dialog_of_caller
from hushwire.sip.effects import Accepted, Cause, DialogKey, InviteId, Progress, Rejected, RequestId, Responded
from hushwire.sip.errors import ParseError
from hushwire.sip.farewells import Farewells
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.headers import Headers, Line, parse_number
from hushwire.sip.invite_client import InviteClient
from hushwire.sip.message import Request, Response
from hushwire.sip.outgoing import Outgoing
from hushwire.sip.refresher import Refresher
from hushwire.sip.reliable import OPTION as RELIABLE
from hushwire.sip.request_client import RequestClient
from hushwire.sip.routing import next_hop
from hushwire.sip.stray import Strays
from hushwire.sip.transaction import Action, Failed, State

# How long a re-INVITE may get no final answer: its peer may have said 100 and then lost the dialog. As Timer C of proxies.
_REINVITE_S = 180.0
_LONGEST_PAUSE_S = 10


class ClientTx:
    """One client transaction. `outgoing` is None for CANCEL and for the BYE to a fork that lost."""

    __slots__ = ("client", "give_up_at", "hop", "key", "lost_patience_at", "machine", "outgoing", "scheduled")

    def __init__(self, client: "Client", key: str, machine: InviteClient | RequestClient, hop: Hop, outgoing: Outgoing | None) -> None:
        self.client = client
        self.key = key
        self.machine = machine
        self.hop = hop
        self.outgoing = outgoing
        self.give_up_at: float | None = None
        self.lost_patience_at: float | None = None
        self.scheduled = float("inf")

    def deadline(self) -> float | None:
        """The machine's, or the end of patience: with a silent peer, or after CANCEL."""
        timers = self.machine.timers
        earliest = min(timers.values()) if timers else None
        if self.give_up_at is not None and (earliest is None or self.give_up_at < earliest):
            earliest = self.give_up_at
        if self.lost_patience_at is not None and (earliest is None or self.lost_patience_at < earliest):
            earliest = self.lost_patience_at
        return earliest

    def fire(self, now: float) -> None:
        """Do what is due."""
        if self.give_up_at is not None and self.give_up_at <= now:
            # RFC 3261 section 9.1: no final response within 64*T1 after CANCEL: "the client SHOULD then consider the original
            # transaction cancelled and SHOULD destroy" it.
            self.give_up_at = None
            self.machine.terminate()
            was_cancelled = self.outgoing is not None and self.outgoing.cancel_lines is not None
            self.client.failed(self, Cause.CANCELLED if was_cancelled else Cause.TIMEOUT, now)
            self.client.carry(self, [], now)
            return
        if self.lost_patience_at is not None and self.lost_patience_at <= now:
            self.client.abandon(self, Cause.TIMEOUT, now)
        self.client.carry(self, self.machine.fire(now), now)


class Client:
    """All outgoing requests."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.transactions: dict[str, ClientTx] = {}
        self.invites: dict[InviteId, Outgoing] = {}
        self.farewells = Farewells()
        self._challenges = Challenges(core.token)
        self._strays = Strays(core)
        self.refresher = Refresher(core, self._refresh, self._farewell)

    # ------------------------------------------------------------------------------------------------------ commands

    def start(self, outgoing: Outgoing, now: float) -> None:
        """Send the first try."""
        if outgoing.is_initial_invite:
            self.invites[InviteId(outgoing.id)] = outgoing
        elif outgoing.method == "BYE":
            self.farewells.begins(outgoing)
        self._launch(outgoing, self._challenges.known(outgoing), now)

    def cancel(self, invite: InviteId, lines: Iterable[Line], now: float) -> None:
        """Take an INVITE back (RFC 3261 section 9.1)."""
        outgoing = self.invites.get(invite)
        if outgoing is None or outgoing.is_ended or outgoing.cancel_lines is not None or outgoing.winner is not None:
            return
        outgoing.cancel_lines = list(lines)
        # "If no provisional response has been received, the CANCEL request MUST NOT be sent; rather, the client MUST wait."
        if outgoing.tx is not None and outgoing.tx.machine.state is State.PROCEEDING:
            self._send_cancel(outgoing, now)

    def under_way(self, invite: InviteId) -> tuple[Request, Hop] | None:
        """An INVITE as it was sent last, and by which way; None once it is answered for good, or failed."""
        outgoing = self.invites.get(invite)
        if outgoing is None or outgoing.tx is None or outgoing.is_ended or outgoing.winner is not None:
            return None
        return outgoing.tx.machine.request, outgoing.hop

    def take_back(self, invite: Request, hop: Hop, now: float) -> None:
        """CANCEL in place of another process. Its peer has answered 1xx perhaps, perhaps not: who rings is to stop, others say 481."""
        contacts = invite.contacts
        outgoing = Outgoing(
            self.core.number(),
            "INVITE",
            hop=hop,
            uri=invite.uri,
            from_=invite.from_,
            to=invite.to,
            call_id=invite.call_id,
            cseq=invite.cseq.number,
            headers=[],
            body=b"",
            content_type="",
            contact=contacts[0] if contacts else invite.from_,
            credentials=None,
        )
        # Nobody here waits for what becomes of it; a 2xx that crosses is acknowledged and ended by BYE.
        outgoing.is_ended, outgoing.cancel_lines = True, []
        machine = InviteClient(invite, self.core.timings, is_reliable=hop.transport.is_reliable)
        machine.start(now)
        machine.forgo_sending()
        tx = outgoing.tx = ClientTx(self, _key(invite.via.branch or "", "INVITE"), machine, hop, outgoing)
        self.transactions[tx.key] = tx
        self._send_cancel(outgoing, now)

    def in_dialog(
        self, session: Session, method: str, headers: Iterable[Line] = (), body: bytes = b"", content_type: str = "", id_: int | None = None
    ) -> Outgoing:
        """A request with the dialog's next CSeq (RFC 3261 section 12.2.1.1), not sent yet."""
        dialog = session.dialog = replace(session.dialog, local_cseq=session.dialog.local_cseq + 1)
        return Outgoing(
            self.core.number() if id_ is None else id_,
            method,
            hop=dialog.hop,
            uri=dialog.remote_target,
            from_=dialog.local,
            to=dialog.remote,
            call_id=dialog.key.call_id,
            cseq=dialog.local_cseq,
            headers=list(headers),
            body=body,
            content_type=content_type,
            contact=dialog.contact,
            credentials=dialog.credentials,
            session=session,
        )

    def acknowledge(self, session: Session, body: bytes, content_type: str) -> None:
        """The ACK that carries our answer to an offer in a 2xx."""
        outgoing = session.ack_due
        if outgoing is None or outgoing.tx is None:
            return
        session.ack_due = session.offer = None
        self._send_ack(outgoing, session.dialog, outgoing.tx.machine.request, body, content_type)

    # -------------------------------------------------------------------------------------------------------- inputs

    def is_ours(self, branch: str | None, method: str) -> bool:
        """Whether a request of ours with this branch is under way."""
        return branch is not None and _key(branch, method) in self.transactions

    def receive(self, response: Response, flow: Flow, now: float) -> None:
        """Take a response; one that matches nothing is dropped (RFC 3261 section 18.1.2)."""
        # A response with more than one Via is not for a user agent (RFC 3261 section 8.1.3.3).
        vias = response.headers.index["via"]
        if len(vias) != 1 or "," in vias[0]:
            return
        branch = response.via.branch
        if branch is None:
            return
        tx = self.transactions.get(_key(branch, response.cseq.method))
        if tx is None:
            if response.is_success and response.cseq.method == "INVITE":
                self._strays.take(response, flow, now)
            return
        if tx.machine.request.cseq.number != response.cseq.number:
            return
        self.carry(tx, tx.machine.receive(response, now), now)

    def send_failed(self, key: str, now: float) -> None:
        """The transport could not send for this transaction (RFC 3261 section 17.1.4)."""
        tx = self.transactions.get(key)
        if tx is None or tx.machine.state in (State.COMPLETED, State.ACCEPTED):
            return
        tx.machine.terminate()
        self.failed(tx, Cause.TRANSPORT, now)
        self.carry(tx, [], now)

    def flow_closed(self, hop: Hop, now: float) -> None:
        """Requests that went by this connection get no answer any more.

        Whom we connected to (a `Target`) may answer by a connection of its own (RFC 3261 section 18.2.2): where it rings already it
        is waited for. Where it said no more than 100 its INVITE has failed, and what it says later is taken back.
        """
        for tx in [tx for tx in self.transactions.values() if tx.hop == hop]:
            outgoing = tx.outgoing
            if isinstance(hop, Flow) or outgoing is None or not outgoing.is_initial_invite:
                self.send_failed(tx.key, now)
            elif not outgoing.has_progress and tx.machine.state in (State.CALLING, State.PROCEEDING):
                self.abandon(tx, Cause.TRANSPORT, now)
                self.core.schedule(tx)

    def abandon(self, tx: ClientTx, cause: Cause, now: float) -> None:
        """Tell that an INVITE came to nothing, though its peer may have it: it is sent no more, and a late answer is taken back.

        A 1xx that still comes is answered by CANCEL, a 2xx by ACK and BYE: whoever calls elsewhere now has nobody rung twice.
        """
        outgoing = tx.outgoing
        tx.lost_patience_at = None
        if outgoing is None or outgoing.tx is not tx:
            return
        self.failed(tx, cause, now)
        if outgoing.cancel_lines is None:
            outgoing.cancel_lines = []
        tx.machine.forgo_sending()
        if tx.machine.state is State.PROCEEDING:
            self._send_cancel(outgoing, now)

    def awaits(self, key: str) -> bool:
        """Whether what was composed for this transaction is still to be sent: a connection may have been too long in the making."""
        tx = self.transactions.get(key)
        if tx is None:
            return False
        return tx.outgoing is None or not tx.outgoing.is_initial_invite or not tx.outgoing.is_ended or tx.machine.state is not State.CALLING

    def carry(self, tx: ClientTx, actions: list[Action], now: float) -> None:
        """Carry out what a machine asked for."""
        for action in actions:
            if isinstance(action, bytes):
                self.core.send(tx.hop, action, tx.key)
            elif isinstance(action, Response):
                if tx.outgoing is not None:
                    self._deliver(tx, tx.outgoing, action, now)
            elif isinstance(action, Failed):
                self.failed(tx, Cause.TIMEOUT, now)
        state = tx.machine.state
        if state is State.COMPLETED and isinstance(tx.machine, RequestClient):
            # Timer K would have more of the same answer taken in silence; so is an answer to nothing.
            tx.machine.terminate()
            state = State.TERMINATED
        if state is State.TERMINATED:
            self.transactions.pop(tx.key, None)
            outgoing = tx.outgoing
            if outgoing is not None and outgoing.tx is tx:
                if outgoing.is_initial_invite:
                    self.invites.pop(InviteId(outgoing.id), None)
                elif outgoing.method != "INVITE":
                    outgoing.tx = None  # each knows the other: only the collector of garbage would find them
        else:
            self.core.schedule(tx)

    def failed(self, tx: ClientTx, cause: Cause, now: float) -> None:
        """Tell that no response will come."""
        outgoing = tx.outgoing
        if outgoing is not None and outgoing.method == "BYE" and outgoing.tx is tx:
            self.farewells.failed(outgoing, now)
        if outgoing is None or outgoing.is_ended or outgoing.tx is not tx or outgoing.winner is not None:
            return
        outgoing.is_ended = True
        status = {Cause.TIMEOUT: 408, Cause.TRANSPORT: 503}.get(cause, 487)
        if outgoing.is_initial_invite:
            self._drop_early(outgoing)
            if outgoing.cancel_lines is not None:
                status, cause = 487, Cause.CANCELLED
            self.core.emit(Rejected(InviteId(outgoing.id), status, None, cause))
        else:
            self._exchanged(outgoing)
            if outgoing.on_done is not None:
                outgoing.on_done(status, None)
            if not outgoing.is_quiet:
                self.core.emit(Responded(RequestId(outgoing.id), status, None, cause))

    # ------------------------------------------------------------------------------------------------------- sending

    def _launch(self, outgoing: Outgoing, auth_lines: list[Line], now: float) -> None:
        core = self.core
        branch = BRANCH_COOKIE + core.token()
        routes: list[Line] = []
        uri = outgoing.uri
        if outgoing.session is not None:
            uri, routes = outgoing.session.dialog.request_lines()
        request = compose(
            outgoing.method,
            uri,
            via=core.via(outgoing.hop, branch),
            from_=outgoing.from_,
            to=outgoing.to,
            call_id=outgoing.call_id,
            cseq=outgoing.cseq,
            max_forwards=outgoing.max_forwards,
            routes=routes,
            headers=[*outgoing.headers, *auth_lines],
            body=outgoing.body,
            content_type=outgoing.content_type,
        )
        kind = InviteClient if outgoing.method == "INVITE" else RequestClient
        # An INVITE's silence ends here and not in its machine, which goes on to listen for a late answer.
        is_watched = outgoing.is_initial_invite and outgoing.silence_s is not None and outgoing.silence_s < core.timings.timeout
        silence_s = None if is_watched else outgoing.silence_s
        machine = kind(request, core.timings, is_reliable=outgoing.hop.transport.is_reliable, silence_s=silence_s)
        tx = ClientTx(self, _key(branch, outgoing.method), machine, outgoing.hop, outgoing)
        if is_watched and outgoing.silence_s is not None:
            tx.lost_patience_at = now + outgoing.silence_s
        if outgoing.method == "INVITE" and outgoing.session is not None:
            tx.give_up_at = now + _REINVITE_S
        outgoing.tx = tx
        outgoing.tries += 1
        self.transactions[tx.key] = tx
        self.carry(tx, machine.start(now), now)

    def _send_cancel(self, outgoing: Outgoing, now: float) -> None:
        tx = outgoing.tx
        if tx is None or outgoing.is_cancel_sent:
            return
        outgoing.is_cancel_sent = True
        invite = tx.machine.request
        # RFC 3261 section 9.1: Request-URI, Call-ID, To, From, CSeq number, Route and the single Via are those of the INVITE.
        lines = [("Via", invite.headers.get("Via") or "")]
        lines += [("Route", value) for value in invite.headers.all("Route")]
        lines += [("Max-Forwards", "70")]
        lines += [(name, invite.headers.get(name) or "") for name in ("From", "To", "Call-ID")]
        lines += [("CSeq", f"{invite.cseq.number} CANCEL"), *(outgoing.cancel_lines or [])]
        request = Request("CANCEL", invite.uri, Headers(lines))
        machine = RequestClient(request, self.core.timings, is_reliable=tx.hop.transport.is_reliable)
        cancel = ClientTx(self, _key(tx.machine.request.via.branch or "", "CANCEL"), machine, tx.hop, None)
        self.transactions[cancel.key] = cancel
        self.carry(cancel, machine.start(now), now)
        tx.give_up_at = now + self.core.timings.timeout
        self.core.schedule(tx)

    def _send_ack(self, outgoing: Outgoing, dialog: Dialog, invite: Request, body: bytes = b"", content_type: str = "") -> None:
        """The ACK to a 2xx: a request of its own, with the INVITE's CSeq number and credentials (RFC 3261 section 13.2.2.4)."""
        uri, routes = dialog.request_lines()
        auth = [line for line in invite.headers.lines if line[0] in ("Authorization", "Proxy-Authorization")]
        request = compose(
            "ACK",
            uri,
            via=self.core.via(dialog.hop, BRANCH_COOKIE + self.core.token()),
            from_=dialog.local,
            to=dialog.remote,
            call_id=dialog.key.call_id,
            cseq=invite.cseq.number,
            routes=routes,
            headers=auth,
            body=body,
            content_type=content_type,
        )
        data = request.to_bytes()
        outgoing.acks[dialog.key.remote_tag] = (dialog.hop, data)
        self.core.send(dialog.hop, data)

    # ----------------------------------------------------------------------------------------------------- responses

    def _deliver(self, tx: ClientTx, outgoing: Outgoing, response: Response, now: float) -> None:
        if outgoing.tx is not tx:
            return
        if response.is_success and response.to_tag in outgoing.acks:
            # "The UAC core MUST generate an ACK for each 2xx": the retransmission says that ours was lost.
            self.core.send(*outgoing.acks[response.to_tag])
            return
        if outgoing.is_initial_invite:
            self._deliver_invite(tx, outgoing, response, now)
        else:
            self._deliver_request(outgoing, response, now)

    def _deliver_invite(self, tx: ClientTx, outgoing: Outgoing, response: Response, now: float) -> None:
        if response.is_provisional:
            self._note_progress(tx, outgoing, response, now)
            if outgoing.cancel_lines is not None:
                self._send_cancel(outgoing, now)
            elif response.status > 100 and outgoing.winner is None and self._is_new(tx, outgoing, response, now):
                self.core.emit(Progress(InviteId(outgoing.id), response, self._early(tx, outgoing, response)))
            return
        tx.lost_patience_at = None
        if response.is_success:
            self._accepted(tx, outgoing, response, now)
            return
        if outgoing.is_ended or self._retry(outgoing, response, now):
            return
        if self.refresher.raise_interval(outgoing, response):
            self._again(outgoing, [], now)
            return
        tx.give_up_at = None
        outgoing.is_ended = True
        self._drop_early(outgoing)
        cause = Cause.RESPONSE if outgoing.cancel_lines is None else Cause.CANCELLED
        self.core.emit(Rejected(InviteId(outgoing.id), response.status, response, cause))

    def _note_progress(self, tx: ClientTx, outgoing: Outgoing, response: Response, now: float) -> None:
        """Any 1xx ends the peer's silence. One that says 100 and then nothing has `progress_s` from there."""
        if response.status > 100:
            outgoing.has_progress = True
            tx.lost_patience_at = None
        elif tx.lost_patience_at is not None:
            tx.lost_patience_at = None if outgoing.progress_s is None else now + outgoing.progress_s

    def _is_new(self, tx: ClientTx, outgoing: Outgoing, response: Response, now: float) -> bool:
        """Acknowledge a reliable 1xx (RFC 3262 section 4). False for a repetition, and for one that came before its predecessor."""
        if "rseq" not in response.headers.index or RELIABLE not in response.require or RELIABLE not in self.core.config.supported:
            return True
        try:
            number = parse_number(response.headers.get("RSeq") or "", "RSeq")
        except ParseError:
            return False
        key = self._early(tx, outgoing, response)
        session = None if key is None else self.core.sessions.get(key)
        if session is None or (session.rseq is not None and number != session.rseq + 1):
            return False
        session.rseq = number
        if response.body:
            session.offer = None
        prack = self.in_dialog(session, "PRACK", [("RAck", f"{number} {tx.machine.request.cseq}")])
        prack.is_ended = True
        self.start(prack, now)
        return True

    def _early(self, tx: ClientTx, outgoing: Outgoing, response: Response) -> DialogKey | None:
        tag = response.to_tag
        if not tag:
            return None
        known = outgoing.early.get(tag)
        if known is not None:
            return known
        dialog = self._dialog(tx, outgoing, response)
        # A bound, since each made-up tag would cost a dialog.
        if dialog is None or len(outgoing.early) >= 16 or not self.core.has_room:
            return None
        session = self.core.sessions[dialog.key] = Session(dialog)
        session.offer = Offer.OURS if outgoing.body else None
        outgoing.early[tag] = dialog.key
        return dialog.key

    def _accepted(self, tx: ClientTx, outgoing: Outgoing, response: Response, now: float) -> None:
        tag = response.to_tag
        if tag == outgoing.winner:
            return  # its ACK waits for the answer in it
        tx.give_up_at = None
        invite = tx.machine.request
        dialog = self._dialog(tx, outgoing, response)
        is_usable = dialog is not None
        if dialog is None:
            bare = response.with_headers(response.headers.without("Contact", "Record-Route"))
            dialog = dialog_of_caller(invite, bare, outgoing.contact, outgoing.hop, outgoing.credentials)
        is_wanted = outgoing.winner is None and outgoing.cancel_lines is None and not outgoing.is_ended
        if is_wanted and is_usable:
            self._win(tx, outgoing, dialog, response, now)
            return
        # A fork that lost, or one that crossed our CANCEL: "the UAC core MUST ACK it and then send a BYE".
        self._send_ack(outgoing, dialog, invite)
        self._farewell(dialog, now)
        if not outgoing.is_ended and outgoing.winner is None:
            outgoing.is_ended = True
            self._drop_early(outgoing)
            if outgoing.cancel_lines is not None:
                self.core.emit(Rejected(InviteId(outgoing.id), 487, None, Cause.CANCELLED))
            else:
                self.core.emit(Rejected(InviteId(outgoing.id), 502, response, Cause.RESPONSE))

    def _win(self, tx: ClientTx, outgoing: Outgoing, dialog: Dialog, response: Response, now: float) -> None:
        outgoing.winner = dialog.key.remote_tag
        early = self.core.sessions.get(dialog.key)
        if early is not None:
            # Requests may have gone in the early dialog already: its count goes on, its route set is made anew (section 13.2.2.4).
            dialog = replace(dialog, local_cseq=max(dialog.local_cseq, early.dialog.local_cseq), remote_cseq=early.dialog.remote_cseq)
        self._drop_early(outgoing)
        # What goes on in the early dialog (an UPDATE, a PRACK) goes on in this one.
        session = Session(dialog) if early is None else early
        session.dialog = dialog
        session.has_call = True
        self.core.sessions[dialog.key] = session
        if session.updating is None:
            session.offer = None
        if outgoing.body:
            self._send_ack(outgoing, dialog, tx.machine.request)
        else:
            session.ack_due, session.offer = outgoing, Offer.THEIRS
        self.refresher.note(session, response, now)
        self.core.emit(Accepted(InviteId(outgoing.id), dialog.key, response))

    def _dialog(self, tx: ClientTx, outgoing: Outgoing, response: Response) -> Dialog | None:
        try:
            dialog = dialog_of_caller(tx.machine.request, response, outgoing.contact, outgoing.hop, outgoing.credentials)
            _ = dialog.request_lines()
        except ParseError:
            return None
        if outgoing.follow_contact:
            hop = next_hop(dialog, outgoing.hop)
            # What a peer named is not who was given the password: nobody there collects answers to challenges of its making.
            return dialog if hop == outgoing.hop else replace(dialog, hop=hop, credentials=None)
        return dialog

    def _farewell(self, dialog: Dialog, now: float, lines: Iterable[Line] = ()) -> None:
        """A BYE whose outcome interests nobody."""
        outgoing = self.in_dialog(Session(dialog), "BYE", lines)
        outgoing.is_ended = True
        self.start(outgoing, now)

    def _deliver_request(self, outgoing: Outgoing, response: Response, now: float) -> None:
        if response.is_provisional:
            return
        session = outgoing.session
        if outgoing.tx is not None:
            outgoing.tx.give_up_at = None
        if self._retry(outgoing, response, now):
            return
        if self.refresher.raise_interval(outgoing, response):
            self._again(outgoing, [], now)
            return
        if outgoing.method == "BYE":
            self.farewells.answered(outgoing)
        self._exchanged(outgoing)
        if session is not None and response.is_success and outgoing.method in ("INVITE", "UPDATE") and outgoing.tx is not None:
            with suppress(ParseError):  # a Contact that can't be read leaves the old target
                session.dialog = session.dialog.refreshed(response)
            if outgoing.method == "INVITE":
                if outgoing.body:
                    self._send_ack(outgoing, session.dialog, outgoing.tx.machine.request)
                else:
                    session.ack_due, session.offer = outgoing, Offer.THEIRS
            self.refresher.note(session, response, now)
        if outgoing.is_ended:
            return
        outgoing.is_ended = True
        if outgoing.on_done is not None:
            outgoing.on_done(response.status, now)
        if not outgoing.is_quiet:
            pause = None if session is None else self._pause(session, response)
            self.core.emit(Responded(RequestId(outgoing.id), response.status, response, Cause.RESPONSE, pause))

    def _pause(self, session: Session, response: Response) -> float | None:
        """Seconds after which the same may be tried again: two that met, or a peer that was busy with one of its own (500)."""
        if response.status == 491:
            return self.refresher.pause(session)
        # "... MUST include a Retry-After header field with a randomly chosen value of between 0 and 10 seconds" (section 14.2).
        text = (response.headers.get("Retry-After") or "").split(";")[0].split("(")[0].strip()
        is_meant = response.status == 500 and text.isascii() and text.isdigit() and len(text) <= 2
        return float(text) if is_meant and int(text) <= _LONGEST_PAUSE_S else None

    def _exchanged(self, outgoing: Outgoing) -> None:
        """A request with an offer of ours, or a re-INVITE, is over."""
        session = outgoing.session
        if session is None or outgoing.method not in ("INVITE", "UPDATE"):
            return
        if outgoing.method == "INVITE":
            session.inviting = False
        if outgoing.body:
            session.offer = None

    def _refresh(self, session: Session, lines: list[Line], now: float) -> None:
        outgoing = self.in_dialog(session, "UPDATE", lines)
        outgoing.is_quiet = True
        outgoing.on_done = lambda status, at: self.refresher.refreshed(session, status, at)
        self.start(outgoing, now)

    def _drop_early(self, outgoing: Outgoing) -> None:
        for key in outgoing.early.values():
            self.core.end(key)
        outgoing.early.clear()

    # -------------------------------------------------------------------------------------------------------- digest

    def _retry(self, outgoing: Outgoing, response: Response, now: float) -> bool:
        """Answer a challenge where it is ours to answer (RFC 3261 section 22.2)."""
        line = None if outgoing.cancel_lines is not None else self._challenges.line(outgoing, response)
        if line is None:
            return False
        self._again(outgoing, [line], now)
        return True

    def _again(self, outgoing: Outgoing, lines: list[Line], now: float) -> None:
        """The same request with the next CSeq and a branch of its own."""
        if outgoing.session is not None:
            outgoing.session.dialog = replace(outgoing.session.dialog, local_cseq=outgoing.session.dialog.local_cseq + 1)
            outgoing.cseq = outgoing.session.dialog.local_cseq
        else:
            outgoing.cseq += 1
        self._drop_early(outgoing)
        self._launch(outgoing, lines, now)


def _key(branch: str, method: str) -> str:
    return f"{branch} {method}"
