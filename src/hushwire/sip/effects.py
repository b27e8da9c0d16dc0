"""What the user agent asks for and tells: messages to send, and events for the layer above."""

from enum import StrEnum
from typing import NamedTuple, NewType

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.flow import Flow, Hop
from hushwire.sip.message import Request, Response

TxId = NewType("TxId", int)
"""A request that waits for our answer."""
InviteId = NewType("InviteId", int)
"""One outgoing INVITE with all its forks and digest retries."""
RequestId = NewType("RequestId", int)
"""One other outgoing request (also re-INVITE and BYE) with its digest retries."""

SubscriptionId = NewType("SubscriptionId", int)
"""One subscription, ours or a peer's (RFC 6665)."""


class DialogKey(NamedTuple):
    """What tells dialogs apart (RFC 3261 section 12): all three, always."""

    call_id: str
    local_tag: str
    remote_tag: str

    def __repr__(self) -> str:
        return f"DialogKey({SHOWN})"


class Cause(StrEnum):
    """Why an outgoing request ended as it did."""

    RESPONSE = "response"  # the peer answered
    TIMEOUT = "timeout"  # silence; status is 408
    TRANSPORT = "transport"  # no connection; status is 503
    CANCELLED = "cancelled"  # we took it back; status is 487


@frozen(repr=False)
class Send:
    """Bytes to send. `transaction` names the transaction to blame in `UserAgent.send_failed`; None where nobody minds.

    `fallback` is tried once when a response's own flow is gone (RFC 3261 section 18.2.2).
    """

    hop: Hop
    data: bytes
    transaction: str | None = None
    fallback: Hop | None = None


@frozen
class RequestReceived:
    """A request outside dialogs: INVITE, REGISTER, MESSAGE, SUBSCRIBE... Answer it with `UserAgent.respond`.

    `replaces` is the dialog of ours that an INVITE is to take the place of (RFC 3891): it is there, by its full tags. Whether the caller
    may do so is for the layer above to say, as is ending the old dialog.
    """

    tx: TxId
    request: Request
    flow: Flow
    replaces: DialogKey | None = None


@frozen
class CancelReceived:
    """The peer took its INVITE back: CANCEL is answered 200 and the INVITE 487 already; `tx` can't be answered any more.

    Also where it never acknowledged a reliable 1xx (RFC 3262 section 3): the INVITE is answered 504 then, and `request` is itself.
    """

    tx: TxId
    request: Request


@frozen
class AckReceived:
    """The peer acknowledged our 2xx to its INVITE or re-INVITE. The body is an answer if our 2xx held the offer."""

    dialog: DialogKey
    request: Request


@frozen
class InDialogRequest:
    """A request within a dialog (re-INVITE, UPDATE, INFO, REFER, NOTIFY, MESSAGE...). Answer it with `UserAgent.respond`."""

    dialog: DialogKey
    tx: TxId
    request: Request
    flow: Flow


@frozen
class DialogEnded:
    """The peer's BYE; it is answered 200 already and the dialog is gone."""

    dialog: DialogKey
    request: Request


@frozen
class Progress:
    """A 101-199 to our INVITE. `dialog` is the early dialog, one for each fork; None where the peer sent no To tag."""

    invite: InviteId
    response: Response
    dialog: DialogKey | None


@frozen
class Accepted:
    """The first 2xx to our INVITE. It is acknowledged already, unless our INVITE had no body: then call `UserAgent.ack` with the answer."""

    invite: InviteId
    dialog: DialogKey
    response: Response


@frozen
class Rejected:
    """Our INVITE came to nothing. `response` is None unless `cause` is RESPONSE (or the 487 of a cancelled one)."""

    invite: InviteId
    status: int
    response: Response | None
    cause: Cause


@frozen
class Responded:
    """The final response to a request of ours other than an INVITE outside dialogs. A 2xx to a re-INVITE is acknowledged already.

    `retry_after_s` is given where both sides asked at once (491), or the peer was busy with a request of its own (500 with Retry-After):
    after so many seconds the same may be tried again, and the two sides' times never meet (RFC 3261 sections 14.1 and 14.2).
    """

    request: RequestId
    status: int
    response: Response | None
    cause: Cause
    retry_after_s: float | None = None


@frozen
class DialogTimedOut:
    """The peer never acknowledged our 2xx (RFC 3261 section 13.3.1.4), or nobody refreshed the session in time (RFC 4028 section 10).

    BYE is sent already and the dialog is gone.
    """

    dialog: DialogKey


@frozen
class RefreshDue:
    """The session is to be refreshed by us, and its peer takes no UPDATE: send a re-INVITE with what is agreed (RFC 4028 section 7.4)."""

    dialog: DialogKey


@frozen
class SubscriptionRefreshed:
    """A subscriber asked for more time, or with `expires_s` 0 for the last word; 200 is sent already. Answer with `UserAgent.notify`."""

    subscription: SubscriptionId
    expires_s: int


@frozen
class NotifyTaken:
    """The subscriber took our NOTIFY, and no other is under way: what it was told last is what it knows."""

    subscription: SubscriptionId


@frozen
class SubscriptionEnded:
    """A subscription is over without our doing: `timeout` (its last NOTIFY is sent already) or `rejected` (nobody takes NOTIFYs there)."""

    subscription: SubscriptionId
    reason: str


@frozen
class Notified:
    """A NOTIFY for a subscription of ours; 200 is sent already. `is_over`: it was the last one."""

    subscription: SubscriptionId
    request: Request
    is_over: bool
    reason: str | None


Event = (
    RequestReceived
    | CancelReceived
    | AckReceived
    | InDialogRequest
    | DialogEnded
    | Progress
    | Accepted
    | Rejected
    | Responded
    | DialogTimedOut
    | RefreshDue
    | SubscriptionRefreshed
    | NotifyTaken
    | SubscriptionEnded
    | Notified
)
Effect = Send | Event
