"""The feed of events, followed: each reader takes from the rows what it has not seen, as fast as it reads, and nothing waits in memory."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.store import api_keys, events
from hushwire.store.database import Database
from hushwire.store.events import CHANNEL, FeedEvent

BATCH: Final = 100
HEARTBEAT_S: Final = 15.0
LONGEST_S: Final = 3600.0
"""Then a reader comes again and goes on where it was: through whatever is between, and to whichever process serves it best."""
MOST_PER_KEY: Final = 5
MOST: Final = 500
"""Readers of one process."""


@dataclass(frozen=True, slots=True)
class Missed:
    """Events behind the reader's place are gone: the oldest that is there follows."""

    oldest: int


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing happened for a while, up to this place."""

    position: int


class TooManyReaders(Exception):
    """The key, or this process, has as many readers as it may have."""


class EventFeed:
    """The feeds of all organisations, in one process."""

    def __init__(self, main: Database, clock: Clock, heartbeat_s: float = HEARTBEAT_S, longest_s: float = LONGEST_S) -> None:
        self._main = main
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._longest_s = longest_s
        self._bells: dict[OrgId, set[asyncio.Event]] = {}
        self._readers: Counter[UUID] = Counter()
        self._listens = False

    @contextmanager
    def place(self, key_id: UUID) -> Iterator[None]:
        """A place among the readers. Raises TooManyReaders."""
        if self._readers[key_id] >= MOST_PER_KEY or self._readers.total() >= MOST:
            raise TooManyReaders
        self._readers[key_id] += 1
        try:
            yield
        finally:
            self._readers[key_id] -= 1
            if not self._readers[key_id]:
                del self._readers[key_id]

    async def follow(
        self, org_id: OrgId, key_id: UUID, role: str, after: int | None, wants: Callable[[FeedEvent], bool]
    ) -> AsyncIterator[FeedEvent | Missed | Quiet]:
        """What happens behind a number (None: from now on), until the key is valid no more or of another role.

        Waits at each step for who reads. A number that was never given counts as the newest.
        """
        if not self._listens:
            await self._main.listen(CHANNEL, self._told)
            self._listens = True
        bell = asyncio.Event()
        self._bells.setdefault(org_id, set()).add(bell)
        try:
            async with self._main.organisation(org_id) as connection:
                oldest, last = await events.bounds(connection)
            position = last if after is None or after > last else after
            if position < oldest - 1:
                position = oldest - 1
                yield Missed(oldest)
            yield Quiet(position)
            until = self._clock.monotonic() + self._longest_s
            while self._clock.monotonic() < until:
                bell.clear()
                async with self._main.organisation(org_id) as connection:
                    if not await api_keys.is_live(connection, key_id, role, self._clock.now()):
                        return
                    found = await events.after(connection, position, BATCH)
                for event in found:
                    position = event.position
                    if wants(event):
                        yield event
                if found and not wants(found[-1]):
                    yield Quiet(position)  # its place moves on though it is told nothing
                if not found:
                    try:
                        async with asyncio.timeout(min(self._heartbeat_s, self._longest_s)):
                            await bell.wait()
                    except TimeoutError:
                        yield Quiet(position)
        finally:
            self._bells[org_id].discard(bell)
            if not self._bells[org_id]:
                del self._bells[org_id]

    def _told(self, payload: str) -> None:
        for org_id, bells in self._bells.items():
            if payload in ("", str(org_id)):
                for bell in bells:
                    bell.set()
