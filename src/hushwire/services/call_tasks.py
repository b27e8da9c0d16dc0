"""Work that goes on beside the queue of calls: kept until it is done, and never lost without a word."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import structlog

_log = structlog.get_logger(__name__)


class CallTasks:
    """Tasks of calls; what one of them raises is logged and ends no other."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Do this beside everything else."""
        task = asyncio.get_running_loop().create_task(_logged(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait(self, timeout_s: float) -> None:
        """Until what is under way now is done, or for so long."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)


async def _logged(work: Coroutine[Any, Any, None], name: str) -> None:
    try:
        await work
    except Exception as error:
        _log.error("call.internal_error", task=name, exc_info=error)
