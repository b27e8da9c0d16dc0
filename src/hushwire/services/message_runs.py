"""Which process has which parts in its hands, and what becomes of those that a dead one left (docs/adr/0049).

A process that holds links enters itself, and says every few seconds that it lives. Parts that it was sending when it died may have left:
their state is unknown, until a receipt or the centre's rule says what to make of it. One that stood still for too long sends nothing any
more before it has looked whether it was given up.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, LocalError
from hushwire.core.ids import NodeId, OrgId
from hushwire.services.carriage import Bodies, Change, PartState
from hushwire.services.message_centres import SmppSettings
from hushwire.store import message_parts
from hushwire.store.database import Database
from hushwire.store.message_parts import PartRef

BEAT_S: Final = 3.0
LOST_AFTER: Final = timedelta(seconds=30)
FRESH_S: Final = 15.0
"""So long after the last beat a process may still send: well before others give it up."""
MOST: Final = 500
PUT_OFF_FOR: Final = timedelta(seconds=30)
KEEP_RECEIPTS: Final = timedelta(hours=24)
_log = structlog.get_logger(__name__)


class GivenUp(LocalError):
    """Others took this process for dead: it ends, and begins anew."""


class Run:
    """This process among those that hold links."""

    def __init__(self, id_: UUID, node_id: NodeId, main: Database, clock: Clock) -> None:
        self.id = id_
        self._node_id = node_id
        self._main = main
        self._clock = clock
        self._beat_at = 0.0

    async def begin(self) -> None:
        """Enter. Raises Unavailable."""
        asked_at = self._clock.monotonic()
        async with self._main.transaction() as connection:
            await message_parts.begin_run(connection, self.id, self._node_id, self._clock.now())
        self._beat_at = asked_at

    async def beat(self) -> None:
        """Say that we live. Raises GivenUp, and Unavailable."""
        asked_at = self._clock.monotonic()
        async with self._main.transaction() as connection:
            if not await message_parts.seen(connection, self.id, self._clock.now()):
                raise GivenUp("this process was taken for dead, and what it was sending is in doubt")
        self._beat_at = asked_at

    async def keep_beating(self) -> None:
        """`beat` every few seconds, also while the database is away, until cancelled. Raises GivenUp."""
        while True:
            try:
                await self.beat()
            except GivenUp:
                raise
            except (HushwireError, asyncpg.PostgresError, OSError) as error:
                _log.error("message_run.not_seen", error=type(error).__name__)
            await asyncio.sleep(BEAT_S)

    @property
    def may_send(self) -> bool:
        """Whether nobody can have given us up yet."""
        return self._clock.monotonic() - self._beat_at < FRESH_S

    async def take_over(self, bodies: Bodies) -> int:
        """Call unknown what dead processes were sending; returns how many parts."""
        now = self._clock.now()
        async with self._main.transaction() as connection:
            lost = await message_parts.lost_runs(connection, self.id, self._node_id, now - LOST_AFTER)
            if not lost:
                return 0
            await message_parts.end_runs(connection, lost)  # from here on they send nothing more
        # Whatever has no living process: also what an earlier taking over did not get to.
        return await self.release(bodies)

    async def release(self, bodies: Bodies) -> int:
        """Call unknown what is being sent by no process that is entered; returns how many parts."""
        async with self._main.transaction() as connection:
            left = await message_parts.orphans(connection, MOST)
        moved = await move_all(self._main, bodies, left, "sending", "unknown", "interrupted", self._clock.now())
        if moved:
            _log.warning("message_parts.unknown", parts=moved)
        return moved


async def resolve_by_rule(main: Database, bodies: Bodies, centre_id: UUID, settings: SmppSettings, clock: Clock) -> int:
    """What no receipt has told within the centre's time: sent once more, or failed, as the centre is set; returns how many parts."""
    now = clock.now()
    async with main.transaction() as connection:
        refs = await message_parts.in_doubt(connection, centre_id, now - timedelta(seconds=settings.unknown_after_s), MOST)
    if settings.when_unknown == "resend":
        return await move_all(main, bodies, refs, "unknown", "queued", None, now)
    return await move_all(main, bodies, refs, "unknown", "failed", "unknown", now)


async def expire(main: Database, bodies: Bodies, clock: Clock) -> int:
    """End queued parts that nobody wants to be sent any more; returns how many."""
    now = clock.now()
    async with main.transaction() as connection:
        refs = await message_parts.overdue(connection, now, MOST)
    return await move_all(main, bodies, refs, "queued", "expired", "validity", now)


async def put_off(main: Database, org_id: OrgId, refs: Sequence[PartRef], clock: Clock) -> None:
    """What can't be opened now, for want of its organisation's keys, is tried again later, and holds up no other organisation's."""
    now = clock.now()
    async with main.organisation(org_id) as connection:
        await message_parts.later(connection, refs, now + PUT_OFF_FOR, message_parts.NOT_OPENED, now)


async def move_all(
    main: Database, bodies: Bodies, refs: Iterable[PartRef], was: PartState, state: PartState, error: str | None, now: datetime
) -> int:
    """Bring parts from one state to another, an organisation at a time, and carry it to their messages; returns how many it were."""
    by_org: dict[OrgId, list[PartRef]] = defaultdict(list)
    for ref in refs:
        by_org[ref.org_id].append(ref)
    count = 0
    for org_id, some in by_org.items():
        async with main.organisation(org_id) as connection:
            moved = await message_parts.move(connection, some, was, state, error, now)
            if moved:
                await bodies.advance(connection, org_id, [Change(ref.message_id, ref.part, state, error, now) for ref in moved])
        count += len(moved)
    return count
