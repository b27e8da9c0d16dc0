"""Collects (key, SSRC, index) of everything that hushwire-media sends, and fails when one comes twice.

    sent = SentIndexes()
    sent.knows(keys)                    # before SET_LEG gives hushwire these keys: everything that it may send with
    plain = sent.receive(call.a)        # the next packet, opened; waits for it
    sent.drain(call.a, call.b)          # whatever lies in the parties' sockets

The indexes are not read but proven: the tag is checked with an implementation of its own, for each rollover counter that it could be.
"""

from __future__ import annotations

import contextlib
import struct
from dataclasses import dataclass, field

from tests.native.call import Keys, Party
from tests.native.srtp_oracle import Written, written

RTP, RTCP = "rtp", "rtcp"


@dataclass
class SentIndexes:
    openers: dict[bytes, Written] = field(default_factory=dict)  # by master key and salt, the newest last
    seen: set[tuple[bytes, str, int, int]] = field(default_factory=set)
    highest: dict[tuple[bytes, int], int] = field(default_factory=dict)

    def knows(self, *keys: Keys | None) -> None:
        for one in keys:
            if one is not None:
                self.openers.setdefault(one.send, written(one.suite, one.send))

    def receive(self, party: Party) -> bytes:
        return self.take(party.receive())

    def receive_rtcp(self, party: Party) -> bytes:
        return self.take(party.receive_rtcp())

    def drain(self, *parties: Party) -> list[bytes]:
        """Everything that has arrived by now, plain."""
        plain = []
        for party in parties:
            for sock in (party.rtp, party.rtcp):
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        plain.append(self.take(sock.recv(4096)))
                sock.settimeout(10)
        return plain

    def take(self, packet: bytes) -> bytes:
        """The plain packet. Fails where no known key opens it, or where its index was used before under that key."""
        is_rtcp = 192 <= packet[1] <= 223
        for key, opener in reversed(self.openers.items()):
            opened = self._open_rtcp(key, opener, packet) if is_rtcp else self._open_rtp(key, opener, packet)
            if opened is not None:
                return opened
        raise AssertionError("a packet that no key opens")

    def count(self, keys: Keys | None = None, kind: str | None = None) -> int:
        return sum((keys is None or key == keys.send) and kind in (None, channel) for key, channel, _, _ in self.seen)

    def _open_rtp(self, key: bytes, opener: Written, packet: bytes) -> bytes | None:
        seq, ssrc = struct.unpack_from(">xxHxxxxI", packet)
        highest = self.highest.get((key, ssrc), 0)
        for rollover in sorted(range(max((highest >> 16) - 1, 0), (highest >> 16) + 3), key=lambda r: abs((r << 16 | seq) - highest)):
            index = rollover << 16 | seq
            plain = opener.opens_rtp(packet, index)
            if plain is not None:
                self.highest[key, ssrc] = max(highest, index)
                self._note(key, RTP, ssrc, index)
                return plain
        return None

    def _open_rtcp(self, key: bytes, opener: Written, packet: bytes) -> bytes | None:
        opened = opener.opens_rtcp(packet)
        if opened is None:
            return None
        (ssrc,) = struct.unpack_from(">I", packet, 4)
        self._note(key, RTCP, ssrc, opened[0])
        return opened[1]

    def _note(self, key: bytes, channel: str, ssrc: int, index: int) -> None:
        use = (key, channel, ssrc, index)
        assert use not in self.seen, f"{channel} index {index} of SSRC {ssrc:#x} was protected twice under one key"
        self.seen.add(use)
