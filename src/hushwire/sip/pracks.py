"""Reliable provisional responses as a server sends them (RFC 3262): each until its PRACK came, and the 2xx that waits for that."""

from collections.abc import Callable
from typing import Any

from hushwire.sip.core import Core, Offer, Session
from hushwire.sip.effects import CancelReceived, DialogTimedOut, InDialogRequest
from hushwire.sip.flow import Flow
from hushwire.sip.message import Request
from hushwire.sip.reliable import ReliableResponses, parse_rack
from hushwire.sip.server_tx import ServerTx
from hushwire.sip.transaction import Action


class Pracks:
    """Of all INVITEs of a server. `answer` responds in a transaction, `carry` sends what a machine made."""

    def __init__(self, core: Core, answer: Callable[..., Any], carry: Callable[[ServerTx, list[Action], float], None]) -> None:
        self._core = core
        self._answer = answer
        self._carry = carry

    def of(self, tx: ServerTx, session: Session) -> ReliableResponses:
        """The reliable responses of an INVITE, made with the first of them."""
        if tx.reliable is None:
            timings = self._core.timings

            def send(data: bytes) -> None:
                # Through the machine, so that a repeated INVITE is met with the newest.
                self._carry(tx, tx.machine.respond(183, data, 0.0), 0.0)

            def give_up(now: float) -> None:
                self._never_pracked(tx, session, now)

            tx.reliable = ReliableResponses(self._core.random.token_bytes(4), timings.t1, timings.timeout, send, give_up)
            session.reliable = tx
        return tx.reliable

    def acknowledged(self, tx: ServerTx, session: Session, request: Request, flow: Flow, now: float) -> None:
        """PRACK (RFC 3262 section 3): matched by number, CSeq and method of what it acknowledges."""
        number, cseq, method = parse_rack(request.headers.get("RAck") or "")
        invite = session.reliable
        is_of_it = invite is not None and (cseq, method) == (invite.request.cseq.number, "INVITE")
        found = invite.reliable.acknowledge(number, now) if invite is not None and invite.reliable is not None and is_of_it else None
        if invite is None or invite.reliable is None or found is None:
            self._answer(tx, 481, now)
            return
        self._core.schedule(invite.reliable)
        if found and session.offer is Offer.THEIRS:
            session.offer = None
        if request.body and session.offer is None and session.updating is None and not session.inviting:
            # "If the UAS receives a PRACK with an offer, it MUST place the answer in the 2xx to the PRACK" (section 5).
            session.updating, session.offer = tx.id, Offer.THEIRS
            self._core.emit(InDialogRequest(session.dialog.key, tx.id, request, flow))
            return
        # A description that nobody may send now leaves the session as it is; what is acknowledged is acknowledged all the same.
        self._answer(tx, 488 if request.body else 200, now)

    def release(self, invite: ServerTx, now: float) -> None:
        """Send the 2xx that waited for a PRACK, or for our answer to an offer."""
        held, session = invite.held, invite.session
        is_waiting = session is not None and session.updating is not None
        if held is not None and invite.reliable is not None and not invite.reliable.holds_2xx and not is_waiting:
            invite.held = None
            self._answer(invite, held.status, now, held.reason, held.headers, held.body, held.content_type, held.contact)

    def _never_pracked(self, tx: ServerTx, session: Session, now: float) -> None:
        """ "If a reliable provisional response is retransmitted for 64*T1 without reception of a PRACK, the UAS SHOULD reject with 5xx"."""
        was_held = tx.held is not None
        self._answer(tx, 504, now)
        self._core.emit(DialogTimedOut(session.dialog.key) if was_held else CancelReceived(tx.id, tx.request))
