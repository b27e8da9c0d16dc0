"""Backups on schedule: the supervisor runs the very command that a person runs, as itself, and says how it went.

When the next one is due follows from the backups that there are, so a restart neither repeats nor forgets one.
"""

import asyncio
import json
import os
import signal
import sys
from datetime import datetime, timedelta
from typing import Final

import structlog

from hushwire.app import backup, processes
from hushwire.app.config import Config
from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, Unavailable

FIRST_AFTER: Final = timedelta(minutes=15)
RETRY_AFTER: Final = timedelta(minutes=15)
_LOOK_EACH_S: Final = 60.0
_ROOT_KEY: Final = "HUSHWIRE_ROOT_KEY"
_log = structlog.get_logger(__name__)


def due(newest: datetime | None, failed: datetime | None, started: datetime, every: timedelta) -> datetime:
    """When the next backup is to be made: `every` after the newest, not right after a start, and soon again after a failure."""
    wanted = started + FIRST_AFTER if newest is None else max(newest + every, started + FIRST_AFTER)
    return wanted if failed is None else max(wanted, failed + RETRY_AFTER)


async def keep_backed_up(config: Config, clock: Clock, *, look_each_s: float = _LOOK_EACH_S) -> None:
    """Back up each time that it is due. Ends at once where there is no second zone, or no schedule; else never."""
    every = timedelta(hours=config.backup.every_h)
    if config.zone2.dir is None or not every:
        return
    started, failed = clock.now(), None
    while True:
        try:
            newest = await asyncio.to_thread(_newest, config)
            if due(newest, failed, started, every) <= clock.now():
                await _run(config)
                failed = None
        except (HushwireError, OSError) as error:
            if failed is None or clock.now() - failed >= RETRY_AFTER:
                _log.error("backup.failed", reason=str(error), again_in_s=RETRY_AFTER.total_seconds())
                failed = clock.now()
        await asyncio.sleep(look_each_s)


def _newest(config: Config) -> datetime | None:
    found = backup.place_of(config, None).found()
    return found[-1].made_at if found else None


async def _run(config: Config) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HUSHWIRE_") or name == _ROOT_KEY}
    process = await processes.start_child(
        [sys.executable, "-P", "-m", "hushwire", "backup", "--json"],
        environ={**kept, **config.to_environment()},
        death_signal=signal.SIGTERM,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, words = await process.communicate()
    except asyncio.CancelledError:
        await processes.end(process, signal.SIGTERM, 1.0)
        raise
    if process.returncode != 0:
        lines = words.decode(errors="replace").strip().splitlines()
        raise Unavailable(lines[-1].removeprefix("hushwire: ") if lines else f"hushwire backup ended with {process.returncode}")
    said = json.loads(out)
    _log.info("backup.made", name=said["name"], size_bytes=said["size_bytes"], seconds=said["seconds"])
