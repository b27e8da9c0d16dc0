"""Locating SIP servers (RFC 3263): from what DNS says to places in the order in which they are tried. Pure."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from hushwire.core.clock import Random

T = TypeVar("T")


def by_weight(entries: Iterable[T], weight: Callable[[T], int], random: Random) -> list[T]:
    """Entries of one priority in an order of chance, heavier ones sooner (RFC 2782, "Usage rules"); weight 0 is next to never first."""
    left = sorted(entries, key=lambda entry: weight(entry) != 0)
    ordered: list[T] = []
    while len(left) > 1:
        total = sum(weight(entry) for entry in left)
        # "choose a uniform random number between 0 and the sum computed (inclusive)": 0 is for weights of 0 alone, so that all others
        # come first exactly as often as they weigh.
        lowest = 0 if weight(left[0]) == 0 else 1
        chosen = lowest + int.from_bytes(random.token_bytes(8), "big") % (total + 1 - lowest)
        running = 0
        for index, entry in enumerate(left):
            running += weight(entry)
            if running >= chosen:
                ordered.append(left.pop(index))
                break
    return ordered + left
