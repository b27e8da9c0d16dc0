"""Where the territory that phonenumbers gives is disputed, or is not all of the truth: a small table, each line with its source.

A line names every territory that must be allowed. Where two states claim a range, both must be: nobody finds its list widened by a
dispute, and taking no side is the only answer that does not depend on who reads it (docs/voice-security.md).
"""

from typing import Final

VERSION: Final = 1
"""Raised with each change of the table."""

# prefix | territories, the one that answers for the plan first | why, and the source
_TABLE: Final = """
+7365    | RU UA | Simferopol in the Russian plan; UN A/RES/68/262 (2014), Ukraine's plan has +380 65 there
+7869    | RU UA | Sevastopol in the Russian plan; UN A/RES/68/262 (2014)
+7978    | RU UA | mobile ranges opened in Crimea; UN A/RES/68/262 (2014)
+7840    | RU GE | Abkhazia in the Russian plan; Georgia's is +995 44 (ITU-T E.164, country code 995)
+7940    | RU GE | mobile ranges of Abkhazia; Georgia's is +995 44 (ITU-T E.164, country code 995)
+733622  | RU KZ | Baikonur: Russian plan, ground of Kazakhstan (lease agreement of 10 December 1994)
+37447   | AM AZ | Karabakh in the Armenian plan; UN S/RES/853 (1993)
+37497   | AM AZ | mobile ranges of Karabakh in the Armenian plan; UN S/RES/853 (1993)
+90392   | TR CY | the north of Cyprus in the Turkish plan; UN S/RES/550 (1984)
+905338  | TR CY | mobile ranges of the north of Cyprus in the Turkish plan; UN S/RES/550 (1984)
+905428  | TR CY | mobile ranges of the north of Cyprus in the Turkish plan; UN S/RES/550 (1984)
+97256   | IL PS | mobile ranges of Palestinian operators, reached under both codes; ITU-T E.164 (972 and 970)
+97259   | IL PS | mobile ranges of Palestinian operators, reached under both codes; ITU-T E.164 (972 and 970)
+37744   | MC XK | Monaco's range that a Kosovan operator used until Kosovo had +383 (ITU-T list of E.164 country codes, 383)
+37745   | MC XK | Monaco's range that a Kosovan operator used until Kosovo had +383 (ITU-T list of E.164 country codes, 383)
+38643   | SI XK | Slovenia's range that a Kosovan operator used until Kosovo had +383 (ITU-T list of E.164 country codes, 383)
+38649   | SI XK | Slovenia's range that a Kosovan operator used until Kosovo had +383 (ITU-T list of E.164 country codes, 383)
+38128   | RS XK | Mitrovica in the Serbian plan; Kosovo's is +383 28
+38129   | RS XK | Prizren in the Serbian plan; Kosovo's is +383 29
+38138   | RS XK | Prishtina in the Serbian plan; Kosovo's is +383 38
+38139   | RS XK | Peja in the Serbian plan; Kosovo's is +383 39
+390549  | IT SM | San Marino in the Italian plan, beside +378 (ITU-T E.164, country code 378)
+6721    | AQ    | stations in Antarctica, which phonenumbers counts to Norfolk Island (ITU-T E.164, country code 672)
+5399    | CU US | the naval base at Guantanamo Bay, on Cuban ground in the Cuban plan (ITU-T E.164, country code 53)
"""


def _read() -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in _TABLE.strip().splitlines():
        prefix, territories, source = (part.strip() for part in line.split("|", 2))
        assert source
        assert prefix not in found
        found[prefix] = tuple(territories.split())
    return found


CORRECTIONS: Final = _read()
"""Prefix -> every territory that must be allowed."""

_LENGTHS: Final = sorted({len(prefix) for prefix in CORRECTIONS}, reverse=True)
_CODES: Final = frozenset(prefix[:3] for prefix in CORRECTIONS)


def corrected(number: str) -> tuple[str, ...] | None:
    """The territories of a canonical number that the table knows better; None for all others."""
    if number[:3] not in _CODES:
        return None
    for length in _LENGTHS:
        if (found := CORRECTIONS.get(number[:length])) is not None:
            return found
    return None
