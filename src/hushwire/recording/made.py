"""A sealed recording of a sound that no call brought: as if one party had said it, packet after packet."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hushwire.core.clock import Random
from hushwire.recording import entries
from hushwire.recording.entries import Entry
from hushwire.recording.hwr import Identity, Writer

PAYLOAD_TYPE: Final = 96
PACKET_MS: Final = 20
_TICKS: Final = 10 * PACKET_MS
_CLOCK: Final = 48 * PACKET_MS
_IN_FRAME: Final = 25
"""Packets: half a second, as while packets flow."""


@dataclass(frozen=True, slots=True)
class Made:
    """The file, and what its row says of it."""

    data: bytes = field(repr=False)
    frames: int
    duration_ms: int


def sealed(key: bytes, identity: Identity, random: Random, packets: Sequence[bytes], unix_us: int) -> Made:
    """The file of Opus packets of PACKET_MS each, spoken by the agent from `unix_us` on."""
    ssrc, first = random.token_bytes(4), int.from_bytes(random.token_bytes(2), "big") >> 1
    start = int.from_bytes(random.token_bytes(4), "big") >> 1
    spoken: list[Entry] = []
    for n, payload in enumerate(packets):
        head = bytes((0x80, PAYLOAD_TYPE)) + ((first + n) & 0xFFFF).to_bytes(2, "big")
        head += ((start + n * _CLOCK) & 0xFFFFFFFF).to_bytes(4, "big") + ssrc
        spoken.append(entries.rtp(0, n * _TICKS, head + payload))
    frames = [[entries.anchor(unix_us), entries.formats([{PAYLOAD_TYPE: "opus/48000"}, {}])]]
    frames += [spoken[at : at + _IN_FRAME] for at in range(0, len(spoken), _IN_FRAME)]
    frames.append([entries.end(len(packets) * _TICKS)])
    writer = Writer(key, identity, random)
    parts = [writer.frame(frame, is_final=frame is frames[-1]) for frame in frames]
    return Made(writer.header + b"".join(parts), len(frames), len(packets) * PACKET_MS)
