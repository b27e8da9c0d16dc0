"""One leg's packets on one line of samples: placed by RTP timestamp, anchored by arrival.

The sender's timestamps say how packets lie among each other; arrival says where they lie in the recording. The least delayed
packet of the next second is taken as the true arrival (delay only ever adds), so jitter and bursts don't move the sound.
Where the sender's clock drifts, the line follows by single samples; where timestamps jump without time passing, or stand
still while time passes, it is anchored anew. Times are 100-microsecond ticks of the recording (RFC 3550 sections 5.1, 6.4.1, A.1).

A line can be put down (`state`) and taken up elsewhere (`resumed`) so that the samples that follow are the same ones: numbers are
kept, packets are named by their place in the file. A decoder's memory can't be kept, so decoders are exchanged for fresh ones now
and then (`renew`, on every way through a file at the same places), each of which hears the last packets of its predecessor first.
"""

import heapq
import struct
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from hushwire.recording.decoders import CLOCKS, SAMPLE_RATES, Converter, Decoder, Samples, decoder, duration
from hushwire.recording.entries import TICKS_PER_S
from hushwire.recording.history import LegHistory

CLOCK: Final = 8000
"""What moments are counted in. It is the RTP clock of G.711 and G.722; Opus's timestamps are brought down to it (CLOCKS)."""

LOOK_AHEAD_S: Final = 1.0
MAX_DROPOUT: Final = 3000
JUMP_S: Final = 0.120
DRIFT_S: Final = 0.008
SETTLED_S: Final = 0.002
"""A line that is off by more than DRIFT_S is moved until it is off by less than SETTLED_S: two legs, each off in its own direction,
stay within 20 ms of each other."""

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


@dataclass(order=True, slots=True)
class _Waiting:
    sequence: int
    ordinal: int = field(compare=False)
    arrival: float = field(compare=False)
    timestamp: int = field(compare=False)
    codec: str = field(compare=False)
    payload: bytes = field(compare=False)


