"""Time as an argument: the protocol that tests drive by hand and `app` wires to the machine's clocks."""

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Both clocks of a process; sources of time are wired in `app` only."""

    def monotonic(self) -> float:
        """Seconds that never run backwards: timers and durations."""
        ...

    def now(self) -> datetime:
        """The wall clock as an aware UTC datetime: what rows and receipts carry."""
        ...


class Random(Protocol):
    """Source of unpredictable bytes; `secrets.token_bytes` in production, seeded in tests."""

    def token_bytes(self, count: int, /) -> bytes:
        """`count` bytes fit for keys, tags and branches."""
        ...
