"""How the calls of this gateway sounded, counted in classes since it began; told with its signs of life, for `/metrics`.

Nothing in it names a call, an agent or an organisation.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from typing import Final

from hushwire.media.model import BridgeReport, RecordingResult
from hushwire.media.quality import LegQuality, SilenceCause
from hushwire.services.call_quality import leg_name

CLASSES: Final[dict[str, tuple[float, ...]]] = {
    "mos_received": (2.0, 2.6, 3.1, 3.6, 4.0, 4.3),
    "mos_heard": (2.0, 2.6, 3.1, 3.6, 4.0, 4.3),
    "loss_ratio": (0.0, 0.001, 0.005, 0.01, 0.02, 0.05, 0.1),
    "jitter_seconds": (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1),
    "round_trip_seconds": (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0),
    "seal_lag_seconds": (0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.8, 1.0, 2.0),
}
"""Upper bounds of the classes of each measure; what is above the last has a class of its own. MOS: G.107's grades of satisfaction."""


class QualityCounts:
    """Of whole calls: one value per answered call, leg and measure; of recordings one for both legs."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], list[int]] = {}
        self._sums: defaultdict[tuple[str, str], float] = defaultdict(float)
        self._one_way: Counter[tuple[str, str]] = Counter()

    def note_call(self, report: BridgeReport) -> None:
        """An answered call is over."""
        for leg in report.legs:
            name = leg_kind(leg.leg)
            for measure, value in _values(leg.quality).items():
                if value is None or not leg.packets_received:
                    continue
                bounds = CLASSES[measure]
                counts = self._classes.setdefault((measure, name), [0] * (len(bounds) + 1))
                counts[bisect_left(bounds, value)] += 1
                self._sums[measure, name] += value
        if report.recording is not None:
            self.note_recording(report.recording)

    def note_recording(self, result: RecordingResult) -> None:
        """A recording is closed: how long a packet of it was in memory alone, at worst."""
        lag_s, bounds = result.seal_lag_us / 1_000_000, CLASSES["seal_lag_seconds"]
        counts = self._classes.setdefault(("seal_lag_seconds", "both"), [0] * (len(bounds) + 1))
        counts[bisect_left(bounds, lag_s)] += 1
        self._sums["seal_lag_seconds", "both"] += lag_s

    def note_one_way(self, leg: int, cause: SilenceCause) -> None:
        """A leg was not heard."""
        if cause is not SilenceCause.OVER:
            self._one_way[leg_kind(leg), cause.words] += 1

    def told(self) -> dict[str, list[list[object]]]:
        """As JSON: `classes` of [measure, leg, sum, counts] and `one_way` of [leg, cause, count]."""
        return {
            "classes": [[measure, leg, self._sums[measure, leg], counts] for (measure, leg), counts in self._classes.items()],
            "one_way": [[leg, cause, count] for (leg, cause), count in self._one_way.items()],
        }


def leg_kind(leg: int) -> str:
    """agent, peer, or other: a closed set, as labels must be."""
    return leg_name(leg) if leg < 2 else "other"


def _values(quality: LegQuality) -> dict[str, float | None]:
    trip = quality.round_trip_ms
    return {
        "mos_received": quality.mos_received,
        "mos_heard": quality.mos_heard,
        "loss_ratio": quality.loss_received,
        "jitter_seconds": quality.jitter_ms / 1000,
        "round_trip_seconds": None if trip is None else trip / 1000,
    }