class Timeline:
    """The samples of one leg at `rate`, taken from the front as they become certain. `history` is told what happens."""

    def __init__(self, rate: int, history: LegHistory | None = None, origin: int = 0) -> None:
        self._rate = rate
        self._history = history
        self._formats: dict[int, str] = {}
        self._streams: dict[int, _Stream] = {}
        self._origin = origin  # how many samples were taken
        self._samples = np.zeros(rate * 30, np.int16)
        self.counts = Counts()
        self.reach = 0
        """Where the sound ends that was placed so far, in samples: beyond, the line is still untouched."""

    @classmethod
    def resumed(cls, rate: int, state: Mapping[str, Any], packets: Mapping[int, tuple[int, bytes]], origin: int) -> "Timeline":
        """The line as `state` tells, with nothing on it before `origin` and no sound yet after it.

        `packets`: by ordinal, arrival in ticks and the RTP packet; all that `needed` names must be there (KeyError).
        """
        made = cls(rate)
        made._formats = {int(number): str(name) for number, name in state["formats"]}
        made._streams = {int(kept["ssrc"]): _Stream.resumed(rate, kept, packets) for kept in state["streams"]}
        made._origin = origin
        return made

    def set_formats(self, formats: dict[int, str]) -> None:
        """From now on payload types mean this."""
        self._formats = formats

    def add(self, ticks: int, packet: bytes, ordinal: int = 0) -> None:
        """One RTP packet that arrived at `ticks`; `ordinal` names it in `state`."""
        self.counts.packets += 1
        parsed = _parse(packet)
        if parsed is None:
            self.counts.malformed += 1
            return
        number, sequence, timestamp, ssrc, payload = parsed
        codec, _, clock = self._formats.get(number, _STATIC.get(number, "")).partition("/")
        codec = codec.upper()
        if codec not in SAMPLE_RATES or clock.partition("/")[0] not in ("", str(CLOCKS[codec])) or not payload:
            self.counts.not_sound += 1
            if self._history and ssrc in self._streams:
                self._streams[ssrc].pass_over(sequence)
            return
        stream = self._streams.get(ssrc)
        if stream is None or stream.is_restarted_by(sequence):
            if stream is not None:
                self._release(stream, None)
                if self._history:
                    self._history.leapt(ssrc)
            stream = self._streams[ssrc] = _Stream(self._rate, ssrc, sequence, timestamp)
            self._forget_old_streams()
            if self._history:
                self._history.source()
        arrival = ticks * self._rate / TICKS_PER_S
        if not stream.enqueue(sequence, timestamp, arrival, codec, payload, ordinal):
            if self._history and (late := stream.late(sequence, timestamp, codec, payload)):
                self.counts.late += 1
                self._history.late(*late)
            else:
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

    def renew(self) -> None:
        """Exchange decoders that remember for fresh ones that have heard the last packets."""
        for stream in self._streams.values():
            stream.renew()

    def state(self) -> dict[str, Any]:
        """All that `resumed` needs, as plain values. To be asked for right after `renew`."""
        return {"formats": list(self._formats.items()), "streams": [stream.state() for stream in self._streams.values()]}

    def _release(self, stream: "_Stream", horizon: float | None) -> None:
        for position, samples in stream.release(horizon, self._history):
            self.reach = max(self.reach, position + len(samples))
            start = position - self._origin
            if start < 0:
                if self._history and -start >= len(samples):
                    self._history.late(position, len(samples))
                samples = samples[-start:]
                start = 0
            if not len(samples):
                self.counts.late += 1
                continue
            self._reserve(start + len(samples))
            self._samples[start : start + len(samples)] = samples
            self.counts.placed += 1
            if self._history:
                self._history.placed(self._origin + start, len(samples), stream.codec)

    def _reserve(self, count: int) -> None:
        if count >= len(self._samples):
            grown = np.zeros(2 * count, np.int16)
            grown[: len(self._samples)] = self._samples
            self._samples = grown

    def _forget_old_streams(self) -> None:
        while len(self._streams) > 8:
            oldest = next(iter(self._streams))
            self._release(self._streams.pop(oldest), None)
            if self._history:
                self._history.leapt(oldest)


def needed(state: Mapping[str, Any]) -> Iterator[int]:
    """The ordinals of the packets that a line's `state` names."""
    for stream in state["streams"]:
        yield from (ordinal for ordinal, *_ in stream["waiting"])
        yield from stream["lead"]


