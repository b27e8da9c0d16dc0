"""Digits of a call: what a leg was heard to key (DIGIT), and what is keyed towards one (SEND_DIGITS)."""

from enum import IntEnum
from typing import Final

from hushwire.core.personal import Personal
from hushwire.core.values import frozen
from hushwire.media.wire import Field, Fields, Tag, u8, u16

__all__ = ["DIGIT_MS", "GAP_MS", "DigitHeard", "HeardAs", "send_digits"]

DIGIT_MS: Final = 100
GAP_MS: Final = 100


class HeardAs(IntEnum):
    """How a digit came: as a telephone-event (RFC 4733), or as tones in the speech."""

    EVENT = 1
    TONES = 2


@frozen
class DigitHeard:
    """A key of a leg, told at its end. Digits may be a card's or a patient's number: they go to no log and no row."""

    leg: int
    digit: Personal[str]
    duration_ms: int
    heard_as: HeardAs

    @classmethod
    def read(cls, fields: Fields) -> "DigitHeard":
        """From the fields of DIGIT."""
        return cls(
            fields.integer(Tag.LEG),
            Personal(fields.text(Tag.DIGITS)),
            fields.integer(Tag.DIGIT_MS),
            HeardAs(fields.integer(Tag.HEARD_AS)),
        )


def send_digits(leg: int, digits: Personal[str], duration_ms: int = DIGIT_MS, gap_ms: int = GAP_MS) -> list[Field]:
    """The fields of SEND_DIGITS but for the bridge."""
    return [
        (Tag.LEG, u8(leg)),
        (Tag.DIGITS, digits.reveal().encode("ascii")),
        (Tag.DIGIT_MS, u16(duration_ms)),
        (Tag.GAP_MS, u16(gap_ms)),
    ]
