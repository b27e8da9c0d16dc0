"""A text as the parts that are submitted, in the style that a carrier wants them in."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hushwire.core.errors import RefusedError
from hushwire.core.values import frozen
from hushwire.sms.text.alphabets import Language
from hushwire.sms.text.encoding import (
    CONCATENATION_OCTETS,
    WIDE_CONCATENATION_OCTETS,
    Encoding,
    choose,
    part_count,
    parted,
)
from hushwire.sms.text.header import concatenation, shift_elements, whole_header
from hushwire.sms.text.septets import fill_bits_after, pack

MOST_PARTS: Final = 255
"""The number of parts is one octet."""


class Numbering(StrEnum):
    """How a carrier is told which part of which message this is."""

    UDH8 = "udh8"  # an element of the user data header, 8 bits of reference
    UDH16 = "udh16"
    SAR = "sar"  # optional parameters sar_*: the message centre makes headers of them, so a part holds no more
    PAYLOAD = "payload"  # none: the whole text in message_payload, and the message centre parts it


@dataclass(frozen=True, slots=True)
class Style:
    """What one carrier wants. `packed`: septets packed into octets, not one an octet. `languages`: tables that its phones read."""

    numbering: Numbering = Numbering.UDH8
    packed: bool = False
    languages: frozenset[Language] = frozenset()


PLAIN_STYLE: Final = Style()


@frozen
class Segment:
    """What one submit carries. `payload`: the header, where `has_udh`, and the text. `sar`: reference, total, number from 1."""

    payload: bytes = field(repr=False)
    data_coding: int
    has_udh: bool
    sar: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True)
class Size:
    """What a text will be: honest before anything is sent. `parts` is what is billed; `submits` how many are handed to the carrier."""

    encoding: Encoding
    characters: int
    parts: int
    submits: int


def size(text: str, style: Style = PLAIN_STYLE) -> Size:
    """How a text would go out."""
    encoding = choose(text, style.languages)
    parts = part_count(text, encoding, _header_octets(style))
    assert parts is not None
    return Size(encoding, len(text), parts, 1 if style.numbering is Numbering.PAYLOAD else parts)


def segments(text: str, encoding: Encoding, style: Style, reference: int) -> tuple[Segment, ...]:
    """The parts of a text. `reference` tells its parts from those of other messages: of any size, the style cuts it.

    Raises RefusedError where the encoding can't say the text, or it takes more than 255 parts.
    """
    units = encoding.units(text)
    if units is None:
        raise RefusedError(f"the text does not fit the encoding {encoding.name}")
    is_whole = style.numbering is Numbering.PAYLOAD or sum(map(encoding.length, units)) <= encoding.capacity(0)
    if is_whole:
        return (_segment(units, encoding, style, b"", None),)
    parts = parted(units, encoding, encoding.capacity(_header_octets(style)))
    total = len(parts)
    if total > MOST_PARTS:
        raise RefusedError("a text takes 255 parts at most")
    made = []
    for number, part in enumerate(parts, 1):
        if style.numbering is Numbering.SAR:
            made.append(_segment(part, encoding, style, b"", (reference & 0xFFFF, total, number)))
        else:
            element = concatenation(reference, total, number, is_wide=style.numbering is Numbering.UDH16)
            made.append(_segment(part, encoding, style, element, None))
    return tuple(made)


def _segment(units: list[bytes], encoding: Encoding, style: Style, element: bytes, sar: tuple[int, int, int] | None) -> Segment:
    header = whole_header(element + shift_elements(encoding.locking, encoding.single))
    text = b"".join(units)
    if style.packed and not encoding.is_wide:
        text = pack(text, fill_bits=fill_bits_after(len(header)))
    return Segment(header + text, encoding.data_coding, bool(header), sar)


def _header_octets(style: Style) -> int:
    return WIDE_CONCATENATION_OCTETS if style.numbering is Numbering.UDH16 else CONCATENATION_OCTETS
