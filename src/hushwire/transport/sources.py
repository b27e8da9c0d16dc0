"""Source addresses as limits count them, and sets of them."""

import ipaddress
from collections.abc import Iterable
from typing import Final

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_HOME_BITS: Final = 64
# Asked of every message: what a source was found to be is remembered of so many.
_MOST_LOOKED_UP: Final = 4096


def source_key(host: str) -> str:
    """What one source is counted under: an IPv4 address; of IPv6 the /64, since whoever has one address of it has all."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address) >> (128 - _HOME_BITS) << (128 - _HOME_BITS), _HOME_BITS)))


def parse_source(text: str) -> str | None:
    """An address or network in its one canonical form, IPv6 addresses as their /64; None where it is neither."""
    try:
        network = ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        return None
    if network.prefixlen == network.max_prefixlen:
        return source_key(str(network.network_address))
    return str(network)


class AddressSet:
    """Addresses, networks, and addresses with a port (which counts for nothing here), as trunks declare them."""

    __slots__ = ("_hosts", "_looked_up", "_networks")

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._hosts: set[str] = set()
        self._networks: list[_Network] = []
        self._looked_up: dict[str, bool] = {}
        for entry in entries:
            host = _host(entry)
            try:
                network = ipaddress.ip_network(host, strict=False)
            except ValueError:
                continue
            if network.prefixlen == network.max_prefixlen:
                self._hosts.add(str(network.network_address))
            else:
                self._networks.append(network)

    def __contains__(self, host: str) -> bool:
        if host in self._hosts:
            return True
        if not self._networks:
            return False
        found = self._looked_up.get(host)
        if found is None:
            if len(self._looked_up) >= _MOST_LOOKED_UP:
                self._looked_up.clear()
            found = self._looked_up[host] = self._is_within(host)
        return found

    def _is_within(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host.partition("%")[0])
        except ValueError:
            return False
        return any(address in network for network in self._networks)

    def overlaps(self, source: str) -> bool:
        """Whether a canonical source (see `parse_source`) holds any of these addresses."""
        network = ipaddress.ip_network(source)
        if any(network.version == other.version and network.overlaps(other) for other in self._networks):
            return True
        return any(ipaddress.ip_address(host) in network for host in self._hosts)


def _host(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry
