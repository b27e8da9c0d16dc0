"""Banned sources as nftables rules: the kernel drops what would get no answer anyway (nft(8), sets with timeouts)."""

import ipaddress
from collections.abc import Mapping
from typing import Final

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
TABLE: Final = "hushwire"
SET: Final = "banned"


def ruleset(sources: Mapping[str, int]) -> str:
    """Rules for `nft -f` that replace our table whole, so that what is no longer banned is free again; `sources` with seconds left.

    Packets are dropped as they come in. Nothing but our own table is touched.
    """
    networks = [(ipaddress.ip_network(source), max(1, left_s)) for source, left_s in sources.items()]
    lines = [f"table inet {TABLE}", f"delete table inet {TABLE}", f"table inet {TABLE} {{"]
    for version, kind in ((4, "ipv4_addr"), (6, "ipv6_addr")):
        lines += [f"    set {SET}{version} {{", f"        type {kind}; flags interval, timeout;"]
        elements = _apart([item for item in networks if item[0].version == version])
        if elements:
            lines.append(f"        elements = {{ {', '.join(f'{_written(network)} timeout {left_s}s' for network, left_s in elements)} }}")
        lines.append("    }")
    lines += [
        "    chain incoming {",
        "        type filter hook prerouting priority raw; policy accept;",
        f"        ip saddr @{SET}4 drop",
        f"        ip6 saddr @{SET}6 drop",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _apart(networks: list[tuple[_Network, int]]) -> list[tuple[_Network, int]]:
    """Without those that lie in a larger one: intervals of a set may not overlap. The larger one's end counts."""
    kept: list[tuple[_Network, int]] = []
    for network, left_s in sorted(networks, key=lambda item: (int(item[0].network_address), item[0].prefixlen)):
        if not kept or int(network.network_address) > int(kept[-1][0].broadcast_address):
            kept.append((network, left_s))
    return kept


def _written(network: _Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
