"""An agent's INVITE for a call that another gateway holds is handed over to that one, which answers it (docs/adr/0053).

This gateway has asked who it is, says so in a pass, and stays on the way as an edge proxy does (docs/adr/0030): it keeps the device's flow
and nothing of the call. The gateway that answers believes a pass as it believes the address that it came from: both must be right.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.ids import AgentId, NodeId
from hushwire.services.directory import Directory
from hushwire.services.identity import Known
from hushwire.services.neighbours import Neighbours
from hushwire.sip.effects import Send, TxId
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Address, Flow, Target, Transport
from hushwire.sip.forward import Forwarder, Pass, Token, Transaction, read_pass, route_to, transaction_of
from hushwire.sip.headers import parse_via
from hushwire.sip.message import Request
from hushwire.sip.routing import numeric
from hushwire.transport.endpoint import SipEndpoint

SILENT_S: Final = 1.0
"""So long another gateway may say nothing to an INVITE that was handed over to it: 100 takes it some milliseconds."""
AGAIN_S: Final = 0.4
"""Until then it is said once more, and so on at doubled intervals: the device has its 100 and does not, and the first may be lost."""
REPEATED_S: Final = 32.0
"""So long a device sends its INVITE again (64*T1, RFC 3261 section 17.1.1.2); what comes later has to say anew who it is."""
_COOKIE: Final = "z9hG4bK"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who comes by way of another gateway: who it is, as what it is seen there, and how it is reached."""

    known: Known
    seen: Flow
    """As if it had come here itself; where it did so protected but the way between the gateways is in clear, it is not protected."""
    through: Target


class HandingOver:
    """Hands over, and takes what others do. `binding_at` is the binding that an agent's device made with a credential by a flow."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        forwarder: Forwarder,
        neighbours: Neighbours,
        directory: Directory,
        binding_at: Callable[[AgentId, UUID, Flow], UUID | None],
        node_id: NodeId,
    ) -> None:
        self._endpoint = endpoint
        self._forwarder = forwarder
        self._neighbours = neighbours
        self._directory = directory
        self._binding_at = binding_at
        self._node_id = node_id
        self._unheard: dict[Transaction, tuple[TxId, asyncio.TimerHandle]] = {}
        forwarder.on_heard = self._heard

    def over(
        self,
        tx: TxId,
        flow: Flow,
        agent_id: AgentId,
        credential_id: UUID,
        node_id: NodeId,
        otherwise: Callable[[], None],
        *,
        silent_s: float = SILENT_S,
    ) -> bool:
        """Have another gateway answer an INVITE of this agent; False where it is gone, or the device is not registered here.

        `otherwise` is called where it says nothing to it within `silent_s`: it has died, and nobody knows yet.
        """
        node = self._neighbours.hop(node_id)
        binding = self._binding_at(agent_id, credential_id, flow)
        if node is None or binding is None:
            _log.info("takeover.not_handed_over", why="no way to that gateway" if node is None else "a device that is not registered here")
            return False
        found = self._endpoint.unanswered(tx)
        if found is None:
            return True  # its caller gave up meanwhile
        request, came_by = found
        if not (request.via.branch or "").startswith(_COOKIE):
            return False  # CANCEL would not be told from others'
        said = Pass(self._node_id, agent_id, credential_id, came_by.transport).text(request, self._neighbours.tag)
        sends = self._forwarder.hand_over(request, came_by, Token(binding, node_id), route_to(node, said))
        loop, name = asyncio.get_running_loop(), transaction_of(request)
        timer = loop.call_later(silent_s, self._take_back, tx, request, came_by, otherwise)
        self._unheard[name] = tx, timer
        loop.call_later(AGAIN_S, self._say_again, name, timer, sends, 2 * AGAIN_S)
        loop.call_later(REPEATED_S, self._forwarder.settle, name)
        self._send(sends)
        _log.info("takeover.handed_over", node=str(node_id))
        return True

    def _say_again(self, name: Transaction, timer: asyncio.TimerHandle, sends: list[Send], pause_s: float) -> None:
        if self._unheard.get(name, (None, None))[1] is timer:  # else it was heard, or is another gateway's by now
            self._send(sends)
            asyncio.get_running_loop().call_later(pause_s, self._say_again, name, timer, sends, 2 * pause_s)

    def _heard(self, name: Transaction) -> None:
        """It is the other gateway's from now on."""
        tx, timer = self._unheard.pop(name, (None, None))
        if tx is not None and timer is not None:
            timer.cancel()
            self._endpoint.release(tx)

    def _take_back(self, tx: TxId, request: Request, flow: Flow, otherwise: Callable[[], None]) -> None:
        self._unheard.pop(transaction_of(request), None)
        sends, was_cancelled = self._forwarder.take_back(request, flow)
        _log.warning("takeover.unanswered", was_cancelled=was_cancelled)
        self._send(sends)
        if was_cancelled:
            self._endpoint.respond(tx, 487)
        elif self._endpoint.unanswered(tx) is not None:
            otherwise()

    def _send(self, sends: Iterable[Send]) -> None:
        self._endpoint.pass_on(sends)

    def bearer(self, request: Request, flow: Flow) -> Bearer | None:
        """Who another gateway says that it is; None for everybody who comes without a pass that holds."""
        try:
            said = read_pass(request, self._neighbours.tag)
            vias = request.headers.listed("Via") if said is not None else []
            before = parse_via(vias[1]) if len(vias) > 1 else None
        except ParseError:
            return None
        if said is None or before is None or not self._neighbours.sent(said.node, flow):
            return None
        through, agent = self._neighbours.hop(said.node), self._directory.agent(AgentId(said.agent))
        org = None if agent is None else self._directory.organisation(agent.org_id)
        credential = None if agent is None else self._directory.credential(agent, said.credential)
        transport, port = said.transport, before.param("rport") or ""
        if agent is None or org is None or credential is None or through is None or agent.is_suspended:
            return None
        if not (port.isascii() and port.isdigit()):
            return None
        seen = Address(before.param("received") or "", int(port))
        host, between = numeric(seen.host), numeric(flow.remote.host)
        if not flow.transport.is_protected and (between is None or not between.is_loopback):
            # What it said over a protected way went on in the clear.
            transport = {Transport.TLS: Transport.TCP, Transport.WSS: Transport.WS}.get(transport, transport)
            if host is not None and host.is_loopback:
                return None
        return Bearer(Known(org, agent, credential), replace(flow, transport=transport, remote=seen), through)
