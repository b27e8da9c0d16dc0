"""Where the territory that phonenumbers gives is disputed, or is not all of the truth: a small table, each line with its source.

A line names every territory that must be allowed. Where two states claim a range, both must be: nobody finds its list widened by a
dispute, and taking no side is the only answer that does not depend on who reads it (docs/voice-security.md).

Read in November 2026, in stored copies of these pages; [name] in a line:

    ru          https://en.wikipedia.org/wiki/Telephone_numbers_in_Russia, which cites the ITU's copy of the plan (T02020000AD, 2022)
    plus7       https://en.wikipedia.org/wiki/%2B7
    abkhazia    https://en.wikipedia.org/wiki/Telephone_numbers_in_Abkhazia
    karabakh    https://howtophoneto.com/nagorno-karabakh
    cyprus      https://en.wikipedia.org/wiki/Telephone_numbers_in_Cyprus, "the situation in Northern Cyprus"
    kosovo      https://en.wikipedia.org/wiki/Telephone_numbers_in_Kosovo
    san-marino  https://www.wtng.sitindaonnews.com/index.php/3363-san-marino: +378 and +39 0549 lead to the same lines
    baikonur    https://github.com/google/libphonenumber/pull/1461: its maintainers on 33622, "rented and administered by Russia"
    palestine   https://github.com/google/libphonenumber/issues/1134: a Palestinian mobile number is reached by +970 and +972
    gsm-cyprus  http://w.owiki.org/wiki/Telephone_numbers_in_Cyprus: mobile phones of the north have 0533 and 0542 of the Turkish plan
    girne       https://cyprusscene.com/2017/12/27/girne-municipality-new-year-concert-and-precautionary-services/: the services of Girne
                are called under 0533 8.., 0542 88. and 0548 88., which tells these ranges from Turkey's own
    antarctica  https://simple.wikipedia.org/wiki/Australian_Antarctic_Territory: 10 Davis, 11 Mawson, 12 Casey, 13 Macquarie Island
    macquarie   https://docslib.org/doc/5512508/chapter-six-antarctic-territories: Macquarie Island is a part of Tasmania
    guantanamo  https://callanothercountry.com/cuba: Guantanamo Bay +53-99
    phonenumbers    the place or the carrier that phonenumbers itself gives to the range, though not its territory (a test asks it)

Every line has a source; where two of them differ, the line asks for what both name.
"""

from typing import Final

VERSION: Final = 3
"""Raised with each change of the table."""

# prefix | territories, the one that answers for the plan first | why, and the source
_TABLE: Final = """
+7365    | RU UA | Crimea in the Russian plan [ru]; UN A/RES/68/262 (2014), Ukraine's plan has +380 65 there
+7869    | RU UA | Sevastopol in the Russian plan [ru]; UN A/RES/68/262 (2014)
+7978    | RU UA | mobile ranges opened in Crimea [ru]; UN A/RES/68/262 (2014)
+7840    | RU GE | Abkhazia in the Russian plan [ru] [abkhazia]; Georgia's is +995 44
+7940    | RU GE | mobile ranges of Abkhazia [ru] [abkhazia]; Georgia's is +995 44
+7850    | RU GE | South Ossetia in the Russian plan [plus7]; Georgia's is +995 34
+7998    | RU GE | mobile ranges of South Ossetia [plus7]; Georgia's is +995 34
+733622  | RU KZ | Baikonur: Russian plan, ground of Kazakhstan (lease agreement of 10 December 1994) [baikonur] [phonenumbers]
+37447   | AM AZ | Karabakh in the Armenian plan [phonenumbers]; UN S/RES/853 (1993)
+37497   | AM AZ | mobile ranges of Karabakh in the Armenian plan [karabakh]; UN S/RES/853 (1993)
+90392   | TR CY | the north of Cyprus in the Turkish plan [cyprus]; UN S/RES/550 (1984)
+905338  | TR CY | mobile ranges of the north of Cyprus in the Turkish plan [gsm-cyprus] [girne]; UN S/RES/550 (1984)
+905428  | TR CY | mobile ranges of the north of Cyprus in the Turkish plan [gsm-cyprus] [girne]; UN S/RES/550 (1984)
+905488  | TR CY | mobile ranges of the north of Cyprus in the Turkish plan [girne]; UN S/RES/550 (1984)
+97256   | IL PS | mobile ranges of Palestinian operators, reached under both codes [palestine] [phonenumbers]
+97259   | IL PS | mobile ranges of Palestinian operators, reached under both codes [palestine] [phonenumbers]
+37744   | MC XK | Monaco's range that a Kosovan operator used until Kosovo had +383 [kosovo]
+37745   | MC XK | Monaco's range that a Kosovan operator used until Kosovo had +383 [kosovo]
+38643   | SI XK | Slovenia's range that a Kosovan operator used until Kosovo had +383 [kosovo]
+38649   | SI XK | Slovenia's range that a Kosovan operator used until Kosovo had +383 [kosovo]
+38128   | RS XK | Mitrovica in the Serbian plan; Kosovo's is +383 28 [kosovo]
+38129   | RS XK | Prizren in the Serbian plan; Kosovo's is +383 29 [kosovo]
+38138   | RS XK | Prishtina in the Serbian plan; Kosovo's is +383 38 [kosovo]
+38139   | RS XK | Peja in the Serbian plan; Kosovo's is +383 39 [kosovo]
+390549  | IT SM | San Marino in the Italian plan, beside +378 [san-marino]
+6721    | AQ    | stations in Antarctica, which phonenumbers counts to Norfolk Island [antarctica] [phonenumbers]
+67213   | AQ AU | Macquarie Island, which has a number among the stations [antarctica] and belongs to Tasmania [macquarie]
+5399    | CU US | the naval base at Guantanamo Bay, on Cuban ground in the Cuban plan [guantanamo]
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