class _Stream:
    """One SSRC: sequence numbers and timestamps without wrap-around, and where timestamp 0 lies on the line."""

    def __init__(self, rate: int, ssrc: int, sequence: int, timestamp: int) -> None:
        self._rate = rate
        self._ssrc = ssrc
        self._highest = sequence
        self._timestamp = timestamp
        self._released = _NOTHING
        self._arrived = 0.0
        self._missing: set[int] = set()
        self._waiting: list[_Waiting] = []
        self._queued: set[int] = set()
        self._fastest: list[tuple[float, int]] = []
        self._base: float | None = None
        self._slip = 0
        self.codec = ""
        self._decoder: Decoder | None = None
        self._soundless: set[int] = set()
        self._lead: deque[tuple[int, bytes]] = deque(maxlen=0)
        self._converter = Converter(rate, rate)
        self._continues_at: int | None = None

    @classmethod
    def resumed(cls, rate: int, state: Mapping[str, Any], packets: Mapping[int, tuple[int, bytes]]) -> "_Stream":
        """The stream as `state` tells."""
        made = cls(rate, state["ssrc"], state["highest"], state["timestamp"])
        made._released, made._base, made._slip = state["released"], state["base"], state["slip"]
        made._continues_at = state["continues_at"]
        for ordinal, sequence, timestamp, codec in state["waiting"]:
            ticks, packet = packets[ordinal]
            made._keep(_Waiting(sequence, ordinal, ticks * rate / TICKS_PER_S, timestamp, codec, _payload(packet)))
        if state["codec"]:
            made._begin(state["codec"])
            made._lead.extend((ordinal, _payload(packets[ordinal][1])) for ordinal in state["lead"])
            made._converter.go_on_from(state["past"])
            made.renew()
        return made

    def state(self) -> dict[str, Any]:
        """All that `resumed` needs."""
        return {
            "ssrc": self._ssrc,
            "highest": self._highest,
            "timestamp": self._timestamp,
            "released": self._released,
            "base": self._base,
            "slip": self._slip,
            "continues_at": self._continues_at,
            "codec": self.codec,
            "past": self._converter.past if self._converter.delay else [],
            "lead": [ordinal for ordinal, _ in self._lead],
            "waiting": [[packet.ordinal, packet.sequence, packet.timestamp, packet.codec] for packet in sorted(self._waiting)],
        }

    def is_restarted_by(self, sequence: int) -> bool:
        """Whether this sequence number is too far off to be loss or reordering (RFC 3550 A.1)."""
        return abs(_signed(sequence - self._highest, 16)) > MAX_DROPOUT

    def enqueue(self, sequence: int, timestamp: int, arrival: float, codec: str, payload: bytes, ordinal: int) -> bool:
        """Keeps the packet until its turn; False for one that was there before, or whose turn has passed."""
        extended = self._extended(sequence)
        if extended <= self._released or extended in self._queued:
            return False
        moment = self._moment(timestamp)
        if extended > self._highest:
            self._highest, self._timestamp = extended, moment
        self._keep(_Waiting(extended, ordinal, arrival, moment * CLOCK // CLOCKS[codec], codec, payload))
        return True

    def pass_over(self, sequence: int) -> None:
        """This packet came and is no sound (a digit, comfort noise): nothing is missing there."""
        extended = self._extended(sequence)
        if extended > self._released and abs(extended - self._highest) <= MAX_DROPOUT:
            self._soundless.add(extended)

    def late(self, sequence: int, timestamp: int, codec: str, payload: bytes) -> tuple[int, int] | None:
        """Position and length of a packet that was missing when its turn came; None for one that is a repetition."""
        extended = self._extended(sequence)
        if extended not in self._missing or self._base is None:
            return None
        self._missing.discard(extended)
        count = duration(codec, payload) * self._rate // CLOCK
        return round(self._base + self._moment(timestamp) * self._rate / CLOCKS[codec]), count

    def release(self, horizon: float | None, history: LegHistory | None) -> list[tuple[int, Samples]]:
        """Positions and samples of the packets that arrived before `horizon` (in samples; None: of all)."""
        released = []
        while self._waiting and (horizon is None or self._waiting[0].arrival <= horizon):
            packet = heapq.heappop(self._waiting)
            self._queued.discard(packet.sequence)
            leapt = self._anchor(packet)
            samples = self._decoded(packet)
            if history:
                self._note(packet, leapt, history)
            self._released = packet.sequence
            self._arrived = packet.arrival
            if len(samples):
                position = self._place(packet)
                if self._slip > 0:  # the line moves one sample later: its hole is filled with the sound's first one
                    position, samples = position - 1, np.concatenate([samples[:1], samples])
                released.append((position, samples))
        return released

    def renew(self) -> None:
        """See Timeline.renew."""
        if self._decoder is not None and self._decoder.lead_in:
            self._decoder = decoder(self.codec)
            assert self._decoder is not None
            for _, payload in self._lead:
                self._decoder.decode(payload)

    def _keep(self, packet: _Waiting) -> None:
        self._queued.add(packet.sequence)
        heapq.heappush(self._waiting, packet)
        if len(self._fastest) > 2 * len(self._waiting) + 200:  # those whose turn has come are no longer asked for
            self._fastest = [self._speed(other) for other in self._waiting]
            heapq.heapify(self._fastest)
        else:
            heapq.heappush(self._fastest, self._speed(packet))

    def _speed(self, packet: _Waiting) -> tuple[float, int]:
        return packet.arrival - packet.timestamp * self._rate / CLOCK, packet.sequence

    def _extended(self, sequence: int) -> int:
        return self._highest + _signed(sequence - self._highest, 16)

    def _moment(self, timestamp: int) -> int:
        return self._timestamp + _signed(timestamp - self._timestamp, 32)

    def _anchor(self, packet: _Waiting) -> bool:
        """Moves the line if it has to be moved; True where the sender's timestamps leapt."""
        if self._base is None:
            self._base = self._least_delay(packet)
            return False
        delay = packet.arrival - packet.timestamp * self._rate / CLOCK - self._base
        if delay < -JUMP_S * self._rate:  # it came before its time: the sender's timestamps leapt
            self._base += delay
            self._slip = 0
            return True
        if self._slip or abs(delay) > DRIFT_S * self._rate:
            return self._follow(self._least_delay(packet) - self._base)
        return False

    def _follow(self, delay: float) -> bool:
        assert self._base is not None
        if delay > JUMP_S * self._rate:  # even the fastest packet is late: time passed while timestamps stood still
            self._base += delay
            self._slip = 0
            return True
        if abs(delay) > DRIFT_S * self._rate:
            self._slip = 1 if delay > 0 else -1
        elif abs(delay) < SETTLED_S * self._rate:
            self._slip = 0
        self._base += self._slip
        return False

    def _least_delay(self, packet: _Waiting) -> float:
        """Of this packet and those that wait: arrival less timestamp, in samples."""
        while self._fastest[0][1] < packet.sequence:
            heapq.heappop(self._fastest)
        return self._fastest[0][0]

    def _begin(self, codec: str) -> None:
        self.codec = codec
        self._decoder = decoder(codec)
        assert self._decoder is not None
        self._lead = deque(maxlen=self._decoder.lead_in)
        self._converter = Converter(SAMPLE_RATES[codec], self._rate)

    def _decoded(self, packet: _Waiting) -> Samples:
        if packet.codec != self.codec:
            self._begin(packet.codec)
        assert self._decoder is not None
        samples = self._decoder.decode(packet.payload)
        self._lead.append((packet.ordinal, packet.payload))
        if packet.timestamp != self._continues_at:
            self._converter.reset()
        self._continues_at = packet.timestamp + len(samples) * CLOCK // SAMPLE_RATES[packet.codec]
        return self._converter.convert(samples)

    def _place(self, packet: _Waiting) -> int:
        assert self._base is not None
        return round(self._base + packet.timestamp * self._rate / CLOCK) - self._converter.delay

    def _note(self, packet: _Waiting, leapt: bool, history: LegHistory) -> None:
        assert self._base is not None
        if leapt:
            history.leapt(self._ssrc)
        history.delay(self._ssrc, packet.arrival, packet.arrival - packet.timestamp * self._rate / CLOCK)
        missing = packet.sequence - self._released - 1
        if self._released != _NOTHING and missing > 0:
            if len(self._missing) > MAX_DROPOUT:
                self._missing.clear()
            absent = set(range(self._released + 1, packet.sequence)) - self._soundless
            self._soundless = {sequence for sequence in self._soundless if sequence > packet.sequence}
            missing = len(absent)
            self._missing.update(absent)
        if self._released != _NOTHING and missing > 0:
            # Not longer than time allows: where timestamps leapt meanwhile they say nothing of what is missing.
            length = duration(packet.codec, packet.payload)
            count = min(missing * length * self._rate // CLOCK, max(0, round(packet.arrival - self._arrived)) + self._rate)
            history.lost(self._place(packet), missing, count, self._arrived, packet.arrival)


_NOTHING: Final = -1 << 62


def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((difference + half) & ((1 << bits) - 1)) - half


def _payload(packet: bytes) -> bytes:
    parsed = _parse(packet)
    assert parsed is not None  # it was looked at when it was named
    return parsed[4]


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
