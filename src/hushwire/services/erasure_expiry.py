"""Removes rows that have served their day (`store.expiry`): nothing personal stays because nobody thought of it."""

from datetime import timedelta
from typing import Final

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.store import expiry
from hushwire.store.database import Database

KEPT_FOR: Final = timedelta(hours=24)
_log = structlog.get_logger(__name__)


async def expire(main: Database, clock: Clock) -> int:
    """One round over all organisations; returns how many rows went."""
    async with main.transaction() as connection:
        organisations = await expiry.organisations(connection)

    async def remove(org_id: OrgId) -> int:
        async with main.organisation(org_id) as connection:
            return await expiry.remove_older_than(connection, clock.now() - KEPT_FOR)

    removed = await for_each(organisations, remove, "expiry")
    if removed:
        _log.info("expiry.removed", rows=removed)
    return removed
