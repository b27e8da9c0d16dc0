"""Dialogs (RFC 3261 section 12): frozen state that can be journalled and adopted by another process."""

from typing import Final

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen, replace
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey
from hushwire.sip.flow import Hop
from hushwire.sip.headers import Line
from hushwire.sip.message import Request, Response
from hushwire.sip.session_timer import SessionTimer
from hushwire.sip.uri import NameAddr

FROM_CHANGE: Final = "from-change"


@frozen(repr=False)
class Dialog:
    """One dialog as this end sees it.

    `local` and `remote` are From and To values with their tags, `remote_target` the peer's Contact as a Request-URI,
    `routes` the route set in the order of use, `hop` where requests go, `credentials` what may answer a challenge in it.
    `is_caller`: we made its Call-ID. `allows_update`: the peer takes UPDATE. `timer` is what keeps it alive (RFC 4028).
    `follows_from`: the peer takes another From URI for news of whom it talks with (RFC 4916).
    """

    key: DialogKey
    local: NameAddr
    remote: NameAddr
    remote_target: str
    contact: NameAddr
    hop: Hop
    routes: tuple[NameAddr, ...] = ()
    local_cseq: int = 0
    remote_cseq: int | None = None
    is_early: bool = False
    credentials: Credentials | None = None
    is_caller: bool = False
    allows_update: bool = False
    timer: SessionTimer | None = None
    follows_from: bool = False

    def request_lines(self) -> tuple[str, list[Line]]:
        """Request-URI and Route lines for a request in this dialog (RFC 3261 section 12.2.1.1)."""
        if not self.routes:
            return self.remote_target, []
        first = self.routes[0]
        if first.sip_uri.is_loose:
            return self.remote_target, [("Route", str(route)) for route in self.routes]
        # A strict router: its URI becomes the Request-URI, and the remote target moves to the end of the route set.
        rest = [("Route", str(route)) for route in self.routes[1:]]
        return str(replace(first.sip_uri, headers=None)), [*rest, ("Route", f"<{self.remote_target}>")]

    def refreshed(self, message: Request | Response) -> "Dialog":
        """The dialog after a target refresh (RFC 3261 section 12.2.1.2 and 12.2.2): the peer's new Contact, if it sent one.

        Our requests name it as its own last one did: its From may have changed (RFC 4916 section 4.4.2).
        """
        contact = message.contact
        target = self.remote_target if contact is None else str(contact.uri)
        allows_update = takes_update(message) if "allow" in message.headers.index else self.allows_update
        follows_from = self.follows_from or takes_from_change(message)
        remote = message.from_ if isinstance(message, Request) else self.remote
        if (target, allows_update, follows_from, remote) == (self.remote_target, self.allows_update, self.follows_from, self.remote):
            return self
        return replace(self, remote_target=target, allows_update=allows_update, follows_from=follows_from, remote=remote)

    def shown_as(self, name: NameAddr) -> "Dialog":
        """The dialog with another From of ours, our tag in it, where the peer follows that (RFC 4916 section 4.3)."""
        return replace(self, local=name.with_param("tag", self.key.local_tag)) if self.follows_from else self

    def __repr__(self) -> str:
        return f"Dialog({SHOWN})"


def takes_update(message: Request | Response) -> bool:
    """Whether Allow names UPDATE (RFC 3311 section 5.1)."""
    for line in message.headers.index.get("allow", ()):  # noqa: SIM110 - several times a call: a generator costs five times as much
        if "UPDATE" in line:
            return True
    return False


def takes_from_change(message: Request | Response) -> bool:
    """Whether Supported names from-change (RFC 4916 section 4.2)."""
    return FROM_CHANGE in message.supported


def dialog_of_caller(request: Request, response: Response, contact: NameAddr, hop: Hop, credentials: Credentials | None) -> Dialog:
    """The dialog that a 1xx or 2xx creates at the caller (RFC 3261 section 12.1.2). Raises ParseError on a bad Contact or Record-Route."""
    peer = response.contact
    return Dialog(
        key=DialogKey(request.call_id, request.from_tag, response.to_tag),
        local=request.from_,
        remote=response.to,
        remote_target=str(peer.uri) if peer is not None else request.uri,
        contact=contact,
        hop=hop,
        routes=tuple(reversed(response.record_routes)),
        local_cseq=request.cseq.number,
        is_early=response.is_provisional,
        credentials=credentials,
        is_caller=True,
        allows_update=takes_update(response),
        follows_from=takes_from_change(response),
    )


def dialog_of_callee(request: Request, to_tag: str, contact: NameAddr, hop: Hop, *, is_early: bool) -> Dialog:
    """The dialog that our 1xx or 2xx creates (RFC 3261 section 12.1.1). Raises ParseError on a bad Contact or Record-Route."""
    peer = request.contact
    return Dialog(
        key=DialogKey(request.call_id, to_tag, request.from_tag),
        local=request.to.with_param("tag", to_tag),
        remote=request.from_,
        remote_target=str(peer.uri if peer is not None else request.from_.uri),
        contact=contact,
        hop=hop,
        routes=request.record_routes,
        remote_cseq=request.cseq.number,
        is_early=is_early,
        allows_update=takes_update(request),
        follows_from=takes_from_change(request),
    )
