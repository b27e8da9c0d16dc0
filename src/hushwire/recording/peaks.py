"""How loud each leg is, for waveforms: least and greatest sample of each stretch, in the form that audiowaveform and peaks.js know.

https://github.com/bbc/audiowaveform/blob/master/doc/DataFormat.md, version 2, 8 bits: per pixel and channel the minimum, then the maximum.
"""

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from hushwire.core.errors import MalformedError
from hushwire.recording.containers import Stereo

FINEST_PER_S: Final = 50
PER_SECOND: Final = (1, 2, 5, 10, 25, 50)
"""Resolutions that can be asked for: each divides the finest one."""

_HEAD: Final = struct.Struct("<iIiiIi")
_EIGHT_BITS: Final = 1


@dataclass(frozen=True, slots=True)
class Peaks:
    """`pixels`: shape (pixels, 2 legs, 2), least and greatest, each sample divided by 256."""

    rate: int
    per_second: int
    pixels: npt.NDArray[np.int8]

    def at(self, per_second: int) -> "Peaks":
        """The same at another resolution of `PER_SECOND`, not finer than this one."""
        merged = self.per_second // per_second
        padding = -len(self.pixels) % merged
        whole = np.concatenate([self.pixels, self.pixels[-1:].repeat(padding, axis=0)]).reshape(-1, merged, 2, 2)
        return Peaks(self.rate, per_second, np.stack([whole[..., 0].min(axis=1), whole[..., 1].max(axis=1)], axis=2))

    def as_dat(self) -> bytes:
        """The binary form."""
        head = _HEAD.pack(2, _EIGHT_BITS, self.rate, self.rate // self.per_second, len(self.pixels), 2)
        return head + self.pixels.tobytes()

    def as_json(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "version": 2,
            "channels": 2,
            "sample_rate": self.rate,
            "samples_per_pixel": self.rate // self.per_second,
            "bits": 8,
            "length": len(self.pixels),
            "data": self.pixels.reshape(-1).tolist(),
        }

    def pack(self) -> bytes:
        """As bytes, to be sealed."""
        return zlib.compress(self.as_dat())

    @classmethod
    def unpack(cls, packed: bytes) -> Self:
        """What `pack` gave. Raises MalformedError."""
        found = zlib.decompress(packed)
        version, flags, rate, samples_per_pixel, length, channels = _HEAD.unpack_from(found)
        if (version, flags, channels) != (2, _EIGHT_BITS, 2) or len(found) != _HEAD.size + 4 * length:
            raise MalformedError("not peaks of two channels in 8 bits")
        return cls(rate, rate // samples_per_pixel, np.frombuffer(found, np.int8, offset=_HEAD.size).reshape(-1, 2, 2))


class Measuring:
    """Peaks in the making. Blocks but the last hold whole pixels."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.int8]] = []

    def add(self, rate: int, block: Stereo) -> None:
        """The next samples."""
        size = rate // FINEST_PER_S
        whole = len(block) - len(block) % size
        if whole:
            self._pixels(block[:whole].reshape(-1, size, 2))
        if whole < len(block):
            self._pixels(block[whole:].reshape(1, -1, 2))

    def done(self, rate: int) -> Peaks:
        """All of them."""
        pixels = np.concatenate(self._parts) if self._parts else np.zeros((0, 2, 2), np.int8)
        return Peaks(rate, FINEST_PER_S, pixels)

    def _pixels(self, samples: npt.NDArray[np.int16]) -> None:
        self._parts.append((np.stack([samples.min(axis=1), samples.max(axis=1)], axis=2) >> 8).astype(np.int8))
