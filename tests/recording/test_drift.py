"""Clocks that drift for an hour, and numbers that wrap: both legs stay together, and the drift is told."""

import random
import struct

import numpy as np
import pytest

from hushwire.recording.history import LegHistory
from hushwire.recording.timeline import Timeline

RATE = 8000
TICKS_PER_S = 10_000
CLICK = 4000  # samples between two clicks of the sender


def _hour(drift_ppm: float, seconds: int, jitter_s: float, seed: int) -> tuple[list[float], Timeline, LegHistory]:
    """A leg whose sender's clock is off: it clicks every half second of its own time. Where each click is heard, in seconds."""
    chance = random.Random(seed)
    history = LegHistory(RATE)
    line = Timeline(RATE, history)
    line.set_formats({0: "PCMU/8000"})
    silence, click = b"\xff" * 160, b"\x00" + b"\xff" * 159
    arrivals = []
    for n in range(seconds * 50):
        arrival = n * 0.02 / (1 + drift_ppm / 1e6) + chance.expovariate(1 / jitter_s)
        arrivals.append((round(arrival * TICKS_PER_S), n))
    heard: list[float] = []
    taken = 0
    for count, (ticks, n) in enumerate(sorted(arrivals)):
        header = struct.pack(">BBHII", 0x80, 0, (65_000 + n) & 0xFFFF, ((1 << 32) - 80_000 + 160 * n) & 0xFFFFFFFF, 7)
        line.add(ticks, header + (click if n * 160 % CLICK == 0 else silence))
        if count % 50 == 49:
            line.advance(ticks)
            while taken + RATE <= (ticks // TICKS_PER_S - 10) * RATE:
                heard += [(taken + at) / RATE for at in np.flatnonzero(line.take(RATE) < -1000)]
                taken += RATE
    return heard, line, history


@pytest.mark.parametrize("jitter_s", [0.002, 0.015])
def test_two_hundred_ppm_over_an_hour_shift_the_legs_apart_by_less_than_20_ms(jitter_s: float) -> None:
    seconds = 3600
    apart = []
    for drift_ppm in (200.0, -200.0):
        heard, line, history = _hour(drift_ppm, seconds, jitter_s, round(drift_ppm))
        # A click's true moment is when it was spoken, by our clock.
        spoken = np.arange(len(heard) + 10) * (CLICK / RATE) / (1 + drift_ppm / 1e6)
        nearest = np.array(heard)
        errors = nearest - spoken[np.rint(nearest / ((CLICK / RATE) / (1 + drift_ppm / 1e6))).astype(int)]
        apart.append((errors.min(), errors.max()))
        assert len(heard) >= (seconds - 15) * RATE / CLICK
        told = history.report(line.counts, seconds * 1000)
        assert told.drift_ppm == pytest.approx(drift_ppm, abs=3)
        assert told.lost == ()
        assert told.gaps == () or told.gaps[0].from_ms > (seconds - 20) * 1000
        assert line.counts.placed >= seconds * 50 - 100
    (first_low, first_high), (second_low, second_high) = apart
    assert max(first_high - second_low, second_high - first_low) < 0.020


def test_drift_is_not_told_where_too_little_was_heard() -> None:
    _, line, history = _hour(200.0, 25, 0.002, 1)
    assert history.report(line.counts, 25_000).drift_ppm is None


def test_a_change_of_source_and_wraps_of_all_numbers_leave_no_hole_and_no_shift() -> None:
    history = LegHistory(RATE)
    line = Timeline(RATE, history)
    line.set_formats({0: "PCMU/8000"})
    for n in range(3000):
        ssrc, sequence, timestamp = (1, 65_535 - 700 + n, (1 << 32) - 160 * 700 + 160 * n) if n < 1500 else (2, n - 1502, 160 * (n - 1502))
        packet = struct.pack(">BBHII", 0x80, 0, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + bytes([0x00]) * 160
        line.add(n * 200, packet)
        line.advance(n * 200)
    line.flush()
    told = history.report(line.counts, 60_000)
    assert (told.lost, told.late, told.gaps, told.sources, told.duplicates) == ((), (), (), 2, 0)
    assert (line.take(60 * RATE) < -1000).all()
