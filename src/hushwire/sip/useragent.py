"""The sans-I/O SIP core: transactions, dialogs and digest towards trunks behind one object.

Use: `receive` messages, call `handle_timer` when `deadline` is due, call commands; after each of these carry out `drain()`.
No method blocks, reads a clock or sends. What it does by itself, so that nobody above has to:

- retransmissions, 100 after 200 ms, ACK (also again for each retransmitted 2xx), 2xx until ACK, CANCEL only after a 1xx,
  2xx that crosses our CANCEL or comes from a second fork: acknowledged and ended by BYE;
- 400 for what is malformed but can be answered, 405, 416, 420, 481, 482, 483, 491 and 500 as RFC 3261 says; OPTIONS outside dialogs;
- CANCEL (200 and 487) and BYE (200) of the peer;
- one digest retry (two when `stale`) for requests to a hop that was given credentials, and for no other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hushwire.core.clock import Random
from hushwire.sip.dialog import Dialog
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey, Effect, InviteId, RequestId, TxId
from hushwire.sip.flow import Address, Flow, Hop, Transport
from hushwire.sip.headers import Line
from hushwire.sip.message import Message
from hushwire.sip.uri import NameAddr, SipUri

SDP = "application/sdp"


@dataclass(frozen=True, slots=True)
class UserAgentConfig:
    """`sent_by`: what Via and Contact call us, for each transport that we listen on."""

    sent_by: Mapping[Transport, Address] = field(default_factory=dict)
    product: str = "hushwire"
    allow: tuple[str, ...] = ("INVITE", "ACK", "CANCEL", "BYE", "OPTIONS", "REGISTER", "INFO", "MESSAGE", "NOTIFY", "REFER", "UPDATE")
    supported: tuple[str, ...] = ()
    answers_options: bool = True
    max_transactions: int = 50_000
    max_dialogs: int = 20_000


class UserAgent:
    """One SIP user agent, client and server, over any number of flows. `now` is a monotonic second everywhere."""

    def __init__(self, config: UserAgentConfig, random: Random) -> None: ...

    # ------------------------------------------------------------------------------------------------------- inputs

    def receive(self, message: Message, flow: Flow, now: float) -> None:
        """Take one parsed message that came by `flow`."""

    def handle_timer(self, now: float) -> None:
        """Fire what is due."""

    def deadline(self) -> float | None:
        """Monotonic second at which `handle_timer` must next be called, or None."""

    def send_failed(self, transaction: str, now: float) -> None:
        """A `Send` with this transaction could not be carried out: its request fails with Cause.TRANSPORT (RFC 3261 section 17.1.4)."""

    def flow_closed(self, flow: Flow, now: float) -> None:
        """A connection ended: requests under way on it fail with Cause.TRANSPORT. Its dialogs stay (see `move`)."""

    def drain(self) -> list[Effect]:
        """What is to be sent and told, in order; empty afterwards."""

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
    ) -> DialogKey | None:
        """Answer a request. Returns the dialog where one exists: our To tag is the same in all answers to one INVITE.

        101-199 and 2xx to an INVITE carry a Contact (by default our own for the flow) and make the dialog; 2xx is repeated until ACK.
        A `tx` that is already answered for good or cancelled is ignored, and None returned: crossing events are no error.
        """

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
        follow_contact: bool = False,
    ) -> InviteId:
        """Send an INVITE outside dialogs. Ends in exactly one Accepted or Rejected, after any number of Progress.

        `from_` gets our tag. `credentials` may answer the challenges of this `hop`, for this INVITE and its dialogs.
        `silence_s` is how long the hop may give no sign at all (Timer B). In-dialog requests go to `hop` again, unless
        `follow_contact`: then to the peer's Record-Route or Contact (UDP targets; for trunks that ask for it).
        """

    def cancel(self, invite: InviteId, *, now: float, headers: Iterable[Line] = ()) -> None:
        """Take an INVITE back; Rejected(487, cause=CANCELLED or RESPONSE) follows, whatever the peer does. Unknown ids are ignored."""

    def ack(self, dialog: DialogKey, *, now: float, body: bytes = b"", content_type: str = SDP) -> None:
        """Acknowledge the 2xx to an INVITE or re-INVITE that we sent without an offer; `body` is the answer to theirs."""

    def reinvite(self, dialog: DialogKey, *, now: float, body: bytes, headers: Iterable[Line] = ()) -> RequestId | None:
        """Send a re-INVITE; Responded follows. None where the dialog is gone or an INVITE is under way in it (try again later)."""

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
        """Send a request other than INVITE, ACK, BYE in a dialog; Responded follows. None where the dialog is gone."""

    def bye(self, dialog: DialogKey, *, now: float, headers: Iterable[Line] = ()) -> RequestId | None:
        """End a dialog; Responded follows. None where it is gone already. As a callee whose 2xx is not acknowledged yet, BYE waits for that."""

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
        """Send a request outside dialogs (OPTIONS, REGISTER, MESSAGE...); exactly one Responded follows."""

    # ------------------------------------------------------------------------------------------------------ dialogs

    def dialog(self, key: DialogKey) -> Dialog | None:
        """The dialog's state, to read or to journal."""

    def adopt(self, dialog: Dialog) -> None:
        """Take over a dialog that another process had."""

    def move(self, key: DialogKey, hop: Hop) -> None:
        """Send the dialog's requests another way from now on (a phone came back on a new connection)."""
