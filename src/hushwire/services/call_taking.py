"""A gateway takes calls that the API asks for: each by one gateway, once, whatever dies in between.

What is taken is committed before any phone rings, and the number leaves the row with it. A process that dies after that leaves a request
that nobody takes again: the next one says that the gateway was restarted, and whoever asked may ask anew.

Organisations take turns, and none has more than its share under way: who asks for hundreds at once waits, and nobody else does.
"""

import asyncio
import functools
from collections import Counter
from contextlib import suppress
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.events import DomainEvent
from hushwire.core.ids import CallId, NodeId, OrgId
from hushwire.core.personal import Personal
from hushwire.policy.model import Channel
from hushwire.services.call_requests import NOBODY, opened
from hushwire.services.calling import Calling
from hushwire.services.directory import Directory
from hushwire.services.live import LiveCall, Wanted
from hushwire.services.records import Records
from hushwire.services.route import Refused
from hushwire.store import call_requests as table
from hushwire.store.call_requests import CHANNEL, CallRequest
from hushwire.store.database import STORE_FAILED, Connection, Database

POLL_S: Final = 1.0
MOST_AT_ONCE: Final = 50
MOST_OF_ONE: Final = 10
"""Of one organisation; each takes its turn with the agent, and waits for keys, for a moment only."""
_log = structlog.get_logger(__name__)


class CallTaking:
    """This gateway's side."""

    def __init__(self, db: Database, calling: Calling, directory: Directory, records: Records, clock: Clock, node_id: NodeId) -> None:
        self._db = db
        self._calling = calling
        self._directory = directory
        self._records = records
        self._clock = clock
        self._node_id = node_id
        self._wake = asyncio.Event()
        self._under_way: dict[UUID, asyncio.Task[None]] = {}
        self._of: Counter[OrgId] = Counter()
        self._is_behind = False
        self._is_first = True

    async def run(self) -> None:
        """Until cancelled."""
        await self._db.listen(CHANNEL, lambda _payload: self._wake.set())
        if self._is_first:
            await self._give_up_left()
            self._is_first = False
        while True:
            self._wake.clear()
            self._is_behind = False
            try:
                if self._calling.takes_calls:
                    await self._look()
            except STORE_FAILED as error:
                _log.warning("call_requests.unread", error=type(error).__name__)
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await self._wake.wait()

    async def _give_up_left(self) -> None:
        """What the process before this one took and did not finish."""
        async with self._db.transaction() as connection:
            left = await table.left_by(connection, self._node_id)
        for org_id, request_id in left:
            async with self._db.organisation(org_id) as connection:
                await table.finish(connection, request_id, "restarted", None, self._clock.now())

    async def _look(self) -> None:
        async with self._db.transaction() as connection:
            waiting = await table.open_for(connection, self._node_id)
        for org_id, request_id in waiting:
            if request_id in self._under_way:
                continue
            if len(self._under_way) < MOST_AT_ONCE and self._of[org_id] < MOST_OF_ONE:
                task = asyncio.get_running_loop().create_task(self._take(org_id, request_id), name="call-request")
                self._under_way[request_id] = task
                self._of[org_id] += 1
                task.add_done_callback(functools.partial(self._finished, org_id, request_id))
            else:
                self._is_behind = True

    def _finished(self, org_id: OrgId, request_id: UUID, _task: asyncio.Task[None]) -> None:
        del self._under_way[request_id]
        self._of[org_id] -= 1
        if not self._of[org_id]:
            del self._of[org_id]
        if self._is_behind:
            self._wake.set()

    async def _take(self, org_id: OrgId, request_id: UUID) -> None:
        try:
            async with self._db.organisation(org_id) as connection:
                wanted = await table.take(connection, request_id, self._node_id, self._clock.now())
        except STORE_FAILED as error:
            # Perhaps it is taken all the same: then nobody begins it, which is the better one of two mistakes.
            _log.warning("call_request.not_taken", error=type(error).__name__)
            return
        if wanted is None:
            return
        try:
            outcome, call_id = await self._begin(wanted)
        except Exception as error:
            _log.error("call.internal_error", exc_info=error)  # whoever asked waits for this
            outcome, call_id = "internal-error", None
        _log.info("call_request.done", request_id=str(request_id), outcome=outcome)

        async def write(connection: Connection) -> list[DomainEvent]:
            await table.finish(connection, request_id, outcome, call_id, self._clock.now())
            return []

        # Behind the row of the call: who is told of it finds it.
        self._records.write(org_id, "call.request", write, at_once=True)

    async def _begin(self, wanted: CallRequest) -> tuple[str, CallId | None]:
        org = self._directory.organisation(wanted.org_id)
        if org is None:
            return NOBODY, None
        to = Personal(opened(org.keys, wanted.id, wanted.destination_sealed))
        if wanted.room_id is not None:
            invited = await self._calling.conferences.call_in(org.id, wanted.room_id, wanted.agent_id, to)
            return (invited, None) if isinstance(invited, str) else outcome_of(invited)
        asked = Wanted(to, Channel.CLICK_TO_CALL, wanted.is_telemarketing)
        begun = await self._calling.originating.begin(wanted.org_id, wanted.agent_id, asked, answers_itself=wanted.answers_itself)
        return outcome_of(begun)


def outcome_of(begun: LiveCall | Refused | None) -> tuple[str, CallId | None]:
    """The word for whoever asked, and the call."""
    match begun:
        case None:
            return NOBODY, None
        case Refused():
            return begun.end_reason if begun.verdict is None else begun.verdict.reason.value, None
        case LiveCall():
            return "ok", begun.id
