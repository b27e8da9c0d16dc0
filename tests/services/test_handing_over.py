"""What is handed over to a gateway that says nothing: it is asked again, and no more once another one has it."""

from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from hushwire.core.ids import AgentId, NodeId
from hushwire.services.handing_over import HandingOver
from hushwire.sip.effects import Send, TxId
from hushwire.sip.flow import Address, Flow, Hop, Target, Transport
from hushwire.sip.forward import Forwarder
from hushwire.sip.message import Request
from hushwire.sip.uri import NameAddr, SipUri
from tests.polling import until
from tests.sip.test_forward import DEVICE, ROW, request, tag

SILENT, OTHER = NodeId(UUID(int=1)), NodeId(UUID(int=2))
WAYS: dict[UUID, Hop] = {SILENT: Target(Transport.UDP, "192.0.2.2", 5060), OTHER: Target(Transport.UDP, "192.0.2.3", 5060)}


@dataclass
class Endpoint:
    """What leaves."""

    invite: Request
    sent: list[tuple[Hop, bytes]] = field(default_factory=list)

    def unanswered(self, _tx: TxId) -> tuple[Request, Flow]:
        return self.invite, DEVICE

    def pass_on(self, sends: list[Send]) -> None:
        self.sent += [(send.hop, send.data.split()[0]) for send in sends]


class Neighbours:
    """Two other gateways."""

    tag = staticmethod(tag)

    def hop(self, node_id: NodeId) -> Hop:
        return WAYS[node_id]


async def test_who_said_nothing_is_asked_no_more_once_another_gateway_has_it() -> None:
    endpoint = Endpoint(request(route=""))
    forwarder = Forwarder(
        tag, device={ROW: DEVICE}.get, node=WAYS.get, is_node=lambda _node, _flow: False, is_open=lambda _flow: True,
        via=lambda hop, branch: f"SIP/2.0/{hop.transport.upper()} 192.0.2.1:5060;rport;branch={branch}",
        contact=lambda _hop: NameAddr(SipUri(Address("192.0.2.1", 5060).host, None, 5060)),
    )  # fmt: skip
    handing = HandingOver(
        cast(Any, endpoint),
        forwarder,
        cast(Any, Neighbours()),
        cast(Any, None),
        lambda _agent, _credential, _flow: ROW,
        NodeId(UUID(int=3)),
    )

    def over(node_id: NodeId, otherwise: Any, silent_s: float) -> None:
        assert handing.over(TxId(1), DEVICE, AgentId(UUID(int=4)), UUID(int=5), node_id, otherwise, silent_s=silent_s)

    over(SILENT, lambda: over(OTHER, lambda: None, 60.0), 0.6)
    await until(lambda: endpoint.sent.count((WAYS[OTHER], b"INVITE")) == 3, what="the other one is asked again and again")
    assert [method for hop, method in endpoint.sent if hop == WAYS[SILENT]] == [b"INVITE", b"INVITE", b"CANCEL"]
