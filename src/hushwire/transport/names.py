"""Where names lead that we send datagrams to, and which of our addresses stands on the way to somebody: asked for once, kept a while."""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Set
from functools import lru_cache
from typing import Final

import structlog

from hushwire.sip.flow import Address, Target

_PATIENCE_S: Final = 8.0
_KEPT_S: Final = 60.0
_MOST_KEPT: Final = 1024
_log = structlog.get_logger(__name__)


class Names:
    """What one endpoint knows of names and of the ways to others."""

    def __init__(self) -> None:
        self._found: OrderedDict[tuple[str, int], tuple[float, Address]] = OrderedDict()
        self._locals: OrderedDict[str, str] = OrderedDict()

    def known(self, target: Target, now: float) -> Address | None:
        """The address of a target, if it is one in figures or was found lately."""
        kept = self._found.get((target.host, target.port))
        if kept is not None and kept[0] > now:
            return kept[1]
        return Address(target.host, target.port) if is_numeric(target.host) else None

    async def find(self, target: Target, families: Set[int], now: Callable[[], float]) -> Address | None:
        """Look a name up; None where it leads to no address of these families."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
        except (OSError, TimeoutError, UnicodeError) as error:
            _log.warning("sip.name_not_found", error=type(error).__name__)
            return None
        address = next((Address(str(item[4][0]), target.port) for item in found if item[0] in families), None)
        if address is not None:
            self._found[(target.host, target.port)] = (now() + _KEPT_S, address)
            if len(self._found) > _MOST_KEPT:
                self._found.popitem(last=False)
        return address

    def local_towards(self, remote: str) -> str:
        """Our address on the way to `remote`, where a socket is bound to all; for a name that of the default route.

        Connecting a UDP socket sends nothing: it only asks the kernel's routing table.
        """
        known = self._locals.get(remote)
        if known is None:
            asked = remote if is_numeric(remote) else "192.0.2.1"
            with socket.socket(socket.AF_INET6 if ":" in asked else socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.connect((asked, 9))
                    known = str(probe.getsockname()[0])
                except OSError:
                    known = "127.0.0.1"
            self._locals[remote] = known
            if len(self._locals) > _MOST_KEPT:
                self._locals.popitem(last=False)
        return known


@lru_cache(_MOST_KEPT)
def is_numeric(host: str) -> bool:
    """Whether this is an address in figures, as the kernel reads it."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False
