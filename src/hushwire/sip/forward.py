"""Requests of one gateway to a device whose flow another one holds, handed on without state (RFC 3261 section 16.11).

Each gateway is an edge proxy to the others (RFC 5626 section 5): a device is reached by a Route whose user part is a token, which names
the binding and the gateway that calls, under a key that only gateways of the deployment hold. Nothing of a device's address is in it.
The token also stands in Record-Route, so that what the device sends in the dialog finds its way back.

    caller's gateway B                     holder A                               device
    INVITE, Route: <sip:TOKEN@A;lr> --->   own Via, Record-Route, no Route --->   by the flow that it registered on

A keeps no transaction: its Via's branch is computed from the one before it (so CANCEL and the ACK to a failure follow their INVITE), names
the flow that the request came by, and is proven before a response goes back that way.

The other way round, a device of B's that wants a call which A holds (one that is parked there, or rings there) is handed over: B has asked
who it is, and says so in a pass.

    device                       B                                                        A, which holds the call
    INVITE sip:*691@... --->   own Via, Record-Route, Route: <sip:PASS@A;lr>   --->   who comes is who B says
"""

import base64
import binascii
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from typing import Final
from uuid import UUID

from hushwire.core.values import frozen, replace
from hushwire.sip.effects import Send
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Hop, Target, Transport
from hushwire.sip.headers import Headers, Line, Via, header_key, parse_via
from hushwire.sip.message import Message, Request, Response, response_to
from hushwire.sip.uri import NameAddr, SipUri, parse_name_addr

Transaction = tuple[str, ...]
Tag = Callable[[str], bytes]
"""32 bytes that only gateways of the deployment can compute of a text."""

_MARK: Final = "hwf-"
_PASS: Final = "hwp-"
_BRANCH: Final = "z9hG4bKhwf"
_PROOF: Final = 10
_REMEMBERED: Final = 4096
_WAYS: Final = {str(number): name for number, name in enumerate(Transport)}
_NUMBERS: Final = {name: number for number, name in _WAYS.items()}
"""A Via says what its sender likes: transports are those of the connections, by numbers of ours."""


@frozen
class Token:
    """Whom a forwarded request concerns: the device's binding, and the gateway that calls it."""

    binding: UUID
    node: UUID

    def text(self, tag: Tag) -> str:
        """The user part of a Route."""
        said = _b32(self.binding.bytes + self.node.bytes)
        return f"{_MARK}{said}-{_proof(tag, f'token {said}')}"


def read_token(text: str, tag: Tag) -> Token | None:
    """What a user part says; None where it is no token of this deployment's gateways."""
    if not text.startswith(_MARK):
        return None
    said, _, proof = text.removeprefix(_MARK).partition("-")
    if not _same(proof, _proof(tag, f"token {said}")):
        return None
    try:
        raw = base64.b32decode(said.upper() + "=" * (-len(said) % 8))
    except binascii.Error:
        return None
    return Token(UUID(bytes=raw[:16]), UUID(bytes=raw[16:])) if len(raw) == 32 else None


def route_through(token: Token, node: Target, tag: Tag) -> str:
    """The Route value that leads to a device through the gateway that holds its flow."""
    return route_to(node, token.text(tag))


def route_to(node: Target, user: str) -> str:
    """The Route value that tells another gateway what a user part says: a token or a pass."""
    host = f"[{node.host}]" if ":" in node.host else node.host
    params: tuple[tuple[str, str | None], ...] = (("lr", None),)
    if node.transport is not Transport.UDP:
        params = (("transport", node.transport.value), *params)
    return f"<{SipUri(host, user, node.port, params)}>"


@frozen
class Pass:
    """Who wants a call that another gateway holds, on the word of the gateway `node` that asked: good for one INVITE and for no other."""

    node: UUID
    agent: UUID
    credential: UUID
    transport: Transport
    """What its INVITE came to that gateway by."""

    def text(self, request: Request, tag: Tag) -> str:
        """The user part of a Route for this INVITE."""
        said = _b32(self.node.bytes + self.agent.bytes + self.credential.bytes + _NUMBERS[self.transport].encode())
        return f"{_PASS}{said}-{_proof(tag, _passing(said, request))}"


