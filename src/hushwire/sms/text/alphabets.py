"""The GSM 7-bit alphabets: default, extension, and the national language tables (3GPP TS 23.038 section 6.2.1 and annex A).

A locking table replaces the default alphabet for a whole message, a single shift table its extension: one septet ESC before a character.
Which tables a message uses stands in its user data header. What is no character of a table is `VOID` there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

ESC: Final = 0x1B
VOID: Final = "\0"


class Language(IntEnum):
    """National language identifiers (TS 23.038 section 6.2.1.2.4); `DEFAULT`: the tables that need no header."""

    DEFAULT = 0
    TURKISH = 1
    SPANISH = 2
    PORTUGUESE = 3
    BENGALI = 4
    GUJARATI = 5
    HINDI = 6
    KANNADA = 7
    MALAYALAM = 8
    ORIYA = 9
    PUNJABI = 10
    TAMIL = 11
    TELUGU = 12
    URDU = 13


@dataclass(frozen=True, slots=True)
class Table:
    """128 characters by code, and the codes of the characters."""

    characters: str
    codes: Mapping[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        assert len(self.characters) == 128
        codes: dict[str, int] = {}
        for code, character in enumerate(self.characters):
            if character != VOID:
                codes.setdefault(character, code)
        object.__setattr__(self, "codes", codes)


_DEFAULT: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ" + VOID + "ÆæßÉ"
    " !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmnopqrstuvwxyzäöñüà"
)  # fmt: skip
_EXTENSION: Final = {0x0A: "\f", 0x14: "^", 0x28: "{", 0x29: "}", 0x2F: "\\", 0x3C: "[", 0x3D: "~", 0x3E: "]", 0x40: "|", 0x65: "€"}

# Differences from the default alphabet, and from its extension.
_LOCKING_CHANGES: Final[dict[Language, dict[int, str]]] = {
    Language.TURKISH: {
        0x04: "€", 0x07: "ı", 0x0B: "Ğ", 0x0C: "ğ", 0x1C: "Ş", 0x1D: "ş", 0x40: "İ", 0x60: "ç",
    },
    Language.PORTUGUESE: {
        0x04: "ê", 0x06: "ú", 0x07: "í", 0x08: "ó", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "ª", 0x13: "Ç", 0x14: "À",
        0x15: "∞", 0x16: "^", 0x17: "\\", 0x18: "€", 0x19: "Ó", 0x1A: "|", 0x1C: "Â", 0x1D: "â", 0x1E: "Ê", 0x24: "º", 0x40: "Í", 0x5B: "Ã",
        0x5C: "Õ", 0x5D: "Ú", 0x60: "~", 0x7B: "ã", 0x7C: "õ", 0x7D: "`",
    },
}  # fmt: skip
_SINGLE_CHANGES: Final[dict[Language, dict[int, str]]] = {
    Language.TURKISH: {0x47: "Ğ", 0x49: "İ", 0x53: "Ş", 0x63: "ç", 0x67: "ğ", 0x69: "ı", 0x73: "ş"},
    Language.SPANISH: {
        0x09: "ç", 0x41: "Á", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x61: "á", 0x69: "í", 0x6F: "ó", 0x75: "ú",
    },
    Language.PORTUGUESE: {
        0x05: "ê", 0x09: "ç", 0x0B: "Ô", 0x0C: "ô", 0x0E: "Á", 0x0F: "á", 0x12: "Φ", 0x13: "Γ", 0x15: "Ω", 0x16: "Π", 0x17: "Ψ", 0x18: "Σ",
        0x19: "Θ", 0x1F: "Ê", 0x41: "À", 0x49: "Í", 0x4F: "Ó", 0x55: "Ú", 0x5B: "Ã", 0x5C: "Õ", 0x61: "Â", 0x69: "í", 0x6F: "ó", 0x75: "ú",
        0x7B: "ã", 0x7C: "õ", 0x7F: "â",
    },
}  # fmt: skip

# The tables of the subcontinent share a skeleton; its gaps (~) are filled in order with characters of one Unicode block. Numbers are
# hexadecimal offsets in the block, or whole code points of four digits; "." is a void.
_GAP: Final = "\x01"
_INDIC_LOCKING: Final = (
    _GAP * 10 + "\n" + _GAP * 2 + "\r" + _GAP * 13 + VOID + _GAP * 4
    + " !" + _GAP * 6 + ")(" + _GAP * 2 + "," + _GAP + "." + _GAP + "0123456789:;" + _GAP * 3 + "?"
    + _GAP * 33 + "abcdefghijklmnopqrstuvwxyz" + _GAP * 5
)  # fmt: skip
_INDIC_SINGLE: Final = (
    "@£$¥¿\"¤%&'\f*+" + VOID + "-/<=>¡^¡_#*" + _GAP * 2 + VOID + _GAP * 4
    + _GAP * 8 + "{}" + _GAP * 5 + "\\" + _GAP * 12 + "[~]" + _GAP
    + "|ABCDEFGHIJKLMNOPQRSTUVWXYZ" + VOID * 10 + "€" + VOID * 26
)  # fmt: skip
_INDIC: Final[dict[Language, tuple[int, str, str]]] = {
    Language.BENGALI: (
        0x0900,
        "81-83 85-8c . . 8f 90 . . 93-a8 . aa-b0 . b2 . . . b6-b9 bc-c4 . . c7 c8 . . cb-ce d7 dc dd f0 f1",
        "e6-ef df-e3 f2-fa",
    ),
    Language.GUJARATI: (
        0x0A00,
        "81-83 85-8d . 8f-91 . 93-a8 . aa-b0 . b2 b3 . b5-b9 bc-c5 . c7-c9 . cb-cd d0 e0-e3 f1",
        "0964 0965 e6-ef",
    ),
    Language.HINDI: (0x0900, "01-03 05-39 3c-4d 50 72 7b 7c 7e 7f", "64-6f 51-54 58-63 70 71"),
    Language.KANNADA: (
        0x0C00,
        ". 82 83 85-8c . 8e-90 . 92-a8 . aa-b3 . b5-b9 bc-c4 . c6-c8 . ca-cd d5 d6 e0-e3",
        "0964 0965 e6-ef de f1 f2",
    ),
    Language.MALAYALAM: (
        0x0D00,
        ". 02 03 05-0c . 0e-10 . 12-28 . 2a-39 . 3d-44 . 46-48 . 4a-4d 57 60-63 79",
        "0964 0965 66-75 7a-7f",
    ),
    Language.ORIYA: (
        0x0B00,
        "01-03 05-0c . . 0f 10 . . 13-28 . 2a-30 . 32 33 . 35-39 3c-44 . . 47 48 . . 4b-4d 56 57 60-63",
        "0964 0965 66-6f 5c 5d 5f 70 71",
    ),
    Language.PUNJABI: (
        0x0A00,
        "01-03 05-0a . . . . 0f 10 . . 13-28 . 2a-30 . 32 33 . 35 36 . 38 39 3c . 3e-42 . . . . 47 48 . . 4b-4d 51 70-74",
        "0964 0965 66-6f 59-5c 5e 75",
    ),
    Language.TAMIL: (
        0x0B00,
        ". 82 83 85-8a . . . 8e-90 . 92-95 . . . 99 9a . 9c . 9e 9f . . . a3 a4 . . . a8-aa . . . ae-b9 . . be-c2 . . . c6-c8 . ca-cd d0"
        " d7 f0-f2 f9",
        "0964 0965 e6-ef f3-f8 fa",
    ),
    Language.TELUGU: (
        0x0C00,
        "01-03 05-0c . 0e-10 . 12-28 . 2a-33 . 35-39 . 3d-44 . 46-48 . 4a-4d 55 56 60-63",
        ". . 66-6f 58 59 78-7f",
    ),
    Language.URDU: (
        0x0600,
        "27 22 28 7b 80 7e a6 2a c2 7f 79 7d 7a 7c 2b 2c 81 84 83 85 86 87 2d 2e 2f 8c 88 89 8a 8f 8d 30 31 91 93 99 32 96 98 9a 33 34"
        " 35-39 41 42 a9-ab af b3 b1 44-46 ba-bc 48 c4 d5 c1 be 21 cc d0 d2 4d 50 4f 57 54 55 51 53 56 70",
        "00 01 f0-f9 0c-14 1b 1f 40 52 58 6b 6c 72 73 cd d4",
    ),
}


def _filled(skeleton: str, block: int, places: str) -> str:
    filling: list[str] = []
    for word in places.split():
        first, _, last = word.partition("-")
        if word == ".":
            filling.append(VOID)
        elif len(word) == 4:
            filling.append(chr(int(word, 16)))
        else:
            filling += [chr(block + offset) for offset in range(int(first, 16), int(last or first, 16) + 1)]
    following = iter(filling)
    table = "".join(next(following, VOID) if character == _GAP else character for character in skeleton)
    assert next(following, None) is None, "more characters than places"
    return table


def _changed(base: str, changes: Mapping[int, str]) -> str:
    return "".join(changes.get(code, character) for code, character in enumerate(base))


_EXTENSION_TABLE: Final = _changed(VOID * 128, _EXTENSION)
LOCKING: Final[Mapping[Language, Table]] = {
    Language.DEFAULT: Table(_DEFAULT),
    **{language: Table(_changed(_DEFAULT, changes)) for language, changes in _LOCKING_CHANGES.items()},
    **{language: Table(_filled(_INDIC_LOCKING, block, places)) for language, (block, places, _) in _INDIC.items()},
}
"""Tables that replace the default alphabet; Spanish has none."""

SINGLE: Final[Mapping[Language, Table]] = {
    Language.DEFAULT: Table(_EXTENSION_TABLE),
    **{language: Table(_changed(_EXTENSION_TABLE, changes)) for language, changes in _SINGLE_CHANGES.items()},
    **{language: Table(_filled(_INDIC_SINGLE, block, places)) for language, (block, _, places) in _INDIC.items()},
}
"""Tables of what follows ESC."""
