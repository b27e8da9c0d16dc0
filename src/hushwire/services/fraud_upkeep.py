"""What the worker does for the fraud breaker: admins are told of alarms, and what says nothing any more goes."""

from datetime import UTC, timedelta
from typing import Final

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.privacy.notices import NoticeKind
from hushwire.services.notices import Notices
from hushwire.store import expiry
from hushwire.store import fraud as table
from hushwire.store.database import Database

FACTS_FOR: Final = timedelta(hours=1)
DAYS_FOR: Final = timedelta(days=7)
HABITS_FOR: Final = timedelta(days=90)
ALARMS_FOR: Final = timedelta(days=365)
_AT_ONCE: Final = 100


class FraudUpkeep:
    """For every organisation."""

    def __init__(self, main: Database, notices: Notices, clock: Clock) -> None:
        self._main = main
        self._notices = notices
        self._clock = clock

    async def tell_all(self) -> int:
        """Queue a notice for each alarm that nobody was told of; how many there were."""
        async with self._main.transaction() as connection:
            organisations = await expiry.organisations(connection)
        return await for_each(organisations, self._tell, "fraud-alarms")

    async def _tell(self, org_id: OrgId) -> int:
        async with self._main.organisation(org_id) as connection:
            rows = await table.unnoticed(connection, _AT_ONCE)
            for row in rows:
                await self._notices.queue(
                    connection,
                    org_id,
                    NoticeKind.FRAUD_ALARM,
                    "fraud-alarm",
                    row.id,
                    {
                        "alarm": row.id,
                        "signal": row.signal,
                        "action": row.action,
                        "minted": row.replacement_id or "none",
                        "agent": row.agent_id or "none",
                        "first_at": row.first_at,
                    },
                )
            if rows:
                await table.note_noticed(connection, [row.id for row in rows], self._clock.now())
        return len(rows)

    async def lapse_all(self) -> int:
        """Remove what is too old to say anything; how many rows."""
        async with self._main.transaction() as connection:
            organisations = await expiry.organisations(connection)
        return await for_each(organisations, self._lapse, "fraud")

    async def _lapse(self, org_id: OrgId) -> int:
        now = self._clock.now()
        today = now.astimezone(UTC).date()
        async with self._main.organisation(org_id) as connection:
            return await table.lapse(connection, now - FACTS_FOR, today - DAYS_FOR, today - HABITS_FOR, now - ALARMS_FOR)
