"""One more country for one agent, until a day: rules as they are with what was given beside all lists. Pure.

What is given goes past the lists of organisation, team and agent, and past the terms that they name the country on; hours of whole levels,
classes, risk packs and everything else go on as they stand. It never takes away: a country that an agent may reach anyway stays as it is.
Once a permission is over, rules are to be made anew without it: the terms that it went past are not in these.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from hushwire.policy.rules import Level, Rules, Term, Terms


@dataclass(frozen=True, slots=True)
class Grant:
    """Countries that an agent may reach until then."""

    countries: frozenset[str]
    ends_at: datetime


def with_grants(rules: Rules, grants: Iterable[Grant]) -> Rules:
    """The rules of an agent who was given these."""
    ends: dict[str, datetime] = {}
    for grant in grants:
        for country in grant.countries:
            ends[country] = max(grant.ends_at, ends.get(country, grant.ends_at))
    ends = {country: end for country, end in ends.items() if not _is_reached(rules, country)}
    if not ends:
        return rules
    given = frozenset(ends)
    terms = (*_without(rules.terms, given), *((country, Term(until=end)) for country, end in ends.items()))
    narrower = tuple(_widened(level, given) for level in rules.narrower)
    return replace(rules, allowed_countries=rules.allowed_countries | given, terms=tuple(sorted(terms, key=_subject)), narrower=narrower)


def _is_reached(rules: Rules, country: str) -> bool:
    """Whether the lists name it, on no terms."""
    return country in rules.countries and not any(country in level.term for level in rules.levels)


def _widened(level: Level, given: frozenset[str]) -> Level:
    countries = None if level.countries is None else level.countries | given
    return replace(level, countries=countries, terms=_without(level.terms, given))


def _without(terms: Terms, given: frozenset[str]) -> Terms:
    return tuple((subject, term) for subject, term in terms if subject not in given)


def _subject(term: tuple[str, Term]) -> str:
    return term[0]
