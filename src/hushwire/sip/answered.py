"""Requests that were answered for good: as little as is needed to answer a retransmission, and no timer of their own.

A server transaction over UDP outlives its answer by 64*T1 (timers J and L; T4 for a challenge and for what was acknowledged), only to
say the same once more. By then the request, what was read of it and its machine are worth nothing: kept for 32 s by the thousand,
they would be most of what this process touches. They come to their end in the order in which they were answered, so a queue for each
span of time does, looked at once a second.
"""

from collections import deque
from collections.abc import Callable
from math import ceil

from hushwire.core.values import frozen
from hushwire.sip.flow import Flow, Hop

Key = tuple[str, ...]


@frozen(repr=False)
class Answered:
    """One of them. `data` is sent again to `hop` for each retransmission; where it is empty they are taken in silence."""

    key: Key
    expires_at: float
    flow: Flow
    hop: Hop
    data: bytes
    to_tag: str
    merge_key: Key | None


class AnsweredRequests:
    """Those of one user agent. `on_forgotten` is told of each that nobody can ask again."""

    def __init__(self, on_forgotten: Callable[[Answered], None]) -> None:
        self._on_forgotten = on_forgotten
        self._known: dict[Key, Answered] = {}
        self._queues: dict[float, deque[Answered]] = {}
        self.scheduled = float("inf")

    def __len__(self) -> int:
        return len(self._known)

    def find(self, key: Key, now: float) -> Answered | None:
        """What was answered by this name and may be asked for again still."""
        found = self._known.get(key)
        if found is None or found.expires_at > now:
            return found
        self._forget(found)
        return None

    def remember(self, answered: Answered, now: float) -> bool:
        """Keep one until it expires; whether `fire` is due sooner than was thought."""
        before = self._known.get(answered.key)
        if before is not None:
            self._forget(before)
        self._known[answered.key] = answered
        span = round(answered.expires_at - now, 3)
        queue = self._queues.get(span)
        if queue is None:
            queue = self._queues[span] = deque()
        queue.append(answered)
        return answered.expires_at + 1.0 < self.scheduled

    def deadline(self) -> float | None:
        """The whole second after which the first has expired."""
        firsts = [queue[0].expires_at for queue in self._queues.values() if queue]
        return ceil(min(firsts)) if firsts else None

    def fire(self, now: float) -> None:
        """Forget what has expired."""
        for span, queue in list(self._queues.items()):
            while queue and queue[0].expires_at <= now:
                self._forget(queue.popleft())
            if not queue:
                del self._queues[span]

    def _forget(self, answered: Answered) -> None:
        if self._known.get(answered.key) is answered:
            del self._known[answered.key]
            self._on_forgotten(answered)
