"""The machine's clocks and its source of chance: the only ones in the code base."""

import secrets
import time
from datetime import UTC, datetime


class SystemClock:
    """`core.clock.Clock` on this machine."""

    def monotonic(self) -> float:
        return time.monotonic()

    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemRandom:
    """`core.clock.Random` from the kernel."""

    def token_bytes(self, count: int, /) -> bytes:
        return secrets.token_bytes(count)
