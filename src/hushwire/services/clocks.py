"""Starting and ending clocks, in the transaction of what starts and ends them.

async with main.organisation(org_id) as connection:
    request = await requests.insert(connection, ...)
    await clocks.start(connection, org_id, ClockKind.DATA_SUBJECT_NOTICE, "request", request.id, received_at)
...
    await clocks.end(connection, org_id, ClockKind.DATA_SUBJECT_NOTICE, "request", request.id, outcome="notified", evidence={...})
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core import clock as core
from hushwire.core.clock import Random
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy.clocks import RULES, Clock, ClockKind, Evidence, Sense, State, checked_evidence, checked_outcome, step, times
from hushwire.privacy.jurisdictions import tags_for_country
from hushwire.store import clocks as table
from hushwire.store import outbox
from hushwire.store.clocks import ClockRow, Position, Wanted
from hushwire.store.database import Connection

_DUTIES: Final = tuple(kind.value for kind, rule in RULES.items() if rule.sense is Sense.DUTY)
_PERIODS: Final = tuple(kind.value for kind, rule in RULES.items() if rule.sense is Sense.PERIOD)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks of every organisation. All methods work in the caller's transaction of the organisation."""

    clock: core.Clock
    random: Random

    async def start(
        self,
        connection: Connection,
        org_id: OrgId,
        kind: ClockKind,
        subject_kind: str,
        subject_id: UUID,
        at: datetime,
        *,
        tags: Iterable[str] = (),
    ) -> Clock:
        """Start a clock at `at`; the one that was started for the subject already, if there is one.

        It runs under the organisation's jurisdictions, and under `tags` besides where the data subject's are known.
        """
        known = await table.of_subject(connection, kind, subject_kind, subject_id)
        if known is not None:
            return opened(known)
        own, home = await table.jurisdictions(connection)
        where = tuple(dict.fromkeys((*(own or tags_for_country(home)), *tags)))
        planned = times(kind, at, where)
        begun = Clock(
            id=self._new_id(),
            org_id=org_id,
            kind=kind,
            subject_kind=subject_kind,
            subject_id=subject_id,
            jurisdictions=where,
            started_at=at,
            due_at=planned.due_at,
            warn_at=planned.warn_at,
            act_at=planned.act_at,
        )
        if await table.insert(connection, _row(begun)):
            await self._tell(connection, begun, EventKind.CLOCK_STARTED, at)
            _log.info("clock.started", org_id=str(org_id), clock_id=str(begun.id), kind=kind.value, due_at=begun.due_at.isoformat())
            return begun
        found = await table.of_subject(connection, kind, subject_kind, subject_id)
        assert found is not None, "rows of clocks are never removed"
        return opened(found)

    async def end(
        self,
        connection: Connection,
        org_id: OrgId,
        kind: ClockKind,
        subject_kind: str,
        subject_id: UUID,
        *,
        outcome: str,
        evidence: Evidence | None = None,
        at: datetime | None = None,
    ) -> Clock | None:
        """End the subject's clock with a code for what came of it, and ids and digests that prove it.

        The clock as it ended, also if it had before (then nothing is changed); None if none was started. Raises ValueError for
        evidence that could name a person.
        """
        found = await table.of_subject(connection, kind, subject_kind, subject_id, for_update=True)
        if found is None or found.org_id != org_id:
            return None
        return await self.end_row(connection, opened(found), outcome=outcome, evidence=evidence, at=at)

    async def end_row(
        self, connection: Connection, row: Clock, *, outcome: str, evidence: Evidence | None = None, at: datetime | None = None
    ) -> Clock:
        """`end` for a clock that is at hand."""
        said, proof = checked_outcome(outcome), checked_evidence(evidence or {})
        now = max(at or self.clock.now(), row.started_at)  # two machines' clocks may differ
        if await table.end(connection, row.id, now, said, proof):
            ended = await self.get(connection, row.id)
            assert ended is not None
            await self._tell(connection, ended, EventKind.CLOCK_ENDED, now, outcome=said, late=ended.was_late)
            _log.info("clock.ended", org_id=str(row.org_id), clock_id=str(row.id), kind=row.kind.value, outcome=said, late=ended.was_late)
            return ended
        return await self.get(connection, row.id) or row

    async def get(self, connection: Connection, clock_id: UUID) -> Clock | None:
        """One clock of the organisation."""
        found = await table.get(connection, clock_id)
        return None if found is None else opened(found)

    async def of(self, connection: Connection, kind: ClockKind, subject_kind: str, subject_id: UUID) -> Clock | None:
        """The subject's clock of one kind."""
        found = await table.of_subject(connection, kind, subject_kind, subject_id)
        return None if found is None else opened(found)

    async def listed(
        self,
        connection: Connection,
        *,
        state: State | None = None,
        kind: ClockKind | None = None,
        subject_id: UUID | None = None,
        after: Position | None = None,
        limit: int = 50,
    ) -> list[Clock]:
        """Clocks by their end, the earliest first."""
        wanted = _wanted(state, kind, subject_id, self.clock.now())
        return [opened(row) for row in await table.listed(connection, wanted, after=after, limit=limit)]

    async def overdue(self, connection: Connection) -> dict[ClockKind, int]:
        """How many duties of each kind are overdue, of all organisations; in any transaction."""
        now = self.clock.now()
        return {kind: await table.count_due(connection, kind, now) for kind, rule in RULES.items() if rule.sense is Sense.DUTY}

    async def look_at(self, connection: Connection, clock_id: UUID, *, again_at: datetime | None = None) -> Clock | None:
        """Give the warnings and alarms that are due, each once; returns the clock if it is time to act on it.

        `again_at`: while it is to be acted on, when to look again at the latest.
        """
        found = await table.get(connection, clock_id, for_update=True)
        if found is None:
            return None
        row, now = opened(found), self.clock.now()
        new = step(row, now)
        if new is None:
            return None
        if new.warned > row.warned and not new.is_due:
            await self._tell(connection, row, EventKind.CLOCK_WARNED, now, warning=new.warned)
            _log.warning("clock.warned", org_id=str(row.org_id), clock_id=str(row.id), kind=row.kind.value, due_at=row.due_at.isoformat())
        if new.is_due and not row.is_alarmed:
            await self._alarm(connection, row, now)
        alarmed_at = now if new.is_due and found.alarmed_at is None else found.alarmed_at
        ahead = [moment for moment in (new.look_at, again_at if new.acts else None) if moment is not None]
        await table.note(connection, row.id, max(new.warned, row.warned), alarmed_at, min(ahead, default=None))
        return row if new.acts else None

    async def _alarm(self, connection: Connection, row: Clock, now: datetime) -> None:
        is_duty = RULES[row.kind].sense is Sense.DUTY
        await self._tell(connection, row, EventKind.CLOCK_OVERDUE if is_duty else EventKind.CLOCK_ELAPSED, now)
        say = _log.error if is_duty else _log.info
        say("clock.overdue" if is_duty else "clock.elapsed", org_id=str(row.org_id), clock_id=str(row.id), kind=row.kind.value)

    async def _tell(self, connection: Connection, row: Clock, kind: EventKind, at: datetime, **more: str | int | bool) -> None:
        fields: dict[str, str | int | bool | None] = {"clock": row.kind.value, row.subject_kind: str(row.subject_id), **more}
        await outbox.add(connection, DomainEvent(self._new_id(), row.org_id, kind, row.id, at, fields))

    def _new_id(self) -> UUID:
        return uuid7(int(self.clock.now().timestamp() * 1000), self.random.token_bytes(10))


