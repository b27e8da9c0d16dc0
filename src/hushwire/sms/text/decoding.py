"""Text from what a carrier delivered: one part, or several that belong together."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from hushwire.sms.text.alphabets import ESC, LOCKING, SINGLE, VOID, Language
from hushwire.sms.text.header import NO_HEADER, PartOf, read_header
from hushwire.sms.text.septets import fill_bits_after, unpack

_LATIN: Final = {1: "latin-1", 3: "latin-1", 6: "iso8859-5", 7: "iso8859-8"}
UNREADABLE: Final = "\ufffd"


@dataclass(frozen=True, slots=True)
class Part:
    """One delivered part: which of which message, where it is one of several, and what of it is text."""

    part: PartOf | None
    octets: bytes = field(repr=False)
    data_coding: int
    locking: Language = Language.DEFAULT
    single: Language = Language.DEFAULT


def read_part(payload: bytes, data_coding: int, *, has_udh: bool, sar: tuple[int, int, int] | None = None, is_packed: bool = False) -> Part:
    """What a carrier delivered. `sar`: reference, total, number, where those came as optional parameters.

    `is_packed`: septets come packed. A header that is none is taken as text, as everything else: nothing that was said is dropped.
    """
    header = read_header(payload) if has_udh else NO_HEADER
    if header is None:
        header = NO_HEADER
    octets = payload[header.octets :]
    if is_packed and _is_gsm(data_coding):
        octets = bytes(unpack(octets, fill_bits=fill_bits_after(header.octets)))
    part = header.part
    if part is None and sar is not None and 1 < sar[1] <= 255 and 1 <= sar[2] <= sar[1]:
        part = PartOf(sar[0] & 0xFFFF, sar[1], sar[2], True)
    if part is not None and part.total == 1:
        part = None
    return Part(part, octets, data_coding, header.locking, header.single)


def joined(parts: Sequence[Part]) -> str | None:
    """The text of these parts in this order; None where one of them is no text.

    Octets are joined before they are read where neighbours are of one alphabet: some senders part a surrogate pair or an escape.
    """
    runs: list[Part] = []
    for part in parts:
        if runs and _alphabet(runs[-1]) == _alphabet(part):
            last = runs.pop()
            part = Part(None, last.octets + part.octets, part.data_coding, part.locking, part.single)
        runs.append(part)
    texts = [_text(run) for run in runs]
    return None if any(text is None for text in texts) else "".join(text for text in texts if text is not None)


def _alphabet(part: Part) -> tuple[int, Language, Language]:
    return part.data_coding, part.locking, part.single


def _text(part: Part) -> str | None:
    if _is_gsm(part.data_coding):
        return _of_septets(part.octets, part.locking, part.single)
    if _is_wide(part.data_coding):
        return part.octets.decode("utf-16-be", "replace")
    if (codec := _LATIN.get(part.data_coding)) is not None:
        return part.octets.decode(codec, "replace")
    return None


def _is_gsm(data_coding: int) -> bool:
    """The message centre's default alphabet, or a coding of TS 23.038 section 4 that says 7 bits."""
    return data_coding == 0 or data_coding & 0xFC in (0x10, 0xF0)


def _is_wide(data_coding: int) -> bool:
    return data_coding == 8 or data_coding & 0xFC == 0x18


def _of_septets(septets: bytes, locking: Language, single: Language) -> str:
    main = LOCKING.get(locking, LOCKING[Language.DEFAULT]).characters
    shifted = SINGLE[single].characters
    text: list[str] = []
    is_escaped = False
    for septet in septets:
        if septet > 0x7F:
            text.append(UNREADABLE)
            is_escaped = False
        elif is_escaped:
            # What the shift table lacks is read in the main one (TS 23.038 section 6.2.1.1); a second ESC is a blank.
            character = shifted[septet] if shifted[septet] != VOID else main[septet]
            text.append(" " if character == VOID else character)
            is_escaped = False
        elif septet == ESC:
            is_escaped = True
        else:
            text.append(" " if main[septet] == VOID else main[septet])
    return "".join(text)
