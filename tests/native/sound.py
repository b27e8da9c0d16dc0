"""Parties that speak and hear real audio, coded by FFmpeg (through PyAV): who hears whom is told by each one's own tone."""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from tests.native.call import Party, Rtp, parse, rtp
from tests.native.client import Media

FRAME_S = 0.02


@dataclass(frozen=True)
class Kind:
    """A codec as RTP and FFmpeg have it. `number` is its own in CODEC of the control protocol."""

    number: int
    payload_type: int
    clock: int
    rate: int
    encoder: str
    decoder: str

    def field(self, ptime_ms: int = 20, flags: int = 0) -> bytes:
        return struct.pack(">BBBBI", self.payload_type, self.number, ptime_ms, flags, self.clock)


CODECS = {
    "PCMU": Kind(1, 0, 8_000, 8_000, "pcm_mulaw", "pcm_mulaw"),
    "PCMA": Kind(2, 8, 8_000, 8_000, "pcm_alaw", "pcm_alaw"),
    "G722": Kind(3, 9, 8_000, 16_000, "g722", "g722"),
    "opus": Kind(4, 111, 48_000, 48_000, "libopus", "libopus"),
}


def event_field(payload_type: int = 101, clock: int = 8_000) -> bytes:
    return struct.pack(">BBBBI", payload_type, 6, 20, 0, clock)


def tone(hz: float, seconds: float, rate: int, level: float = 8_000) -> np.ndarray:
    """16-bit samples of a sine."""
    return (level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.int16)


def resampled(pcm: np.ndarray, rate: int, to: int) -> np.ndarray:
    """By FFmpeg's resampler."""
    if rate == to:
        return pcm
    resampler = av.AudioResampler("s16", "mono", to)
    frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "mono")
    frame.sample_rate = rate
    frames = [*resampler.resample(frame), *resampler.resample(None)]
    return np.concatenate([one.to_ndarray().reshape(-1) for one in frames])


def encode(kind: Kind, pcm: np.ndarray) -> list[bytes]:
    """Payloads of 20 ms each of samples at `kind.rate`."""
    context = av.CodecContext.create(kind.encoder, "w")
    context.sample_rate, context.format, context.layout = kind.rate, "s16", "mono"
    if kind.encoder == "libopus":
        context.bit_rate, context.options = 32_000, {"application": "voip", "frame_duration": "20"}
    context.open()
    size, payloads = int(kind.rate * FRAME_S), []
    for at in range(0, len(pcm) - size + 1, size):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm[at : at + size]).reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts = kind.rate, at
        payloads += [bytes(packet) for packet in context.encode(frame)]
    return payloads


def decode(kind: Kind, payloads: list[bytes]) -> np.ndarray:
    """Samples at `kind.rate` of payloads in order, none missing."""
    context = av.CodecContext.create(kind.decoder, "r")
    context.sample_rate, context.layout = kind.rate, "mono"
    context.open()
    frames = [frame for payload in payloads for frame in context.decode(av.Packet(payload))]
    parts = []
    for frame in frames:
        samples = frame.to_ndarray().reshape(-1)
        parts.append((np.clip(samples, -1, 1) * 32767).astype(np.int16) if samples.dtype.kind == "f" else samples)
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


def level_db(pcm: np.ndarray, hz: float, rate: int) -> float:
    """The level of a frequency in dB below a full-scale sine."""
    window = np.hanning(len(pcm))
    turn = np.exp(-2j * np.pi * hz * np.arange(len(pcm)) / rate)
    return float(20 * np.log10(np.abs(np.sum(pcm * window * turn)) * 2 / np.sum(window) / 32768 + 1e-9))


@dataclass(frozen=True)
class Event:
    """A telephone-event packet in the place of the audio, sent `times` times; `at` is the number of the packet that it began at."""

    at: int
    payload: bytes
    marker: bool = False
    times: int = 1
    payload_type: int = 101


