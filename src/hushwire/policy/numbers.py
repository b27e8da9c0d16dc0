"""Digits -> the one canonical number, the territories that it may lie in, and its class: phonenumbers behind a strict door.

Only `+` and ASCII digits come in here, since phonenumbers drops or turns into digits whatever else it is given.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import NumberParseException, PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from hushwire.policy.corrections import corrected
from hushwire.policy.model import PERMITTED_CLASSES, NumberClass, Reason

_MOST_DIGITS: Final = 32  # an international prefix, a carrier code and 15 digits (ITU-T E.164 section 6.2) fit well
_NOWHERE: Final = "001"  # phonenumbers' name for calling codes of no territory

_NO_NUMBER: Final = (NumberParseException.INVALID_COUNTRY_CODE, NumberParseException.TOO_LONG)

_CLASSES: Final = {
    PhoneNumberType.FIXED_LINE: NumberClass.FIXED,
    PhoneNumberType.MOBILE: NumberClass.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE: NumberClass.FIXED_OR_MOBILE,
    PhoneNumberType.TOLL_FREE: NumberClass.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE: NumberClass.PREMIUM,
    PhoneNumberType.SHARED_COST: NumberClass.SHARED_COST,
    PhoneNumberType.VOIP: NumberClass.VOIP,
    PhoneNumberType.PERSONAL_NUMBER: NumberClass.PERSONAL,
    PhoneNumberType.PAGER: NumberClass.PAGER,
    PhoneNumberType.UAN: NumberClass.UAN,
    PhoneNumberType.VOICEMAIL: NumberClass.VOICEMAIL,
}

# Calling codes of no territory (ITU-T E.164 list of assigned country codes): universal freephone, shared cost, Inmarsat, personal,
# satellite systems, networks, disaster relief, premium rate.
_GLOBAL_CLASSES: Final = {
    800: NumberClass.UIFN,
    808: NumberClass.SHARED_COST,
    870: NumberClass.SATELLITE,
    878: NumberClass.PERSONAL,
    881: NumberClass.SATELLITE,
    979: NumberClass.PREMIUM,
}
_SATELLITE_NETWORKS: Final = ("88213", "88216")  # EMSAT, Thuraya: the satellite systems among the networks of +882


@dataclass(frozen=True, slots=True)
class Found:
    """A valid number. `territories` are all that must be allowed, empty for codes of no territory."""

    number: str = field(repr=False)
    territories: tuple[str, ...]
    number_class: NumberClass


@dataclass(frozen=True, slots=True)
class Unfound:
    """No valid number: INCOMPLETE where digits are missing, INVALID where no numbering plan knows it, SHORT_CODE for one of the country's.

    `number` is +E.164 all the same where the calling code is one, and reading it gives itself: what an exception may be made for.
    """

    reason: Reason
    number: str | None = field(default=None, repr=False)


def international(digits: str, home_country: str) -> Found | Unfound:
    """The number `+digits`."""
    return _read("+" + digits, None, home_country)


def dialled(digits: str, home_country: str, outside_prefix: str | None = None) -> Found | Unfound:
    """A string of digits as dialled in the home country, with its national and international prefixes.

    It is read as the public network would; where that gives no number, as dialled with the outside prefix before it.
    """
    found = _read(digits, home_country, home_country)
    if isinstance(found, Unfound) and outside_prefix and digits.startswith(outside_prefix) and len(digits) > len(outside_prefix):
        second = _read(digits[len(outside_prefix) :], home_country, home_country)
        if isinstance(second, Found):
            return second
    if isinstance(found, Unfound) and _is_short_code(digits, home_country):
        return Unfound(Reason.SHORT_CODE)
    return found


def regions_of(number: str) -> tuple[str, ...]:
    """The territories that share the calling code of a +E.164 number, whether any plan knows the number or not."""
    try:
        code = phonenumbers.parse(number, None).country_code or 0
    except NumberParseException:
        return ()
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    return () if regions == (_NOWHERE,) else regions


def is_calling_code(digits: str) -> bool:
    """Whether these are a calling code of E.164."""
    return digits.isascii() and digits.isdigit() and int(digits) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE


def claimed_by(number: str) -> frozenset[str]:
    """The territories of a shared calling code to which the first digits of a +E.164 number belong, assigned or not: +1 876 is Jamaica's.

    None where the code is one territory's, or its digits are the main one's.
    """
    shared = regions_of(number)
    if len(shared) < 2:
        return frozenset()
    national = number.removeprefix(f"+{phonenumbers.country_code_for_region(shared[0])}")
    return frozenset(region for region in shared if (leading := _leading(region)) is not None and leading.match(national))


def plans_of(digits: str) -> frozenset[str]:
    """The territories in which numbers may lie that begin with `+` and these digits, of those that share their calling code.

    An area code of the North American plan tells; where the digits are fewer, or the code is another one, it may be any of them.
    """
    shared = regions_of(digits.ljust(9, "0"))
    national = digits.removeprefix("+1")
    if not digits.startswith("+1") or len(national) < _AREA_CODE:
        return frozenset(shared)
    # Numbers of no area, such as +1 800 and +1 900, are valid in all: fills that make a number of the range say so.
    probes = (national + fill[len(national) :] for fill in ("2005550123", "2002345678", "2009876543"))
    parsed = [PhoneNumber(country_code=1, national_number=int(probe[:10])) for probe in probes]
    main = {region for region in shared if _leading(region) is None}
    return frozenset(main | {region for region in shared if any(phonenumbers.is_valid_number_for_region(one, region) for one in parsed)})


_AREA_CODE: Final = 3


@lru_cache(maxsize=512)
def _leading(region: str) -> re.Pattern[str] | None:
    metadata = PhoneMetadata.metadata_for_region(region)
    digits = None if metadata is None else metadata.leading_digits
    return re.compile(digits, re.ASCII) if digits else None


def class_of_kin(number: str, home: str) -> NumberClass | None:
    """The class, of those that need a permission, of valid numbers that begin as this one does or with which it begins.

    A number that no plan knows for a digit too many or too few is charged as its range is.
    """
    digits = number.removeprefix("+")
    longer = (digits + more for more in ("0", "1", "00", "12", "000", "123", "0000", "1234", "00000", "12345"))
    shorter = (digits[:-cut] for cut in range(1, 6))
    for candidate in (*longer, *shorter):
        found = international(candidate, home) if len(candidate) >= _SHORTEST else None
        if isinstance(found, Found) and found.number_class in PERMITTED_CLASSES:
            return found.number_class
    return None


_SHORTEST: Final = 5


def has_numbering(country: str) -> bool:
    """True if the country has a numbering plan in which its people dial."""
    return PhoneMetadata.metadata_for_region(country) is not None


def _read(text: str, region: str | None, home_country: str) -> Found | Unfound:
    if len(text) > _MOST_DIGITS:
        return Unfound(Reason.INVALID)
    try:
        parsed = phonenumbers.parse(text, region)
    except NumberParseException as error:
        return Unfound(Reason.INVALID if error.error_type in _NO_NUMBER else Reason.INCOMPLETE)
    number = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if number != text and not _is_fixed_point(number):
        return Unfound(Reason.INVALID)
    code = parsed.country_code or 0
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(code, ())
    if regions == (_NOWHERE,):
        if phonenumbers.is_valid_number(parsed):
            return Found(number, (), _global_class(code, number))
        return Unfound(_why_not(parsed), number)
    number_class = _CLASSES.get(phonenumbers.number_type(parsed), NumberClass.UNKNOWN)
    territories = _valid_in(parsed, regions)
    if _follows_the_country(number_class, number):
        # One of 25 territories is asked, not all: the home country where it is one of them, else the plan's main one.
        at_home = _valid_in(parsed, (home_country,) if home_country in regions else ())
        first = next(at_home, None) or next(territories, None)
        found: tuple[str, ...] = () if first is None else (first,)
    else:
        found = tuple(territories)
    if not found:
        return Unfound(_why_not(parsed), number)
    return Found(number, corrected(number) or found, number_class)


def _valid_in(parsed: PhoneNumber, regions: tuple[str, ...]) -> Iterator[str]:
    """Each territory in which the number is valid, in the order in which they are given; looked at one after the other."""
    national = phonenumbers.national_significant_number(parsed)
    # The general pattern costs little, and rules out most of the 25 territories of +1.
    candidates = (region for region in regions if _general(region).fullmatch(national))
    return (region for region in candidates if phonenumbers.is_valid_number_for_region(parsed, region))


def _follows_the_country(number_class: NumberClass, number: str) -> bool:
    """Toll-free and UK-wide (03) numbers serve a whole plan: they belong to one country, not to each of its territories."""
    return number_class is NumberClass.TOLL_FREE or (number_class is NumberClass.UAN and number.startswith("+443"))


def _global_class(country_code: int, number: str) -> NumberClass:
    if number[1:].startswith(_SATELLITE_NETWORKS):
        return NumberClass.SATELLITE
    return _GLOBAL_CLASSES.get(country_code, NumberClass.GLOBAL)


def _is_fixed_point(number: str) -> bool:
    """True if reading the canonical form gives itself: what is judged is what the next reader will see."""
    try:
        return phonenumbers.format_number(phonenumbers.parse(number, None), PhoneNumberFormat.E164) == number
    except NumberParseException:
        return False


def _why_not(parsed: PhoneNumber) -> Reason:
    possible = phonenumbers.is_possible_number_with_reason(parsed)
    short = possible in (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY)
    return Reason.INCOMPLETE if short else Reason.INVALID


def _is_short_code(digits: str, home_country: str) -> bool:
    metadata = PhoneMetadata.short_metadata_for_region(home_country)
    if metadata is None or metadata.short_code is None or metadata.short_code.national_number_pattern is None:
        return False
    return re.compile(metadata.short_code.national_number_pattern, re.ASCII).fullmatch(digits) is not None


@lru_cache(maxsize=512)
def _general(region: str) -> re.Pattern[str]:
    metadata = PhoneMetadata.metadata_for_region(region)
    known = metadata.general_desc.national_number_pattern if metadata and metadata.general_desc else None
    return re.compile(known or r"(?!)", re.ASCII)
