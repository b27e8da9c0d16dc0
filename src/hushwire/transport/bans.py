"""Sources that get no answer, each until its end; and the strikes that lead there. Pure: time is an argument."""

import ipaddress
import socket
from collections import OrderedDict

from hushwire.transport.sources import source_key


class Banned:
    """Canonical sources (transport/sources.py) and the second at which each ban ends. Asked before anything else about a datagram."""

    __slots__ = ("_networks", "_sources", "until")

    def __init__(self) -> None:
        self.until: dict[str, float] = {}
        """Each source that is banned, and the end of it."""
        self._sources: dict[str, float] = {}
        # (version, bits below the prefix) -> prefix -> end: one look-up for each length of prefix that there is.
        self._networks: dict[tuple[int, int], dict[int, float]] = {}

    def __len__(self) -> int:
        return len(self.until)

    def __contains__(self, source: str) -> bool:
        return source in self.until

    def sources(self) -> set[str]:
        """All that are banned."""
        return set(self.until)

    def add(self, source: str, until: float) -> None:
        """Ban until that second; the later end of two counts."""
        until = max(until, self.until.get(source, until))
        self.until[source] = until
        network = ipaddress.ip_network(source)
        if "/" not in source or network.prefixlen == 64:
            self._sources[source] = until
        else:
            rest = network.max_prefixlen - network.prefixlen
            self._networks.setdefault((network.version, rest), {})[int(network.network_address) >> rest] = until

    def remove(self, source: str) -> None:
        """End a ban; what is not banned is passed over."""
        if self.until.pop(source, None) is None:
            return
        self._sources.pop(source, None)
        network = ipaddress.ip_network(source)
        place = (network.version, network.max_prefixlen - network.prefixlen)
        found = self._networks.get(place)
        if found is not None:
            found.pop(int(network.network_address) >> place[1], None)
            if not found:
                del self._networks[place]

    def prune(self, now: float) -> None:
        """Forget what is over."""
        for source in [source for source, until in self.until.items() if until <= now]:
            self.remove(source)

    def covers(self, host: str, now: float) -> bool:
        """Whether messages of this address get no answer now."""
        until = self._sources.get(source_key(host))
        if until is not None and until > now:
            return True
        if not self._networks:
            return False
        version, value = _number(host)
        return any(found.get(value >> rest, now) > now for (of, rest), found in self._networks.items() if of == version)


class Strikes:
    """Failures of each source, forgotten at `threshold` in `within_s`; the source whose count reaches the threshold is told once.

    A success takes some back: behind one address there may be an office, and one phone in it that was given a wrong password.
    """

    __slots__ = ("_levels", "_rate", "_size", "_threshold")

    def __init__(self, threshold: float, within_s: float, size: int = 65536) -> None:
        self._threshold = threshold
        self._rate = threshold / within_s
        self._size = size
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def add(self, host: str, now: float, weight: float = 1.0) -> bool:
        """Note a failure; True where it is one too many. Then the count begins anew."""
        key = source_key(host)
        level = self._level(key, now) + weight
        # Half of one: what faded between the first and the last must not make it one more.
        if level > self._threshold - 0.5:
            self._levels.pop(key, None)
            return True
        self._levels[key] = (level, now)
        self._levels.move_to_end(key)
        if len(self._levels) > self._size:
            self._levels.popitem(last=False)
        return False

    def forgive(self, host: str, now: float, weight: float = 5.0) -> None:
        """Note a success."""
        key = source_key(host)
        if key in self._levels:
            level = self._level(key, now) - weight
            if level > 0:
                self._levels[key] = (level, now)
            else:
                del self._levels[key]

    def _level(self, key: str, now: float) -> float:
        level, at = self._levels.get(key, (0.0, now))
        return max(0.0, level - (now - at) * self._rate)


def _number(host: str) -> tuple[int, int]:
    if ":" not in host:
        return 4, int.from_bytes(socket.inet_aton(host))
    address = ipaddress.IPv6Address(host.partition("%")[0])
    return (4, int(address.ipv4_mapped)) if address.ipv4_mapped is not None else (6, int(address))
