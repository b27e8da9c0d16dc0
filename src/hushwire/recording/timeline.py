"""One leg's packets on one line of samples: placed by RTP timestamp, anchored by arrival.

The sender's timestamps say how packets lie among each other; arrival says where they lie in the recording. The least delayed
packet of the next second is taken as the true arrival (delay only ever adds), so jitter and bursts don't move the sound.
Where the sender's clock drifts, the line follows by single samples; where timestamps jump without time passing, or stand
still while time passes, it is anchored anew. Times are 100-microsecond ticks of the recording (RFC 3550 sections 5.1, 6.4.1, A.1).
"""

import heapq
import struct
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hushwire.recording.decoders import SAMPLE_RATES, Converter, Decoder, Samples, decoder
from hushwire.recording.entries import TICKS_PER_S

CLOCK: Final = 8000
"""RTP clock of all codecs here, G.722 included (RFC 3551 section 4.5.2)."""

LOOK_AHEAD_S: Final = 1.0
MAX_DROPOUT: Final = 3000
JUMP_S: Final = 0.120
DRIFT_S: Final = 0.020
SETTLED_S: Final = 0.005

_RTP: Final = struct.Struct(">BBHII")
_STATIC: Final = {0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}  # RFC 3551 section 6


@dataclass(slots=True)
class Counts:
    """What happened to one leg's packets."""

    packets: int = 0
    placed: int = 0
    duplicates: int = 0
    late: int = 0
    malformed: int = 0
    not_sound: int = 0


@dataclass(order=True, frozen=True, slots=True)
class _Waiting:
    sequence: int
    arrival: float = field(compare=False)
    timestamp: int = field(compare=False)
    codec: str = field(compare=False)
    payload: bytes = field(compare=False)


