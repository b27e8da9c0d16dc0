"""All that a gateway does about its trunks beside calls: finds them, registers there, asks how they are, and says what it knows."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import NodeId, TrunkId
from hushwire.services.directory import Directory
from hushwire.services.own_requests import OwnRequests
from hushwire.services.trunk_health import Standing
from hushwire.services.trunk_places import TrunkPlaces
from hushwire.services.trunk_registrations import TrunkRegistrations
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_watch import TrunkWatch
from hushwire.sip.effects import Responded
from hushwire.store.trunk_states import TrunkState
from hushwire.transport.endpoint import SipEndpoint
from hushwire.transport.locating import Dns


class Trunks:
    """One gateway's. `in_use` counts the calls of a trunk here, `elsewhere` those of other gateways."""

    def __init__(
        self,
        endpoint: SipEndpoint,
        directory: Directory,
        dns: Dns,
        clock: Clock,
        random: Random,
        in_use: Callable[[TrunkId], int],
        elsewhere: Callable[[TrunkId], int] = lambda _trunk_id: 0,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._places = TrunkPlaces(directory, dns, random, endpoint.can_reach, self._ways_changed)
        self.states = TrunkStates(clock, random, in_use, self._places.leading_to, elsewhere)
        self._requests = OwnRequests(endpoint)
        self._watch = TrunkWatch(self._requests, directory, self.states, random)
        self.registrations = TrunkRegistrations(endpoint, self._requests, directory, self.states, clock, random)
        self._since: dict[TrunkId, tuple[Standing, datetime]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        works = [asyncio.ensure_future(work()) for work in (self._places.run, self._watch.run, self.registrations.run)]
        try:
            await asyncio.gather(*works)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)

    def take(self, event: Responded) -> bool:
        """A response to a request of ours; False where it is none of these."""
        return self._requests.take(event)

    def changed(self) -> None:
        """There are other trunks."""
        self._places.changed()
        self.registrations.changed()
        self._ways_changed()

    def told(self, node_id: NodeId) -> list[TrunkState]:
        """How each trunk stands, for whoever asks the database."""
        now = self._clock.now()
        states = []
        for trunk in self._directory.trunks:
            standing = self.states.standing(trunk)
            known = self._since.get(trunk.id)
            if known is None or known[0] is not standing:
                known = self._since[trunk.id] = (standing, now)
            states.append(
                TrunkState(
                    node_id,
                    trunk.id,
                    standing.name.lower(),
                    self.states.reason(trunk),
                    known[1],
                    self.states.in_use(trunk),
                    self.states.count_ways(trunk),
                    dict(self.states.outcomes(trunk)),
                    self.registrations.until(trunk),
                )
            )
        return states

    def _ways_changed(self) -> None:
        self.states.keep(self._directory.trunks)
        self._watch.changed()
