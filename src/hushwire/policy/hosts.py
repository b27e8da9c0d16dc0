"""Which hosts are this gateway, and which contacts name a device that calls may be sent to."""

import ipaddress
import re
from enum import Enum, auto
from functools import lru_cache
from typing import Final

from hushwire.policy.model import OwnHosts

_DEFAULT_PORTS: Final = (5060, 5061)
# What C libraries read as an address although it is not dotted decimal: 127.1, 0x7f000001, 2130706433, 0177.0.0.1.
_NUMERIC: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)(?:\.(?:0x[0-9a-f]*|[0-9]+))*\.?", re.ASCII)

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(Enum):
    """From where a contact's host can be meant."""

    LOOPBACK = auto()
    LINK_LOCAL = auto()
    NOWHERE = auto()
    ELSEWHERE = auto()


def is_own(host: str, port: int | None, own: OwnHosts) -> bool:
    """True if a URI's `host` (lower case, IPv6 in brackets) and port mean this gateway."""
    if port is not None and port not in own.ports:
        return False
    address = _written(host)
    return address in own.addresses if address is not None else is_own_name(host, own)


def is_own_name(name: str, own: OwnHosts) -> bool:
    """True if the domain name is one of ours."""
    return name.lower().removesuffix(".") in own.names


def is_own_for_contact(host: str, port: int | None, own: OwnHosts) -> bool:
    """True if a call sent to a contact of this host would come back to us: our names on any port, our addresses where we listen."""
    address = address_of(host)
    if address is None:
        return is_own_name(host, own)
    return str(address) in own.addresses and (port in own.ports if port is not None else bool(own.ports.intersection(_DEFAULT_PORTS)))


def reach(host: str) -> Reach:
    """Whom a contact's host can be meant for."""
    address = address_of(host)
    if address is None:
        name = host.removesuffix(".")
        if name == "localhost" or name.endswith(".localhost"):
            return Reach.LOOPBACK
        return Reach.NOWHERE if _NUMERIC.fullmatch(host) else Reach.ELSEWHERE
    if address.is_loopback:
        return Reach.LOOPBACK
    if address.is_link_local:
        return Reach.LINK_LOCAL
    if address.is_unspecified or address.is_multicast or (address.is_reserved and address.version == 4):
        return Reach.NOWHERE
    return Reach.ELSEWHERE


def reach_of_peer(peer: str | None) -> Reach:
    """The class of address that a wish came from; NOWHERE where there is no peer."""
    return Reach.NOWHERE if peer is None or address_of(peer) is None else reach(peer)


@lru_cache(maxsize=1024)
def _written(host: str) -> str | None:
    """The address that `host` is, in its one canonical form; None for names."""
    address = address_of(host)
    return None if address is None else str(address)


@lru_cache(maxsize=1024)
def address_of(host: str) -> Address | None:
    """The address that `host` is, IPv6 with or without brackets, mapped IPv4 as IPv4; None for names."""
    text = host.removeprefix("[").removesuffix("]")
    if ":" not in text and not text[-1:].isdigit():
        return None  # a name, as nearly all are: ipaddress would raise four errors to say so
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        # IPv4-compatible and the prefix of RFC 6052 also lead to an IPv4 host.
        if address.packed[:12] in (bytes(12), bytes.fromhex("0064ff9b0000000000000000")) and int(address) > 1:
            return ipaddress.IPv4Address(address.packed[12:])
    return address
