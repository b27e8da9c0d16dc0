"""One task for each of some things that come and go, for as long as the thing is there."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable, Iterable
from typing import Any, Final, Generic, TypeVar

import structlog

K = TypeVar("K", bound=Hashable)
AGAIN_S: Final = 5.0
_log = structlog.get_logger(__name__)


class Followers(Generic[K]):
    """`follow` runs for each key until the key is gone. Where it breaks, that is logged, and it begins again after a while."""

    def __init__(self, name: str, follow: Callable[[K], Coroutine[Any, Any, None]]) -> None:
        self._name = name
        self._follow = follow
        self._tasks: dict[K, asyncio.Task[None]] = {}

    def follow(self, wanted: Iterable[K]) -> set[K]:
        """Follow these and no others from now on; those that are followed no more."""
        keys = set(wanted)
        gone = self._tasks.keys() - keys
        for key in gone:
            self._tasks.pop(key).cancel()
        for key in keys - self._tasks.keys():
            self._tasks[key] = asyncio.get_running_loop().create_task(self._kept_up(key), name=self._name)
        return gone

    async def close(self) -> None:
        """Follow nothing any more."""
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _kept_up(self, key: K) -> None:
        while True:
            try:
                await self._follow(key)
            except Exception as error:
                _log.error("follower.broken", task=self._name, exc_info=error)
            await asyncio.sleep(AGAIN_S)
