"""What an agent keys in a call to have it transferred: the code, a number, and #. Pure, one reader for each party that may.

    WAITING -> (the code is complete) NUMBER -> # -> WAITING

A * within the number, a digit too many, or a pause gives up: what was keyed then was meant for somebody else, or is begun again.
"""

from typing import Final

from hushwire.core.personal import Personal
from hushwire.core.values import frozen

PAUSE_S: Final = 5.0
"""So long between two keys, and they belong together no more."""
LONGEST: Final = 20
"""Digits of a number, with whatever prefixes lead out."""
_DIGITS: Final = frozenset("0123456789")


@frozen
class Began:
    """The code is complete: what is keyed from now on is for us."""


@frozen
class GaveUp:
    """It is not."""


@frozen
class Wanted:
    """Transfer to this number, as it was keyed."""

    number: Personal[str]


Outcome = Began | GaveUp | Wanted | None


class KeyedTransfer:
    """One party's keys. `code` begins with a * and has no #."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._keyed = ""
        self._number: str | None = None
        self._at = float("-inf")

    @property
    def is_reading(self) -> bool:
        """Whether the code is complete and the number is not."""
        return self._number is not None

    def key(self, digit: str, now: float) -> Outcome:
        """What follows from a key at this second of a monotonic clock."""
        if now - self._at > PAUSE_S:
            self._forget()
        self._at = now
        if self._number is None:
            self._keyed = (self._keyed + digit)[-len(self._code) :]
            if self._keyed != self._code:
                return None
            self._number = ""
            return Began()
        if digit == "#" and self._number:
            number = self._number
            self._forget()
            return Wanted(Personal(number))
        if digit not in _DIGITS or len(self._number) >= LONGEST:
            self._forget()
            return GaveUp()
        self._number += digit
        return None

    def give_up(self) -> None:
        """Nothing more came."""
        self._forget()

    def _forget(self) -> None:
        self._keyed, self._number = "", None
