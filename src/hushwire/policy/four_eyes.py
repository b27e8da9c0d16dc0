"""What of a change of the lists needs a second person: names that two must agree to before they are opened. Pure.

`guarded` holds codes of territories and names of classes, or `*` for all of them. Narrowing never waits. What is taken off `guarded`
waits too, or one person could first lift the guard and then open the country.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from hushwire.policy.rules import Term, Terms, Ways

ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class Opening:
    """What waits for a second person: territories and classes to be added, terms to be widened, names to be guarded no more."""

    countries: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    terms: Terms = ()
    """Of guarded names; `Term()`: on no terms."""

    def __bool__(self) -> bool:
        return bool(self.countries or self.classes or self.released or self.terms)


@dataclass(frozen=True, slots=True)
class Lists:
    """What may be reached on which terms, and what of it two must agree to."""

    countries: frozenset[str]
    classes: frozenset[str]
    guarded: frozenset[str]
    terms: Terms = ()


def held(before: Lists, after: Lists) -> Opening:
    """What of a change may not take effect on one person's word."""
    if not before.guarded:
        return Opening()
    released = before.guarded - after.guarded
    if ALL in after.guarded:
        released = frozenset()  # whatever was named is guarded still
    then, now = dict(before.terms), dict(after.terms)
    widened = tuple(
        (name, now.get(name, Term()))
        for name in sorted(then.keys() | now.keys())
        if _is_guarded(name, before) and not _is_within(now.get(name, Term()), then.get(name, Term()))
    )
    return Opening(
        _guarded(after.countries - before.countries, before), _guarded(after.classes - before.classes, before), released, widened
    )


def hang_on_zone(lists: Lists) -> bool:
    """Whether guarded names stand under windows: in another time zone these would be other hours."""
    return any(term.windows and _is_guarded(name, lists) for name, term in lists.terms)


def without(before: Lists, after: Lists, opening: Opening) -> Lists:
    """The rest of a change, which takes effect at once."""
    then, now = dict(before.terms), dict(after.terms)
    for name, _ in opening.terms:
        now[name] = then[name]
    return Lists(after.countries - opening.countries, after.classes - opening.classes, after.guarded | opening.released, _sorted(now))


def opened(now: Lists, opening: Opening) -> Lists:
    """The lists of now, once a second person has agreed."""
    terms = _sorted(dict(now.terms) | dict(opening.terms))
    return Lists(now.countries | opening.countries, now.classes | opening.classes, now.guarded - opening.released, terms)


def _guarded(names: Set[str], before: Lists) -> frozenset[str]:
    return frozenset(name for name in names if _is_guarded(name, before))


def _is_guarded(name: str, before: Lists) -> bool:
    return ALL in before.guarded or name in before.guarded


def _is_within(new: Term, old: Term) -> bool:
    """Whether the new terms let through nothing that the old ones do not. Other hours than before count as more."""
    return (
        (new.ways is old.ways or old.ways is Ways.BOTH)
        and (old.until is None or (new.until is not None and new.until <= old.until))
        and (not old.windows or new.windows == old.windows)
    )


def _sorted(terms: dict[str, Term]) -> Terms:
    return tuple((name, terms[name]) for name in sorted(terms) if terms[name] != Term())
