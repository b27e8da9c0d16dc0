"""Work that goes on for as long as a process lives: begun again where it breaks, and never broken without a word.

What breaks it is told by its class alone, since its text may hold what a peer sent: in the log, in metrics, and by `hushwire doctor`,
from rows that each role writes of itself (`work_states`).
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError, Unfinished
from hushwire.core.ids import NodeId
from hushwire.store import work_states
from hushwire.store.database import Database
from hushwire.store.work_states import WorkState

EXPECTED: Final = (LocalError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""A service that is away: it comes back by itself, and is asked again soon."""
RETRY_S: Final = 1.0
RETRY_MOST_S: Final = 60.0
SOUND_AFTER_S: Final = 60.0
"""Work that went on for so long is taken for mended."""
TELL_S: Final = 5.0
_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Work:
    failures: int = 0
    error: str = ""
    failed_at: datetime | None = None
    since: datetime | None = None
    """Since when it has not worked; None: it does."""
    broke_at: float = float("-inf")


class StandingWork:
    """What one role of one process keeps going."""

    def __init__(self, role: str, clock: Clock) -> None:
        self._role = role
        self._clock = clock
        self._works: dict[str, _Work] = {}
        self._is_changed = True

    async def kept_up(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run it, and again whenever it ends, which it is not meant to; until cancelled."""
        delay_s = RETRY_S
        while True:
            began = self._clock.monotonic()
            try:
                await work()
            except EXPECTED as error:
                _log.warning("work.delayed", task=name, error=type(error).__name__)
                self.failed(name, error)
                pause_s = delay_s = RETRY_S
            except Exception as error:
                _log.error("work.broken", task=name, exc_info=error)
                self.failed(name, error)
                if self._clock.monotonic() - began >= SOUND_AFTER_S:
                    delay_s = RETRY_S
                pause_s, delay_s = delay_s, min(2 * delay_s, RETRY_MOST_S)
            else:
                _log.error("work.ended", task=name)
                self._note(name, "ended")
                pause_s = RETRY_MOST_S
            await asyncio.sleep(pause_s)

    def failed(self, name: str, error: BaseException) -> None:
        """It broke just now."""
        said = f" ({error})" if isinstance(error, Unfinished) else ""
        self._note(name, type(error).__name__ + said)

    def works(self, name: str) -> None:
        """It went through."""
        work = self._works.get(name)
        if work is not None and work.since is not None:
            work.since = None
            self._is_changed = True

    def states(self) -> list[WorkState]:
        """All that ever broke here."""
        now = self._clock.monotonic()
        for name, work in self._works.items():
            if work.since is not None and now - work.broke_at >= SOUND_AFTER_S + RETRY_MOST_S:
                self.works(name)
        return [
            WorkState(name, work.failures, work.error, work.failed_at, work.since)
            for name, work in self._works.items()
            if work.failed_at is not None
        ]

    async def tell(self, db: Database, node_id: NodeId) -> None:
        """Write what breaks here, soon after it did; until cancelled."""
        while True:
            states = self.states()
            if self._is_changed:
                self._is_changed = False
                try:
                    async with db.transaction() as connection:
                        await work_states.tell(connection, node_id, self._role, states)
                except EXPECTED:
                    self._is_changed = True
            await asyncio.sleep(TELL_S)

    def _note(self, name: str, error: str) -> None:
        work, now = self._works.setdefault(name, _Work()), self._clock.now()
        work.failures += 1
        work.error, work.failed_at, work.broke_at = error, now, self._clock.monotonic()
        work.since = work.since or now
        self._is_changed = True