@dataclass
class Voice:
    """A party that sends its payloads every 20 ms and keeps what it hears, with the time of arrival."""

    party: Party
    kind: Kind
    payloads: list[bytes]
    ssrc: int = 0x1234
    sequence: int = 65_500
    timestamp: int = (1 << 32) - 20_000
    events: dict[int, Event] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)  # numbered, but never sent
    silent: set[int] = field(default_factory=set)  # time passes, and no number is used
    heard: list[tuple[float, Rtp]] = field(default_factory=list)

    def say(self, n: int) -> None:
        if n in self.events:
            event = self.events[n]
            for _ in range(event.times):
                self._send(event.at, event.payload, event.payload_type, event.marker)
        elif n < len(self.payloads) and n not in self.silent:
            self._send(n, self.payloads[n], self.kind.payload_type, n == 0 or n - 1 in self.silent, n in self.lost)

    def _send(self, n: int, payload: bytes, payload_type: int, marker: bool, is_lost: bool = False) -> None:
        if not is_lost:
            timestamp = self.timestamp + n * (self.kind.clock // 50)
            self.party.send(rtp(self.sequence, timestamp, self.ssrc, payload, payload_type, marker))
        self.sequence += 1

    def listen(self) -> None:
        self.party.rtp.setblocking(False)
        while True:
            try:
                self.heard.append((time.monotonic(), parse(self.party.rtp.recv(4096))))
            except BlockingIOError:
                return

    def audio(self, last_s: float | None = None) -> np.ndarray:
        """What was heard, decoded; of it the last seconds, or all. Every packet must be in order and one after the other."""
        packets = [packet for _, packet in self.heard if packet.pt == self.kind.payload_type]
        assert packets, "nothing was heard"
        pcm = decode(self.kind, [packet.payload for packet in packets])
        return pcm if last_s is None else pcm[-int(last_s * self.kind.rate) :]

    def level(self, hz: float, last_s: float = 1.0) -> float:
        """The median of windows of 200 ms: a moment in which the machine was too busy to send is no part of it, a tone is in all."""
        pcm, size = self.audio(last_s), self.kind.rate // 5
        return float(np.median([level_db(pcm[at : at + size], hz, self.kind.rate) for at in range(0, len(pcm) - size + 1, size // 2)]))

    def is_one_stream(self) -> bool:
        """One SSRC, sequence numbers without gap, time stamps that only grow (events may share theirs)."""
        packets = [packet for _, packet in self.heard]
        steps = [(b.seq - a.seq) & 0xFFFF for a, b in pairwise(packets)]
        times = [(b.timestamp - a.timestamp) & 0xFFFFFFFF for a, b in pairwise(packets)]
        return len({packet.ssrc for packet in packets}) == 1 and set(steps) <= {1} and all(time_ < 1 << 31 for time_ in times)


BUSY_S = 0.1
TRIES = 6


def unhurried(media: Media, attempt: Callable[[], None]) -> None:
    """What is heard in real time, judged where the machine had time for it: an attempt that fails counts only where neither the program
    nor we ourselves had to wait for a processor. The last of six counts in any case.
    """
    for left in reversed(range(TRIES)):
        waited_s = _waited_s(media)
        try:
            return attempt()
        except AssertionError:
            if not left or _waited_s(media) - waited_s < BUSY_S:
                raise


def _waited_s(media: Media) -> float:
    """How long threads of the program, and of ours, were ready to run and did not (Documentation/scheduler/sched-stats)."""
    threads = [thread for pid in (media.process.pid, os.getpid()) for thread in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads) / 1e9


def converse(voices: list[Voice], seconds: float, begin: int = 0) -> int:
    """All speak and listen in real time; returns the number of the next packet."""
    started, count = time.monotonic(), round(seconds / FRAME_S)
    sockets = [voice.party.rtp for voice in voices]
    for n in range(count):
        for voice in voices:
            voice.say(begin + n)
        while (left := started + (n + 1) * FRAME_S - time.monotonic()) > 0:
            select.select(sockets, [], [], left)
            for voice in voices:
                voice.listen()
    return begin + count
