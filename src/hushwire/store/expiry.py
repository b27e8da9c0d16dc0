"""Rows that have served: what `privacy.inventory` says is kept for a day or until processed."""

from datetime import datetime, timedelta
from typing import Final

from hushwire.core.ids import OrgId
from hushwire.store import events
from hushwire.store.database import Connection

EVENTS_KEPT_LONGER: Final = timedelta(days=6)
"""Than all else: the feed of events can be read for a week."""
_STATEMENTS: Final = (
    "DELETE FROM idempotency WHERE created_at < $1",
    "DELETE FROM node_commands WHERE done_at < $1",
    "DELETE FROM call_requests WHERE asked_at < $1"
    " OR (node_id IS NULL AND done_at IS NULL AND take_by < now() - interval '1 minute')",  # nobody withdrew it
    "DELETE FROM registrations WHERE expires_at < $1",
    "DELETE FROM parked_calls WHERE parked_at < $1",
    # A room may stand for days; its row goes with it, or with its gateway.
    "DELETE FROM conference_rooms AS r WHERE opened_at < $1 AND NOT EXISTS (SELECT FROM nodes WHERE id = r.node_id AND seen_at > $1)",
)


async def organisations(connection: Connection) -> list[OrgId]:
    """Every organisation; ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]


async def remove_older_than(connection: Connection, moment: datetime) -> int:
    """Removes answers kept for repeated requests, commands that were carried out, registrations that ran out, slots of gateways
    that never came back; and events, later.

    Returns how many rows went.
    """
    removed = 0
    for statement in _STATEMENTS:
        removed += int((await connection.execute(statement, moment)).rpartition(" ")[2])
    removed += await events.remove_before(connection, moment - EVENTS_KEPT_LONGER)
    return removed
