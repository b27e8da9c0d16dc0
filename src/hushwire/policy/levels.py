"""A number that was read, against the lists of organisation, team and agent: what all three let through goes out.

Every refusal names the level and the entry of the list that decided, so that an admin finds it.
"""

from datetime import datetime
from typing import Final

from hushwire.policy.corrections import corrected
from hushwire.policy.model import PERMITTED_CLASSES, Allow, Deny, NumberClass, Reason, Way
from hushwire.policy.numbers import Found, claimed_by, class_of_kin
from hushwire.policy.risk import WORDS
from hushwire.policy.rules import ORGANISATION, ExceptionKind, Level, NumberException, Rules, Term
from hushwire.policy.territories import named

_CLASS_NAMES: Final = {
    NumberClass.PREMIUM: "Premium-rate",
    NumberClass.SHARED_COST: "Shared-cost",
    NumberClass.PERSONAL: "Personal",
    NumberClass.PAGER: "Pager",
    NumberClass.SATELLITE: "Satellite",
    NumberClass.UIFN: "International freephone",
    NumberClass.GLOBAL: "Global-network",
}
_LISTS: Final = {ORGANISATION: "the list of allowed countries"}
_WORDS: Final = {Way.CALLS: "calls", Way.SMS: "messages"}


def judged(found: Found, rules: Rules, way: Way, now: datetime, excepted: NumberException | None = None) -> Allow | Deny:
    """The verdict on a number. `excepted`: no plan knows it, and this exception lets it through so far."""
    number_class, territories = found.number_class, found.territories
    country = territories[0] if territories else None
    refusal = _closed(territories, rules) or _class_denied(found, rules, country) or _untimely(found, rules, way, now)
    if refusal is None:
        refusal = _risky(found.number, rules, now)
    if refusal is not None:
        reason, explanation, rule = refusal
        return Deny(reason, explanation, found.number, country, number_class, rule)
    return Allow(found.number, country, number_class, _why(found, country, excepted), _by(found, country, excepted))


def short_code(code: str, rules: Rules, way: Way, now: datetime) -> Allow | Deny:
    """The verdict on a short code that the organisation lists. It lies in the home country, which must be allowed too."""
    home = rules.home_country
    found = Found(code, (home,), NumberClass.SHORT_CODE)
    refusal = _closed((home,), rules)
    for level in rules.narrower:
        if refusal is None and level.short_codes is not None and code not in level.short_codes:
            refusal = (Reason.SHORT_CODE, f"The short code {code} is not on the {level.name}'s list.", f"{level.name} short-codes")
    refusal = refusal or _untimely(found, rules, way, now)
    if refusal is not None:
        reason, explanation, rule = refusal
        return Deny(reason, explanation, code, home, NumberClass.SHORT_CODE, rule)
    explanation = f"{code} is on the list of short codes, and {named(home)} is on the list of allowed countries."
    return Allow(code, home, NumberClass.SHORT_CODE, explanation, f"{ORGANISATION} short-codes {code}")


def unassigned(number: str, excepted: NumberException) -> Found:
    """A number that no plan knows, as its exception says. What its range is charged as needs a permission all the same."""
    number_class = class_of_kin(number, excepted.country) or NumberClass.UNKNOWN
    return Found(number, corrected(number) or (excepted.country,), number_class)


def exception(number: str, kind: ExceptionKind, rules: Rules, now: datetime) -> NumberException | None:
    """The exception of this kind that holds for the number now."""
    found = next((one for one in rules.exceptions if one.kind is kind and one.covers(number, now)), None)
    if found is None or kind is not ExceptionKind.UNASSIGNED:
        return found
    # A prefix of a shared code, such as +1, opens no range of another territory than the one that it was said to lie in.
    claimed = claimed_by(number)
    return None if claimed and found.country not in claimed else found


_Refusal = tuple[Reason, str, str]


def _closed(territories: tuple[str, ...], rules: Rules) -> _Refusal | None:
    if rules.countries.issuperset(territories):
        return None
    for level in rules.levels:
        countries = level.countries
        closed = () if countries is None else tuple(code for code in territories if code not in countries)
        if not closed:
            continue
        listed, rule = _LISTS.get(level.name, f"the {level.name}'s list of allowed countries"), f"{level.name} countries"
        if len(territories) == 1:
            return Reason.COUNTRY, f"{named(closed[0])} is not on {listed}.", rule
        places, missing = _listed(territories, "or"), _listed(closed, "and")
        explanation = f"This number may lie in {places}, so all of them must be allowed; not on {listed}: {missing}."
        return Reason.SEVERAL_COUNTRIES, explanation, rule
    return None


