"""An eye on the spool: what waits there, since when, and how much room is left. It alarms at thresholds, and says when all is well."""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import structlog

from hushwire.core.clock import Clock
from hushwire.services.recordings_shipping import Backlog, Spool

LATE_AFTER_S: Final = 300.0
ALARM_AFTER_S: Final = 3600.0
LOW_BYTES: Final = 1 << 30
FULL_BYTES: Final = 64 << 20
_log = structlog.get_logger(__name__)


class SpoolState(StrEnum):
    """How the spool stands."""

    OK = "ok"
    LATE = "late"  # something waits for minutes, or room is running out: look at the object store
    ALARM = "alarm"  # something waits for an hour, or there is no room: recordings are about to fail
    AWAY = "away"  # the folder is not there


def judged(backlog: Backlog | None) -> SpoolState:
    """What a backlog means."""
    if backlog is None:
        return SpoolState.AWAY
    if backlog.oldest_s >= ALARM_AFTER_S or backlog.free_bytes < FULL_BYTES:
        return SpoolState.ALARM
    if backlog.oldest_s >= LATE_AFTER_S or backlog.free_bytes < LOW_BYTES:
        return SpoolState.LATE
    return SpoolState.OK


@dataclass(slots=True)
class SpoolWatch:
    """Looks, and logs each change of state."""

    spool: Spool
    clock: Clock
    _state: SpoolState = field(default=SpoolState.OK)

    async def look(self) -> int:
        """One look; returns 1 where the state changed."""
        backlog = await seen(self.spool, self.clock)
        state = judged(backlog)
        if state is self._state:
            return 0
        self._state = state
        fields = {} if backlog is None else {
            "files": backlog.files, "bytes": backlog.bytes, "oldest_s": round(backlog.oldest_s), "free_bytes": backlog.free_bytes
        }  # fmt: skip
        if state is SpoolState.OK:
            _log.info("spool.cleared", **fields)
        elif state is SpoolState.LATE:
            _log.warning("spool.late", **fields)
        else:
            _log.error(f"spool.{state.value}", **fields)
        return 1


async def seen(spool: Spool, clock: Clock) -> Backlog | None:
    """What waits in the spool; None if it is not there."""
    try:
        return await asyncio.to_thread(spool.backlog, clock.now())
    except OSError:
        return None
