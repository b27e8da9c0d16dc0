"""Alarms of the fraud breaker as people handle them: looked at, undone in one step, or answered with a new credential."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import audit
from hushwire.services.devices import Devices, Minted, TooMany
from hushwire.store import fraud as table
from hushwire.store.database import Database
from hushwire.store.fraud import AlarmRow


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm, and whether something is locked for it now."""

    row: AlarmRow
    is_locked: bool


@dataclass(frozen=True, slots=True)
class NoCredential:
    """The alarm names no credential: none was shown."""


class FraudAlarms:
    """Every organisation's."""

    def __init__(self, main: Database, devices: Devices, clock: Clock) -> None:
        self._main = main
        self._devices = devices
        self._clock = clock

    async def listed(
        self, org_id: OrgId, *, standing: bool | None, agent_id: UUID | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[Alarm]:
        """Alarms, newest first."""
        async with self._main.organisation(org_id) as connection:
            found = await table.alarms(connection, standing=standing, agent_id=agent_id, before=before, limit=limit)
            locked = await table.locked(connection, {row.agent_id for row in found})
        return [_alarm(row, locked) for row in found]

    async def get(self, org_id: OrgId, alarm_id: UUID) -> Alarm | None:
        """One alarm."""
        async with self._main.organisation(org_id) as connection:
            row = await table.alarm(connection, alarm_id)
            locked = set() if row is None else await table.locked(connection, {row.agent_id})
        return None if row is None else _alarm(row, locked)

    async def undo(self, org_id: OrgId, alarm_id: UUID, *, actor: str) -> Alarm | None:
        """It was a false alarm: nothing stands against the agent any more, and its counters begin anew. Safe to repeat.

        All alarms and locks of the agent go with it. Gateways obey within a second; what was cut stays cut.
        """
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.alarm(connection, alarm_id, for_update=True)
            if row is None:
                return None
            if row.undone_at is None:
                day = now.astimezone(UTC).date()
                if row.agent_id is None:
                    undone = await table.undo_nobodys(connection, row.subject_id, now, actor, day)
                else:
                    undone = await table.undo(connection, row.agent_id, now, actor, day)
                agent = None if row.agent_id is None else str(row.agent_id)
                fields: audit.Fields = {"agent": agent, "signal": row.signal, "alarms": undone}
                await audit.append(connection, org_id, now, actor, audit.Action.FRAUD_UNDONE, f"fraud-alarm:{alarm_id}", fields)
                row = replace(row, undone_at=now, undone_by=actor)
        return Alarm(row, is_locked=False)

    async def replace(self, org_id: OrgId, alarm_id: UUID, *, actor: str, waits: bool = False) -> Minted | TooMany | NoCredential | None:
        """The credential was stolen: take it away for good and mint another one, in one step; None where there is no such alarm.

        The agent's other devices go on, and so does what is limited; a hold on all that leaves the house stays until it is undone.
        """
        async with self._main.organisation(org_id) as connection:
            row = await table.alarm(connection, alarm_id)
        if row is None:
            return None
        if row.credential_id is None or row.agent_id is None:
            return NoCredential()
        minted = await self._devices.replace(org_id, row.agent_id, row.credential_id, actor=actor, waits=waits)
        if isinstance(minted, Minted):
            async with self._main.organisation(org_id) as connection:
                await table.replaced(connection, row.agent_id, row.credential_id, self._clock.now(), minted.id)
        return minted


def _alarm(row: AlarmRow, locked: set[tuple[UUID, UUID]]) -> Alarm:
    if row.agent_id is None:
        return Alarm(row, is_locked=False)
    wanted = table.EVERYTHING if row.credential_id is None else row.credential_id
    return Alarm(row, row.undone_at is None and (row.agent_id, wanted) in locked)
