"""Payload bytes to 16-bit samples: G.711 by table, G.722 and Opus through FFmpeg, and the step between 8 and 16 kHz."""

from typing import Final, Protocol

import av
import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.int16]

SAMPLE_RATES: Final = {"PCMU": 8000, "PCMA": 8000, "G722": 16000, "OPUS": 16000}
"""Codecs that can be played, with the rate of the sound that we take from them."""

CLOCKS: Final = {"PCMU": 8000, "PCMA": 8000, "G722": 8000, "OPUS": 48000}
"""Their RTP clocks (RFC 3551 section 4.5.2 for G.722, RFC 7587 section 4.1 for Opus)."""


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


class Opus:
    """Opus (RFC 6716), mixed to one channel: speech keeps what 16 kHz can hold."""

    lead_in = 50

    def __init__(self) -> None:
        self._context = av.AudioCodecContext.create("libopus", "r")
        self._context.sample_rate = 48000
        self._context.layout = "mono"
        self._tail = np.zeros(len(_THIRD) - 1, np.float32)

    def decode(self, payload: bytes) -> Samples:
        """A third of the packet's 48,000 a second; what comes is later than what went in by a third of a millisecond."""
        try:
            frames = self._context.decode(av.Packet(payload))
        except av.FFmpegError:
            return np.zeros(0, np.int16)
        if not frames:
            return np.zeros(0, np.int16)
        samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames]).astype(np.float32)
        whole = np.concatenate([self._tail, samples])
        self._tail = whole[len(samples) :]
        return np.clip(np.rint(np.convolve(whole, _THIRD, "valid")[::3]), -32768, 32767).astype(np.int16)


def duration(codec: str, payload: bytes) -> int:
    """How long a packet lasts, in ticks of 8,000 a second; for Opus by its first bytes (RFC 6716 section 3.1), 0 where they are wrong."""
    if codec != "OPUS":
        return len(payload)
    config, code = payload[0] >> 3, payload[0] & 3
    frames = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[code]
    if config < 12:
        frame = (80, 160, 320, 480)[config & 3]
    elif config < 16:
        frame = (80, 160)[config & 1]
    else:
        frame = (20, 40, 80, 160)[config & 3]
    return frame * frames if frame * frames <= 960 else 0


def decoder(codec: str) -> Decoder | None:
    """A fresh decoder of a codec's RTP name, or None if it isn't sound that we can play (telephone-event, comfort noise)."""
    match codec:
        case "PCMU":
            return Table(_ULAW)
        case "PCMA":
            return Table(_ALAW)
        case "G722":
            return G722()
        case "OPUS":
            return Opus()
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


def _third(half: int) -> npt.NDArray[np.float32]:
    positions = np.arange(-half, half + 1)
    taps = np.sinc(positions * 0.94 / 3) * np.blackman(2 * half + 3)[1:-1]
    kernel: npt.NDArray[np.float32] = (taps / taps.sum()).astype(np.float32)
    return kernel


_HALF: Final = 16
_THIRD: Final = _third(48)
_KERNEL: Final = _kernel(_HALF)
_ULAW: Final = _ulaw()
_ALAW: Final = _alaw()
