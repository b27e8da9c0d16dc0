"""How much of one sound is in another: normalised cross-correlation with a search for the delay."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.int16] | NDArray[np.float64] | NDArray[np.float32]
Floats = NDArray[np.float64]

SLIP_MS: Final = 100
BLOCK_MS: Final = 250


@dataclass(frozen=True, slots=True)
class Match:
    """`score` from 0 (unrelated) to 1 (the same but for its volume); `delay_ms` = how much later it is heard than it was sent."""

    score: float
    delay_ms: float


def correlate(sent: Samples, heard: Samples, rate: int, *, max_delay_ms: float = 4000) -> Match:
    """The best match of `sent` within `heard`, one delay for the whole length, delays from -max to +max.

    `heard` may begin late or end early: only the part where both are present counts, of which there must be half of the
    shorter one. Silence matches nothing.
    """
    a, b = _centred(sent), _centred(heard)
    if not a.any() or not b.any():
        return Match(0.0, 0.0)
    limit = min(int(max_delay_ms * rate / 1000), max(len(a), len(b)) - 1)
    products, overlaps = _products(a, b, limit)
    lags = np.arange(-limit, limit + 1)
    energy_a, energy_b = _energies(a, b, lags)
    usable = (overlaps >= min(len(a), len(b)) // 2) & (energy_a > 0) & (energy_b > 0)
    # Near-silent overlaps give chance scores: what is compared must hold half of the sound.
    usable &= (energy_a >= 0.5 * float(np.sum(a * a))) | (energy_b >= 0.5 * float(np.sum(b * b)))
    scores = np.where(usable, np.abs(products) / np.sqrt(np.maximum(energy_a * energy_b, 1e-12)), 0.0)
    best = int(np.argmax(scores))
    return Match(float(scores[best]), float(lags[best]) * 1000 / rate)


def correlate_with_slips(sent: Samples, heard: Samples, rate: int, *, max_delay_ms: float = 4000) -> Match:
    """Like `correlate`, but blocks of a quarter second may each be up to 100 ms off the whole's delay.

    A jitter buffer that ran dry or over slips by whole packets; the sound is the same, its time is not. The score is the
    blocks' mean weighted by their energy; the delay that of the whole.
    """
    whole = correlate(sent, heard, rate, max_delay_ms=max_delay_ms)
    a, b = _centred(sent), _centred(heard)
    block, slip, shift = BLOCK_MS * rate // 1000, SLIP_MS * rate // 1000, round(whole.delay_ms * rate / 1000)
    scores, weights = [], []
    for start in range(0, len(a) - block + 1, block):
        low, high = start + shift - slip, start + shift + block + slip
        if low < 0 or high > len(b):
            continue
        piece, around = a[start : start + block], b[low:high]
        norms = np.sqrt(np.convolve(around * around, np.ones(block), "valid") * np.sum(piece * piece))
        if norms.max(initial=0.0) <= 0:
            continue
        products = np.correlate(around, piece, "valid")
        scores.append(float(np.max(np.abs(products) / np.maximum(norms, 1e-12))))
        weights.append(float(np.sum(piece * piece)))
    if not weights:
        return whole
    return Match(max(whole.score, float(np.average(scores, weights=weights))), whole.delay_ms)


def _centred(samples: Samples) -> Floats:
    values = np.asarray(samples, dtype=np.float64)
    return (values - values.mean()) / 32768 if len(values) else values


def _products(a: Floats, b: Floats, limit: int) -> tuple[Floats, NDArray[np.int64]]:
    """Sum of a[n] * b[n + lag] and the number of terms, for lags -limit..limit (by FFT)."""
    size = 1 << (len(a) + len(b) - 1).bit_length()
    spectrum = np.conj(np.fft.rfft(a, size)) * np.fft.rfft(b, size)
    circular = np.fft.irfft(spectrum, size)
    lags = np.arange(-limit, limit + 1)
    overlaps = np.minimum(len(a), len(b) - lags) - np.maximum(0, -lags)
    return circular[lags], np.maximum(overlaps, 0)


def _energies(a: Floats, b: Floats, lags: NDArray[np.int64]) -> tuple[Floats, Floats]:
    sums_a = np.concatenate(([0.0], np.cumsum(a * a)))
    sums_b = np.concatenate(([0.0], np.cumsum(b * b)))
    first, last = np.maximum(0, -lags), np.minimum(len(a), len(b) - lags)
    last = np.maximum(last, first)
    clip_a, clip_b = len(a), len(b)
    energy_a = sums_a[np.clip(last, 0, clip_a)] - sums_a[np.clip(first, 0, clip_a)]
    energy_b = sums_b[np.clip(last + lags, 0, clip_b)] - sums_b[np.clip(first + lags, 0, clip_b)]
    return energy_a, energy_b
