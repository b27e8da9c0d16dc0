"""Two parties of a call on real sockets, joined by hushwire-media; RTP made and read by hand."""

from __future__ import annotations

import os
import socket
import struct
import uuid
from dataclasses import dataclass, field

from tests.native.client import Controller

LOOPBACK = socket.inet_aton("127.0.0.1")
SUITES = {  # name -> (number in the protocol, bytes of key and salt)
    "AES_CM_128_HMAC_SHA1_80": (1, 30), "AES_CM_128_HMAC_SHA1_32": (2, 30), "AES_256_CM_HMAC_SHA1_80": (3, 46),
    "AEAD_AES_128_GCM": (4, 28), "AEAD_AES_256_GCM": (5, 44),
}  # fmt: skip


def rtp(seq: int, timestamp: int, ssrc: int, payload: bytes = b"\xff" * 160, pt: int = 0, marker: bool = False) -> bytes:
    return struct.pack(">BBHII", 0x80, (0x80 if marker else 0) | pt, seq & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


@dataclass(frozen=True)
class Rtp:
    pt: int
    marker: bool
    seq: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(packet: bytes) -> Rtp:
    first, second, seq, timestamp, ssrc = struct.unpack_from(">BBHII", packet)
    assert first == 0x80
    return Rtp(second & 0x7F, bool(second & 0x80), seq, timestamp, ssrc, packet[12:])


def is_rtcp(packet: bytes) -> bool:
    """RFC 5761 section 4; not STUN, nor DTLS (RFC 7983)."""
    return len(packet) > 1 and packet[0] >> 6 == 2 and 192 <= packet[1] <= 223


class Party:
    """An endpoint with an RTP and an RTCP socket next to each other."""

    def __init__(self) -> None:
        while True:
            self.rtp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.rtp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
            self.rtp.bind(("127.0.0.1", 0))
            self.rtcp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            try:
                self.rtcp.bind(("127.0.0.1", self.port + 1))
                break
            except (OSError, OverflowError):
                self.close()
        for sock in (self.rtp, self.rtcp):
            sock.settimeout(10)
        self.to = ("127.0.0.1", 0)  # hushwire's port of this leg
        self.ssrc = 0  # what hushwire sends with
        self.is_muxed = False
        self.reports: list[bytes] = []  # RTCP that came between the RTP of a muxed port

    @property
    def port(self) -> int:
        return int(self.rtp.getsockname()[1])

    def send(self, packet: bytes) -> None:
        self.rtp.sendto(packet, self.to)

    def send_rtcp(self, packet: bytes) -> None:
        self.rtcp.sendto(packet, (self.to[0], self.to[1] + 1))

    def receive(self) -> bytes:
        """The next RTP packet. (hushwire reports on a muxed port whenever it is time to.)"""
        while is_rtcp(packet := self.rtp.recv(4096)) and self.is_muxed:
            self.reports.append(packet)
        return packet

    def receive_rtcp(self) -> bytes:
        """The next report, on whichever port it has to come."""
        if self.reports:
            return self.reports.pop(0)
        return self.rtp.recv(4096) if self.is_muxed else self.rtcp.recv(4096)

    def hears_nothing(self) -> bool:
        """True where no RTP is in the socket. Only meaningful after something later has passed (see `Call.settle`)."""
        self.rtp.setblocking(False)
        try:
            self.receive()
        except BlockingIOError:
            return True
        finally:
            self.rtp.settimeout(10)
        return False

    def close(self) -> None:
        self.rtp.close()
        if hasattr(self, "rtcp"):
            self.rtcp.close()


@dataclass
class Keys:
    """SDES keys of one leg, from hushwire's point of view."""

    suite: str
    send: bytes = b""
    recv: bytes = b""

    def __post_init__(self) -> None:
        size = SUITES[self.suite][1]
        self.send = self.send or os.urandom(size)
        self.recv = self.recv or os.urandom(size)

    def fields(self) -> dict[str, object]:
        number = SUITES[self.suite][0]
        return {"send_suite": number, "send_key": self.send, "recv_suite": number, "recv_key": self.recv}


@dataclass
class Call:
    """A bridge with both legs open and set: `a` is leg 0, `b` leg 1."""

    control: Controller
    mode: int = 0
    keys: tuple[Keys | None, Keys | None] = (None, None)
    options: dict[str, object] = field(default_factory=dict)
    id: uuid.UUID = field(default_factory=uuid.uuid4)

    def __post_init__(self) -> None:
        self.a, self.b = Party(), Party()
        for party in (self.a, self.b):
            self.control.closing.callback(party.close)
        self.control.request("open_bridge", bridge=self.id, mode=self.mode)
        for leg in (0,) if self.mode == 1 else (0, 1):
            reply = self.control.request("open_leg", bridge=self.id, leg=leg)
            assert reply["rtcp_port"] == int(reply["rtp_port"]) + 1  # type: ignore[call-overload]
            self.party(leg).to = ("127.0.0.1", int(reply["rtp_port"]))  # type: ignore[call-overload]
            self.set_leg(leg)

    def party(self, leg: int) -> Party:
        return (self.a, self.b)[leg]

    def set_leg(self, leg: int, **changes: object) -> None:
        party, keys = self.party(leg), self.keys[leg]
        fields = {"remote_ip": LOOPBACK, "remote_port": party.port, **(keys.fields() if keys else {}), **self.options, **changes}
        party.is_muxed = bool(fields.get("rtcp_mux", 0))
        reply = self.control.request("set_leg", bridge=self.id, leg=leg, **fields)
        party.ssrc = int(reply["ssrc"])  # type: ignore[call-overload]

    def stats(self, leg: int) -> dict[str, int]:
        reply = self.control.request("get_bridge", bridge=self.id)
        return next(s for s in reply["leg_stats"] if s["leg"] == leg)  # type: ignore[attr-defined]

    def settle(self, leg: int, name: str, value: int) -> dict[str, int]:
        """The leg's statistics once a counter has reached the value (each GET waits for the worker, so this needs no sleep)."""
        for _ in range(20_000):
            stats = self.stats(leg)
            if stats[name] >= value:
                return stats
        raise AssertionError(f"{name} is {stats[name]}, not {value}: {stats}")

    def close(self) -> dict[str, object]:
        self.a.close()
        self.b.close()
        return self.control.request("close_bridge", bridge=self.id)