def opened(row: ClockRow) -> Clock:
    """A stored clock. Raises ValueError for a kind that this version does not know."""
    return Clock(
        id=row.id,
        org_id=row.org_id,
        kind=ClockKind(row.kind),
        subject_kind=row.subject_kind,
        subject_id=row.subject_id,
        jurisdictions=row.jurisdictions,
        started_at=row.started_at,
        due_at=row.due_at,
        warn_at=row.warn_at,
        act_at=row.act_at,
        warned=row.warned,
        is_alarmed=row.alarmed_at is not None,
        ended_at=row.ended_at,
        outcome=row.outcome,
        evidence=row.evidence,
    )


def _row(begun: Clock) -> ClockRow:
    first = min(moment for moment in (*begun.warn_at, begun.act_at, begun.due_at) if moment is not None)
    return ClockRow(
        id=begun.id,
        org_id=begun.org_id,
        kind=begun.kind.value,
        subject_kind=begun.subject_kind,
        subject_id=begun.subject_id,
        jurisdictions=begun.jurisdictions,
        started_at=begun.started_at,
        due_at=begun.due_at,
        warn_at=begun.warn_at,
        act_at=begun.act_at,
        warned=0,
        alarmed_at=None,
        look_at=first,
        ended_at=None,
        outcome=None,
        evidence={},
    )


_STATES: Final[Mapping[State, Wanted]] = {
    State.ENDED: Wanted(is_ended=True),
    State.OVERDUE: Wanted(is_ended=False, kinds=_DUTIES),
    State.ELAPSED: Wanted(is_ended=False, kinds=_PERIODS),
    State.WARNED: Wanted(is_ended=False),
    State.RUNNING: Wanted(is_ended=False),
}


def _wanted(state: State | None, kind: ClockKind | None, subject_id: UUID | None, now: datetime) -> Wanted:
    """The rows that `privacy.clocks.state` would call so at `now`."""
    base = Wanted() if state is None else _STATES[state]
    return Wanted(
        kind=None if kind is None else kind.value,
        subject_id=subject_id,
        is_ended=base.is_ended,
        kinds=base.kinds,
        due_by=now if state in (State.OVERDUE, State.ELAPSED) else None,
        due_after=now if state in (State.WARNED, State.RUNNING) else None,
        warned_by=now if state is State.WARNED else None,
        not_warned_by=now if state is State.RUNNING else None,
    )
