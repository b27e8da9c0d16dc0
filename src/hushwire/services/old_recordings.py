"""Old recordings are found by the number of everybody outside in them, as new ones are: the worker notes whom their calls' rows name.

Once for each organisation, after the migration that asks for it, or after an older backup was restored. A worker that dies in the middle
begins again: what is noted already is not noted twice.
"""

from typing import Final
from uuid import UUID

import structlog

from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.store import old_recordings as table
from hushwire.store.database import Database

BATCH: Final = 1000
_log = structlog.get_logger(__name__)


async def index_parties(main: Database, *, batch: int = BATCH) -> int:
    """Carry on; returns how many recordings were given further parties. Each batch is a transaction of its own."""
    async with main.transaction() as connection:
        organisations = await table.organisations(connection)

    async def index(org_id: OrgId) -> int:
        after: UUID | None = UUID(int=0)
        changed = 0
        while after is not None:
            async with main.organisation(org_id) as connection:
                after, count = await table.index_parties(connection, after, batch)
                if after is None:
                    await table.note_indexed(connection)
            changed += count
        _log.info("recordings.parties_indexed", org_id=str(org_id), recordings=changed)
        return changed

    return await for_each(organisations, index, "old-recordings")
