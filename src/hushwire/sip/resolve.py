"""Locating SIP servers (RFC 3263): what to ask DNS for a URI, and in which order its answers are tried. Pure.

no port, no transport   NAPTR -> SRV -> A, AAAA        without NAPTR: SRV of each transport of ours
no port                 SRV of that transport -> A, AAAA
port                    A, AAAA                        also where there is no SRV: then with the transport's own port
"""

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from hushwire.core.clock import Random
from hushwire.core.personal import SHOWN
from hushwire.core.values import frozen
from hushwire.sip.flow import Target, Transport
from hushwire.sip.public_addresses import is_public
from hushwire.sip.routing import numeric
from hushwire.sip.uri import SipUri

T = TypeVar("T")
_SERVICES: Final = {"SIPS+D2T": Transport.TLS, "SIP+D2T": Transport.TCP, "SIP+D2U": Transport.UDP}
_SRV_OF: Final = {Transport.TLS: "_sips._tcp.", Transport.TCP: "_sip._tcp.", Transport.UDP: "_sip._udp."}


@frozen
class Naptr:
    """One NAPTR record (RFC 3403). `replacement` without the final dot."""

    order: int
    preference: int
    flags: str
    service: str
    replacement: str


@frozen
class Srv:
    """One SRV record (RFC 2782). `target` without the final dot; empty: the service is decidedly not there."""

    priority: int
    weight: int
    port: int
    target: str


@frozen(repr=False)
class Way:
    """One place to try. Lower `priority` first; among equals by `weight` and chance."""

    target: Target
    priority: int = 0
    weight: int = 0

    def __repr__(self) -> str:
        return f"Way({SHOWN})"


def transport_of(uri: SipUri) -> Transport | None:
    """The transport that a URI alone decides (RFC 3263 section 4.1); None where DNS may choose. `sips:` is TLS in any case."""
    if uri.secure:
        return Transport.TLS
    if uri.transport is not None:
        return Transport(uri.transport)
    return Transport.UDP if uri.port is not None or numeric(uri.host) is not None else None


def asks_srv(uri: SipUri) -> bool:
    """Whether SRV has a say: only without a port (RFC 3263 section 4.2)."""
    return uri.port is None and numeric(uri.host) is None


def srv_name(host: str, transport: Transport) -> str:
    """Where the SRV records of a domain stand."""
    return _SRV_OF[transport] + host


def services(host: str, records: Sequence[Naptr], ours: Sequence[Transport]) -> list[tuple[Transport, str]]:
    """(transport, name of its SRV records) in the order in which they are tried.

    Records of services and transports that are not ours are passed over, as are those that say anything but "look at SRV there". Without
    any usable one every transport of ours has its usual name, the safest first.
    """
    known = [record for record in records if record.flags.lower() == "s" and _SERVICES.get(record.service.upper()) in ours]
    if known:
        ordered = sorted(known, key=lambda record: (record.order, record.preference))
        return [(_SERVICES[record.service.upper()], record.replacement) for record in ordered]
    return [(transport, srv_name(host, transport)) for transport in (Transport.TLS, Transport.TCP, Transport.UDP) if transport in ours]


def may_lead_to(address: str, networks: Sequence[str]) -> bool:
    """Whether DNS may send us to an address: a public one, or one in a network that the operator named.

    Whoever answers for a carrier's name must not make us talk to ourselves, to our neighbours or to a cloud's metadata address.
    """
    found = numeric(address)
    if found is None or found.is_multicast or found.is_unspecified:
        return False
    # One address of IPv4 in the clothes of IPv6 is in the same networks.
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    if any((mapped or found) in ipaddress.ip_network(network) for network in networks):
        return True
    return is_public(found)


def by_weight(entries: Iterable[T], weight: Callable[[T], int], random: Random) -> list[T]:
    """Entries of one priority in an order of chance, heavier ones sooner (RFC 2782, "Usage rules"); weight 0 is next to never first."""
    left = sorted(entries, key=lambda entry: weight(entry) != 0)
    ordered: list[T] = []
    while len(left) > 1:
        total = sum(weight(entry) for entry in left)
        # "choose a uniform random number between 0 and the sum computed (inclusive)": 0 is for weights of 0 alone, so that all others
        # come first exactly as often as they weigh.
        lowest = 0 if weight(left[0]) == 0 else 1
        chosen = lowest + int.from_bytes(random.token_bytes(8), "big") % (total + 1 - lowest)
        running = 0
        for index, entry in enumerate(left):
            running += weight(entry)
            if running >= chosen:
                ordered.append(left.pop(index))
                break
    return ordered + left
