"""Token buckets in memory, one for each key or address, never more of them than fit."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from hushwire.core.clock import Clock

_MOST: Final = 20_000


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_s` on average, `burst` at once."""

    per_s: float
    burst: float


# The contract promises 200 checks a second; the margin is for clocks and bursts. Every process counts for itself.
CHECKS: Final = Rate(400, 800)
REQUESTS: Final = Rate(100, 200)
STRANGERS: Final = Rate(10, 50)
# Callbacks of carriers, by address: messages and receipts of many organisations.
CARRIERS: Final = Rate(500, 1000)
# What is published to everybody; probes and scrapes are not counted, so that nobody can use their share up.
PUBLIC: Final = Rate(10, 50)


class Buckets:
    """How much each name has left under one rate."""

    def __init__(self, rate: Rate, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """0.0 if one more is fine, else the seconds until it is."""
        now = self._clock.monotonic()
        level, since = self._levels.get(name, (self._rate.burst, now))
        level = min(self._rate.burst, level + (now - since) * self._rate.per_s)
        wait_s = 0.0 if level >= 1 else (1 - level) / self._rate.per_s
        self._levels[name] = (level - 1 if wait_s == 0 else level, now)
        self._levels.move_to_end(name)
        if len(self._levels) > _MOST:
            self._levels.popitem(last=False)
        return wait_s
