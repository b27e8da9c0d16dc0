"""In which order trunks are tried, and how ways to them rest, go down and come back: in virtual time."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from uuid import UUID

import pytest

from hushwire.core.ids import TrunkId
from hushwire.services.trunk import Trunk
from hushwire.services.trunk_health import LONGEST_REST_S, REST_S, Health, Standing
from hushwire.services.trunk_states import TrunkStates
from hushwire.services.trunk_watch import jittered
from hushwire.sip.uri import parse_sip_uri


@dataclass
class Frozen:
    """A clock that only tests move."""

    at: float = 1000.0

    def monotonic(self) -> float:
        return self.at

    def now(self) -> datetime:
        return datetime(2026, 11, 26, tzinfo=UTC)


class Seeded:
    """Chance that repeats."""

    def __init__(self) -> None:
        self._random = Random(7)

    def token_bytes(self, count: int, /) -> bytes:
        return self._random.randbytes(count)


@dataclass
class Known:
    """States of some trunks."""

    clock: Frozen = field(default_factory=Frozen)
    calls: Counter[TrunkId] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.states = TrunkStates(self.clock, Seeded(), lambda trunk_id: self.calls[trunk_id])

    def names(self, *trunks: Trunk) -> list[str]:
        return [trunk.name for trunk in self.states.in_order(trunks)]


def trunk(name: str, number: int, **how: object) -> Trunk:
    uri = parse_sip_uri(f"sip:192.0.2.{number}")
    return Trunk(TrunkId(UUID(int=number)), name, uri, "never", None, frozenset({f"192.0.2.{number}"}), "auto", **how)  # type: ignore[arg-type]


ONE, TWO = trunk("one", 1), trunk("two", 2, priority=10)


def test_the_lowest_priority_goes_first() -> None:
    assert Known().names(TWO, ONE) == ["one", "two"]


def test_among_equals_weight_decides_how_often_who_is_first() -> None:
    known = Known()
    light, heavy = trunk("light", 3, weight=1), trunk("heavy", 4, weight=9)
    first = Counter(known.names(light, heavy)[0] for _ in range(1000))
    assert 850 < first["heavy"] < 970
    assert all(len(known.names(light, heavy)) == 2 for _ in range(10))


def test_a_trunk_that_a_call_found_silent_is_passed_over_until_its_rest_is_over() -> None:
    known = Known()
    (way,) = known.states.ways(ONE)
    known.states.rests(ONE, way, "silent")
    assert known.names(ONE, TWO) == ["two", "one"]
    assert known.states.reason(ONE) == "silent"
    known.clock.at += REST_S
    assert known.names(ONE, TWO) == ["one", "two"]
    assert known.states.reason(ONE) is None


def test_rests_grow_up_to_a_bound_and_a_call_that_gets_through_ends_them() -> None:
    health = Health()
    now, lengths = 0.0, []
    for _ in range(6):
        health.rest(now, "silent")
        began = now
        while health.standing(now) is Standing.RESTING:
            now += 1.0
        lengths.append(now - began)
    assert lengths == [30.0, 60.0, 120.0, 240.0, LONGEST_REST_S, LONGEST_REST_S]
    health.rest(now, "silent")
    health.carried()
    assert health.standing(now) is Standing.UP


@pytest.mark.parametrize(("asked", "given"), [(5.0, 5.0), (0.0, 1.0), (99999.0, LONGEST_REST_S)])
def test_a_carrier_may_say_how_long_it_rests_within_bounds(asked: float, given: float) -> None:
    health = Health()
    health.rest(0.0, "overloaded", asked)
    assert health.standing(given - 0.1) is Standing.RESTING
    assert health.standing(given) is Standing.UP


def test_a_way_goes_down_after_so_many_failures_in_a_row_and_up_after_so_many_answers() -> None:
    health = Health()
    assert not health.failed(2, "silent")
    assert not health.answered(2)
    assert not health.failed(2, "silent")
    assert health.failed(2, "silent")
    assert health.standing(0.0) is Standing.DOWN
    assert not health.failed(2, "silent")
    assert not health.answered(2)
    assert not health.failed(2, "silent")
    assert not health.answered(2)
    assert health.answered(2)
    assert health.standing(0.0) is Standing.UP


def test_a_trunk_that_is_down_is_tried_last_and_not_never() -> None:
    known = Known()
    (way,) = known.states.ways(ONE)
    known.states.health(ONE, way).failed(1, "silent")
    assert known.names(ONE, TWO) == ["two", "one"]


def test_a_trunk_that_refuses_our_registration_is_down_until_it_takes_it() -> None:
    known = Known()
    known.states.unregistered(ONE, "403")
    assert (known.states.standing(ONE), known.states.reason(ONE)) == (Standing.DOWN, "403")
    known.states.registered(ONE)
    assert known.states.standing(ONE) is Standing.UP


def test_a_trunk_is_full_when_its_channels_are_taken() -> None:
    known = Known()
    narrow = trunk("narrow", 5, channels=2)
    assert not known.states.is_full(narrow)
    known.calls[narrow.id] = 2
    assert known.states.is_full(narrow)
    assert not known.states.is_full(narrow, more=0)
    assert not known.states.is_full(ONE)


def test_what_is_asked_at_an_interval_is_asked_a_tenth_sooner_or_later_by_chance() -> None:
    chance = Seeded()
    waits = [jittered(30.0, chance) for _ in range(200)]
    assert all(27.0 <= wait <= 33.0 for wait in waits)
    assert max(waits) - min(waits) > 5.0
