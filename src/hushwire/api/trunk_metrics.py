"""What gateways told of trunks, for Prometheus: how each stands at each gateway, how full it is, and how attempts to use it ended."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hushwire.store.trunk_states import TrunkState

_STANDINGS: Final = {"up": 1.0, "resting": 0.5, "down": 0.0}


class TrunkCollector(Collector):
    """Holds what was last told. Counts begin again with each start of a gateway, as counters may."""

    def __init__(self) -> None:
        self._told: list[tuple[str, TrunkState]] = []

    def note(self, told: Iterable[tuple[str, TrunkState]]) -> None:
        """(trunk's name, state) of each trunk at each gateway."""
        self._told = list(told)

    def collect(self) -> Iterator[Metric]:
        """Gauges by trunk and gateway; attempts by trunk and outcome, summed over gateways."""
        up = GaugeMetricFamily("hushwire_trunk_up", "1 up, 0.5 resting, 0 down", labels=["trunk", "gateway"])
        calls = GaugeMetricFamily("hushwire_trunk_calls", "Calls of a trunk, both ways", labels=["trunk", "gateway"])
        ways = GaugeMetricFamily("hushwire_trunk_ways", "Addresses at which a trunk is reached", labels=["trunk", "gateway"])
        sums: dict[tuple[str, str], int] = {}
        for name, state in self._told:
            labels = [name, str(state.node_id)]
            up.add_metric(labels, _STANDINGS[state.standing])
            calls.add_metric(labels, state.calls)
            ways.add_metric(labels, state.ways)
            for outcome, count in state.outcomes.items():
                sums[name, outcome] = sums.get((name, outcome), 0) + count
        attempts = CounterMetricFamily("hushwire_trunk_attempts", "Attempts to call over a trunk", labels=["trunk", "outcome"])
        for (name, outcome), count in sorted(sums.items()):
            attempts.add_metric([name, outcome], count)
        yield from (up, calls, ways, attempts)
