"""Names of groups of countries, for people: each stands for the territories that it had at this version, and is saved as those.

A name is never stored: whoever saves "EU" sees 27 codes on the list, and a state that joins later is on no list by that.
"""

from collections.abc import Iterable
from typing import Final

from hushwire.policy.territories import TERRITORIES

VERSION: Final = 1
"""Raised with each change of a group; lists that were saved stay as they are."""

_EU: Final = "AT BE BG CY CZ DE DK EE ES FI FR GR HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK"
_NANP: Final = "AG AI AS BB BM BS CA DM DO GD GU JM KN KY LC MP MS PR SX TC TT US VC VG VI"

_GROUPS: Final = {
    # Mobiles of FI, FR's +590 and others can't be told from those of their territories: those groups say what they hold, and no more.
    "EU": _EU,
    "EU and its outermost regions": f"{_EU} AX BL GF GP MF MQ RE YT",
    "EEA": f"{_EU} IS LI NO",
    "EEA and Switzerland": f"{_EU} CH IS LI NO",
    "Schengen area": "AT BE BG CH CZ DE DK EE ES FI FR GR HR HU IS IT LI LT LU LV MT NL NO PL PT RO SE SI SK",
    "DACH": "AT CH DE",
    "Benelux": "BE LU NL",
    "Nordic countries": "AX DK FI FO GL IS NO SE SJ",
    "Baltic states": "EE LT LV",
    "UK and Crown Dependencies": "GB GG IM JE",
    "Australia and its territories": "AU CC CX NF",
    "United States and its territories": "AS GU MP PR UM US VI",
    "US and Canada": "CA US",
    "NANP countries": _NANP,
    "GCC": "AE BH KW OM QA SA",
    "ASEAN": "BN ID KH LA MM MY PH SG TH TL VN",
}

GROUPS: Final[dict[str, frozenset[str]]] = {name: frozenset(codes.split()) for name, codes in _GROUPS.items()}
"""Name -> ISO 3166-1 codes."""

_BY_FOLDED: Final = {name.casefold(): codes for name, codes in GROUPS.items()}


def group(name: str) -> str:
    """The name, as it is. Raises ValueError, with all that there are, for one that no group has."""
    if name not in GROUPS:
        raise ValueError(f"must be one of: {', '.join(GROUPS)}")
    return name


def expand(names: Iterable[str]) -> frozenset[str]:
    """The territories of all these groups; a single code stands for itself. Raises KeyError with the name that is neither."""
    found: set[str] = set()
    for name in names:
        if (codes := _BY_FOLDED.get(name.strip().casefold())) is not None:
            found |= codes
        elif name in TERRITORIES:
            found.add(name)
        else:
            raise KeyError(name)
    return frozenset(found)
