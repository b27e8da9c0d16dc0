"""A bad network between a party and hushwire-media: loss in bursts, duplicates, reordering, delay, jitter, and a limit to the size.

    with Network(up=Impairment(loss=0.05), down=Impairment(jitter_ms=30), seed=7) as network:
        line = network.between(party_rtp_address, hushwire_rtp_port)
        # the party sends to `line.far`; hushwire is told `line.near` as the party's address
        party.to = line.far

What happens to the n-th datagram of a direction follows from the seed alone, never from the clock, so a failing run can be repeated.
"""

from __future__ import annotations

import heapq
import os
import random
import selectors
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Self

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Impairment:
    """What one direction does to datagrams. Fractions are of 1; times are milliseconds."""

    loss: float = 0.0
    burst: float = 1.0  # mean length of a run of lost datagrams (Gilbert's model); 1 = each for itself
    duplicate: float = 0.0
    reorder: float = 0.0  # held back until `reorder_by` later ones have passed (or 100 ms)
    reorder_by: int = 3
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # uniform in 0..jitter_ms on top of the delay; overtaking follows from it
    mtu: int = 65_507  # bytes of UDP payload; larger ones are lost, as without fragmentation


@dataclass(slots=True)
class Passed:
    """What became of a direction's datagrams."""

    sent: int = 0  # handed in
    lost: int = 0
    oversize: int = 0
    duplicated: int = 0
    reordered: int = 0
    delivered: int = 0


HOLD_S = 0.1


class Channel:
    """One direction, without sockets and clock: `push` datagrams, `pop` what is due."""

    def __init__(self, impairment: Impairment, seed: int) -> None:
        self.impairment, self.counts = impairment, Passed()
        self._chance = random.Random(seed)
        self._is_losing = False
        self._number = 0
        self._due: list[tuple[float, int, bytes]] = []
        self._held: list[tuple[int, float, bytes]] = []  # (goes after this number, or at this time, datagram)

    def push(self, datagram: bytes, now: float) -> None:
        rule, chance, self._number = self.impairment, self._chance, self._number + 1
        self.counts.sent += 1
        # Every datagram draws the same number of times, whatever becomes of it.
        loss, double, order, late, again = (chance.random() for _ in range(5))
        self._is_losing = self._loses(loss)
        if self._is_losing:
            self.counts.lost += 1
        elif len(datagram) > rule.mtu:
            self.counts.oversize += 1
        elif order < rule.reorder:
            self.counts.reordered += 1
            self._held.append((self._number + rule.reorder_by, now + HOLD_S, datagram))
        else:
            self._queue(datagram, now, late)
            if double < rule.duplicate:
                self.counts.duplicated += 1
                self._queue(datagram, now, again)
        self._release(now, late)

    def pop(self, now: float) -> list[bytes]:
        """What is due by now, in the order of its time."""
        self._release(now, 0.0)
        out = []
        while self._due and self._due[0][0] <= now:
            out.append(heapq.heappop(self._due)[2])
        self.counts.delivered += len(out)
        return out

    def next_at(self) -> float | None:
        """When `pop` has something next."""
        times = [due[0] for due in self._due[:1]] + [until for _, until, _ in self._held]
        return min(times, default=None)

    def is_done(self, sent: int) -> bool:
        """True where at least `sent` datagrams came in, and nothing is under way any more."""
        counts = self.counts
        return counts.sent >= sent and counts.delivered == counts.sent + counts.duplicated - counts.lost - counts.oversize

    def _loses(self, draw: float) -> bool:
        rule = self.impairment
        if rule.loss >= 1:
            return True
        stay = 1 - 1 / max(rule.burst, 1.0)  # in the bad state
        begin = rule.loss * (1 - stay) / (1 - rule.loss)  # so that the bad state's share is `loss`
        return draw < (stay if self._is_losing else begin) if rule.burst > 1 else draw < rule.loss

    def _queue(self, datagram: bytes, now: float, late: float) -> None:
        at = now + (self.impairment.delay_ms + late * self.impairment.jitter_ms) / 1000
        heapq.heappush(self._due, (at, self._number * 2 + len(self._due) % 2, datagram))

    def _release(self, now: float, late: float) -> None:
        for held in [h for h in self._held if self._number >= h[0] or now >= h[1]]:
            self._held.remove(held)
            self._queue(held[2], now, late)


