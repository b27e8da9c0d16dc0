"""Changing what stands of an agent, as the organisation's own administrators do it."""

from datetime import datetime
from uuid import UUID

from hushwire.store.database import Connection


async def set_suspended(connection: Connection, agent_id: UUID, suspended: bool, now: datetime) -> bool | None:
    """Suspend or resume; whether that changed anything, None where there is no such agent.

    The row's version tells the gateways. Registrations of a suspended agent go with it: its phones register anew afterwards.
    """
    before: bool | None = await connection.fetchval("SELECT suspended FROM agents WHERE id = $1 FOR UPDATE", agent_id)
    if before is None or before is suspended:
        return None if before is None else False
    await connection.execute("UPDATE agents SET suspended = $2, updated_at = $3 WHERE id = $1", agent_id, suspended, now)
    if suspended:
        await connection.execute("DELETE FROM registrations WHERE agent_id = $1", agent_id)
    return True
