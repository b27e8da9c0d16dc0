"""Texts as parts: alphabets, national tables, headers, packing; whatever goes out reads the same when it comes in again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hushwire.core.errors import RefusedError
from hushwire.sms.text.alphabets import ESC, LOCKING, SINGLE, VOID, Language
from hushwire.sms.text.decoding import joined, read_part
from hushwire.sms.text.encoding import ALL_LANGUAGES, PLAIN, WIDE, Encoding, choose, part_count
from hushwire.sms.text.folding import folded
from hushwire.sms.text.header import read_header
from hushwire.sms.text.segmentation import Numbering, Segment, Style, segments, size
from hushwire.sms.text.septets import pack, unpack

STYLES = [Style(numbering, packed) for numbering in Numbering for packed in (False, True)]


def back(parts: tuple[Segment, ...], style: Style) -> str | None:
    """What a phone reads of these parts."""
    read = [read_part(part.payload, part.data_coding, has_udh=part.has_udh, sar=part.sar, is_packed=style.packed) for part in parts]
    if len(parts) > 1:
        assert [one.part is not None and (one.part.total, one.part.number) for one in read] == [
            (len(parts), n + 1) for n in range(len(parts))
        ]
        assert len({one.part.reference for one in read if one.part is not None}) == 1
    return joined(read)


def test_the_default_alphabet_is_that_of_the_standard_where_it_differs_from_ascii() -> None:
    table = LOCKING[Language.DEFAULT]
    at = {0x00: "@", 0x01: "£", 0x02: "$", 0x03: "¥", 0x0A: "\n", 0x0D: "\r", 0x10: "Δ", 0x11: "_", 0x1B: VOID, 0x1E: "ß", 0x24: "¤", 0x40: "¡", 0x5F: "§", 0x60: "¿", 0x7F: "à"}  # fmt: skip  # noqa: E501
    assert {code: table.characters[code] for code in at} == at
    assert all(table.codes[chr(code)] == code for code in (*range(0x25, 0x40), *range(0x41, 0x5B), *range(0x61, 0x7B)))
    assert dict(SINGLE[Language.DEFAULT].codes) == {
        "\f": 0x0A, "^": 0x14, "{": 0x28, "}": 0x29, "\\": 0x2F, "[": 0x3C, "~": 0x3D, "]": 0x3E, "|": 0x40, "€": 0x65,
    }  # fmt: skip


@pytest.mark.parametrize("language", sorted(ALL_LANGUAGES))
def test_every_national_table_keeps_newline_escape_and_euro_where_all_tables_have_them(language: Language) -> None:
    if language in LOCKING:
        table = LOCKING[language].characters
        assert (table[0x0A], table[0x0D], table[ESC], table[0x20], table[0x61]) == ("\n", "\r", VOID, " ", "a")
        letters = [character for character in table if character != VOID]
        assert len(set(letters)) == len(letters)
    single = SINGLE[language].characters
    assert (single[0x0A], single[0x14], single[0x28], single[0x65], single[ESC]) == ("\f", "^", "{", "€", VOID)


@pytest.mark.parametrize(
    ("character", "language", "locking", "single"),
    [
        ("ş", Language.TURKISH, 0x1D, 0x73), ("İ", Language.TURKISH, 0x40, 0x49), ("á", Language.SPANISH, None, 0x61),
        ("ã", Language.PORTUGUESE, 0x7B, 0x7B), ("Ω", Language.PORTUGUESE, None, 0x15), ("ব", Language.BENGALI, 0x40, None),
        ("અ", Language.GUJARATI, 0x03, None), ("ह", Language.HINDI, 0x4D, None), ("०", Language.HINDI, None, 0x1C),
        ("ಅ", Language.KANNADA, 0x03, None), ("ഹ", Language.MALAYALAM, 0x4D, None), ("୦", Language.ORIYA, None, 0x1C),
        ("ੴ", Language.PUNJABI, 0x7F, None), ("௹", Language.TAMIL, 0x7F, None), ("౿", Language.TELUGU, None, 0x32),
        ("ا", Language.URDU, 0x00, None), ("۔", Language.URDU, None, 0x3F),
    ],
)  # fmt: skip
def test_national_characters_have_the_codes_of_the_standard(
    character: str, language: Language, locking: int | None, single: int | None
) -> None:
    if locking is not None:
        assert LOCKING[language].codes[character] == locking
    if single is not None:
        assert SINGLE[language].codes[character] == single


@pytest.mark.parametrize(
    ("text", "encoding", "parts"),
    [
        ("", "gsm7", 1), ("a" * 160, "gsm7", 1), ("a" * 161, "gsm7", 2), ("a" * 306, "gsm7", 2), ("a" * 307, "gsm7", 3),
        ("€" * 80, "gsm7", 1), ("€" * 81, "gsm7", 2), ("a" + "€" * 80, "gsm7", 2), ("€" * 152, "gsm7", 2), ("€" * 153, "gsm7", 3),
        ("ж" * 70, "ucs2", 1), ("ж" * 71, "ucs2", 2), ("ж" * 134, "ucs2", 2), ("ж" * 135, "ucs2", 3),
        ("😀" * 35, "ucs2", 1), ("😀" * 36, "ucs2", 2), ("😀" * 66, "ucs2", 2), ("😀" * 67, "ucs2", 3),
    ],
)  # fmt: skip
def test_a_text_takes_as_many_parts_as_the_air_interface_has_room_for(text: str, encoding: str, parts: int) -> None:
    found = size(text)
    assert (found.encoding.name, found.parts) == (encoding, parts)
    assert len(segments(text, found.encoding, Style(), 7)) == parts


def test_no_part_ends_in_an_escape_or_in_half_a_surrogate_pair() -> None:
    for text in ("a" * 152 + "€" * 160, "ж" * 66 + "😀" * 70):
        for style in STYLES[:6:2]:
            for part in segments(text, choose(text), style, 99):
                header = read_header(part.payload) if part.has_udh else None
                body = part.payload[header.octets if header else 0 :]
                assert len(part.payload) <= (140 if part.data_coding == 8 else 160)
                if part.data_coding == 8:
                    body.decode("utf-16-be", "strict")
                else:
                    assert body[-1] != ESC


def test_a_16_bit_reference_and_national_tables_cost_room_in_every_part() -> None:
    assert part_count("a" * 304, PLAIN, 6) == 2
    assert part_count("a" * 305, PLAIN, 6) == 3
    assert part_count("ж" * 133, WIDE, 6) == 3
    turkish = Encoding(single=Language.TURKISH)
    assert (turkish.capacity(0), turkish.capacity(5)) == (155, 149)
    assert Encoding(locking=Language.TURKISH, single=Language.TURKISH).capacity(5) == 146


def test_national_tables_are_used_where_they_are_allowed_and_save_a_part() -> None:
    turkish = "Şu anda müsait değilim, birazdan sizi arayacağım. " * 2
    assert choose(turkish) is WIDE
    assert choose(turkish, ALL_LANGUAGES).name in ("gsm7-0-1", "gsm7-1-0")
    assert choose("señor, mañana llegará el envío a su casa de la calle Mayor número tres " * 2, {Language.SPANISH}).name == "gsm7-0-2"
    assert choose("şeker", ALL_LANGUAGES) is WIDE, "one part either way: the one that every phone reads"
    assert choose("plain", ALL_LANGUAGES) is PLAIN


@pytest.mark.parametrize("style", STYLES)
def test_what_goes_out_reads_the_same_when_it_comes_in(style: Style) -> None:
    for text in ("short", "a{€}" * 60, "ж😀" * 60, "Ünïcödé – “quotes” " * 12):
        assert back(segments(text, choose(text), style, 0x1234), style) == text
    turkish = "İşte ğ ve ş " * 20
    encoding = choose(turkish, {Language.TURKISH})
    assert not encoding.is_wide
    assert back(segments(turkish, encoding, style, 5), style) == turkish


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(codec="utf-8"), max_size=400), st.sampled_from(STYLES), st.integers(0, 0xFFFF))
def test_any_text_survives_in_any_style(text: str, style: Style, reference: int) -> None:
    encoding = choose(text, ALL_LANGUAGES)
    assert Encoding.named(encoding.name) == encoding
    parts = segments(text, encoding, style, reference)
    assert len(parts) == size(text, Style(style.numbering, style.packed, ALL_LANGUAGES)).submits
    read = back(parts, style)
    # Packed, a blank septet "@" of zeros at the very end can't be told from padding without the length that only the PDU has.
    assert read == text or (style.packed and read is not None and text.rstrip("@").startswith(read.rstrip("@")))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(0, 127), max_size=60), st.integers(0, 6))
def test_packed_septets_unpack(septets: list[int], fill: int) -> None:
    assert unpack(pack(septets, fill_bits=fill), fill_bits=fill, count=len(septets)) == septets


def test_hellohello_packs_as_everywhere() -> None:
    assert pack(b"hellohello").hex() == "e8329bfd4697d9ec37"


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=160), st.integers(0, 255), st.booleans(), st.booleans())
def test_garbage_is_read_as_something_and_crashes_nobody(payload: bytes, coding: int, udh: bool, packed: bool) -> None:
    part = read_part(payload, coding, has_udh=udh, is_packed=packed)
    text = joined([part])
    assert text is None or isinstance(text, str)


def test_a_header_that_makes_no_sense_is_text_and_unknown_elements_are_passed_over() -> None:
    assert read_header(b"\x05\x00\x03\x01\x02\x01rest") is not None
    assert read_header(b"\x20ab") is None
    assert read_header(b"\x07\x70\x00\x00\x03\x07\x02\x02x") is not None
    number_beyond = read_header(b"\x05\x00\x03\x07\x02\x03")
    assert number_beyond is not None
    assert number_beyond.part is None
    assert joined([read_part(b"\x60ab", 0, has_udh=True)]) == "¿ab"


def test_a_surrogate_pair_or_an_escape_that_a_sender_parted_is_one_character_again() -> None:
    pair = "😀".encode("utf-16-be")
    parts = [read_part(b"\x05\x00\x03\x01\x02" + bytes([n]) + half, 8, has_udh=True) for n, half in ((1, pair[:2]), (2, pair[2:]))]
    assert joined(parts) == "😀"
    halves = [read_part(b"\x05\x00\x03\x01\x02" + bytes([n]) + half, 0, has_udh=True) for n, half in ((1, b"a\x1b"), (2, b"\x65b"))]
    assert joined(halves) == "a€b"


def test_a_text_of_more_than_255_parts_or_outside_the_encoding_is_refused() -> None:
    with pytest.raises(RefusedError):
        segments("a" * (153 * 255 + 1), PLAIN, Style(), 1)
    with pytest.raises(RefusedError):
        segments("ж", PLAIN, Style(), 1)
    assert len(segments("a" * (153 * 255), PLAIN, Style(), 1)) == 255


def test_typographic_characters_fold_to_plain_ones_and_letters_stay() -> None:
    assert folded("“It’s – fine…”\u00a0né Müller") == '"It\'s - fine..." né Müller'
    assert choose(folded("“It’s – fine…”")) is PLAIN