@dataclass(slots=True)
class Line:
    """A party's way to one port of hushwire: `far` is where the party sends to, `near` the address that hushwire knows for the party."""

    far_socket: socket.socket
    near_socket: socket.socket
    party: Address
    hushwire: Address
    up: Channel
    down: Channel

    @property
    def far(self) -> Address:
        name: Address = self.far_socket.getsockname()
        return name

    @property
    def near(self) -> Address:
        name: Address = self.near_socket.getsockname()
        return name

    def wait_until_carried(self, up: int = 0, down: int = 0, timeout_s: float = 20) -> None:
        """Return once so many datagrams were handed in per direction, and each was delivered or lost."""
        deadline = time.monotonic() + timeout_s
        while not (self.up.is_done(up) and self.down.is_done(down)):
            assert time.monotonic() < deadline, (self.up.counts, self.down.counts)
            time.sleep(0.002)


@dataclass
class Network:
    """Carries the datagrams of any number of lines in a thread of its own."""

    up: Impairment = field(default_factory=Impairment)  # party -> hushwire
    down: Impairment = field(default_factory=Impairment)  # hushwire -> party
    seed: int = 1

    def __post_init__(self) -> None:
        self.lines: list[Line] = []
        self._lock = threading.Lock()
        self._selector = selectors.DefaultSelector()
        self._wake_out, self._wake_in = os.pipe2(os.O_NONBLOCK)
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopping = True
        os.write(self._wake_in, b"x")
        self._thread.join()
        self._selector.close()
        for line in self.lines:
            line.far_socket.close()
            line.near_socket.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def between(self, party: Address, port: int, host: str = "127.0.0.1") -> Line:
        """A line of RTP (or of muxed RTP and RTCP) between the party's address and a port of hushwire."""
        return self._add(_socket(host, 0), _socket(host, 0), party, (host, port))

    def pair(self, party: Address, port: int, host: str = "127.0.0.1") -> tuple[Line, Line]:
        """Lines of RTP and RTCP: both sides' RTCP ports are the ones above the RTP ports, on every end."""
        far, far_above = _pair(host)
        near, near_above = _pair(host)
        rtp = self._add(far, near, party, (host, port))
        return rtp, self._add(far_above, near_above, (party[0], party[1] + 1), (host, port + 1))

    def set(self, up: Impairment | None = None, down: Impairment | None = None) -> None:
        """Another network from the next datagram on."""
        with self._lock:
            for line in self.lines:
                line.up.impairment = up or line.up.impairment
                line.down.impairment = down or line.down.impairment

    def _add(self, far: socket.socket, near: socket.socket, party: Address, hushwire: Address) -> Line:
        with self._lock:
            number = len(self.lines)
            up, down = Channel(self.up, self.seed * 1000 + 2 * number), Channel(self.down, self.seed * 1000 + 2 * number + 1)
            line = Line(far, near, party, hushwire, up, down)
            self.lines.append(line)
            self._selector.register(far, selectors.EVENT_READ, (line, line.up, far))
            self._selector.register(near, selectors.EVENT_READ, (line, line.down, near))
        os.write(self._wake_in, b"x")
        return line

    def _run(self) -> None:
        while not self._is_stopping:
            now = time.monotonic()
            with self._lock:
                times = [at for line in self.lines for at in (line.up.next_at(), line.down.next_at()) if at is not None]
            timeout = max(min(times) - now, 0) if times else None
            for key, _ in self._selector.select(timeout):
                if key.data is None:
                    os.read(self._wake_out, 4096)
                else:
                    self._read(*key.data)
            self._deliver()

    def _read(self, line: Line, channel: Channel, sock: socket.socket) -> None:
        expected = line.party if channel is line.up else line.hushwire
        while True:
            try:
                datagram, source = sock.recvfrom(65_536)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # an ICMP error about what was sent before
            if source == expected:
                with self._lock:
                    channel.push(datagram, time.monotonic())

    def _deliver(self) -> None:
        now = time.monotonic()
        with self._lock:
            out = [(line.near_socket, line.hushwire, line.up.pop(now)) for line in self.lines]
            out += [(line.far_socket, line.party, line.down.pop(now)) for line in self.lines]
        for sock, to, datagrams in out:
            for datagram in datagrams:
                try:
                    sock.sendto(datagram, to)
                except (BlockingIOError, ConnectionError):
                    continue  # as a network would


def _socket(host: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setblocking(False)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _pair(host: str) -> tuple[socket.socket, socket.socket]:
    while True:
        low = _socket(host, 0)
        try:
            return low, _socket(host, low.getsockname()[1] + 1)
        except (OSError, OverflowError):
            low.close()
