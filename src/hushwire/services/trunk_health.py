"""How one way to a carrier stands, from what was seen of it. Pure: `now` is a monotonic second everywhere.

    UP       it carries calls, for all that is known
    RESTING  a call found it silent or overloaded lately: others are tried first, until its rest is over
    DOWN     it answers no OPTIONS, or refuses our registration: others are tried first, until it answers again

A way that stands badly is passed over, not shut: where nothing better is left it is tried, since a watch that errs must not cut a
house off.
"""

from enum import IntEnum
from typing import Final

REST_S: Final = 30.0
LONGEST_REST_S: Final = 300.0


class Standing(IntEnum):
    """Best first."""

    UP = 0
    RESTING = 1
    DOWN = 2


class Health:
    """Of one way. `reason` says in a word what the last trouble was."""

    __slots__ = ("_answers", "_failures", "_rest_s", "_rests_until", "is_down", "reason")

    def __init__(self) -> None:
        self.is_down = False
        self.reason: str | None = None
        self._answers = 0
        self._failures = 0
        self._rest_s = REST_S
        self._rests_until = float("-inf")

    def standing(self, now: float) -> Standing:
        """How it stands."""
        if self.is_down:
            return Standing.DOWN
        return Standing.RESTING if now < self._rests_until else Standing.UP

    def answered(self, up_after: int) -> bool:
        """A question was answered, whatever the answer was. True where the way is up again by that."""
        self._failures = 0
        self._answers += 1
        if not self.is_down or self._answers < up_after:
            return False
        self.is_down, self.reason = False, None
        return True

    def failed(self, down_after: int, reason: str) -> bool:
        """A question had no answer, or one that says that it serves nobody. True where the way is down by that."""
        self._answers = 0
        self._failures += 1
        if self.is_down or self._failures < down_after:
            return False
        self.is_down, self.reason = True, reason
        return True

    def rest(self, now: float, reason: str, for_s: float | None = None) -> None:
        """A call could not be carried. Each rest after another is twice as long, unless the carrier itself says how long (Retry-After)."""
        self.reason = reason
        length_s = min(max(for_s, 1.0), LONGEST_REST_S) if for_s is not None else self._rest_s
        self._rests_until = now + length_s
        self._rest_s = min(self._rest_s * 2, LONGEST_REST_S)

    def carried(self) -> None:
        """A call got through."""
        self._rest_s, self._rests_until = REST_S, float("-inf")
        if not self.is_down:
            self.reason = None
