"""When a gateway's collector of garbage looks for cycles: it stops all calls while it does.

What calls leave ends by itself (tests/services/test_garbage.py), so the collector is there for what nobody foresaw, and for connections,
whose sockets and protocols know each other. The youngest 2,000 objects take it 1 ms. All that calls and their transactions hold at 200
calls a second take it 0.1 s, which everybody who calls then would wait: it looks there where nobody is in a call, or each ten minutes.
"""

import asyncio
import gc
from collections.abc import Callable
from typing import Final

from hushwire.core.clock import Clock

LOOK_S: Final = 30.0
LONGEST_S: Final = 600.0
"""So long at most what outlived its first collection is not looked at."""
_YOUNG: Final = 2_000
_NEVER: Final = 1_000_000
_EACH: Final = 20
"""Of so many looks at what is younger, one is at everything."""


def settle() -> None:
    """Once all that lives as long as the process is there: it is never looked through again, which would take 0.1 s and more."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _NEVER, _NEVER)


async def collect(clock: Clock, is_calm: Callable[[], bool]) -> None:
    """For as long as the gateway runs: look at what is older each half minute while it is calm, else each ten minutes."""
    looks, looked_at = 0, clock.monotonic()
    while True:
        await asyncio.sleep(LOOK_S)
        now = clock.monotonic()
        if is_calm() or now - looked_at >= LONGEST_S:
            looks, looked_at = looks + 1, now
            gc.collect(2 if looks % _EACH == 0 else 1)
