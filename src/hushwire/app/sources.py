"""The machine's clocks and its source of chance: the only ones in the code base."""

import os
import time
from datetime import UTC, datetime


class SystemClock:
    """`core.clock.Clock` on this machine."""

    monotonic = staticmethod(time.monotonic)

    def now(self) -> datetime:
        return datetime.now(UTC)


class SystemRandom:
    """`core.clock.Random` from the kernel."""

    token_bytes = staticmethod(os.urandom)
