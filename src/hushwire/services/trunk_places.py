"""Where the trunks are whose URIs have names: asked of DNS again when an answer has run out, and kept meanwhile, so that no call waits."""

import asyncio
from collections.abc import Callable
from typing import Final

import structlog

from hushwire.core.clock import Random
from hushwire.core.ids import TrunkId
from hushwire.services.directory import Directory
from hushwire.services.followers import Followers
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_watch import jittered
from hushwire.sip.resolve import Way
from hushwire.sip.routing import numeric
from hushwire.transport.locating import CanReach, Dns, locate
from hushwire.transport.lookups import Unanswered

SHORTEST_S: Final = 5
LONGEST_S: Final = 3600
AGAIN_S: Final = 10.0
_log = structlog.get_logger(__name__)


class TrunkPlaces:
    """One gateway's. `on_change` is told of each trunk whose ways are others now."""

    def __init__(self, directory: Directory, dns: Dns, random: Random, can_reach: CanReach, on_change: Callable[[], None]) -> None:
        self._directory = directory
        self._dns = dns
        self._random = random
        self._can_reach = can_reach
        self._on_change = on_change
        self._ways: dict[TrunkId, tuple[Way, ...]] = {}
        self._changed = asyncio.Event()

    def leading_to(self, trunk: Trunk) -> tuple[Way, ...]:
        """Where a trunk's name leads, by the last answer; nothing before there was one."""
        return self._ways.get(trunk.id, ())

    def changed(self) -> None:
        """There are other trunks."""
        self._changed.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        followers = Followers("trunk-places", self._follow)
        try:
            while True:
                self._changed.clear()
                wanted = {trunk for trunk in self._directory.trunks if numeric(trunk.host) is None}
                followers.follow(wanted)
                self._ways = {key: ways for key, ways in self._ways.items() if key in {trunk.id for trunk in wanted}}
                await self._changed.wait()
        finally:
            await followers.close()

    async def _follow(self, trunk: Trunk) -> None:
        while True:
            wait_s = await self._ask(trunk)
            await asyncio.sleep(wait_s)

    async def _ask(self, trunk: Trunk) -> float:
        """Ask once; the seconds until the next time."""
        try:
            found = await locate(trunk.uri, self._dns, trunk.networks, trunk.pins, self._can_reach)
        except Unanswered:
            # What was true goes on being used: DNS that is away is no reason to be without a carrier.
            _log.warning("trunk.name_unanswered", trunk=trunk.name, ways=len(self.leading_to(trunk)))
            return jittered(AGAIN_S, self._random)
        if found.refused:
            _log.error(
                "trunk.address_refused",
                trunk=trunk.name,
                count=found.refused,
                mend="its name leads to a private or local address: if that is meant, name the network in the trunk's networks",
            )
        ways = tuple(found.ways)
        if ways != self._ways.get(trunk.id):
            if not ways:
                _log.error("trunk.unresolved", trunk=trunk.name)
            self._ways[trunk.id] = ways
            self._on_change()
        if not ways:
            return jittered(AGAIN_S, self._random)
        return float(min(max(found.ttl_s, SHORTEST_S), LONGEST_S))
