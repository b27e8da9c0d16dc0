"""One visit to something of ours on the phone: a pure machine, its queue of events, and what runs for it, one thing at a time."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, TypeVar

import structlog

from hushwire.services.live import LiveCall
from hushwire.services.sounds import Playing

Event = TypeVar("Event")
Effect = TypeVar("Effect")
_log = structlog.get_logger(__name__)


class Visit(ABC, Generic[Event, Effect]):
    """`name` stands in logs. `handle` is the machine's; `hang_up` ends the call, `stop` what is heard."""

    name: str
    longest_s: float

    def __init__(
        self,
        live: LiveCall,
        handle: Callable[[Event], list[Effect]],
        stop: Callable[[Playing], Awaitable[None]],
        hang_up: Callable[[LiveCall], None],
    ) -> None:
        self._live = live
        self._handle = handle
        self._stop = stop
        self._hang_up = hang_up
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._running: asyncio.Task[None] | None = None
        self._playing: Playing | None = None

    @abstractmethod
    async def begin(self) -> list[Effect]:
        """What to do first, once the caller was answered."""

    @abstractmethod
    def pressed(self, digit: str) -> Event:
        """The event of a key."""

    @abstractmethod
    async def do(self, step: Effect) -> None:
        """Carry out what the machine wants."""

    async def left(self) -> None:
        """The visit is over."""

    def press(self, digit: str) -> None:
        """The caller pressed a key."""
        self._events.put_nowait(self.pressed(digit))

    def over(self) -> None:
        """The call ended."""
        self._events.put_nowait(None)

    async def run(self) -> None:
        """Until the call is over."""
        if self._live.is_ended:
            return
        try:
            async with asyncio.timeout(self.longest_s):
                steps = await self.begin()
                while True:
                    for step in steps:
                        await self.do(step)
                    event = await self._events.get()
                    if event is None:
                        return
                    steps = self._handle(event)
        except TimeoutError:
            self._hang_up(self._live)
        except Exception as error:
            _log.error(f"{self.name}.internal_error", call_id=str(self._live.id), exc_info=error)
            self._hang_up(self._live)
        finally:
            await self._quiet()
            await self.left()

    async def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """This instead of what ran before, of which nothing more is told."""
        await self._quiet()
        self._running = asyncio.get_running_loop().create_task(work, name=f"{self.name}-heard")

    async def _quiet(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        playing, self._playing = self._playing, None
        if playing is not None:
            await self._stop(playing)

    async def _after(self, seconds: float, event: Event) -> None:
        await asyncio.sleep(seconds)
        self._events.put_nowait(event)
