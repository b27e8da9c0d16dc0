"""What happened on one leg's line, for people to read: loss, silence, lateness, codecs, and how far the sender's clock was off.

A `LegHistory` is told of each packet as it is placed (in samples of the line) and of each pause; `report` sums it up in milliseconds.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

import numpy as np

SILENCE_S: Final = 0.100
"""A hole in the line is told of from this length on: shorter ones are how senders breathe."""

JOINED_S: Final = 0.200
"""Losses, and late arrivals, that lie closer together are one."""

DRIFT_WINDOW_S: Final = 10.0
_LEAST_WINDOWS: Final = 4


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a leg, and how many packets it concerns (0: nobody sent any)."""

    from_ms: int
    to_ms: int
    packets: int = 0


@dataclass(frozen=True, slots=True)
class Codec:
    """From here on the leg speaks this."""

    from_ms: int
    name: str


@dataclass(frozen=True, slots=True)
class LegReport:
    """One leg. `lost`: packets that the sender numbered and that were missing when their turn came; those that did come later are
    told of in `late` too. `gaps`: no sound though nothing is missing (the sender was silent, on hold, or had not begun).
    `drift_ppm`: how much faster the sender's clock ran than ours; None where too little was heard to say.
    """

    packets: int
    placed: int
    duplicates: int
    malformed: int
    not_sound: int
    sources: int
    lost: tuple[Interval, ...]
    late: tuple[Interval, ...]
    gaps: tuple[Interval, ...]
    codecs: tuple[Codec, ...]
    drift_ppm: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(slots=True)
class _Clock:
    """The least delay of each window of one stream, as long as its timestamps don't leap."""

    window: int = -1
    points: list[tuple[float, float]] = field(default_factory=list)


class LegHistory:
    """The notes of one leg at `rate` samples a second."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._pauses: list[tuple[float, float]] = []
        self._paused_at: float | None = None
        self._covered: list[tuple[int, int]] = []
        self._lost: list[tuple[int, int, int]] = []
        self._late: list[tuple[int, int, int]] = []
        self._codecs: list[tuple[int, str]] = []
        self._clocks: dict[int, _Clock] = {}
        self._longest: list[tuple[float, float]] = []
        self._sources = 0

    def pause(self, at: float) -> None:
        """Packets are left out on purpose from here on."""
        if self._paused_at is None:
            self._paused_at = at

    def resume(self, at: float) -> None:
        """And come again."""
        if self._paused_at is not None:
            self._pauses.append((self._paused_at, at))
            self._paused_at = None

    def source(self) -> None:
        """A stream begins."""
        self._sources += 1

    def placed(self, position: int, count: int, codec: str) -> None:
        """Sound lies on the line."""
        if not self._codecs or self._codecs[-1][1] != codec:
            self._codecs.append((max(0, position), codec))
        end = position + count
        if self._covered and position <= self._covered[-1][1] + self._rate // 200 and position >= self._covered[-1][0]:
            self._covered[-1] = (self._covered[-1][0], max(end, self._covered[-1][1]))
        else:
            self._covered.append((position, end))

    def lost(self, position: int, packets: int, count: int, after: float, before: float) -> None:
        """`packets` of `count` samples in all are missing up to `position`, between arrivals `after` and `before`."""
        if self._is_paused_between(after, before):
            return
        _join(self._lost, (position - count, position, packets), round(JOINED_S * self._rate))

    def late(self, position: int, count: int) -> None:
        """A packet came when its place was passed over."""
        _join(self._late, (position, position + count, 1), round(JOINED_S * self._rate))

    def delay(self, ssrc: int, arrival: float, delay: float) -> None:
        """A packet of a stream took `delay` samples more than another constant one."""
        clock = self._clocks.setdefault(ssrc, _Clock())
        window = int(arrival // (DRIFT_WINDOW_S * self._rate))
        if window != clock.window or not clock.points:
            clock.window = window
            clock.points.append((arrival, delay))
        elif delay < clock.points[-1][1]:
            clock.points[-1] = (arrival, delay)

    def leapt(self, ssrc: int) -> None:
        """The stream's timestamps leapt, or it ended: what was learnt of its clock is one piece."""
        clock = self._clocks.pop(ssrc, None)
        if clock is not None and len(clock.points) > len(self._longest):
            self._longest = clock.points

    def report(self, counts: Any, length_ms: int) -> LegReport:
        """All of it; `counts` are the line's."""
        if self._paused_at is not None:
            self.resume(length_ms * self._rate / 1000)
        for ssrc in list(self._clocks):
            self.leapt(ssrc)
        return LegReport(
            packets=counts.packets,
            placed=counts.placed,
            duplicates=counts.duplicates,
            malformed=counts.malformed,
            not_sound=counts.not_sound,
            sources=self._sources,
            lost=tuple(self._intervals(self._lost, length_ms)),
            late=tuple(self._intervals(self._late, length_ms)),
            gaps=tuple(self._intervals(((start, end, 0) for start, end in self._holes(length_ms)), length_ms)),
            codecs=tuple(Codec(at * 1000 // self._rate, name) for at, name in self._codecs),
            drift_ppm=_drift_ppm(self._longest),
        )

    def _is_paused_between(self, after: float, before: float) -> bool:
        first = bisect_left(self._pauses, (after, -1.0))
        started = self._paused_at if first == len(self._pauses) else self._pauses[first][0]
        return started is not None and after <= started <= before

    def _holes(self, length_ms: int) -> Iterable[tuple[int, int]]:
        """What neither sound nor loss nor a pause covers, from the beginning to the end."""
        taken = [(start, end) for start, end, *_ in (*self._covered, *self._lost, *self._pauses)]
        at, end_of_all = 0.0, length_ms * self._rate // 1000
        for start, end in (*sorted(taken), (end_of_all, end_of_all)):
            start = min(start, end_of_all)
            if start - at >= SILENCE_S * self._rate:
                yield round(at), round(start)
            at = max(at, end)

    def _intervals(self, found: Iterable[tuple[int, int, int]], length_ms: int) -> Iterable[Interval]:
        for start, end, packets in sorted(found):
            from_ms, to_ms = (min(max(0, at * 1000 // self._rate), length_ms) for at in (start, end))
            yield Interval(from_ms, max(from_ms, to_ms), packets)


def _join(found: list[tuple[int, int, int]], new: tuple[int, int, int], within: int) -> None:
    if found and new[0] - found[-1][1] <= within and new[1] >= found[-1][0]:
        start, end, packets = found[-1]
        found[-1] = (min(start, new[0]), max(end, new[1]), packets + new[2])
    else:
        found.append(new)


def _drift_ppm(points: list[tuple[float, float]]) -> float | None:
    """The slope of the least delays: a clock that runs faster than ours makes packets come ever earlier."""
    if len(points) < _LEAST_WINDOWS:
        return None
    arrivals, delays = np.array(points).T
    slope = float(np.polyfit(arrivals, delays, 1)[0])
    return round(-slope * 1e6, 1)
