"""What is known of a call's sound: while it lives the latest and worst, in its row every 15 s; at the end the whole call's figures.

No address, number or digit is in any of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from hushwire.media.model import BridgeReport
from hushwire.media.quality import LegQuality, SilenceCause
from hushwire.store.calls import Facts

WRITTEN_EVERY: Final = 3
"""Reports (of five seconds) from one writing of a live call's row to the next."""


def leg_name(leg: int) -> str:
    """As rows, events and metrics name a leg."""
    return {0: "agent", 1: "peer"}.get(leg, f"leg-{leg}")


@dataclass(slots=True)
class CallQuality:
    """The running record of one call."""

    reports: int = 0
    latest: dict[int, LegQuality] = field(default_factory=dict)
    worst: dict[int, tuple[float | None, float | None]] = field(default_factory=dict)
    """Of each leg: the lowest `mos_received` and `mos_heard` of five seconds."""
    one_way: dict[int, SilenceCause] = field(default_factory=dict)
    """Of each leg that was told of: the last cause, also when it is over."""

    def note(self, legs: tuple[LegQuality, ...]) -> bool:
        """Five seconds more; True where the row should say so."""
        for leg in legs:
            self.latest[leg.leg] = leg
            received, heard = self.worst.get(leg.leg, (None, None))
            self.worst[leg.leg] = _lower(received, leg.mos_received), _lower(heard, leg.mos_heard)
        self.reports += 1
        return self.reports % WRITTEN_EVERY == 1

    def note_silence(self, leg: int, cause: SilenceCause) -> None:
        """A leg is not heard (or hears nothing), or no longer so."""
        if cause is not SilenceCause.OVER:
            self.one_way[leg] = cause

    def so_far(self) -> dict[str, Facts]:
        """What the row of a live call says."""
        return {
            leg_name(number): {
                **_figures(replace(leg, mos_received_worst=self.worst[number][0], mos_heard_worst=self.worst[number][1])),
                **self._one_way(number),
            }
            for number, leg in sorted(self.latest.items())
        }

    def at_end(self, report: BridgeReport | None) -> dict[str, Facts] | None:
        """What the row of a call that is over says: of `report`, else what is known so far."""
        if report is None:
            return self.so_far() or None
        return {
            leg_name(leg.leg): {
                "packets_received": leg.packets_received,
                "packets_sent": leg.packets_sent,
                "lost": leg.lost,
                **_figures(leg.quality),
                **self._one_way(leg.leg),
            }
            for leg in report.legs
        }

    def _one_way(self, leg: int) -> Facts:
        return {"one_way_audio": self.one_way[leg].words} if leg in self.one_way else {}


def of_report(report: BridgeReport | None) -> Mapping[str, Facts] | None:
    """What the row of a call that nobody followed says."""
    return CallQuality().at_end(report)


def _figures(leg: LegQuality) -> Facts:
    facts: dict[str, float | None] = {
        "jitter_ms": leg.jitter_ms,
        "jitter_max_ms": leg.jitter_max_ms,
        "round_trip_ms": leg.round_trip_ms,
        "round_trip_max_ms": leg.round_trip_max_ms,
        "loss_received": leg.loss_received,
        "loss_reported": leg.loss_reported,
        "remote_jitter_ms": leg.remote_jitter_ms,
        "burst_ratio": leg.burst_ratio,
        "mos_received": leg.mos_received,
        "mos_heard": leg.mos_heard,
        "mos_received_worst": leg.mos_received_worst,
        "mos_heard_worst": leg.mos_heard_worst,
    }
    return {name: round(value, 4 if "loss" in name else 2) for name, value in facts.items() if value is not None}


def _lower(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)
