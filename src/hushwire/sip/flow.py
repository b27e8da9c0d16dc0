"""Where messages come from and go to: values that the pure engine passes around and the transport understands."""

from enum import StrEnum
from typing import NamedTuple

from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen


class Transport(StrEnum):
    """Transports by their Via name in lower case; `reliable` ones keep order and retransmit for us."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"
    WS = "ws"
    WSS = "wss"

    @property
    def is_reliable(self) -> bool:
        """Whether transactions need no retransmissions (RFC 3261 section 17.1.1.2)."""
        return self is not Transport.UDP

    @property
    def is_protected(self) -> bool:
        """Whether the transport encrypts: what SDES keys require unless the organisation allows the clear."""
        return self in (Transport.TLS, Transport.WSS)

    @property
    def is_websocket(self) -> bool:
        """Whether SIP runs in WebSocket messages (RFC 7118)."""
        return self in (Transport.WS, Transport.WSS)

    @property
    def default_port(self) -> int:
        """RFC 3261 section 19.1.2, RFC 7118 section 5.3."""
        return {"udp": 5060, "tcp": 5060, "tls": 5061, "ws": 80, "wss": 443}[self.value]


class Address(NamedTuple):
    """A numeric IP address (no brackets) and a port."""

    host: str
    port: int

    def __repr__(self) -> str:
        return f"Address({SHOWN})"

    def host_port(self) -> str:
        """As a Via or URI carries it: IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@frozen(repr=False)
class Flow:
    """One two-way path (RFC 5626 section 2): a remote address on one of our UDP sockets, or one TCP or TLS connection.

    `id` numbers connections and is never used again in one process; for UDP it numbers the socket.
    `remote` is what the kernel says, never what a header says. `tls_version` is `TLSv1.2` or `TLSv1.3` on TLS.
    """

    transport: Transport
    id: int
    local: Address
    remote: Address
    tls_version: str | None = None

    def __repr__(self) -> str:
        return f"Flow({self.transport}, {self.id})"


@frozen(repr=False)
class Target:
    """A place to send to that has no flow yet. `host` is a name or a numeric address without brackets.

    `tls_name` is the name that a TLS certificate must carry; None means `host`. With `pins` its certificate must be one of these
    instead, `sha256:` and hex digits each, whoever signed it and whatever name it carries.
    """

    transport: Transport
    host: str
    port: int
    tls_name: str | None = None
    pins: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Target({self.transport})"


Hop = Flow | Target
