"""Rows of calls, written in order and never given up: a database that is away delays them, it loses none while this process lives.

What an organisation's calls have to write within some milliseconds goes into one transaction: so a busy gateway pays for few of them.
What a call waits for goes at once, with all that is queued. The steps that every call takes (store/calls.py) go together besides, so that
a transaction has as many round trips as kinds of them. A write that no repetition mends is logged by its kind and dropped, and
takes no other with it.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import structlog

from hushwire.core.errors import Unavailable
from hushwire.core.events import DomainEvent
from hushwire.core.ids import OrgId
from hushwire.core.values import frozen
from hushwire.store import outbox
from hushwire.store.calls import Row, Step, write_steps
from hushwire.store.database import Connection, Database

Write = Callable[[Connection], Awaitable[Sequence[DomainEvent] | None]]
"""Writes rows; what it gives back goes into the outbox in the same transaction."""

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
BATCH: Final = 64
LINGER_S: Final = 0.1
"""How long a write that nobody waits for may wait for company."""
log = structlog.get_logger()


@frozen
class StepWrite:
    """One of the steps that every call takes, and what the outbox is told with it."""

    step: Step
    row: Row
    events: Sequence[DomainEvent]


@frozen
class _Entry:
    kind: str
    write: Write | StepWrite
    done: asyncio.Future[bool]


@dataclass(slots=True)
class _Queue:
    entries: deque[_Entry] = field(default_factory=deque)
    hurry: asyncio.Event = field(default_factory=asyncio.Event)


class Records:
    """The queue of rows between the calls and the database."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._queues: dict[OrgId, _Queue] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self.away = asyncio.Event()
        """Set while the newest try to write met a database that is away."""

    @property
    def waiting(self) -> int:
        """How many writes have not been committed yet."""
        return sum(len(queue.entries) for queue in self._queues.values())

    def write(self, org_id: OrgId, kind: str, write: Write | StepWrite, *, at_once: bool = False) -> asyncio.Future[bool]:
        """Run `write` in a transaction of the organisation, after all earlier writes of that organisation.

        The future gives True once it is committed, False where the database refused it for good. `kind` names it in logs.
        """
        loop = asyncio.get_running_loop()
        entry = _Entry(kind, write, loop.create_future())
        queue = self._queues.get(org_id)
        if queue is None:
            self._queues[org_id] = queue = _Queue()
            worker = loop.create_task(self._work(org_id, queue), name="call-records")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)
        queue.entries.append(entry)
        if at_once:
            queue.hurry.set()
        return entry.done

    async def drain(self, timeout_s: float) -> int:
        """Wait for what is queued, at most so long; how many writes are left."""
        for queue in self._queues.values():
            queue.hurry.set()
        if self._workers:
            await asyncio.wait(set(self._workers), timeout=timeout_s)
        return self.waiting

    async def _work(self, org_id: OrgId, queue: _Queue) -> None:
        while queue.entries:
            if len(queue.entries) < BATCH:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LINGER_S):
                        await queue.hurry.wait()
            queue.hurry.clear()
            batch = list(itertools.islice(queue.entries, BATCH))
            outcome = await self._until_decided(org_id, batch)
            for entry in batch:
                # One write that no repetition mends must not take the others with it: then each goes alone.
                is_written = outcome if outcome or len(batch) == 1 else await self._until_decided(org_id, [entry])
                queue.entries.popleft()
                if not entry.done.done():
                    entry.done.set_result(is_written)
        del self._queues[org_id]

    async def _until_decided(self, org_id: OrgId, batch: list[_Entry]) -> bool:
        tries = 0
        kind = batch[0].kind
        while True:
            is_connected = False
            try:
                async with self._db.organisation(org_id) as connection:
                    is_connected = True
                    events: list[DomainEvent] = []
                    steps: dict[Step, list[Row]] = {}
                    for entry in batch:
                        if isinstance(entry.write, StepWrite):
                            steps.setdefault(entry.write.step, []).append(entry.write.row)
                            events += entry.write.events
                            continue
                        await _write_steps(connection, steps)
                        kind = entry.kind
                        events += await entry.write(connection) or ()
                    await _write_steps(connection, steps)
                    await outbox.add_all(connection, events)
                self.away.clear()
                if tries:
                    log.info("record.written_late", kind=kind, count=len(batch), tries=tries + 1)
                return True
            except Exception as error:
                # Whatever keeps us from connecting is an outage; once connected, only what AWAY names is. A fault of ours is refused
                # like a row that breaks a rule: a queue that stands still would lose everything behind it.
                if is_connected and (not isinstance(error, AWAY) or isinstance(error, ValueError)):
                    if len(batch) == 1:
                        log.error("record.refused", kind=kind, error=type(error).__name__)
                    return False
                self.away.set()
                if tries == 0:
                    log.warning("record.delayed", kind=kind, count=len(batch), error=type(error).__name__)
                await asyncio.sleep(RETRY_S[min(tries, len(RETRY_S) - 1)])
                tries += 1


async def _write_steps(connection: Connection, steps: dict[Step, list[Row]]) -> None:
    """Write these and forget them. A call's own come in their order whatever is written between: the earlier step goes first."""
    for step in sorted(steps):
        await write_steps(connection, step, steps.pop(step))
