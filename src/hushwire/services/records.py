"""Rows of calls, written in order and never given up: a database that is away delays them, it loses none while this process lives.

Writes of one call follow each other; those of different calls don't wait for one another. A write that meets a rule of the database
itself (which no repetition mends) is logged by its kind and dropped, so that it can't hold the call's other rows back.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.errors import Unavailable
from hushwire.core.ids import CallId, OrgId
from hushwire.store.database import Connection, Database

Write = Callable[[Connection], Awaitable[object]]

AWAY: Final = (
    OSError,
    TimeoutError,
    Unavailable,
    asyncpg.InterfaceError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.TransactionRollbackError,
    asyncpg.QueryCanceledError,
    asyncpg.ReadOnlySQLTransactionError,
)
"""What a database that is away, restarting, full or standing by answers: the same write may succeed later."""

RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
log = structlog.get_logger()


@dataclass(slots=True)
class _Queue:
    org_id: OrgId
    writes: deque[tuple[str, Write, asyncio.Future[bool]]] = field(default_factory=deque)


class Records:
    """The queue of rows between the calls and the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queues: dict[UUID, _Queue] = {}
        self._workers: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many writes have not been committed yet."""
        return sum(len(queue.writes) for queue in self._queues.values())

    def write(self, org_id: OrgId, call_id: CallId, kind: str, write: Write) -> asyncio.Future[bool]:
        """Run `write` in a transaction of the organisation, after all earlier writes of this call.

        The future gives True once it is committed, False where the database refused it for good. `kind` names it in logs.
        """
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        queue = self._queues.get(call_id)
        if queue is None:
            queue = self._queues[call_id] = _Queue(org_id)
            queue.writes.append((kind, write, done))
            worker = asyncio.get_running_loop().create_task(self._work(call_id, queue), name="call-records")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        else:
            queue.writes.append((kind, write, done))
        return done

    async def drain(self, timeout_s: float) -> int:
        """Wait for what is queued, at most so long; how many writes are left."""
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=timeout_s)
        return self.waiting

    async def _work(self, call_id: UUID, queue: _Queue) -> None:
        while queue.writes:
            kind, write, done = queue.writes[0]
            is_written = await self._until_decided(queue.org_id, kind, write)
            queue.writes.popleft()
            if not done.done():
                done.set_result(is_written)
        del self._queues[call_id]

    async def _until_decided(self, org_id: OrgId, kind: str, write: Write) -> bool:
        tries = 0
        while True:
            is_connected = False
            try:
                async with self._db.organisation(org_id) as connection:
                    is_connected = True
                    await write(connection)
                if tries:
                    log.info("record.written_late", kind=kind, tries=tries + 1)
                return True
            except (*AWAY, asyncpg.PostgresError) as error:
                # Whatever keeps us from connecting is an outage; once connected, only what AWAY names is.
                if is_connected and not isinstance(error, AWAY):
                    log.error("record.refused", kind=kind, error=type(error).__name__)
                    return False
                if tries == 0:
                    log.warning("record.delayed", kind=kind, error=type(error).__name__)
                await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1
