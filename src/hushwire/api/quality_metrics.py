"""What gateways told of how calls sounded, as Prometheus histograms: summed over gateways, without a word of any call."""

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hushwire.services.quality_counts import CLASSES

_HELP = {
    "mos_received": "How calls sounded as they came from a leg (ITU-T G.107), per call",
    "mos_heard": "How calls sounded to a leg (ITU-T G.107), per call",
    "loss_ratio": "Share of a leg's packets that never came, per call",
    "jitter_seconds": "Jitter of what came from a leg (RFC 3550), per call",
    "round_trip_seconds": "Round trip between hushwire and a leg, per call",
    "seal_lag_seconds": "The longest that recorded sound was in memory alone, per recording",
}


class QualityCollector(Collector):
    """Holds what was last told. Counts begin again with each start of a gateway, as counters may."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    def note(self, told: Iterable[dict[str, Any]]) -> None:
        """`QualityCounts.told` of each gateway."""
        self._told = list(told)

    def collect(self) -> Iterator[Metric]:
        """Histograms by leg, and calls with one-way audio by leg and cause."""
        sums: dict[tuple[str, str], tuple[float, list[int]]] = {}
        one_way: dict[tuple[str, str], int] = {}
        for told in self._told:
            for measure, leg, total, counts in told["classes"]:
                so_far = sums.get((measure, leg), (0.0, [0] * len(counts)))
                sums[measure, leg] = so_far[0] + total, [one + other for one, other in zip(so_far[1], counts, strict=True)]
            for leg, cause, count in told["one_way"]:
                one_way[leg, cause] = one_way.get((leg, cause), 0) + count
        for measure, bounds in CLASSES.items():
            family = HistogramMetricFamily(f"hushwire_call_{measure}", _HELP[measure], labels=["leg"])
            for (name, leg), (total, counts) in sums.items():
                if name == measure and len(counts) == len(bounds) + 1:
                    family.add_metric([leg], _buckets(bounds, counts), total)
            yield family
        heard = CounterMetricFamily("hushwire_call_one_way_audio", "Times that a leg was not heard", labels=["leg", "cause"])
        for (leg, cause), count in one_way.items():
            heard.add_metric([leg, cause], count)
        yield heard


def _buckets(bounds: tuple[float, ...], counts: list[int]) -> list[tuple[str, float]]:
    """Cumulative, as the text format has them."""
    total, buckets = 0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
