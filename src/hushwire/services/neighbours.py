"""The other gateways of the deployment, as their rows tell: where they are found, and what is said between them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.ids import NodeId
from hushwire.sip.errors import ParseError
from hushwire.sip.flow import Flow, Target, Transport
from hushwire.sip.forward import Token, route_through
from hushwire.sip.uri import parse_sip_uri
from hushwire.store import nodes
from hushwire.store.database import Connection

ALIVE_WITHIN: Final = timedelta(seconds=20)
"""Heartbeats come each 5 s; a gateway that was not heard of for so long is not sent to."""
_log = structlog.get_logger(__name__)


class Neighbours:
    """What one gateway knows of the others. `tag` is `DeploymentKeys.between_nodes`."""

    def __init__(self, node_id: NodeId, tag: Callable[[str], bytes], on_change: Callable[[], None] = lambda: None) -> None:
        self._node_id = node_id
        self.tag = tag
        self._on_change = on_change
        self._found: Mapping[UUID, Target] = {}

    async def refresh(self, connection: Connection) -> None:
        """Read who is there."""
        found: dict[UUID, Target] = {}
        for node_id, text in await nodes.neighbours(connection, self._node_id, ALIVE_WITHIN):
            try:
                uri = parse_sip_uri(text)
                transport = Transport(uri.transport or "udp")
            except (ParseError, ValueError):
                _log.error("neighbour.unusable", node=str(node_id))
                continue
            found[node_id] = Target(transport, uri.host.strip("[]"), uri.port or transport.default_port)
        if found != self._found:
            self._found = found
            _log.info("neighbours.changed", alive=len(found))
            self._on_change()

    def hop(self, node_id: UUID) -> Target | None:
        """The way to another gateway; None where it is not known to live."""
        return self._found.get(node_id)

    @property
    def nodes(self) -> tuple[UUID, ...]:
        """Those that are known to live."""
        return tuple(self._found)

    def sent(self, node_id: UUID, flow: Flow) -> bool:
        """Whether a message that came by this flow may be that gateway's."""
        hop = self._found.get(node_id)
        return hop is not None and hop.host == flow.remote.host

    @property
    def hosts(self) -> frozenset[str]:
        """Their addresses: what comes from there is no stranger's."""
        return frozenset(hop.host for hop in self._found.values())

    def route(self, row_id: UUID, node: Target) -> str:
        """The Route value to a device whose flow the gateway at `node` holds."""
        return route_through(Token(row_id, self._node_id), node, self.tag)
