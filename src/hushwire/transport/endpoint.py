"""The SIP endpoint: sockets, one timer and the pure user agent. It moves bytes and decides nothing."""

import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from hushwire.core.clock import Clock, Random
from hushwire.sip.dialog import Dialog
from hushwire.sip.digest import Credentials
from hushwire.sip.effects import DialogKey, Event, InviteId, RequestId, TxId
from hushwire.sip.flow import Address, Flow, Hop, Transport
from hushwire.sip.headers import Line
from hushwire.sip.uri import NameAddr, SipUri
from hushwire.sip.useragent import SDP, UserAgent


@dataclass(frozen=True, slots=True)
class Listen:
    """One listener, as `udp://127.0.0.1:5060` in the configuration; port 0 takes any free one."""

    transport: Transport
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """What the endpoint listens on, and the limits that come before any state.

    `rate_per_s` and `burst` are messages of one source address; `idle_s` closes silent connections.
    """

    listen: tuple[Listen, ...]
    advertise: str | None = None
    server_tls: ssl.SSLContext | None = None
    client_tls: ssl.SSLContext | None = None
    max_message: int = 65536
    max_connections: int = 4096
    max_connections_per_source: int = 512
    idle_s: float = 600.0
    rate_per_s: float = 200.0
    burst: float = 400.0


class SipEndpoint:
    """Listeners and connections around one UserAgent; each event goes to `on_event`, called on the loop.

    Commands are those of UserAgent without `now`; what they cause is sent before they return.
    """

    def __init__(self, config: EndpointConfig, clock: Clock, random: Random, on_event: Callable[[Event], None]) -> None: ...

    async def start(self) -> None:
        """Bind all listeners. Raises LocalError naming the one that can't be bound."""

    async def close(self) -> None:
        """Close listeners and connections."""

    @property
    def ua(self) -> UserAgent:
        """The engine."""
        raise NotImplementedError

    @property
    def addresses(self) -> dict[Transport, Address]:
        """Where we listen, with the real ports."""
        raise NotImplementedError
