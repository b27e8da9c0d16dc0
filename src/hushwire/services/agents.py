"""Agents as their organisation manages them: suspended and resumed. Each change stands in the audit log."""

from datetime import datetime
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import audit, endings
from hushwire.store import agents as table
from hushwire.store.database import Database
from hushwire.vault import tombstones
from hushwire.vault.tombstones import Tombstone


class Agents:
    """Changes of one organisation's agents. Gateways hear of them by the organisation's version, within a second.

    A suspension stands in the keyring before the row changes, its end after it: no restore of an older database undoes it.
    """

    def __init__(self, main: Database, keyring: Database, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock

    async def set_suspended(self, org_id: OrgId, agent_id: UUID, suspended: bool, *, actor: str) -> bool:
        """Suspend: no registration, no call, and live calls end; or resume. False where there is no such agent. Safe to repeat."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            changed = await table.set_suspended(connection, agent_id, suspended, now)
            if changed:
                action = audit.Action.AGENT_SUSPENDED if suspended else audit.Action.AGENT_RESUMED
                await audit.append(connection, org_id, now, actor, action, f"agent:{agent_id}")
            stone = await self._stone(org_id, agent_id, suspended, now) if changed else None
            if stone and suspended:
                await tombstones.write(self._keyring, org_id, [stone])
        if stone and not suspended:
            await tombstones.write(self._keyring, org_id, [stone])
        return changed is not None

    async def _stone(self, org_id: OrgId, agent_id: UUID, suspended: bool, now: datetime) -> Tombstone:
        """What the keyring is told: a suspension, or that exactly those known until now are over."""
        if suspended:
            return endings.agent_suspended(tombstones.new_id(), agent_id, now)
        async with self._keyring.organisation(org_id) as connection:
            known = await tombstones.of_object(connection, endings.AGENT, agent_id)
        over = [each.tombstone.id for each in known if each.tombstone.fields.get("state") == "suspended"]
        return endings.agent_let_in(tombstones.new_id(), agent_id, over, now)
