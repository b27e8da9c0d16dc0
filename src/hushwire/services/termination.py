"""The end of an agreement (appendix A, retention): a return window, content gone by day 15, number data and all the rest by day 20.

    announced --its day--> suspended (calls end, exports go on) --clock--> content erased --clock--> everything erased

Rows and clocks carry it; every erasure goes the one path, with its receipt, and legal holds keep what they hold.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.privacy.agreement import Ending, ending
from hushwire.privacy.clocks import ClockKind
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.notices import NoticeKind, Values
from hushwire.privacy.selection import Selector
from hushwire.services.clocks import Clocks
from hushwire.services.erasure import Erasures
from hushwire.services.erasure_operations import Operation
from hushwire.services.notices import Notices
from hushwire.store import terminations as table
from hushwire.store.database import Database
from hushwire.store.terminations import TerminationRow

CONTENT: Final = frozenset({"recording", "message", "document"})
ACTOR: Final = "system:worker"
REASON: Final = "termination"
SUBJECT: Final = "termination"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TooLate:
    """It is in effect already: nothing of it can be taken back."""


@dataclass(frozen=True, slots=True)
class View:
    """How the end of an agreement stands, and by when what is erased."""

    row: TerminationRow
    step: Ending
    content_by: datetime | None
    all_by: datetime | None


class Terminations:
    """Ends of agreements."""

    def __init__(self, main: Database, erasures: Erasures, clocks: Clocks, notices: Notices, clock: Clock, random: Random) -> None:
        self._main = main
        self._erasures = erasures
        self._clocks = clocks
        self._notices = notices
        self._clock = clock
        self._random = random

    async def announce(self, org_id: OrgId, effective_at: datetime, *, actor: str) -> View:
        """The customer ends its agreement; one that stands already stays as it is."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            known = await table.get(connection, for_update=True)
            if known is None or not known.stands:
                new_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
                row = TerminationRow(org_id, new_id, now, max(now, effective_at), actor, None, None, None, None)
                await table.announce(connection, row)
                await audit.append(connection, org_id, now, actor, "termination.announced", f"organisation:{org_id}")
        view = await self.get(org_id)
        assert view is not None
        return view

    async def cancel(self, org_id: OrgId, *, actor: str) -> TerminationRow | TooLate | None:
        """Not after all. None where none stands."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, for_update=True)
            if row is None or not row.stands:
                return None
            if row.suspended_at is not None:
                return TooLate()
            await table.cancel(connection, now)
            await audit.append(connection, org_id, now, actor, "termination.cancelled", f"organisation:{org_id}")
            return await table.get(connection)

    async def get(self, org_id: OrgId) -> View | None:
        """How it stands; None where no end was announced."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection)
            if row is None or not row.stands:
                return None
            content = await self._clocks.of(connection, ClockKind.TERMINATION_CONTENT, SUBJECT, row.id)
            everything = await self._clocks.of(connection, ClockKind.NUMBER_DATA, SUBJECT, row.id)
        step = self._step(row, content.act_at if content else None, everything.act_at if everything else None)
        return View(row, step, content.due_at if content else None, everything.due_at if everything else None)

    async def carry_on(self) -> int:
        """One round of the worker; returns how many steps were done. What fails for one organisation holds up no other."""
        async with self._main.transaction() as connection:
            organisations = await table.open_ones(connection)
        return await for_each(organisations, self._carry_on, "terminations")

    async def _carry_on(self, org_id: OrgId) -> int:
        done = 0
        while (view := await self.get(org_id)) is not None:
            before = view.step
            if before is Ending.SUSPEND:
                await self._suspend(view.row)
            elif before is Ending.ERASE_CONTENT:
                kinds = CONTENT & KINDS.keys()
                selector = Selector(until=self._clock.now(), kinds=frozenset(kinds))
                if await self._erase(view.row, selector, ClockKind.TERMINATION_CONTENT):
                    async with self._main.organisation(org_id) as connection:
                        await table.note_content_erased(connection, self._clock.now())
            elif before is Ending.ERASE_ALL:
                if await self._erase(view.row, Selector(everything=True), ClockKind.NUMBER_DATA):
                    async with self._main.organisation(org_id) as connection:
                        await table.note_erased(connection, self._clock.now())
            else:
                return done
            after = await self.get(org_id)
            if after is None or after.step is before:
                return done
            done += 1
        return done

    async def _suspend(self, row: TerminationRow) -> None:
        """Nobody registers or calls any more (gateways read the row); the clocks of what is erased begin with the agreement's end."""
        now = self._clock.now()
        async with self._main.organisation(row.org_id) as connection:
            started = row.effective_at
            content = await self._clocks.start(connection, row.org_id, ClockKind.TERMINATION_CONTENT, SUBJECT, row.id, started)
            everything = await self._clocks.start(connection, row.org_id, ClockKind.NUMBER_DATA, SUBJECT, row.id, started)
            values: Values = {"effective_at": started, "content_by": content.due_at, "numbers_by": everything.due_at}
            await self._notices.queue(connection, row.org_id, NoticeKind.TERMINATION, SUBJECT, row.id, values)
            await table.note_suspended(connection, now)
            await audit.append(connection, row.org_id, now, ACTOR, "termination.effective", f"organisation:{row.org_id}")
        _log.info("termination.effective", org_id=str(row.org_id))

    async def _erase(self, row: TerminationRow, selector: Selector, kind: ClockKind) -> bool:
        """By the one path; True once everything that no hold keeps is unreadable."""
        operation = await self._carried_out(row, selector)
        if operation is None or not operation.is_unreadable:
            return False
        async with self._main.organisation(row.org_id) as connection:
            proof = {"operation": str(operation.row.id)}
            await self._clocks.end(connection, row.org_id, kind, SUBJECT, row.id, outcome="erased", evidence=proof)
        _log.info("termination.erased", org_id=str(row.org_id), clock=kind.value, operation_id=str(operation.row.id))
        return True

    async def _carried_out(self, row: TerminationRow, selector: Selector) -> Operation | None:
        """The erasure of this step, as far as it goes now: the one that was begun before, or a new one.

        Begun anew it would find nothing, since all is in the ledger, and prove at once that nothing is readable while all still is.
        """
        async with self._main.organisation(row.org_id) as connection:
            begun = await table.erasure_begun(connection, REASON, selector.scope, row.requested_at)
        if begun is None or selector.everything:  # an organisation's is found again by itself
            return await self._erasures.erase_matching(row.org_id, selector, actor=ACTOR, reason=REASON)
        await self._erasures.operations.run(row.org_id, begun)
        return await self._erasures.operation(row.org_id, begun)

    def _step(self, row: TerminationRow, content_due: datetime | None, all_due: datetime | None) -> Ending:
        return ending(
            self._clock.now(),
            effective_at=row.effective_at,
            suspended=row.suspended_at is not None,
            content_due=content_due,
            content_erased=row.content_erased_at is not None,
            all_due=all_due,
            erased=row.erased_at is not None,
        )
