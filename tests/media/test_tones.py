"""Calculated sounds: the ringing of a country, a beep, and music that goes round without a seam."""

import numpy as np
import pytest

from hushwire.media import tones
from hushwire.media.encoding import MASTER_RATE, levelled


def loud(samples: np.ndarray) -> list[tuple[bool, float]]:
    """(is there sound, seconds) of each part, in order."""
    blocks = np.abs(samples[: len(samples) // 480 * 480].reshape(-1, 480)).max(axis=1) > 0.01
    parts: list[tuple[bool, float]] = []
    for is_loud in blocks:
        if parts and parts[-1][0] == is_loud:
            parts[-1] = (bool(is_loud), parts[-1][1] + 0.01)
        else:
            parts.append((bool(is_loud), 0.01))
    return parts


def peaks(samples: np.ndarray, count: int) -> set[int]:
    """The loudest frequencies, to the nearest 5 Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    found: list[int] = []
    for place in np.argsort(spectrum)[::-1]:
        hertz = place * MASTER_RATE / len(samples)
        if all(abs(hertz - other) > 10 for other in found):
            found.append(round(hertz))
        if len(found) == count:
            break
    return set(found)


@pytest.mark.parametrize(
    ("country", "frequencies", "cadence"),
    [
        ("DE", {425}, [1.0, 4.0]),
        ("GB", {400, 450}, [0.4, 0.2, 0.4, 2.0]),
        ("US", {440, 480}, [2.0, 4.0]),
        ("FR", {440}, [1.5, 3.5]),
        ("JP", {385, 415}, [1.0, 2.0]),
        ("XK", {425}, [1.0, 4.0]),
    ],
)
def test_ringing_has_the_pitch_and_the_cadence_of_its_country(country: str, frequencies: set[int], cadence: list[float]) -> None:
    samples = tones.ringing(country)
    parts = loud(samples)
    assert [is_loud for is_loud, _ in parts] == [n % 2 == 0 for n in range(len(cadence))]
    assert all(abs(seconds - wanted) < 0.04 for (_, seconds), wanted in zip(parts, cadence, strict=True))
    first = samples[: int(cadence[0] * MASTER_RATE)]
    assert {5 * round(hertz / 5) for hertz in peaks(first, len(frequencies))} == frequencies


def test_the_beep_is_one_short_tone_of_1400_hz_without_a_click() -> None:
    samples = tones.beep()
    assert len(samples) == int(0.2 * MASTER_RATE)
    assert peaks(samples, 1) == {1400}
    assert abs(samples[0]) < 0.01
    assert abs(samples[-1]) < 0.01


def test_music_goes_round_without_a_seam_and_has_no_pause() -> None:
    samples = levelled(tones.waiting_music())
    jumps = np.abs(np.diff(np.concatenate([samples, samples[:1]])))
    assert jumps[-1] <= jumps[:-1].max()
    blocks = samples[: len(samples) // 4800 * 4800].reshape(-1, 4800)
    assert np.sqrt(np.mean(blocks.astype(float) ** 2, axis=1)).min() > 0.005
