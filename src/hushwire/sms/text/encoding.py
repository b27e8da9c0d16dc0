"""In which alphabet a text goes out: the one that takes the fewest parts, and the characters as septets or UTF-16 units.

GSM 7-bit where all characters are in it, with the tables of one national language where those are allowed and make it fit, else UCS-2
(as UTF-16, which every phone reads: characters outside the basic plane are surrogate pairs).
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hushwire.sms.text.alphabets import ESC, LOCKING, SINGLE, Language

OCTETS: Final = 140
"""Of user data in one message (3GPP TS 23.040)."""
CONCATENATION_OCTETS: Final = 5
"""Of the header element that numbers parts with 8 bits of reference."""

WIDE_CONCATENATION_OCTETS: Final = 6
"""The same with 16 bits."""
_SHIFT_ELEMENT_OCTETS: Final = 3
ALL_LANGUAGES: Final = frozenset(Language) - {Language.DEFAULT}


@dataclass(frozen=True, slots=True)
class Encoding:
    """GSM 7-bit with these tables, or UCS-2 (`is_wide`)."""

    is_wide: bool = False
    locking: Language = Language.DEFAULT
    single: Language = Language.DEFAULT

    @property
    def name(self) -> str:
        """`gsm7`, `gsm7-<locking>-<single>` by national language identifiers, or `ucs2`."""
        if self.is_wide:
            return "ucs2"
        is_plain = self.locking is Language.DEFAULT and self.single is Language.DEFAULT
        return "gsm7" if is_plain else f"gsm7-{self.locking.value}-{self.single.value}"

    @classmethod
    def named(cls, name: str) -> "Encoding":
        """What `name` gave. Raises ValueError."""
        if name == "ucs2":
            return WIDE
        if name == "gsm7":
            return PLAIN
        kind, locking, single = name.split("-")
        if kind != "gsm7":
            raise ValueError("not the name of an encoding")
        return cls(False, Language(int(locking)), Language(int(single)))

    @property
    def data_coding(self) -> int:
        """Of SMPP: the message centre's default alphabet, or UCS-2."""
        return 8 if self.is_wide else 0

    @property
    def shift_octets(self) -> int:
        """What the header elements that name national tables take."""
        return _SHIFT_ELEMENT_OCTETS * ((self.locking is not Language.DEFAULT) + (self.single is not Language.DEFAULT))

    def capacity(self, header_elements: int) -> int:
        """Septets or UTF-16 units beside elements of so many octets (those of shifts not counted)."""
        elements = header_elements + self.shift_octets
        octets = OCTETS - (1 + elements if elements else 0)
        return octets // 2 if self.is_wide else octets * 8 // 7

    def units(self, text: str) -> list[bytes] | None:
        """The text as pieces that must not be parted: a septet, ESC and a septet, or a character in UTF-16; None where it can't say it."""
        if self.is_wide:
            return [character.encode("utf-16-be", "surrogatepass") for character in text]
        locking, single = LOCKING[self.locking].codes, SINGLE[self.single].codes
        pieces = []
        for character in text:
            if (code := locking.get(character)) is not None:
                pieces.append(_SEPTETS[code])
            elif (code := single.get(character)) is not None:
                pieces.append(_ESCAPED[code])
            else:
                return None
        return pieces

    def length(self, unit: bytes) -> int:
        """Of one piece, in what `capacity` counts."""
        return len(unit) // 2 if self.is_wide else len(unit)


_SEPTETS: Final = [bytes([code]) for code in range(128)]
_ESCAPED: Final = [bytes([ESC, code]) for code in range(128)]
PLAIN: Final = Encoding()
WIDE: Final = Encoding(is_wide=True)


def parted(units: Sequence[bytes], encoding: Encoding, capacity: int) -> list[list[bytes]]:
    """The pieces in as few parts as they fit in, none of them parted."""
    parts: list[list[bytes]] = [[]]
    free = capacity
    for unit in units:
        length = encoding.length(unit)
        if length > free:
            parts.append([])
            free = capacity
        parts[-1].append(unit)
        free -= length
    return parts


def part_count(text: str, encoding: Encoding, header_octets: int = CONCATENATION_OCTETS) -> int | None:
    """How many parts a text takes with so long an element in each of several; None where the encoding can't say it. An empty one: 1."""
    units = encoding.units(text)
    return None if units is None else _count(units, encoding, header_octets)


def _count(units: Sequence[bytes], encoding: Encoding, header_octets: int) -> int:
    if sum(map(encoding.length, units)) <= encoding.capacity(0):
        return 1
    return len(parted(units, encoding, encoding.capacity(header_octets)))


def choose(text: str, languages: Collection[Language] = ()) -> Encoding:
    """The encoding that takes the fewest parts; of equals the one that more phones read, then the one of fewer octets.

    `languages`: national tables that may be used beside the default ones.
    """
    if PLAIN.units(text) is not None:
        return PLAIN
    best, least = WIDE, (part_count(text, WIDE) or 1, 0)
    for candidate in _candidates(text, languages):
        units = candidate.units(text)
        if units is None:
            continue
        cost = _count(units, candidate, CONCATENATION_OCTETS), sum(map(len, units)) + candidate.shift_octets
        if cost[0] < least[0] or (best is not WIDE and cost < least):
            best, least = candidate, cost
    return best


def _candidates(text: str, languages: Collection[Language]) -> Iterator[Encoding]:
    """Combinations of tables that hold a character which the default ones lack; the simplest first."""
    default, extension = LOCKING[Language.DEFAULT].codes, SINGLE[Language.DEFAULT].codes
    strange = {character for character in text if character not in default and character not in extension}
    of_use = [language for language in sorted(languages) if _holds(language, strange)]
    locking = [language for language in of_use if language in LOCKING]
    for language in of_use:
        yield Encoding(single=language)
    for language in locking:
        yield Encoding(locking=language)
    for first in locking:
        for second in of_use:
            yield Encoding(locking=first, single=second)


def _holds(language: Language, strange: Collection[str]) -> bool:
    tables = [table for table in (LOCKING.get(language), SINGLE.get(language)) if table is not None]
    return any(character in table.codes for table in tables for character in strange)
