"""Whether a call may be recorded, by the organisation's own declaration and the laws of everybody concerned; the strictest decides.

The organisation is the controller: how the people it calls come to agree is its to arrange and to declare (`recording_consent`). What it
declares is the lawful basis of its recordings. Only who declares that there is no consent at all is kept from recording where all
parties must agree; where a declaration is weaker than the law asks, it is obeyed, and told so. Pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final

from hushwire.privacy.jurisdictions import ELSEWHERE, Consent, Rules, strictest, tags_for_country


class Declaration(StrEnum):
    """How the other party comes to agree to being recorded, as the organisation declares it."""

    ANNOUNCED = "announced"  # told as the call begins, and may hang up or object
    CONTRACT = "contract"  # agreed with it beforehand
    NONE = "none"

    @property
    def lawful_basis(self) -> str:
        """What the row of each recording says it rests on (GDPR art. 6(1))."""
        return _BASES[self]


_BASES: Final = {Declaration.ANNOUNCED: "consent", Declaration.CONTRACT: "contract", Declaration.NONE: "legitimate-interest"}


class How(StrEnum):
    """How one consent was given."""

    ANNOUNCEMENT_PLAYED = "announcement-played"
    KEY_PRESSED = "key-pressed"
    SPOKEN = "spoken"
    WRITTEN = "written"
    AGENT_ATTESTED = "agent-attested"


@dataclass(frozen=True, slots=True)
class Standing:
    """What holds for calls with one place, and whether what the organisation declares meets it."""

    consent: Consent
    must_announce: bool
    may_record: bool
    is_satisfied: bool
    explanation: str


Places = tuple[str | None, ...]
"""ISO 3166-1 codes of where the other party may be; None: nobody knows, so the strictest. Empty: it is one of the organisation's own."""


@lru_cache(maxsize=8192)
def standing(declaration: Declaration, tags: tuple[str, ...], places: Places) -> Standing:
    """The rule for a call of an organisation under these jurisdictions with somebody in one of these places."""
    rules = _rules(tags, places)
    all_party = rules.consent is Consent.ALL_PARTY
    may_record = declaration is not Declaration.NONE or not all_party
    met_by_less = declaration is Declaration.CONTRACT or not rules.must_announce
    is_satisfied = declaration is Declaration.ANNOUNCED or (not all_party and met_by_less)
    return Standing(rules.consent, rules.must_announce, may_record, is_satisfied, _explained(declaration, rules, is_satisfied, may_record))


def unsatisfied(declaration: Declaration, tags: tuple[str, ...], countries: Iterable[str]) -> tuple[str, ...]:
    """The countries, sorted, whose rule the declaration does not meet."""
    return tuple(sorted(country for country in countries if not standing(declaration, tags, (country,)).is_satisfied))


def _rules(tags: tuple[str, ...], places: Places) -> Rules:
    theirs = [tag for place in places for tag in ((ELSEWHERE.tag,) if place is None else tags_for_country(place))]
    return strictest([*tags, *theirs])


def _explained(declaration: Declaration, rules: Rules, is_satisfied: bool, may_record: bool) -> str:
    wanted = "All parties must agree" if rules.consent is Consent.ALL_PARTY else "One party's consent is enough"
    if rules.must_announce:
        wanted += ", and all must be told"
    if not may_record:
        return f"{wanted}; the organisation declares that there is no consent: such calls are not recorded."
    if is_satisfied:
        return f'{wanted}; "{declaration.value}" meets this.'
    return f'{wanted}; "{declaration.value}" alone may not meet this: recordings are made on the organisation\'s instruction.'
