"""Where a dialog's requests go when its peer names another address, and which addresses nobody may name."""

import ipaddress
from functools import lru_cache
from typing import Final

from hushwire.sip.dialog import Dialog
from hushwire.sip.flow import Flow, Hop, Target, Transport
from hushwire.sip.uri import SipUri, parse_uri

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_TRANSPORTS: Final = {"udp": Transport.UDP, "tcp": Transport.TCP, "tls": Transport.TLS}


@lru_cache(maxsize=1024)
def numeric(host: str) -> _Address | None:
    """The address that a host names in figures (IPv6 with or without brackets, IPv4-mapped as IPv4), or None for a name."""
    try:
        address = ipaddress.ip_address(host[1:-1] if host.startswith("[") else host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=1024)
def may_name(peer: str, host: str) -> bool:
    """Whether a peer at the numeric address `peer` may send us to the numeric address `host`.

    Loopback, link-local, multicast and unspecified addresses are believed only from a peer of the same class: otherwise a Contact or
    c= line would make us talk to our own services or to a cloud's metadata address.
    """
    from_address, to_address = numeric(peer), numeric(host)
    if from_address is None or to_address is None:
        return False
    if to_address.is_unspecified or to_address.is_multicast or to_address.is_reserved:
        return False
    if to_address.is_loopback:
        return from_address.is_loopback
    if to_address.is_link_local:
        return from_address.is_link_local
    if to_address.is_private:
        return from_address.is_private
    return True


def next_hop(dialog: Dialog, hop: Hop) -> Hop:
    """The first Route's or else the Contact's own address where it is numeric, allowed and of the same transport; else `hop`."""
    uri = dialog.routes[0].uri if dialog.routes else parse_uri(dialog.remote_target)
    if not isinstance(uri, SipUri):
        return hop
    transport = _TRANSPORTS.get(uri.transport or "udp", Transport.UDP)
    if uri.secure:
        transport = Transport.TLS
    peer = hop.remote.host if isinstance(hop, Flow) else hop.host
    if transport is not hop.transport or not may_name(peer, uri.host):
        return hop
    host = uri.host[1:-1] if uri.host.startswith("[") else uri.host
    port = uri.port or transport.default_port
    if isinstance(hop, Target) and (hop.host, hop.port) == (host, port):
        return hop
    return Target(transport, host, port, hop.tls_name if isinstance(hop, Target) else None, hop.pins if isinstance(hop, Target) else ())