def _class_denied(found: Found, rules: Rules, country: str | None) -> _Refusal | None:
    number_class = found.number_class
    if number_class not in PERMITTED_CLASSES:
        return None
    for level in rules.levels:
        if level.classes is not None and number_class not in level.classes:
            where = f"in {named(country)}" if country else "of no country"
            explanation = f"{_CLASS_NAMES[number_class]} numbers need a permission of their own, and this is one {where}."
            if level.name != ORGANISATION:
                explanation = f"{_CLASS_NAMES[number_class]} numbers are not permitted to the {level.name}, and this is one {where}."
            return Reason.CLASS, explanation, f"{level.name} classes"
    return None


def _untimely(found: Found, rules: Rules, way: Way, now: datetime) -> _Refusal | None:
    """What the terms of a country or class, or a level's own hours, say against it at this moment and for this way."""
    local = now.astimezone(rules.zone) if rules.is_timed else now
    for level in rules.levels:
        if level.terms:
            for subject in (*found.territories, found.number_class.value):
                if (term := level.term.get(subject)) is not None and (refusal := _against(term, subject, level, way, now, local)):
                    return refusal
        if level.hours and not any(window.holds(local) for window in level.hours):
            return Reason.HOURS, f"The {level.name} may not call or write at this hour.", f"{level.name} hours"
    return None


def _against(term: Term, subject: str, level: Level, way: Way, now: datetime, local: datetime) -> _Refusal | None:
    rule = f"{level.name} terms {subject}"
    what = f"{_CLASS_NAMES[NumberClass(subject)]} numbers" if subject in _CLASS_VALUES else named(subject)
    verb = "are" if subject in _CLASS_VALUES else "is"
    if not term.ways.includes(way):
        return Reason.WAY, f"{what} {verb} allowed for {_WORDS[_other(way)]} only.", rule
    if term.until is not None and now >= term.until:
        return Reason.EXPIRED, f"The permission for {what} ended on {term.until:%Y-%m-%d}.", rule
    if term.windows and not any(window.holds(local) for window in term.windows):
        return Reason.HOURS, f"{what} {verb} not allowed at this hour.", rule
    return None


def _risky(number: str, rules: Rules, now: datetime) -> _Refusal | None:
    for pack in rules.packs:
        risk = pack.find(number)
        if risk is not None and exception(number, ExceptionKind.RISK, rules, now) is None:
            explanation = f"The number lies in a range of high risk ({risk.prefix}): {WORDS[risk.kind]}."
            return Reason.HIGH_RISK, explanation, f"risk-pack {pack} {risk.prefix}"
    return None


def _why(found: Found, country: str | None, excepted: NumberException | None) -> str:
    number_class = found.number_class
    if country is None:
        return f"{_CLASS_NAMES.get(number_class, 'Such')} numbers are permitted, and this is one of no country."
    if excepted is not None:
        return f"No numbering plan knows the number; it is an exception, and {named(country)} is on the list of allowed countries."
    if number_class in PERMITTED_CLASSES:
        return f"{named(country)} is on the list of allowed countries, and {_CLASS_NAMES[number_class].lower()} numbers are permitted."
    verb = "is" if len(found.territories) == 1 else "are"
    return f"{_listed(found.territories, 'and')} {verb} on the list of allowed countries."


def _by(found: Found, country: str | None, excepted: NumberException | None) -> str:
    """The entry that lets it through, as the organisation's list has it: the levels below only narrow that."""
    if excepted is not None:
        return f"{ORGANISATION} exceptions {country}"
    if country is None:
        return f"{ORGANISATION} classes {found.number_class.value}"
    return f"{ORGANISATION} countries {' '.join(found.territories)}"


def _listed(codes: tuple[str, ...], conjunction: str) -> str:
    names = [named(code) for code in codes]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {conjunction} {names[-1]}"


def _other(way: Way) -> Way:
    return Way.SMS if way is Way.CALLS else Way.CALLS


_CLASS_VALUES: Final = frozenset(number_class.value for number_class in PERMITTED_CLASSES)
