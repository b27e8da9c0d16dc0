"""The worker's eye on clocks: warnings, alarms, and what hushwire does by itself when a clock runs out.

Rows are the queue: whoever finds a clock whose `look_at` has come locks it, writes what is new with its domain event in one
transaction, and any number of workers may do so at once. An *act* (the erasure of a released number's data, for one) runs outside of
that transaction, may be repeated, and ends the clock with the evidence that it returns.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import structlog

from hushwire.privacy.clocks import Clock, ClockKind, Evidence
from hushwire.services.clocks import Clocks
from hushwire.store import clocks as table
from hushwire.store.database import Database

AGAIN_AFTER: Final = timedelta(minutes=10)
"""An act that could not be finished is tried again after this."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an act: it ends the clock."""

    outcome: str
    evidence: Evidence = field(default_factory=dict)


Act = Callable[[Clock], Awaitable[Done | None]]
"""Does what is due for a clock's subject; None if it has to be tried again. Safe to repeat."""


@dataclass(frozen=True, slots=True)
class ClockWatch:
    """Looks at the clocks of all organisations. `acts`: what to do for which kind."""

    main: Database
    clocks: Clocks
    acts: Mapping[ClockKind, Act] = field(default_factory=dict)

    async def look(self) -> int:
        """One round; returns how many clocks were looked at. What fails for one clock holds up no other."""
        now = self.clocks.clock.now()
        async with self.main.transaction() as connection:
            waiting = await table.to_look_at(connection, now)
        for org_id, clock_id in waiting:
            try:
                async with self.main.organisation(org_id) as connection:
                    due = await self.clocks.look_at(connection, clock_id, again_at=now + AGAIN_AFTER)
                if due is not None and (act := self.acts.get(due.kind)) is not None:
                    await self._carry_out(act, due)
            except Exception as error:
                _log.error("clock.delayed", org_id=str(org_id), clock_id=str(clock_id), error=type(error).__name__)
        return len(waiting)

    async def _carry_out(self, act: Act, due: Clock) -> None:
        done = await act(due)
        if done is None:
            return
        async with self.main.organisation(due.org_id) as connection:
            await self.clocks.end(
                connection, due.org_id, due.kind, due.subject_kind, due.subject_id, outcome=done.outcome, evidence=done.evidence
            )
