"""Who a message is from and whom it is for: what carriers write, brought into the one form in which it is kept. Pure.

A party is +E.164 only where what was written says so, or where a numbering plan does. All else stands as it came, without a plus: a name, a
short code, digits that no plan knows. Such a sender is nobody's number, so what it asks for holds for it alone (message_opt_outs).
"""

import re
from enum import Enum
from typing import Final

from hushwire.policy import numbers


class Form(Enum):
    """How a carrier says that a party is written."""

    INTERNATIONAL = "international"
    NATIONAL = "national"
    UNTYPED = "untyped"
    """It does not say."""
    OTHER = "other"
    """A name, a short code, a number of its network's own."""


_TYPES: Final = {0: Form.UNTYPED, 1: Form.INTERNATIONAL, 2: Form.NATIONAL}
_NATIONAL_PLAN: Final = 8
_INTERNATIONAL: Final = re.compile(r"[1-9][0-9]{6,14}", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,32}", re.ASCII)
_SHORTEST: Final = 7
"""Fewer digits without a trunk prefix are a short code, whatever a plan could make of them."""


def form_of(ton: int, npi: int) -> Form:
    """By type of number and numbering plan (SMPP 3.4, sections 5.2.5 and 5.2.6)."""
    return Form.NATIONAL if ton == 0 and npi == _NATIONAL_PLAN else _TYPES.get(ton, Form.OTHER)


def party(written: str, form: Form, country: str | None, *, untyped_is_national: bool = False) -> str:
    """+E.164, or what stands for itself; never anything else that begins with a plus.

    National numbers are read as dialled in `country`. An international one that no plan knows is taken as it is: carriers deliver
    such. What is untyped is what a plan knows, as an international number first, or as a national one first.
    """
    text = written.strip()
    is_plain = not text.startswith("+")
    digits = text.lstrip("+")
    if not _DIGITS.fullmatch(digits) or (is_plain and form is Form.OTHER):
        return digits
    if digits.startswith("00") and _INTERNATIONAL.fullmatch(digits[2:]):
        digits, is_plain = digits[2:], False
    if not digits.startswith("0") and (form is Form.INTERNATIONAL or not is_plain):
        return f"+{digits}" if _INTERNATIONAL.fullmatch(digits) else digits
    # No country's code begins with a zero: what does is national, whatever its type says.
    if form is Form.UNTYPED and not digits.startswith("0"):
        readings = (_as_international(digits), _national(digits, country))
        return next((found for found in (readings[::-1] if untyped_is_national else readings) if found), digits)
    return _national(digits, country) or digits


def is_number(found: str) -> bool:
    """Whether a party is somebody's number, rather than what stands for itself."""
    return found.startswith("+")


def _as_international(digits: str) -> str | None:
    if not _INTERNATIONAL.fullmatch(digits):
        return None
    found = numbers.international(digits, "001")
    return found.number if isinstance(found, numbers.Found) else None


def _national(digits: str, country: str | None) -> str | None:
    if country is None or len(digits) < _SHORTEST:
        return None
    found = numbers.dialled(digits, country)
    return found.number if isinstance(found, numbers.Found) else None
