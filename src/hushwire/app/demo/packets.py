"""A look at the packets: what crossed the wire between two UDP ports, and whether sound can be read out of it.

With CAP_NET_RAW everything on the loopback interface is seen (`Sniffer`); without, each softphone's own kernel copies are (`sockettap`).
"""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from hushwire.app.demo.correlate import Match, correlate_with_slips
from hushwire.app.demo.sockettap import udp_payload

ETH_P_IP: Final = 0x0800
PACKET_OUTGOING: Final = 4
SO_ATTACH_FILTER: Final = 26
SAMPLES: Final = 160
PCMU: Final = 0
MAX_PACKETS: Final = 40_000


@dataclass(frozen=True, slots=True)
class Look:
    """What a stream of datagrams looks like from outside: how many RTP packets, their commonest payload size, the sound's match."""

    packets: int
    payload_bytes: int
    sound: Match

    @property
    def is_plain(self) -> bool:
        """PCMU frames of exactly 20 ms which, read as they stand, are the speech."""
        return self.packets >= 50 and self.payload_bytes == SAMPLES and self.sound.score >= 0.9

    @property
    def is_protected(self) -> bool:
        """Longer than its frames by an authentication tag (RFC 3711: 4 or 10 bytes), and no speech in it."""
        return self.packets >= 50 and self.payload_bytes - SAMPLES in (4, 10) and self.sound.score < 0.3


def look(packets: Sequence[bytes], speech: NDArray[np.int16], rate: int = 8000) -> Look:
    """Reads RTP packets (RFC 3550) of one direction as PCMU without any key, and compares them with `speech`."""
    frames: dict[int, bytes] = {}
    sizes: dict[int, int] = {}
    cycle = last = 0
    for packet in packets:
        if len(packet) < 12 or packet[0] >> 6 != 2 or packet[1] & 0x7F != PCMU:
            continue
        header = 12 + 4 * (packet[0] & 15)
        sequence = int.from_bytes(packet[2:4], "big")
        if last - sequence > 0x8000:
            cycle += 0x10000
        last = sequence
        payload = packet[header:]
        sizes[len(payload)] = sizes.get(len(payload), 0) + 1
        frames.setdefault(cycle + sequence, payload[:SAMPLES].ljust(SAMPLES, b"\xff"))
    if not frames:
        return Look(0, 0, Match(0.0, 0.0))
    first, end = min(frames), max(frames) + 1
    sound = b"".join(frames.get(n, b"\xff" * SAMPLES) for n in range(first, min(end, first + MAX_PACKETS)))
    match = correlate_with_slips(speech, mulaw_to_linear(sound), rate)
    return Look(len(frames), max(sizes, key=lambda size: sizes[size]), match)


def mulaw_to_linear(data: bytes) -> NDArray[np.int16]:
    """16-bit samples of ITU-T G.711 u-law."""
    code = ~np.frombuffer(data, dtype=np.uint8)
    magnitude = (((code & 0x0F).astype(np.int32) << 3) + 0x84) << ((code >> 4) & 7)
    return np.where(code & 0x80, 0x84 - magnitude, magnitude - 0x84).astype(np.int16)


class Sniffer:
    """Keeps the IPv4 UDP packets on loopback that come from or go to given ports, while open; needs CAP_NET_RAW."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._packets: list[tuple[int, int, bytes]] = []
        asyncio.get_running_loop().add_reader(sock, self._collect)

    @classmethod
    def is_possible(cls) -> bool:
        """May this user look at an interface?"""
        try:
            socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0).close()
        except OSError:
            return False
        return True

    @classmethod
    def open(cls, ports: Collection[int]) -> Self:
        """Raises OSError where this user may not look."""
        # Protocol 0 receives nothing: the filter stands before the first packet comes, and other traffic is not even copied.
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        program = _port_filter(ports)
        held = ctypes.create_string_buffer(program)
        code = struct.pack("HL", len(program) // 8, ctypes.addressof(held))
        sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, code)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.bind(("lo", ETH_P_IP))
        sock.setblocking(False)
        return cls(sock)

    def sent_from(self, port: int) -> list[bytes]:
        """UDP payloads that left `port`, in order."""
        return [data for source, _, data in self._packets if source == port]

    def sent_to(self, port: int) -> list[bytes]:
        """UDP payloads that went to `port`, in order."""
        return [data for _, destination, data in self._packets if destination == port]

    def close(self) -> None:
        """Stops looking; what was seen stays."""
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _collect(self) -> None:
        for _ in range(256):
            try:
                data, address = self._socket.recvfrom(4096)
            except BlockingIOError:
                return
            # Loopback shows each packet twice, going out and coming in.
            if address[2] == PACKET_OUTGOING or len(self._packets) >= MAX_PACKETS:
                continue
            payload = udp_payload(data)
            if payload is not None:
                self._packets.append(payload)


def _port_filter(ports: Collection[int]) -> bytes:
    """A classic BPF program that accepts UDP packets with one of the ports at either end (linux/filter.h)."""
    count = len(ports)
    lines = [
        (0x30, 0, 0, 9),  # the protocol ...
        (0x15, 0, 2 * count + 3, 17),  # ... is UDP
        (0xB1, 0, 0, 0),  # X = length of the IP header
        (0x48, 0, 0, 0),  # source port
        *((0x15, 2 * count + 1 - n, 0, port) for n, port in enumerate(ports)),
        (0x48, 0, 0, 2),  # destination port
        *((0x15, count - n, 0, port) for n, port in enumerate(ports)),
        (0x06, 0, 0, 0),
        (0x06, 0, 0, 0xFFFF),
    ]
    return b"".join(struct.pack("HBBI", *line) for line in lines)
