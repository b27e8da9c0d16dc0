"""The user data header: which part of which message, and which national tables (3GPP TS 23.040 section 9.2.3.24)."""

from dataclasses import dataclass
from typing import Final

from hushwire.sms.text.alphabets import Language

_CONCATENATED: Final = 0x00
_CONCATENATED_WIDE: Final = 0x08
_SINGLE_SHIFT: Final = 0x24
_LOCKING_SHIFT: Final = 0x25


@dataclass(frozen=True, slots=True)
class PartOf:
    """Number (from 1) and total of a part, and the sender's reference of the message."""

    reference: int
    total: int
    number: int
    is_wide: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """What of a header concerns text. `octets`: how long it is, its length octet included."""

    octets: int
    part: PartOf | None = None
    locking: Language = Language.DEFAULT
    single: Language = Language.DEFAULT


NO_HEADER: Final = Header(0)


def read_header(payload: bytes) -> Header | None:
    """The header that a payload begins with; None where it is none. Elements that are not known, or make no sense, are passed over."""
    if not payload or (end := 1 + payload[0]) > len(payload):
        return None
    part: PartOf | None = None
    locking = single = Language.DEFAULT
    at = 1
    while at + 2 <= end:
        identifier, length = payload[at], payload[at + 1]
        data = payload[at + 2 : at + 2 + length]
        at += 2 + length
        if at > end:
            return None
        if identifier == _CONCATENATED and length == 3:
            part = _plausible(PartOf(data[0], data[1], data[2])) or part
        elif identifier == _CONCATENATED_WIDE and length == 4:
            part = _plausible(PartOf(data[0] << 8 | data[1], data[2], data[3], True)) or part
        elif identifier == _SINGLE_SHIFT and length == 1:
            single = _language(data[0])
        elif identifier == _LOCKING_SHIFT and length == 1:
            locking = _language(data[0])
    return Header(end, part, locking, single) if at == end else None


def concatenation(reference: int, total: int, number: int, *, is_wide: bool) -> bytes:
    """The element that numbers a part."""
    if is_wide:
        return bytes([_CONCATENATED_WIDE, 4, reference >> 8 & 0xFF, reference & 0xFF, total, number])
    return bytes([_CONCATENATED, 3, reference & 0xFF, total, number])


def shift_elements(locking: Language, single: Language) -> bytes:
    """The elements that name national tables, as far as they are any."""
    said = b""
    if single is not Language.DEFAULT:
        said += bytes([_SINGLE_SHIFT, 1, single])
    if locking is not Language.DEFAULT:
        said += bytes([_LOCKING_SHIFT, 1, locking])
    return said


def whole_header(elements: bytes) -> bytes:
    """The header of these elements; nothing where there are none."""
    return bytes([len(elements)]) + elements if elements else b""


def _plausible(part: PartOf) -> PartOf | None:
    return part if 1 <= part.number <= part.total else None


def _language(identifier: int) -> Language:
    """A table that is not known is as none: TS 23.038 section 6.2.1.2.2 has the default alphabet used then."""
    try:
        return Language(identifier)
    except ValueError:
        return Language.DEFAULT