def read_pass(request: Request, tag: Tag) -> Pass | None:
    """The pass that an INVITE came with; None where it has none, or one that was not made for it by a gateway of this deployment."""
    first = request.headers.get("Route")
    if first is None or _PASS not in first or request.method != "INVITE" or request.to_tag:
        return None
    uri = parse_name_addr(request.headers.listed("Route")[0]).uri
    said, _, proof = ((uri.user or "") if isinstance(uri, SipUri) else "").removeprefix(_PASS).partition("-")
    if not _same(proof, _proof(tag, _passing(said, request))):
        return None
    raw = base64.b32decode(said.upper() + "=" * (-len(said) % 8))
    transport = _WAYS.get(raw[48:].decode("ascii", "replace"))
    return None if transport is None else Pass(UUID(bytes=raw[:16]), UUID(bytes=raw[16:32]), UUID(bytes=raw[32:48]), transport)


def _passing(said: str, request: Request) -> str:
    return f"pass {said} {request.call_id} {request.from_tag} {request.cseq.number} {request.uri}"


@frozen
class _Handed:
    """A transaction of a device that is another gateway's: where its INVITE went, CANCEL and the ACK to a failure go too."""

    token: Token
    route: str
    branch: str
    """Ours above the device's."""
    asked: bytes
    """What its digest was asked for: see `_asked`."""
    is_settled: bool = False
    """Its INVITE is sent again no more; CANCEL and the ACK to a failure still follow it."""


