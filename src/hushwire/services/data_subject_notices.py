"""What is owed when a data subject writes to us and not to our customer (section 3): a clock of 24 hours, and the notice at once.

The clock ends with the evidence that a mail server took the notice, or with the customer's word that it was read.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.privacy.clocks import Clock, ClockKind
from hushwire.privacy.notices import NoticeKind, Values
from hushwire.services.notices import Notices
from hushwire.store.database import Connection
from hushwire.store.notices import NoticeRow

SUBJECT: Final = "request"


@dataclass(frozen=True, slots=True)
class Owed:
    """The clock that runs, and the notice that will end it."""

    clock: Clock
    notice: NoticeRow


@dataclass(frozen=True, slots=True)
class DataSubjectNotices:
    """Notices of requests that came directly from data subjects."""

    notices: Notices

    async def owe(
        self, connection: Connection, org_id: OrgId, request_id: UUID, kind: str, received_at: datetime, *, tags: Iterable[str] = ()
    ) -> Owed:
        """Start the clock at the receipt and queue the notice, in the transaction that registers the request. Safe to repeat.

        `kind` is a code of the register (`access`, `erase`, ...); `tags`: the data subject's own jurisdictions, where known.
        """
        running = await self.notices.clocks.start(
            connection, org_id, ClockKind.DATA_SUBJECT_NOTICE, SUBJECT, request_id, received_at, tags=tags
        )
        values: Values = {"request": request_id, "kind": kind, "received_at": received_at, "due_at": running.due_at}
        notice = await self.notices.queue(
            connection, org_id, NoticeKind.DATA_SUBJECT_REQUEST, SUBJECT, request_id, values, clock_id=running.id
        )
        return Owed(running, notice)
