"""What of a change of the lists needs a second person: names that two must agree to before they are opened. Pure.

`guarded` holds codes of territories and names of classes, or `*` for all of them, short codes among them. Narrowing never waits. What is
taken off `guarded` waits too, or one person could first lift the guard and then open the country; and so does what a team or an agent
narrows no more, or one person could open for each what two closed for all.
"""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

from hushwire.policy.rules import Term, Terms, Ways, Window

ALL: Final = "*"
SHORT_CODES: Final = "short codes"
"""As a level's change names them; no territory and no class is called so."""
Hours = tuple[Window, ...]


@dataclass(frozen=True, slots=True)
class Opening:
    """What waits for a second person: territories, classes, short codes to be added, terms to be widened, names to be guarded no more."""

    countries: frozenset[str] = frozenset()
    classes: frozenset[str] = frozenset()
    released: frozenset[str] = frozenset()
    terms: Terms = ()
    """Of guarded names; `Term()`: on no terms."""
    short_codes: frozenset[str] = frozenset()
    hours: Hours | None = None
    """Of all that leaves; None: as they are."""

    def __bool__(self) -> bool:
        return bool(self.countries or self.classes or self.released or self.terms or self.short_codes or self.hours is not None)


@dataclass(frozen=True, slots=True)
class Lists:
    """What may be reached on which terms, and what of it two must agree to."""

    countries: frozenset[str]
    classes: frozenset[str]
    guarded: frozenset[str]
    terms: Terms = ()
    short_codes: frozenset[str] = frozenset()
    hours: Hours = ()


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What a team or an agent narrows. None: as the organisation has it. `zone`: its own, in which its hours are meant."""

    countries: frozenset[str] | None = None
    classes: frozenset[str] | None = None
    short_codes: frozenset[str] | None = None
    terms: Terms = ()
    hours: Hours = ()
    zone: str | None = None


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
    reaches_guarded = any(_is_guarded(name, before) for name in before.countries | before.classes)
    return Opening(
        _guarded(after.countries - before.countries, before),
        _guarded(after.classes - before.classes, before),
        released,
        widened,
        after.short_codes - before.short_codes if ALL in before.guarded else frozenset(),
        after.hours if reaches_guarded and not _are_within(after.hours, before.hours) else None,
    )


def hang_on_zone(lists: Lists) -> bool:
    """Whether guarded names stand under windows: in another time zone these would be other hours."""
    on_terms = any(term.windows and _is_guarded(name, lists) for name, term in lists.terms)
    return on_terms or (bool(lists.hours) and any(_is_guarded(name, lists) for name in lists.countries | lists.classes))


def without(before: Lists, after: Lists, opening: Opening) -> Lists:
    """The rest of a change, which takes effect at once."""
    then, now = dict(before.terms), dict(after.terms)
    for name, _ in opening.terms:
        now[name] = then[name]
    return Lists(
        after.countries - opening.countries,
        after.classes - opening.classes,
        after.guarded | opening.released,
        _sorted(now),
        after.short_codes - opening.short_codes,
        after.hours if opening.hours is None else before.hours,
    )


def opened(now: Lists, opening: Opening) -> Lists:
    """The lists of now, once a second person has agreed."""
    terms = _sorted(dict(now.terms) | dict(opening.terms))
    return Lists(
        now.countries | opening.countries,
        now.classes | opening.classes,
        now.guarded - opening.released,
        terms,
        now.short_codes | opening.short_codes,
        now.hours if opening.hours is None else opening.hours,
    )


def lets_more_through(lists: Lists, before: Narrowed, after: Narrowed) -> frozenset[str]:
    """Guarded names that the organisation's lists hold and of which a team or agent, narrowed so, would reach more than before."""
    found = {
        name
        for names, then, now in (
            (lists.countries, before.countries, after.countries),
            (lists.classes, before.classes, after.classes),
        )
        for name in names
        if _is_guarded(name, lists) and (now is None or name in now) and not _was_so(name, lists, before, after, then)
    }
    if ALL in lists.guarded:
        codes = lists.short_codes if after.short_codes is None else lists.short_codes & after.short_codes
        if codes - (lists.short_codes if before.short_codes is None else before.short_codes):
            found.add(SHORT_CODES)
    return frozenset(found)


def _was_so(name: str, lists: Lists, before: Narrowed, after: Narrowed, then: frozenset[str] | None) -> bool:
    if then is not None and name not in then:
        return False
    old, new = dict(before.terms).get(name, Term()), dict(after.terms).get(name, Term())
    if not _is_within(new, old) or not _are_within(after.hours, before.hours):
        return False
    has_windows = after.hours or new.windows or lists.hours or dict(lists.terms).get(name, Term()).windows
    return before.zone == after.zone or not has_windows


def is_guarded(name: str, lists: Lists) -> bool:
    """Whether two must agree to a territory or class."""
    return _is_guarded(name, lists)


def _guarded(names: Set[str], before: Lists) -> frozenset[str]:
    return frozenset(name for name in names if _is_guarded(name, before))


def _is_guarded(name: str, before: Lists) -> bool:
    return ALL in before.guarded or name in before.guarded


def _is_within(new: Term, old: Term) -> bool:
    """Whether the new terms let through nothing that the old ones do not. Other hours than before count as more."""
    return (
        (new.ways is old.ways or old.ways is Ways.BOTH)
        and (old.until is None or (new.until is not None and new.until <= old.until))
        and _are_within(new.windows, old.windows)
    )


def _are_within(new: Hours, old: Hours) -> bool:
    return not old or (bool(new) and set(new) <= set(old))


def _sorted(terms: dict[str, Term]) -> Terms:
    return tuple((name, terms[name]) for name in sorted(terms) if terms[name] != Term())
