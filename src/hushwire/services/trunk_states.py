"""What this gateway knows of its carriers beyond their rows: which ways lead to them, how these stand, how full they are."""

from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import TrunkId
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_health import Health, Standing
from hushwire.sip import flow as flows
from hushwire.sip.headers import Line
from hushwire.sip.resolve import Way, by_weight

_log = structlog.get_logger(__name__)


class TrunkStates:
    """Asked at each call, told by calls and by those who watch over trunks. Nothing here sends or waits.

    `in_use` counts the calls of a trunk here, `elsewhere` those of other gateways. `leading_to` gives the ways to a trunk whose URI has a
    name: none before DNS answered.
    """

    def __init__(
        self,
        clock: Clock,
        random: Random,
        in_use: Callable[[TrunkId], int],
        leading_to: Callable[[Trunk], tuple[Way, ...]] = lambda trunk: (),
        elsewhere: Callable[[TrunkId], int] = lambda _trunk_id: 0,
    ) -> None:
        self._clock = clock
        self._random = random
        self._in_use = in_use
        self._leading_to = leading_to
        self._elsewhere = elsewhere
        self._health: dict[tuple[TrunkId, flows.Target], Health] = {}
        self._unregistered: dict[TrunkId, str] = {}
        self._routes: dict[TrunkId, tuple[Line, ...]] = {}
        self._outcomes: dict[TrunkId, Counter[str]] = {}

    # What calls ask.

    def in_order(self, trunks: Iterable[Trunk]) -> list[Trunk]:
        """Trunks in the order in which a call tries them: how they stand, then their priority, then chance by their weight."""
        known = tuple(trunks)
        if len(known) == 1:
            return [*known]  # however it stands
        classes: dict[tuple[Standing, int], list[Trunk]] = {}
        for trunk in known:
            classes.setdefault((self.standing(trunk), trunk.priority), []).append(trunk)
        return [trunk for key in sorted(classes) for trunk in by_weight(classes[key], lambda trunk: trunk.weight, self._random)]

    def ways(self, trunk: Trunk) -> tuple[flows.Target, ...]:
        """Where a trunk is reached: those that stand best first, then as DNS ranks them, then by chance and weight."""
        known = self._all_ways(trunk)
        if len(known) == 1:
            return (known[0].target,)
        now = self._clock.monotonic()
        classes: dict[tuple[Standing, int], list[Way]] = {}
        for way in known:
            classes.setdefault((self.health(trunk, way.target).standing(now), way.priority), []).append(way)
        ordered = [way for key in sorted(classes) for way in by_weight(classes[key], lambda way: way.weight, self._random)]
        return tuple(way.target for way in ordered)

    def named(self, trunk: Trunk) -> tuple[flows.Target, ...]:
        """Where a trunk's name leads; nothing for one whose URI has an address."""
        return () if trunk.own_ways else tuple(way.target for way in self._leading_to(trunk))

    def route(self, trunk: Trunk) -> tuple[Line, ...]:
        """The Route lines that what goes to it must carry, as it said when we registered."""
        return self._routes.get(trunk.id, ())

    def outcomes(self, trunk: Trunk) -> Counter[str]:
        """How often an attempt ended how, since this gateway started."""
        known = self._outcomes.get(trunk.id)
        if known is None:
            known = self._outcomes[trunk.id] = Counter()
        return known

    def is_full(self, trunk: Trunk, more: int = 1) -> bool:
        """Whether so many more calls are too many for its channels, those of other gateways' calls included."""
        return trunk.channels is not None and self._in_use(trunk.id) + self._elsewhere(trunk.id) + more > trunk.channels

    def in_use(self, trunk: Trunk) -> int:
        """Its calls, both ways."""
        return self._in_use(trunk.id)

    def standing(self, trunk: Trunk) -> Standing:
        """As its best way stands; down while it refuses our registration."""
        if trunk.id in self._unregistered:
            return Standing.DOWN
        now = self._clock.monotonic()
        return min((self.health(trunk, way.target).standing(now) for way in self._all_ways(trunk)), default=Standing.DOWN)

    def reason(self, trunk: Trunk) -> str | None:
        """In a word what is wrong with it; None where it stands well."""
        if self.standing(trunk) is Standing.UP:
            return None
        if trunk.id in self._unregistered:
            return self._unregistered[trunk.id]
        return next((reason for way in self._all_ways(trunk) if (reason := self.health(trunk, way.target).reason)), "unresolved")

    # What calls and watches tell.

    def health(self, trunk: Trunk, way: flows.Target) -> Health:
        """Of one way, to be told of what was seen."""
        known = self._health.get((trunk.id, way))
        if known is None:
            known = self._health[trunk.id, way] = Health()
        return known

    def rests(self, trunk: Trunk, way: flows.Target, reason: str, for_s: float | None = None) -> None:
        """A call could not be carried by it."""
        self.health(trunk, way).rest(self._clock.monotonic(), reason, for_s)
        _log.warning("trunk.resting", trunk=trunk.name, reason=reason)

    def registered(self, trunk: Trunk, route: tuple[Line, ...] = ()) -> None:
        """Our registration there stands."""
        self._routes[trunk.id] = route
        if self._unregistered.pop(trunk.id, None) is not None:
            _log.info("trunk.registered", trunk=trunk.name)

    def unregistered(self, trunk: Trunk, reason: str) -> None:
        """Our registration there failed, or ended."""
        self._routes.pop(trunk.id, None)
        if self._unregistered.get(trunk.id) != reason and reason != "registering":
            _log.error("trunk.not_registered", trunk=trunk.name, reason=reason)
        self._unregistered[trunk.id] = reason

    def keep(self, trunks: Iterable[Trunk]) -> None:
        """Forget what no trunk and no way needs any more."""
        known = {(trunk.id, way.target) for trunk in trunks for way in self._all_ways(trunk)}
        self._health = {key: health for key, health in self._health.items() if key in known}
        registering = {trunk.id for trunk in trunks if trunk.register_every_s}
        self._unregistered = {key: reason for key, reason in self._unregistered.items() if key in registering}
        self._routes = {key: route for key, route in self._routes.items() if key in registering}

    def count_ways(self, trunk: Trunk) -> int:
        """How many there are."""
        return len(self._all_ways(trunk))

    def _all_ways(self, trunk: Trunk) -> tuple[Way, ...]:
        return trunk.own_ways or self._leading_to(trunk)
