"""What processes told of links to carriers of short messages, for Prometheus: which are bound, how full they are, what went over them."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from hushwire.store.message_link_states import LinkState


class MessageLinkCollector(Collector):
    """Holds what was last told, over all processes together. Counts begin again with each start of a process, as counters may."""

    def __init__(self) -> None:
        self._told: list[tuple[str, LinkState]] = []

    def note(self, told: Iterable[tuple[str, LinkState]]) -> None:
        """(carrier's name, state) of each link of each process."""
        self._told = list(told)

    def collect(self) -> Iterator[Metric]:
        """Gauges by carrier and link; what went over them by carrier and outcome."""
        labels = ["carrier", "link"]
        bound = GaugeMetricFamily("hushwire_message_links_bound", "Processes whose link to a carrier of messages is bound", labels=labels)
        unbound = GaugeMetricFamily("hushwire_message_links_unbound", "Processes whose link is not bound", labels=labels)
        used = GaugeMetricFamily("hushwire_message_window_used", "Messages that wait for a carrier's answer", labels=labels)
        size = GaugeMetricFamily("hushwire_message_window", "Messages that may wait for it at once", labels=labels)
        sums: dict[tuple[str, str], int] = {}
        links: dict[tuple[str, str], list[int]] = {}
        for name, state in self._told:
            figures = links.setdefault((name, str(state.link)), [0, 0, 0, 0])
            for place, value in enumerate((state.is_bound, not state.is_bound, state.in_window, state.window_size)):
                figures[place] += value
            for what, count in state.counts.items():
                sums[name, what] = sums.get((name, what), 0) + count
        for (name, link), figures in links.items():
            for family, value in zip((bound, unbound, used, size), figures, strict=True):
                family.add_metric([name, link], value)
        events = CounterMetricFamily("hushwire_message_traffic", "What went over links to carriers", labels=["carrier", "what"])
        for (name, what), count in sorted(sums.items()):
            events.add_metric([name, what], count)
        yield from (bound, unbound, used, size, events)