class Timeline:
    """The samples of one leg at `rate`, taken from the front as they become certain."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._formats: dict[int, str] = {}
        self._streams: dict[int, _Stream] = {}
        self._origin = 0  # how many samples were taken
        self._samples = np.zeros(rate * 30, np.int16)
        self.counts = Counts()

    def set_formats(self, formats: dict[int, str]) -> None:
        """From now on payload types mean this."""
        self._formats = formats

    def add(self, ticks: int, packet: bytes) -> None:
        """One RTP packet that arrived at `ticks`."""
        self.counts.packets += 1
        parsed = _parse(packet)
        if parsed is None:
            self.counts.malformed += 1
            return
        number, sequence, timestamp, ssrc, payload = parsed
        codec, _, clock = self._formats.get(number, _STATIC.get(number, "")).partition("/")
        if codec.upper() not in SAMPLE_RATES or clock.partition("/")[0] not in ("", "8000") or not payload:
            self.counts.not_sound += 1
            return
        stream = self._streams.get(ssrc)
        if stream is None or stream.is_restarted_by(sequence):
            if stream is not None:
                self._release(stream, None)
            stream = self._streams[ssrc] = _Stream(self._rate, sequence, timestamp)
            self._forget_old_streams()
        arrival = ticks * self._rate / TICKS_PER_S
        if not stream.enqueue(sequence, timestamp, arrival, codec.upper(), payload):
            self.counts.duplicates += 1

    def advance(self, ticks: int) -> None:
        """Time has come to `ticks`: packets that a second has passed over are placed."""
        horizon = (ticks / TICKS_PER_S - LOOK_AHEAD_S) * self._rate
        for stream in self._streams.values():
            self._release(stream, horizon)

    def flush(self) -> None:
        """No packet comes any more."""
        for stream in self._streams.values():
            self._release(stream, None)

    def take(self, count: int) -> Samples:
        """The next `count` samples; where nothing arrived there is silence. What arrives for them later is late."""
        self._reserve(count)
        taken = self._samples[:count].copy()
        self._samples[:-count] = self._samples[count:]
        self._samples[-count:] = 0
        self._origin += count
        return taken

    def _release(self, stream: "_Stream", horizon: float | None) -> None:
        for position, samples in stream.release(horizon):
            start = position - self._origin
            if start < 0:
                samples = samples[-start:]
                start = 0
            if not len(samples):
                self.counts.late += 1
                continue
            self._reserve(start + len(samples))
            self._samples[start : start + len(samples)] = samples
            self.counts.placed += 1

    def _reserve(self, count: int) -> None:
        if count >= len(self._samples):
            grown = np.zeros(2 * count, np.int16)
            grown[: len(self._samples)] = self._samples
            self._samples = grown

    def _forget_old_streams(self) -> None:
        while len(self._streams) > 8:
            oldest = next(iter(self._streams))
            self._release(self._streams.pop(oldest), None)


class _Stream:
    """One SSRC: sequence numbers and timestamps without wrap-around, and where timestamp 0 lies on the line."""

    def __init__(self, rate: int, sequence: int, timestamp: int) -> None:
        self._rate = rate
        self._highest = sequence
        self._timestamp = timestamp
        self._released = -1 << 62
        self._waiting: list[_Waiting] = []
        self._queued: set[int] = set()
        self._base: float | None = None
        self._slip = 0
        self._codec = ""
        self._decoder: Decoder | None = None
        self._converter = Converter(rate, rate)
        self._continues_at: int | None = None

    def is_restarted_by(self, sequence: int) -> bool:
        """Whether this sequence number is too far off to be loss or reordering (RFC 3550 A.1)."""
        return abs(_signed(sequence - self._highest, 16)) > MAX_DROPOUT

    def enqueue(self, sequence: int, timestamp: int, arrival: float, codec: str, payload: bytes) -> bool:
        """Keeps the packet until its turn; False for one that was there before, or whose turn has passed."""
        extended = self._highest + _signed(sequence - self._highest, 16)
        if extended <= self._released or extended in self._queued:
            return False
        self._queued.add(extended)
        moment = self._timestamp + _signed(timestamp - self._timestamp, 32)
        if extended > self._highest:
            self._highest, self._timestamp = extended, moment
        heapq.heappush(self._waiting, _Waiting(extended, arrival, moment, codec, payload))
        return True

    def release(self, horizon: float | None) -> list[tuple[int, Samples]]:
        """Positions and samples of the packets that arrived before `horizon` (in samples; None: of all)."""
        released = []
        while self._waiting and (horizon is None or self._waiting[0].arrival <= horizon):
            packet = heapq.heappop(self._waiting)
            self._queued.discard(packet.sequence)
            self._released = packet.sequence
            self._anchor(packet)
            samples = self._decoded(packet)
            if len(samples):
                position = self._place(packet)
                if self._slip > 0:  # the line moves one sample later: its hole is filled with the sound's first one
                    position, samples = position - 1, np.concatenate([samples[:1], samples])
                released.append((position, samples))
        return released

    def _anchor(self, packet: _Waiting) -> None:
        if self._base is None:
            self._base = 0.0
            self._base = self._least_delay(packet)
            return
        delay = self._delay(packet)
        if delay < -JUMP_S * self._rate:  # it came before its time: the sender's timestamps leapt
            self._base += delay
            self._slip = 0
        elif self._slip or abs(delay) > DRIFT_S * self._rate:
            self._follow(self._least_delay(packet))

    def _follow(self, delay: float) -> None:
        assert self._base is not None
        if delay > JUMP_S * self._rate:  # even the fastest packet is late: time passed while timestamps stood still
            self._base += delay
            self._slip = 0
        elif abs(delay) > DRIFT_S * self._rate:
            self._slip = 1 if delay > 0 else -1
        elif abs(delay) < SETTLED_S * self._rate:
            self._slip = 0
        self._base += self._slip

    def _delay(self, packet: _Waiting) -> float:
        assert self._base is not None
        return packet.arrival - self._base - packet.timestamp * self._rate / CLOCK

    def _least_delay(self, packet: _Waiting) -> float:
        return min(self._delay(other) for other in (packet, *self._waiting))

    def _decoded(self, packet: _Waiting) -> Samples:
        if packet.codec != self._codec or self._decoder is None:
            self._codec = packet.codec
            self._decoder = decoder(packet.codec)
            self._converter = Converter(SAMPLE_RATES[packet.codec], self._rate)
        assert self._decoder is not None
        samples = self._decoder.decode(packet.payload)
        if packet.timestamp != self._continues_at:
            self._converter.reset()
        self._continues_at = packet.timestamp + len(samples) * CLOCK // SAMPLE_RATES[packet.codec]
        return self._converter.convert(samples)

    def _place(self, packet: _Waiting) -> int:
        assert self._base is not None
        return round(self._base + packet.timestamp * self._rate / CLOCK) - self._converter.delay


def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((difference + half) & ((1 << bits) - 1)) - half


def _parse(packet: bytes) -> tuple[int, int, int, int, bytes] | None:
    """Payload type, sequence, timestamp, SSRC and payload (RFC 3550 section 5.1), or None if it is no RTP packet."""
    size = len(packet)
    if size < _RTP.size:
        return None
    first, second, sequence, timestamp, ssrc = _RTP.unpack_from(packet)
    start = _RTP.size + 4 * (first & 0x0F)
    if first >> 6 != 2 or start > size:
        return None
    if first & 0x10:
        if start + 4 > size:
            return None
        start += 4 + 4 * int.from_bytes(packet[start + 2 : start + 4], "big")
    end = size
    if first & 0x20:
        if not packet[-1]:
            return None
        end -= packet[-1]
    return (second & 0x7F, sequence, timestamp, ssrc, packet[start:end]) if start <= end else None
