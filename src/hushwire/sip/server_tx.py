"""One server transaction: what it is found by, where its responses go, and the 2xx that it repeats until ACK."""

from typing import TYPE_CHECKING

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip.core import BRANCH_COOKIE, Session
from hushwire.sip.effects import DialogKey, TxId
from hushwire.sip.flow import Address, Flow, Hop, Target
from hushwire.sip.headers import Line
from hushwire.sip.invite_server import InviteServer
from hushwire.sip.message import Request
from hushwire.sip.reliable import ReliableResponses
from hushwire.sip.request_server import RequestServer
from hushwire.sip.uri import NameAddr, split_quoted

if TYPE_CHECKING:
    from hushwire.sip.uas import Server

Key = tuple[str, ...]


@frozen
class Held:
    """A 2xx that waits until our reliable 1xx with a session description is acknowledged (RFC 3262 section 3)."""

    status: int
    reason: str | None
    headers: list[Line]
    body: bytes
    content_type: str
    contact: NameAddr | None


@frozen(repr=False)
class Unacknowledged:
    """A 2xx to an INVITE that is said until its ACK comes, or until the monotonic second `until`; both messages as they are on the wire."""

    dialog: DialogKey
    request: bytes
    flow: Flow
    response: bytes
    until: float

    def __repr__(self) -> str:
        return f"Unacknowledged({SHOWN})"


class ServerTx:
    """One server transaction, and the 2xx that it repeats until ACK."""

    __slots__ = (
        "flow",
        "held",
        "hop",
        "id",
        "is_answered",
        "key",
        "machine",
        "merge_key",
        "ok_at",
        "ok_data",
        "ok_interval",
        "ok_until",
        "reliable",
        "request",
        "scheduled",
        "server",
        "session",
        "to_tag",
    )

    def __init__(self, server: "Server", id_: TxId, key: Key, machine: InviteServer | RequestServer, flow: Flow, hop: Hop) -> None:
        self.server = server
        self.id = id_
        self.key = key
        self.machine = machine
        self.request = machine.request
        self.flow = flow
        self.hop = hop
        self.to_tag = ""
        self.session: Session | None = None
        self.merge_key: Key | None = None
        self.is_answered = False
        self.reliable: ReliableResponses | None = None
        self.held: Held | None = None
        self.ok_data = b""
        self.ok_at: float | None = None
        self.ok_interval = 0.0
        self.ok_until = 0.0
        self.scheduled = float("inf")

    def deadline(self) -> float | None:
        """The machine's, or the next repetition of the 2xx."""
        timers, ok_at = self.machine.timers, self.ok_at
        if not timers:
            return ok_at
        at = min(timers.values())
        return at if ok_at is None or at < ok_at else ok_at

    def fire(self, now: float) -> None:
        """Do what is due."""
        self.server.fire(self, now)


def transaction_key(request: Request) -> Key:
    """What a request's server transaction is found by (RFC 3261 section 17.2.3)."""
    via = request.via
    method = "INVITE" if request.method == "ACK" else request.method
    branch = via.branch
    if branch is not None and branch.startswith(BRANCH_COOKIE) and len(branch) > len(BRANCH_COOKIE):
        return branch, via.sent_by, method
    # RFC 2543 peers, and those whose branch is the bare cookie (RFC 4475 section 3.2.1).
    return request.uri, request.from_tag, request.call_id, str(request.cseq.number), str(via), method


def stamped(request: Request, flow: Flow) -> tuple[Request, Hop]:
    """The request with `received` and `rport` in its top Via, and where its responses go (RFC 3261 section 18.2, RFC 3581)."""
    via = request.via
    remote = flow.remote
    host = via.host[1:-1] if via.host.startswith("[") else via.host
    has_rport = via.has("rport")
    if host == remote.host and not has_rport and not via.has("received"):
        if flow.transport.is_reliable or (via.port or 5060) == remote.port:
            return request, flow
        # Without rport the response goes to the source address, but to the port of sent-by (section 18.2.2).
        return request, replace(flow, remote=Address(remote.host, via.port or 5060))
    # A sent-by that is not the source is a NAT: the response goes back the way the request came, asked for or not.
    true = via.received_from(remote.host, remote.port)
    top = request.headers.index["via"][0]
    rest = split_quoted(top, ",")[1:] if "," in top else []
    marked = Request(request.method, request.uri, request.headers.with_top("Via", ",".join([str(true), *rest])), request.body)
    marked._typed.update(request._typed)
    marked._typed["Via"] = true
    marked._typed.pop("vias", None)
    return marked, flow


def fallback(tx: ServerTx) -> Target:
    """Where a response goes when its connection is gone: the source's address, the port of sent-by (RFC 3261 section 18.2.2)."""
    return fallback_of(tx.request, tx.flow)


def fallback_of(request: Request, flow: Flow) -> Target:
    """As `fallback`, of a request that came by this flow."""
    return Target(flow.transport, flow.remote.host, request.via.port or flow.transport.default_port)
