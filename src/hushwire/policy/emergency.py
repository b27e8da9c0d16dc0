"""Emergency numbers: exact strings, never prefixes, and what the home country knows."""

import re
from functools import lru_cache
from typing import Final

from phonenumbers import PhoneMetadata

EVERYWHERE: Final = frozenset({"112", "911"})
"""What handsets send for an emergency wherever they are (3GPP TS 22.101 section 10.1, and the North American plan)."""

_PREFERRED: Final = ("112", "911", "999", "000")

# Services of RFC 5031 section 4.2 that an emergency call centre answers; its others (poison, animal control ...) are not.
RESCUE_SERVICES: Final = frozenset({"sos", "sos.ambulance", "sos.fire", "sos.marine", "sos.mountain", "sos.police"})


def is_emergency(dialled: str, home_country: str) -> bool:
    """True if `dialled`, exactly as it is, is an emergency number: 112, 911, or one of the home country's."""
    return dialled in EVERYWHERE or _pattern(home_country).fullmatch(dialled) is not None


def main_number(home_country: str) -> str:
    """The number to dial where only the wish for help was said (`urn:service:sos`)."""
    pattern = _pattern(home_country)
    return next((number for number in _PREFERRED if pattern.fullmatch(number)), "112")


@lru_cache(maxsize=512)
def _pattern(home_country: str) -> re.Pattern[str]:
    metadata = PhoneMetadata.short_metadata_for_region(home_country)
    # The metadata's own check also accepts more digits after the number in some countries, or "+": so only its pattern is used.
    known = metadata.emergency.national_number_pattern if metadata and metadata.emergency else None
    return re.compile(known or r"(?!)", re.ASCII)
