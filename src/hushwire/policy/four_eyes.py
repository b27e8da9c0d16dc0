"""What of a change of the lists needs a second person: names that two must agree to before they are opened. Pure.

`guarded` holds codes of territories and names of classes, or `*` for all of them. Narrowing never waits. What is taken off `guarded`
waits too, or one person could first lift the guard and then open the country.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Opening:
    """What waits for a second person: territories and classes to be added, names to be guarded no more."""

    countries: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.countries or self.classes or self.released)


@dataclass(frozen=True, slots=True)
class Lists:
    """What may be reached, and what of it two must agree to."""

    countries: frozenset[str]
    classes: frozenset[str]
    guarded: frozenset[str]


def held(before: Lists, after: Lists) -> Opening:
    """What of a change may not take effect on one person's word."""
    if not before.guarded:
        return Opening()
    released = before.guarded - after.guarded
    if ALL in after.guarded:
        released = frozenset()  # whatever was named is guarded still
    return Opening(_guarded(after.countries - before.countries, before), _guarded(after.classes - before.classes, before), released)


def without(after: Lists, opening: Opening) -> Lists:
    """The rest of a change, which takes effect at once."""
    return Lists(after.countries - opening.countries, after.classes - opening.classes, after.guarded | opening.released)


def opened(now: Lists, opening: Opening) -> Lists:
    """The lists of now, once a second person has agreed."""
    return Lists(now.countries | opening.countries, now.classes | opening.classes, now.guarded - opening.released)


def _guarded(names: Set[str], before: Lists) -> frozenset[str]:
    return frozenset(names) if ALL in before.guarded else frozenset(names & before.guarded)
