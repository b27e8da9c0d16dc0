"""Limits that come before any state: a token bucket for each source address."""

from collections import OrderedDict


class SourceLimiter:
    """At most `burst` messages at once and `rate_per_s` in the long run from one address; remembers `size` addresses.

    An address that was forgotten starts with a full bucket, so flooding the table from made-up addresses wins an attacker nothing
    that the made-up addresses did not give already.
    """

    __slots__ = ("_buckets", "_burst", "_rate", "_size")

    def __init__(self, rate_per_s: float, burst: float, size: int = 65536) -> None:
        self._rate = rate_per_s
        self._burst = burst
        self._size = size
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def would_admit(self, source: str, now: float) -> bool:
        """Whether `admit` would say so now, of a short message; nothing is taken off."""
        found = self._buckets.get(source)
        return found is None or min(self._burst, found[0] + (now - found[1]) * self._rate) >= 1.0

    def admit(self, source: str, now: float, cost: float = 1.0) -> bool:
        """Whether one more message may be looked at; a long one costs more."""
        found = self._buckets.get(source)
        if found is None:
            if len(self._buckets) >= self._size:
                self._buckets.popitem(last=False)
            self._buckets[source] = (self._burst - cost, now)
            return True
        tokens, at = found
        tokens = min(self._burst, tokens + (now - at) * self._rate)
        is_admitted = tokens >= cost
        self._buckets[source] = (tokens - cost if is_admitted else tokens, now)
        return is_admitted
