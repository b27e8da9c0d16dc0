"""Counts that gateways tell each other by NOTIFY: what changed, as it changes, and all there is every few seconds.

A notification is heard once or never: who was not listening missed it. So what a gateway tells as all it has replaces whatever was known
of it, and what was missed is wrong for those few seconds at most. All of it may take several notifications, sent by one transaction:
they come together and in their order, and hold once the last one is there, so that nobody sees half of them.
"""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from hushwire.core.ids import NodeId

PORTION: Final = 100
"""Counts of one notification, which may have 8,000 bytes."""
K = TypeVar("K", bound=Hashable)
Place = tuple[int, int]
"""Which portion of a telling of all this is, from 0, and of how many."""


def portions(counts: Mapping[K, int], *, is_whole: bool) -> Iterator[tuple[dict[K, int], Place | None]]:
    """What one transaction tells, a notification each; one at least."""
    named = list(counts.items())
    parts = [dict(named[at : at + PORTION]) for at in range(0, len(named), PORTION)] or [{}]
    for n, part in enumerate(parts):
        yield part, (n, len(parts)) if is_whole else None


def place_of(told: Mapping[str, Any]) -> Place | None:
    """The place that a notification names as `whole`. Raises ValueError, TypeError where it names none that can be."""
    named = told.get("whole")
    if named is None:
        return None
    n, count = (int(part) for part in named)
    if not 0 <= n < count:
        raise ValueError("no place of a telling")
    return n, count


class ToldCounts(Generic[K]):
    """What the other gateways have. A count of 0 is kept for nobody."""

    def __init__(self) -> None:
        self._counts: dict[NodeId, dict[K, int]] = {}
        self._begun: dict[NodeId, dict[K, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def all(self) -> Mapping[NodeId, Mapping[K, int]]:
        """By gateway."""
        return self._counts

    def hear(self, node: NodeId, counts: Mapping[K, int], place: Place | None) -> None:
        """`place`: None where only these changed."""
        if place is not None:
            n, count = place
            if n == 0:
                self._begun[node] = {}
            known = {**self._begun.get(node, {}), **counts}
            self._begun[node] = known
            if n < count - 1:
                return
            del self._begun[node]
        else:
            known = {**self._counts.get(node, {}), **counts}
        self._counts[node] = {key: number for key, number in known.items() if number}

    def forget(self, node: NodeId) -> None:
        """It is gone."""
        self._counts.pop(node, None)
        self._begun.pop(node, None)
