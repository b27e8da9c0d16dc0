"""Payload bytes to 16-bit samples: G.711 by table, G.722 through FFmpeg, and the step between 8 and 16 kHz."""

from typing import Final, Protocol

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

SAMPLE_RATES: Final = {"PCMU": 8000, "PCMA": 8000, "G722": 16000}
"""Codecs that can be played, with the rate of the sound that they carry (G.722's RTP clock is 8000 all the same, RFC 3551 4.5.2)."""


class Decoder(Protocol):
    """One stream's decoder; it may keep state from packet to packet."""

    lead_in: int
    """Packets after which a fresh decoder sounds as one that was there all the time; 0: it keeps no state."""

    def decode(self, payload: bytes) -> Samples:
        """The payload's samples; empty if it can't be decoded."""
        ...


class Table:
    """G.711 (ITU-T G.711): a look-up per byte."""

    lead_in = 0

    def __init__(self, table: Samples) -> None:
        self._table = table

    def decode(self, payload: bytes) -> Samples:
        """One sample a byte."""
        return self._table[np.frombuffer(payload, np.uint8)]


class G722:
    """G.722 at 64 kbit/s, adaptive: packets must come in order."""

    lead_in = 50

    def __init__(self) -> None:
        self._context = av.AudioCodecContext.create("g722", "r")
        self._context.sample_rate = 16000
        self._context.layout = "mono"

    def decode(self, payload: bytes) -> Samples:
        """Two samples a byte."""
        frames = self._context.decode(av.Packet(payload))
        if not frames:
            return np.zeros(0, np.int16)
        return np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.int16, copy=False)


def decoder(codec: str) -> Decoder | None:
    """A fresh decoder of a codec's RTP name, or None if it isn't sound that we can play (telephone-event, comfort noise)."""
    match codec:
        case "PCMU":
            return Table(_ULAW)
        case "PCMA":
            return Table(_ALAW)
        case "G722":
            return G722()
        case _:
            return None


class Converter:
    """Steps between 8 and 16 kHz by a half-band filter; keeps the end of one packet for the beginning of the next."""

    def __init__(self, source_rate: int, rate: int) -> None:
        if {source_rate, rate} - {8000, 16000}:
            raise ValueError("sample rates are 8000 or 16000")
        self._up = rate > source_rate
        self._down = rate < source_rate
        self.reset()

    @property
    def delay(self) -> int:
        """Output samples by which sound comes out later than it went in."""
        return _HALF if self._up else _HALF // 2 if self._down else 0

    def reset(self) -> None:
        """Forgets the past: what comes next doesn't continue what was."""
        self._tail = np.zeros(2 * _HALF, np.float32)

    @property
    def past(self) -> list[int]:
        """What it keeps of what went through it (whole numbers), to go on from later."""
        return [int(value) for value in self._tail]

    def go_on_from(self, past: list[int]) -> None:
        """As if what is told by `past` had gone through it."""
        self._tail = np.array(past, np.float32)

    def convert(self, samples: Samples) -> Samples:
        """The samples at the output rate."""
        if self._up:
            spread = np.zeros(2 * len(samples), np.float32)
            spread[::2] = samples
            return self._filtered(spread, 2 * _KERNEL)
        if self._down:
            return self._filtered(samples.astype(np.float32), _KERNEL)[::2]
        return samples

    def _filtered(self, samples: npt.NDArray[np.float32], kernel: npt.NDArray[np.float32]) -> Samples:
        whole = np.concatenate([self._tail, samples])
        self._tail = whole[len(samples) :]
        return np.clip(np.rint(np.convolve(whole, kernel, "valid")), -32768, 32767).astype(np.int16)


def _ulaw() -> Samples:
    code = ~np.arange(256, dtype=np.int32) & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return np.where(code & 0x80, -magnitude, magnitude).astype(np.int16)


def _alaw() -> Samples:
    code = np.arange(256, dtype=np.int32) ^ 0x55
    segment = (code & 0x70) >> 4
    base = (code & 0x0F) << 4
    magnitude = np.where(segment == 0, base + 8, (base + 0x108) << np.maximum(segment - 1, 0))
    return np.where(code & 0x80, magnitude, -magnitude).astype(np.int16)


def _kernel(half: int) -> npt.NDArray[np.float32]:
    positions = np.arange(-half, half + 1)
    taps = np.sinc(positions / 2) * np.blackman(2 * half + 3)[1:-1]
    kernel: npt.NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return kernel


_HALF: Final = 16
_KERNEL: Final = _kernel(_HALF)
_ULAW: Final = _ulaw()
_ALAW: Final = _alaw()
