"""Ports for programs that must be told theirs: below the range from which the kernel gives ports to whoever asks for any.

A port of that range may be free when it is looked at and taken a moment later, by a softphone's media or a resolver's question; what
was meant for a carrier then reaches a stranger. Each process hands its ports out in turn, so none comes twice for a long time; and one
that another test process was given stays with it, also while nobody listens there: a carrier's phone comes and goes.
"""

import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Final

_FIRST, _LAST = 10240, 19999
_KINDS: Final = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


def _in_turn() -> Iterator[int]:
    start = random.Random(os.urandom(8)).randrange(_FIRST, _LAST, 8)
    while True:
        yield from chain(range(start, _LAST - 7, 8), range(_FIRST, start, 8))


_turns = _in_turn()


def free_port() -> int:
    """An even port of 127.0.0.1; it and the three above it are free for UDP and TCP. Nobody else who asks here gets them meanwhile."""
    for _ in range((_LAST - _FIRST) // 8):
        port = next(_turns)
        if _is_ours(port) and all(_is_free(kind, port + above) for kind in _KINDS for above in range(4)):
            return port
    raise RuntimeError(f"no free port between {_FIRST} and {_LAST}")


def holds(pid: int, port: int) -> bool:
    """Whether a process has a UDP or TCP socket bound to the port (Linux; of one's own user, or as root)."""
    inodes = {
        fields[9]
        for table in ("udp", "tcp")
        for fields in (line.split() for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:])
        if fields[1].endswith(f":{port:04X}")
    }
    try:
        held = {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
    except OSError:
        return False  # it has ended, or closed one while we looked: the caller asks again
    return any(f"socket:[{inode}]" in held for inode in inodes)


@cache
def _given() -> int:
    """A file of which a byte is locked for each port that was given, by whom it was given to, until that process ends."""
    path = Path(tempfile.gettempdir()) / f"hushwire-test-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _is_ours(port: int) -> bool:
    try:
        fcntl.lockf(_given(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    return True


def _is_free(kind: socket.SocketKind, port: int) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
