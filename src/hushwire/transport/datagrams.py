"""One UDP socket, emptied at once into queues of our own: calls go before registrations.

After a restart ten thousand phones register in one moment. The system's buffer holds a few hundred datagrams and drops the rest, calls
among them; what it drops comes again only after the phones' timers, all together. So what comes in heaps is read as it comes, which
costs little, and worked off in slices. REGISTERs wait in a queue of their own, whose end is near enough that no phone has given up on
what it holds. What waits there is not kept twice: a phone that sends again, since nobody has answered yet, would fill the places of
others with itself.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Final

from hushwire.sip.flow import Address, Flow, Transport

_BUFFER: Final = 4 << 20
_MOST_BYTES: Final = 65535
_READ_AT_ONCE: Final = 512
_TRIED_EVERY: Final = 4  # messages that came alone
_GROWS: Final = 4
_SLICE: Final = 32
_LATER_AT_LEAST: Final = 4
_LATER_AT_MOST: Final = 8  # what comes meanwhile is read after that
MOST_SOON: Final = 4096
MOST_LATER: Final = 4096
"""A phone asks for 32 s before it begins anew: on a machine so busy that each takes 5 ms this is two thirds of them."""
_MOST_LATER_BYTES: Final = 16 << 20

_WILDCARDS: Final = ("0.0.0.0", "::")
_MOST_FLOWS: Final = 4096
_Item = tuple[bytes, Flow]


class Datagrams:
    """`admits` is asked of a datagram and its source's host before anything is kept; `receive` is given it in its turn."""

    def __init__(
        self,
        id_: int,
        host: str,
        port: int,
        admits: Callable[[bytes, str], bool],
        receive: Callable[[bytes, Flow], None],
        local_towards: Callable[[str], str],
    ) -> None:
        """Binds. Raises OSError where that is not possible."""
        self._id = id_
        self._admits = admits
        self._receive = receive
        self._local_towards = local_towards
        self._soon: deque[_Item] = deque()
        self._later: deque[_Item] = deque()
        self._kept: set[tuple[bytes, Address]] = set()
        self._later_bytes = 0
        self._is_due = False
        self._expected = 1
        self._alone = 0
        # A peer's flow is one and the same value in all its messages: made once, and found equal at a glance.
        self._flows: dict[tuple[str, int], Flow] = {}
        # Read into the same place each time: 64 kB asked of the heap for each datagram would be cold, and given back to the system.
        self._into = bytearray(_MOST_BYTES)
        self._view = memoryview(self._into)
        self.family: int = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((host, port))
        except OSError:
            self._socket.close()
            raise
        name = self._socket.getsockname()
        self.local = Address(name[0], name[1])
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._readable)

    def send(self, data: bytes, remote: Address) -> bool:
        """Send one datagram; False where the system refuses. One for which there is no room now is lost, as others are on the way."""
        try:
            self._socket.sendto(data, remote)
        except BlockingIOError:
            return True
        except (OSError, ValueError, OverflowError):
            return False
        return True

    def close(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
        self._soon.clear()
        self._later.clear()
        self._kept.clear()

    def _readable(self) -> None:
        into, view, later, expected = self._into, self._view, self._later, self._expected
        # Whoever asks until there is nothing more asks twice for each message that comes alone, and most do. What is left makes the
        # loop come back at once; whether more is to be expected is tried now and then. A REGISTER waits for all that there is.
        self._alone = self._alone + 1 if expected == 1 else 0
        if expected > 1 or self._alone == _TRIED_EVERY:
            self._expected, self._alone = min(_GROWS * expected, _READ_AT_ONCE), 0
        for count in range(_READ_AT_ONCE):
            if count >= expected and not later:
                break
            try:
                size, address = self._socket.recvfrom_into(into)
            except (BlockingIOError, InterruptedError):
                self._expected = max(1, count)
                break
            except OSError:
                continue  # ICMP errors can be forged; the transaction's own timers decide
            data = bytes(view[:size])
            if not self._admits(data, address[0]):
                continue
            flow = self._flows.get(address) or self._flow(address)
            if data.startswith(b"REGISTER "):
                self._keep(data, flow)
            elif len(self._soon) < MOST_SOON:
                self._soon.append((data, flow))
        if not self._is_due:
            self._work()

    def _flow(self, address: tuple[str, int]) -> Flow:
        local, remote = self.local, Address(address[0], address[1])
        if local.host in _WILDCARDS:
            local = Address(self._local_towards(remote.host), local.port)
        if len(self._flows) >= _MOST_FLOWS:
            self._flows.clear()
        flow = self._flows[address] = Flow(Transport.UDP, self._id, local, remote)
        return flow

    def _keep(self, data: bytes, flow: Flow) -> None:
        size, known = len(data), (data, flow.remote)
        if len(self._later) < MOST_LATER and self._later_bytes + size <= _MOST_LATER_BYTES and known not in self._kept:
            self._later.append((data, flow))
            self._kept.add(known)
            self._later_bytes += size

    def _work(self) -> None:
        """One slice: what is not a REGISTER first, but never that alone."""
        self._is_due = False
        soon, later = self._soon, self._later
        done = 0
        while soon and done < _SLICE:
            self._receive(*soon.popleft())
            done += 1
        rest = min(max(_LATER_AT_LEAST, _SLICE - done), _LATER_AT_MOST)
        while later and rest:
            data, flow = later.popleft()
            known = (data, flow.remote)
            if known in self._kept:
                self._kept.discard(known)
                self._later_bytes -= len(data)
            self._receive(data, flow)
            rest -= 1
        if (soon or later) and not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._work)
