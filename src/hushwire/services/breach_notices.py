"""The notice of a breach: when, what, whom it concerns in numbers, what may follow, what was done. It names no data subject."""

from dataclasses import dataclass
from uuid import UUID

from hushwire.privacy import breach
from hushwire.privacy.breach import Counts, Window
from hushwire.privacy.notices import NoticeKind, Value
from hushwire.services.notices import Notices
from hushwire.store.breaches import BreachRow
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class BreachNotices:
    """Puts notices of breaches into the outbox; their acceptance ends the clock of 24 hours."""

    notices: Notices

    async def queue_breach(self, connection: Connection, row: BreachRow, counts: Counts, measures: str, clock_id: UUID) -> UUID:
        """Within the caller's transaction; the notice that stands already, if there is one."""
        values: dict[str, Value] = {
            "breach": row.id,
            "nature": breach.nature(Window(row.actor, row.since, row.until)),
            "detected_at": row.registered_at,
            "since": row.since,
            "until": row.until,
            "subjects": f"{counts.persons} persons by number or contact, {counts.agents} agents",
            "records": counts.total,
            "categories": breach.categories(counts),
            "consequences": breach.consequences(counts),
            "measures": measures,
        }
        queued = await self.notices.queue(connection, row.org_id, NoticeKind.BREACH, "breach", row.id, values, clock_id=clock_id)
        return queued.id
