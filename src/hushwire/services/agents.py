"""Agents as their organisation manages them: suspended and resumed. Each change stands in the audit log."""

from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import audit
from hushwire.store import agents as table
from hushwire.store.database import Database


class Agents:
    """Changes of one organisation's agents. Gateways hear of them by the organisation's version, within a second."""

    def __init__(self, main: Database, clock: Clock) -> None:
        self._main = main
        self._clock = clock

    async def set_suspended(self, org_id: OrgId, agent_id: UUID, suspended: bool, *, actor: str) -> bool:
        """Suspend: no registration, no call, and live calls end; or resume. False where there is no such agent. Safe to repeat."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            changed = await table.set_suspended(connection, agent_id, suspended, now)
            if changed:
                action = audit.Action.AGENT_SUSPENDED if suspended else audit.Action.AGENT_RESUMED
                await audit.append(connection, org_id, now, actor, action, f"agent:{agent_id}")
        return changed is not None