class Forwarder:
    """Hands on what is not meant for this gateway itself.

    `device` tells the way to a binding that is held here, `node` the way to another gateway, `is_node` whether a message came from one;
    `via` and `contact` are how this gateway names itself on a hop, `is_open` whether a flow still stands.
    """

    def __init__(
        self,
        tag: Tag,
        *,
        device: Callable[[UUID], Hop | None],
        node: Callable[[UUID], Hop | None],
        is_node: Callable[[UUID, Flow], bool],
        via: Callable[[Hop, str], str],
        contact: Callable[[Hop], NameAddr],
        is_open: Callable[[Flow], bool],
    ) -> None:
        self._tag = tag
        self._device = device
        self._node = node
        self._is_node = is_node
        self._via = via
        self._contact = contact
        self._is_open = is_open
        self._lately: OrderedDict[UUID, Hop] = OrderedDict()
        self._handed: OrderedDict[Transaction, _Handed] = OrderedDict()
        self._unheard: dict[str, Transaction] = {}
        self._cancelled: set[Transaction] = set()
        self._taken_back: OrderedDict[str, None] = OrderedDict()
        self.on_heard: Callable[[Transaction], None] = lambda _transaction: None
        """Told once that the other gateway says something to an INVITE that was handed over."""

    def take(self, message: Message, flow: Flow) -> list[Send] | None:
        """What to send for a message that is only passing through; None for one that is meant for us."""
        try:
            if not isinstance(message, Request):
                return self._response(message)
            return self._request(message, flow) if self._handed or "route" in message.headers.index else None
        except ParseError:
            return None  # the user agent says what is wrong with it

    def hand_over(self, request: Request, flow: Flow, token: Token, route: str) -> list[Send]:
        """What to send of a device's INVITE that the gateway `token.node` is to answer, by the Route value `route`.

        What belongs to its transaction follows it without being asked about again.
        """
        name = transaction_of(request)
        branch = self._branch(self._stamped(request, flow), flow, request.call_id)
        self._handed[name] = _Handed(token, route, branch, _asked(request))
        self._unheard[branch] = name
        if len(self._handed) > _REMEMBERED:
            gone, oldest = self._handed.popitem(last=False)
            self._unheard.pop(oldest.branch, None)
            self._cancelled.discard(gone)
        return self._over(request, flow, token, route)

    def take_back(self, request: Request, flow: Flow) -> tuple[list[Send], bool]:
        """The other gateway said nothing in time: a CANCEL for it, should it live, and whether the device has given up meanwhile.

        What it says from now on reaches nobody.
        """
        name = transaction_of(request)
        handed = self._handed.pop(name, None)
        if handed is None:
            return [], False
        self._unheard.pop(handed.branch, None)
        self._taken_back[handed.branch] = None
        if len(self._taken_back) > _REMEMBERED:
            self._taken_back.popitem(last=False)
        was_cancelled = name in self._cancelled
        self._cancelled.discard(name)
        kept = [line for line in request.headers if header_key(line[0]) in ("via", "from", "to", "call-id")]
        cancel = Request("CANCEL", request.uri, Headers([*kept, ("CSeq", f"{request.cseq.number} CANCEL")]), b"")
        return self._over(cancel, flow, handed.token, handed.route), was_cancelled

    def settle(self, name: Transaction) -> None:
        """An INVITE that was handed over is answered, or can be no retransmission any more: what looks like it is somebody's replay."""
        handed = self._handed.get(name)
        if handed is not None:
            self._handed[name] = replace(handed, is_settled=True)

    # --------------------------------------------------------------------------------------------------------- requests

    def _over(self, request: Request, flow: Flow, token: Token, route: str) -> list[Send]:
        self._remember(token.binding, flow)
        hop = self._node(token.node)
        lines: list[Line] = [("Route", route)]
        if request.method == "INVITE":
            # Named as the device reaches us: the way to the other gateway is that gateway's address, whatever stands in a header.
            lines.append(("Record-Route", self._record_route(token, flow)))
        # Who it is was asked here, and is said by the pass: its digest is nobody else's to see.
        return self._send(request, flow, hop, lines, routes=[], without=("authorization", "proxy-authorization"))

    def _remember(self, binding: UUID, hop: Hop) -> None:
        """Where a device leaves in the middle of its call, BYE still finds it."""
        self._lately[binding] = hop
        self._lately.move_to_end(binding)
        if len(self._lately) > _REMEMBERED:
            self._lately.popitem(last=False)

    def _request(self, request: Request, flow: Flow) -> list[Send] | None:
        name = transaction_of(request) if self._handed else ()
        handed = self._handed.get(name)
        if handed is not None and request.method in ("INVITE", "CANCEL", "ACK") and self._lately.get(handed.token.binding) == flow:
            if request.method == "INVITE" and _asked(request) != handed.asked:
                return None  # another one in its clothes, whose digest nobody has seen
            if request.method == "INVITE" and handed.is_settled:
                return []
            if request.method == "ACK":
                self.settle(name)
            if request.method == "CANCEL" and handed.branch in self._unheard:
                self._cancelled.add(name)
            return self._over(request, flow, handed.token, handed.route)
        first = request.headers.get("Route")
        if first is None or _MARK not in first:
            return None
        uri = parse_name_addr(request.headers.listed("Route")[0]).uri
        token = read_token(uri.user or "", self._tag) if isinstance(uri, SipUri) else None
        if token is None:
            return None
        device = self._device(token.binding) or self._lately.get(token.binding)
        if device is not None and _came_by(flow, device):
            # What a device sends in a dialog goes back to the gateway that called it; a call of its own is for us.
            return self._hand_on(request, flow, self._node(token.node), None) if request.to_tag else None
        if not self._is_node(token.node, flow):
            return None
        if device is not None and request.method == "INVITE":
            self._remember(token.binding, device)
        return self._hand_on(request, flow, device, token)

    def _hand_on(self, request: Request, flow: Flow, hop: Hop | None, token: Token | None) -> list[Send]:
        lines: list[Line] = []
        if token is not None and hop is not None and request.method == "INVITE" and not request.to_tag:
            lines.append(("Record-Route", self._record_route(token, hop)))
        return self._send(request, flow, hop, lines, routes=request.headers.listed("Route")[1:])

    def _send(
        self, request: Request, flow: Flow, hop: Hop | None, own: list[Line], *, routes: list[str], without: tuple[str, ...] = ()
    ) -> list[Send]:
        if request.max_forwards == 0:
            return self._refused(request, flow, 483)
        if hop is None or (isinstance(hop, Flow) and not self._is_open(hop)):
            # "If the flow no longer exists, the proxy SHOULD send a 430 (Flow Failed) response" (RFC 5626 section 5.3).
            return self._refused(request, flow, 430)
        vias = request.headers.listed("Via")
        stamped = self._stamped(request, flow)
        lines: list[Line] = [("Via", self._via(hop, self._branch(stamped, flow, request.call_id)))]
        lines += [("Via", value) for value in (str(stamped), *vias[1:])]
        lines += own
        lines += [("Route", value) for value in routes]
        lines.append(("Max-Forwards", str((request.max_forwards if request.max_forwards is not None else 70) - 1)))
        left_out = ("via", "route", "max-forwards", *without)
        lines += [line for line in request.headers if header_key(line[0]) not in left_out]
        return [Send(hop, request.with_headers(Headers(lines)).to_bytes())]

    def _record_route(self, token: Token, hop: Hop) -> str:
        own = self._contact(hop).uri
        assert isinstance(own, SipUri)
        return f"<{SipUri(own.host, token.text(self._tag), own.port, (*own.params, ('lr', None)), secure=own.secure)}>"

    def _refused(self, request: Request, flow: Flow, status: int) -> list[Send]:
        if request.method == "ACK":
            return []
        # The same request gets the same tag each time, though nothing is kept of it (RFC 3261 section 16.11).
        return [Send(flow, response_to(request, status, to_tag=_proof(self._tag, f"tag {request.via.branch}")).to_bytes())]

    # -------------------------------------------------------------------------------------------------------- responses

    def _response(self, response: Response) -> list[Send] | None:
        branch = response.via.branch or ""
        if not branch.startswith(_BRANCH):
            return None
        values = response.headers.listed("Via")
        if len(values) < 2:
            return []
        before = parse_via(values[1])
        _, _, came_by = branch.partition(".")
        transport, number, port = _WAYS.get(came_by[:1]), came_by[1:], before.param("rport") or ""
        if not (number.isascii() and number.isdigit() and port.isascii() and port.isdigit()) or transport is None:
            return []
        way = Flow(transport, int(number), Address("", 0), Address(before.param("received") or "", int(port)))
        if not _same(branch, self._branch(before, way, response.call_id)):
            return []  # nobody sends us where he likes
        if branch in self._taken_back:
            return []
        name = self._unheard.pop(branch, None)
        if name is not None:
            self._cancelled.discard(name)
            self.on_heard(name)
        if 200 <= response.status < 300 and response.cseq.method == "INVITE":
            self.settle((before.branch or "", before.sent_by, response.call_id))  # who answered says it again until ACK
        lines: list[Line] = [("Via", value) for value in values[1:]]
        lines += [line for line in response.headers if header_key(line[0]) != "via"]
        return [Send(way, response.with_headers(Headers(lines)).to_bytes())]

    @staticmethod
    def _stamped(request: Request, flow: Flow) -> Via:
        """The device's Via as it goes on: with where it came from."""
        return parse_via(request.headers.listed("Via")[0]).received_from(flow.remote.host, flow.remote.port, always=True)

    def _branch(self, before: Via, flow: Flow, call_id: str) -> str:
        """Our own branch above another's Via (RFC 3261 section 16.11): computed, so that retransmissions, CANCEL and ACK get it too."""
        came_by = f"{_NUMBERS[flow.transport]}{flow.id}"
        said = (before.branch, before.sent_by, before.param("received"), before.param("rport"), came_by, call_id)
        return f"{_BRANCH}{_proof(self._tag, 'branch ' + ' '.join(str(part) for part in said))}.{came_by}"


def transaction_of(request: Request) -> Transaction:
    """What the INVITE of a request's transaction is remembered by."""
    via = request.via
    return via.branch or "", via.sent_by, request.call_id


def _asked(request: Request) -> bytes:
    """What tells an INVITE from another one in the same transaction's name."""
    said = "\0".join((request.from_tag, str(request.cseq.number), request.uri)).encode("utf-8", "surrogateescape")
    return hashlib.sha256(said + b"\0" + request.body).digest()


def _came_by(flow: Flow, hop: Hop) -> bool:
    if flow.transport is not hop.transport:
        return False
    if isinstance(hop, Target):
        return flow.transport is Transport.UDP and (hop.host, hop.port) == flow.remote
    return flow.remote == hop.remote if flow.transport is Transport.UDP else flow.id == hop.id


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())


def _b32(raw: bytes) -> str:
    return base64.b32encode(raw).decode().rstrip("=").lower()


def _proof(tag: Tag, text: str) -> str:
    return _b32(tag(text)[:_PROOF])
