"""RTCP compounds (RFC 3550 section 6), written and read by hand for tests; shares nothing with the program under test."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

SR, RR, SDES, BYE, APP, RTPFB, PSFB, XR = 200, 201, 202, 203, 204, 205, 206, 207


@dataclass(frozen=True)
class Block:
    """What a report says of a stream."""

    ssrc: int
    fraction: int = 0  # of 256
    lost: int = 0  # signed
    highest: int = 0  # extended
    jitter: int = 0  # RTP clock
    lsr: int = 0
    dlsr: int = 0  # 1/65,536 s

    def pack(self) -> bytes:
        return struct.pack(">IIIIII", self.ssrc, self.fraction << 24 | self.lost & 0xFFFFFF, self.highest, self.jitter, self.lsr, self.dlsr)

    @classmethod
    def unpack(cls, raw: bytes) -> Block:
        ssrc, lost, highest, jitter, lsr, dlsr = struct.unpack(">IIIIII", raw)
        total = lost & 0xFFFFFF
        return cls(ssrc, lost >> 24, total - (1 << 24) if total & 0x800000 else total, highest, jitter, lsr, dlsr)


@dataclass(frozen=True)
class Sender:
    """A sender report's own part."""

    ntp: int
    timestamp: int
    packets: int
    octets: int


@dataclass
class Compound:
    """A compound of hushwire's: exactly one report, its name, and perhaps a goodbye."""

    ssrc: int
    sender: Sender | None = None
    blocks: list[Block] = field(default_factory=list)
    name: bytes = b""
    said_goodbye: bool = False
    reference: int | None = None  # receiver reference time, NTP (RFC 3611 section 4.4)
    delays: list[tuple[int, int, int]] = field(default_factory=list)  # SSRC, LRR, DLRR (section 4.5)
    types: list[int] = field(default_factory=list)


def read(raw: bytes) -> Compound:
    """Read strictly: every length must fit, every SSRC be the same."""
    found: Compound | None = None
    while raw:
        first, kind, words = struct.unpack_from(">BBH", raw)
        body, raw = raw[4 : 4 + 4 * words], raw[4 + 4 * words :]
        assert first >> 6 == 2
        assert not first & 0x20
        assert len(body) == 4 * words
        count = first & 31
        (ssrc,) = struct.unpack_from(">I", body)
        if found is None:
            assert kind in (SR, RR), "a compound begins with a report"
            found = Compound(ssrc)
        assert ssrc == found.ssrc
        found.types.append(kind)
        match kind:
            case 200 | 201:
                at = 4
                if kind == SR:
                    found.sender, at = Sender(*struct.unpack_from(">QIII", body, 4)), 24
                found.blocks += [Block.unpack(body[i : i + 24]) for i in range(at, at + 24 * count, 24)]
                assert len(body) == at + 24 * count
            case 202:
                item, length = body[4], body[5]
                assert (count, item) == (1, 1)
                assert not any(body[6 + length :])
                assert len(body) > 6 + length
                found.name = body[6 : 6 + length]
            case 203:
                assert count == 1
                assert len(body) == 4
                found.said_goodbye = True
            case 207:
                assert count == 0
                rest = body[4:]
                while rest:
                    block, words = struct.unpack_from(">BxH", rest)
                    content, rest = rest[4 : 4 + 4 * words], rest[4 + 4 * words :]
                    if block == 4:
                        (found.reference,) = struct.unpack(">Q", content)
                    else:
                        assert block == 5
                        found.delays += struct.iter_unpack(">III", content)
            case _:
                raise AssertionError(f"hushwire sent RTCP packet type {kind}")
    assert found is not None
    return found


def packet(kind: int, count: int, body: bytes) -> bytes:
    assert len(body) % 4 == 0
    return struct.pack(">BBH", 0x80 | count, kind, len(body) // 4) + body


def sender_report(ssrc: int, sender: Sender, *blocks: Block) -> bytes:
    return packet(SR, len(blocks), struct.pack(">IQIII", ssrc, sender.ntp, sender.timestamp, sender.packets, sender.octets) + _join(blocks))


def receiver_report(ssrc: int, *blocks: Block) -> bytes:
    return packet(RR, len(blocks), struct.pack(">I", ssrc) + _join(blocks))


def extended_report(ssrc: int, *blocks: bytes) -> bytes:
    return packet(XR, 0, struct.pack(">I", ssrc) + b"".join(blocks))


def reference_time(ntp: int) -> bytes:
    return struct.pack(">BxHQ", 4, 2, ntp)


def description(ssrc: int, name: bytes) -> bytes:
    item = struct.pack(">IBB", ssrc, 1, len(name)) + name
    return packet(SDES, 1, item + bytes(4 - len(item) % 4))


def goodbye(*ssrcs: int) -> bytes:
    return packet(BYE, len(ssrcs), struct.pack(f">{len(ssrcs)}I", *ssrcs))


def _join(blocks: tuple[Block, ...]) -> bytes:
    return b"".join(block.pack() for block in blocks)
