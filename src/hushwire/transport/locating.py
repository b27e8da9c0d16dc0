"""Where the servers of a SIP URI are, by DNS (RFC 3263): what `sip/resolve.py` says is asked, and every address is guarded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from hushwire.sip import resolve
from hushwire.sip.flow import Target, Transport
from hushwire.sip.resolve import Naptr, Srv, Way
from hushwire.sip.routing import numeric
from hushwire.sip.uri import SipUri
from hushwire.transport.lookups import Answer

CanReach = Callable[[Transport, str], bool]
LONGEST_S = 86_400


class Dns(Protocol):
    """What is asked; `Lookups`, in production. Each raises Unanswered where no server answers."""

    async def naptr(self, name: str) -> Answer[Naptr]:
        """NAPTR records."""

    async def srv(self, name: str) -> Answer[Srv]:
        """SRV records."""

    async def addresses(self, name: str) -> Answer[str]:
        """A and AAAA records."""


@dataclass(slots=True)
class Located:
    """The ways, for how many seconds all that they rest on holds, and how many addresses were refused since they lead inside."""

    ways: list[Way] = field(default_factory=list)
    ttl_s: int = LONGEST_S
    refused: int = 0


async def locate(
    uri: SipUri, dns: Dns, networks: Sequence[str] = (), pins: tuple[str, ...] = (), can_reach: CanReach = lambda transport, address: True
) -> Located:
    """The places to try for `uri`; their order is that of `Way.priority`, then of weights. Raises Unanswered.

    `networks` are those inside that the operator named. A certificate must carry the URI's own host, whatever DNS says (RFC 5922
    section 4): who can lie about names must not thereby be believed. `can_reach` says whether we have a socket for such an address.
    """
    host = uri.host.strip("[]").rstrip(".")
    found = Located()
    if numeric(host) is not None:
        transport = resolve.transport_of(uri) or Transport.UDP
        found.ways.append(Way(Target(transport, host, uri.port or transport.default_port, None, pins)))
        return found

    async def add(transport: Transport, name: str, port: int, priority: int, weight: int) -> None:
        answer = await dns.addresses(name)
        found.ttl_s = min(found.ttl_s, answer.ttl_s)
        for address in answer.records:
            if not resolve.may_lead_to(address, networks):
                found.refused += 1
            elif can_reach(transport, address):
                found.ways.append(Way(Target(transport, address, port, host, pins), priority, weight))

    is_denied = False
    for rank, (transport, name) in enumerate(await _services(uri, host, dns, found)):
        answer = await dns.srv(name)
        found.ttl_s = min(found.ttl_s, answer.ttl_s)
        for record in answer.records:
            if record.target:
                await add(transport, record.target, record.port, rank * 65_536 + record.priority, record.weight)
            else:
                is_denied = True  # "a Target of '.' means that the service is decidedly not available at this domain"
    if not found.ways and not found.refused and not is_denied:
        transport = resolve.transport_of(uri) or Transport.UDP
        await add(transport, host, uri.port or transport.default_port, 0, 0)
    return found


async def _services(uri: SipUri, host: str, dns: Dns, found: Located) -> list[tuple[Transport, str]]:
    """Where SRV records are looked for; nowhere for a URI with a port."""
    if not resolve.asks_srv(uri):
        return []
    transport = resolve.transport_of(uri)
    if uri.transport is not None and transport is not None:
        return [(transport, resolve.srv_name(host, transport))]
    ours = (Transport.TLS,) if transport is Transport.TLS else (Transport.TLS, Transport.TCP, Transport.UDP)
    answer = await dns.naptr(host)
    found.ttl_s = min(found.ttl_s, answer.ttl_s)
    return resolve.services(host, answer.records, ours)
