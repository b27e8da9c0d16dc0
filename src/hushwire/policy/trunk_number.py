"""A judged number as a carrier wants it written, and what the carrier will read there: the second must be the first, byte for byte.

+e164      +493023125000
e164       493023125000
national   03023125000 in the carrier's own country, 00 44 20... (its international prefix) to all others
"""

import re
from enum import StrEnum
from functools import lru_cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneMetadata

from hushwire.policy import numbers

_GLOBAL: Final = re.compile(r"\+[1-9][0-9]{3,14}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,5}", re.ASCII)


class NumberFormat(StrEnum):
    """How a carrier takes numbers, as the provisioning file says it."""

    PLUS = "+e164"
    BARE = "e164"
    NATIONAL = "national"


def written(number: str, form: NumberFormat, country: str | None) -> str | None:
    """A canonical +E.164 number in a carrier's form. `country` is the carrier's own, which only NATIONAL needs.

    None where the form can't say it, or where what would stand there is read as anything but this very number.
    """
    if not _GLOBAL.fullmatch(number):
        return None
    text = _written(number, form, country)
    return text if text is not None and read(text, form, country) == number else None


def read(text: str, form: NumberFormat, country: str | None) -> str | None:
    """The +E.164 number that a carrier which takes this form reads; None for what is no number to it."""
    if form is NumberFormat.PLUS:
        return text if _GLOBAL.fullmatch(text) else None
    if form is NumberFormat.BARE:
        return f"+{text}" if _GLOBAL.fullmatch(f"+{text}") else None
    if country is None or not text.isascii() or not text.isdigit():
        return None
    # A number that no plan knows may be allowed as an exception; it has to be read as itself there too.
    return numbers.dialled(text, country).number


def can_be_national(country: str) -> bool:
    """Whether numbers can be written nationally in a country: its prefixes have to be known."""
    return _prefixes(country) is not None


def _written(number: str, form: NumberFormat, country: str | None) -> str | None:
    if form is NumberFormat.PLUS:
        return number
    if form is NumberFormat.BARE:
        return number[1:]
    prefixes = None if country is None else _prefixes(country)
    if prefixes is None or country is None:
        return None
    international, national = prefixes
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        return None
    if parsed.country_code == phonenumbers.country_code_for_region(country):
        return national + phonenumbers.national_significant_number(parsed)
    return international + number[1:]


@lru_cache(maxsize=256)
def _prefixes(country: str) -> tuple[str, str] | None:
    """(international, national) dialling prefixes; the second is empty where a country has none."""
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None:
        return None
    international = _international(metadata)
    national = metadata.national_prefix or ""
    if international is None or (national and not _DIGITS.fullmatch(national)):
        return None
    return international, national


def _international(metadata: PhoneMetadata) -> str | None:
    """The prefix of calls abroad; where callers choose a carrier with it, the first usual one that the country knows."""
    known = metadata.preferred_international_prefix or metadata.international_prefix or ""
    text = known.replace("~", "")
    if _DIGITS.fullmatch(text):
        return text
    pattern = re.compile(known, re.ASCII)
    return next((prefix for prefix in ("00", "001", "0011", "011", "010", "000", "005") if pattern.fullmatch(prefix)), None)
