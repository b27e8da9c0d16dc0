"""Which addresses are the public internet's: what no name that somebody gave may lead to is not. Pure.

After the special-purpose registries of IANA (RFC 6890): https://www.iana.org/assignments/iana-ipv4-special-registry and
https://www.iana.org/assignments/iana-ipv6-special-registry, as of 2025: all that is not "globally reachable" there. Written out here, since
the standard library's own list differs from release to release. Addresses that hold another one are judged by that.
"""

import ipaddress
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_INWARD_4: Final = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # this network (RFC 791)
        "10.0.0.0/8",  # private use (RFC 1918)
        "100.64.0.0/10",  # shared address space of carriers (RFC 6598); a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",  # loopback (RFC 1122)
        "168.63.129.16/32",  # a cloud's host, from within each of its machines (Azure: "virtual public IP address")
        "169.254.0.0/16",  # link local (RFC 3927); clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private use (RFC 1918)
        "192.0.0.0/24",  # protocol assignments (RFC 6890), a cloud's metadata at 192.0.0.192 among them
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.88.99.0/24",  # relays of 6to4, which are no more (RFC 7526)
        "192.168.0.0/16",  # private use (RFC 1918)
        "198.18.0.0/15",  # benchmarking (RFC 2544)
        "198.51.100.0/24",  # documentation (RFC 5737)
        "203.0.113.0/24",  # documentation (RFC 5737)
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and broadcast (RFC 1112, RFC 919)
    )
)
_UNICAST_6: Final = ipaddress.IPv6Network("2000::/3")
"""All that IANA gives out (RFC 4291 section 2.4): what is outside is inside, or nowhere."""
_INWARD_6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments (RFC 2928): Teredo (RFC 4380), benchmarking (RFC 5180), ORCHID (RFC 4843) among them
        "2001:db8::/32",  # documentation (RFC 3849)
        "3fff::/20",  # documentation (RFC 9637)
    )
)
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
"""An IPv4 address is in its last 32 bits, and a translator on the way goes there (RFC 6052)."""


def is_public(address: Address) -> bool:
    """Whether an address is anybody's on the internet; one that holds an IPv4 address, whether that one is."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _INWARD_4)
    if (held := held_by(address)) is not None:
        return is_public(held)
    return address in _UNICAST_6 and not any(address in network for network in _INWARD_6)


def held_by(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to: mapped (RFC 4291), of NAT64 (RFC 6052), of 6to4 (RFC 3056); None: none."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour
