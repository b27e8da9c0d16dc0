"""The kernel's own copies of packets that one of our UDP sockets sends: a look at the wire that needs no privilege.

Linux hands each sent frame back on the socket's error queue when transmit time stamps are asked for
(Documentation/networking/timestamping).
"""

import os
import socket
import struct
import threading
from typing import Final

SO_TIMESTAMPING: Final = 37
TX_SOFTWARE: Final = 1 << 1
REPORT_SOFTWARE: Final = 1 << 4
ETHERNET_BYTES: Final = 14
UDP: Final = 17
MAX_PACKETS: Final = 4000


class SocketTap:
    """Collects frames in a thread of its own until closed; packets() gives the UDP payloads in order."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._packets: list[bytes] = []
        self._open = True
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | REPORT_SOFTWARE)
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._thread.start()

    @classmethod
    def on_local_port(cls, port: int) -> "SocketTap":
        """A tap on this process's UDP socket that is bound to `port`. Raises LookupError where there is none."""
        for entry in os.listdir("/proc/self/fd"):
            sock = _udp_socket(int(entry))
            if sock is not None:
                if sock.getsockname()[1] == port:
                    return cls(sock)
                sock.close()
        raise LookupError("no UDP socket on that port")

    def packets(self) -> list[bytes]:
        return list(self._packets)

    def close(self) -> None:
        """Stops collecting; the packets seen stay."""
        if self._open:
            self._open = False
            self._thread.join()
            self._socket.close()

    def _collect(self) -> None:
        pause = threading.Event()
        while self._open:
            try:
                frame = self._socket.recvmsg(4096, 256, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)[0]
            except BlockingIOError:
                pause.wait(0.005)
                continue
            except OSError:
                return
            payload = udp_payload(frame[ETHERNET_BYTES:])
            if payload is not None and len(self._packets) < MAX_PACKETS:
                self._packets.append(payload[2])


def udp_payload(packet: bytes) -> tuple[int, int, bytes] | None:
    """Source port, destination port and payload of an IPv4 UDP packet (RFC 791, RFC 768); None for anything else."""
    if len(packet) < 28 or packet[0] >> 4 != 4 or packet[9] != UDP:
        return None
    header = (packet[0] & 15) * 4
    if len(packet) < header + 8:
        return None
    source, destination, length = struct.unpack_from("!HHH", packet, header)
    return source, destination, packet[header + 8 : header + length]


def _udp_socket(fd: int) -> socket.socket | None:
    try:
        sock = socket.socket(fileno=os.dup(fd))
    except OSError:
        return None
    if sock.family == socket.AF_INET and sock.type == socket.SOCK_DGRAM:
        return sock
    sock.close()
    return None
