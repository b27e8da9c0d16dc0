"""Sounds made by calculation, where no file is configured: ringing tones of each country, a beep, and something to wait by."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from hushwire.media.encoding import MASTER_RATE, Samples

# ITU-T E.180 supplement 2 (various tones used in national networks): frequencies sounded together, then seconds on and off.
_Cadence = tuple[tuple[float, ...], tuple[float, ...]]
_ETSI: Final[_Cadence] = ((425.0,), (1.0, 4.0))
_BRITISH: Final[_Cadence] = ((400.0, 450.0), (0.4, 0.2, 0.4, 2.0))
_AMERICAN: Final[_Cadence] = ((440.0, 480.0), (2.0, 4.0))
RINGING: Final[Mapping[str, _Cadence]] = {
    **dict.fromkeys(("GB", "GG", "IM", "JE", "IE", "MT", "SG", "MY", "HK", "ZA"), _BRITISH),
    **dict.fromkeys(("US", "CA", "PR", "MX", "PH", "TW"), _AMERICAN),
    "AU": ((400.0, 417.0, 425.0), (0.4, 0.2, 0.4, 2.0)),
    "NZ": ((400.0, 450.0), (0.4, 0.2, 0.4, 2.0)),
    "JP": ((385.0, 415.0), (1.0, 2.0)),
    "FR": ((440.0,), (1.5, 3.5)),
    "ES": ((425.0,), (1.5, 3.0)),
    "PT": ((400.0,), (1.0, 5.0)),
    "CH": ((425.0,), (1.0, 4.0)),
    "BE": ((425.0,), (1.0, 3.0)),
    "SE": ((425.0,), (1.0, 5.0)),
    "IN": ((375.0, 400.0, 425.0), (0.4, 0.2, 0.4, 2.0)),
    "BR": ((425.0,), (1.0, 4.0)),
}

BEEP_HZ: Final = 1400.0
BEEP_S: Final = 0.2
_EDGE_S: Final = 0.008


def ringing(country: str) -> Samples:
    """One round of the country's ringing tone, its silence included; elsewhere 425 Hz, 1 s on and 4 s off."""
    frequencies, cadence = RINGING.get(country, _ETSI)
    parts = [_tone(frequencies, seconds) if n % 2 == 0 else _silence(seconds) for n, seconds in enumerate(cadence)]
    return np.concatenate(parts)


def beep() -> Samples:
    """A beep of the kind that tells both parties of a recording: 1400 Hz."""
    return _tone((BEEP_HZ,), BEEP_S)


def waiting_music() -> Samples:
    """16 seconds of soft chords that go round without a seam: it says "still here" without asking to be listened to."""
    beat = 0.5
    chords = ((220.0, 277.18, 329.63), (185.0, 220.0, 277.18), (146.83, 220.0, 293.66), (164.81, 246.94, 329.63))
    length = round(len(chords) * 8 * beat * MASTER_RATE)
    made = np.zeros(length, np.float64)
    at = 0
    for chord in chords:
        for step in (0, 1, 2, 1, 0, 2, 1, 2):
            note = _plucked(2 * chord[step], 1.8)
            places = (at + np.arange(len(note))) % length  # what rings on at the end rings at the beginning
            made[places] += note
            at += round(beat * MASTER_RATE)
    made *= 0.35 / np.max(np.abs(made))
    return made.astype(np.float32)


def _tone(frequencies: tuple[float, ...], seconds: float) -> Samples:
    at = np.arange(round(seconds * MASTER_RATE)) / MASTER_RATE
    wave = np.sum([np.sin(2 * np.pi * frequency * at) for frequency in frequencies], axis=0) / len(frequencies)
    edge = np.minimum(1.0, np.minimum(at, at[::-1]) / _EDGE_S)  # no click where it begins and ends
    made: Samples = (0.25 * wave * edge).astype(np.float32)
    return made


def _silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * MASTER_RATE), np.float32)


def _plucked(frequency: float, seconds: float) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    at = np.arange(round(seconds * MASTER_RATE)) / MASTER_RATE
    overtones = np.sin(2 * np.pi * frequency * at) + 0.3 * np.sin(4 * np.pi * frequency * at) + 0.1 * np.sin(6 * np.pi * frequency * at)
    made: np.ndarray[tuple[int], np.dtype[np.float64]] = overtones * np.minimum(1.0, at / 0.01) * np.exp(-2.5 * at)
    return made
