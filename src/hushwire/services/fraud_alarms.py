"""Alarms of the fraud breaker as people handle them: looked at, raised by hand, undone in one step, or answered with a new credential."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId
from hushwire.policy.breaker import Action, Level
from hushwire.privacy import audit
from hushwire.services.devices import Devices, Minted, TooMany
from hushwire.store import devices as device_table
from hushwire.store import fraud as table
from hushwire.store import fraud_minted, outbox
from hushwire.store.database import Database
from hushwire.store.fraud import AlarmRow


@dataclass(frozen=True, slots=True)
class Alarm:
    """An alarm, whether something is locked for it now, and whether what was minted with the lock waits to be fetched."""

    row: AlarmRow
    is_locked: bool
    waits: bool = False


@dataclass(frozen=True, slots=True)
class NoCredential:
    """The alarm names no credential: none was shown."""


@dataclass(frozen=True, slots=True)
class AlreadyLocked:
    """The credential is locked: the alarm that stands for it is answered instead."""


@dataclass(frozen=True, slots=True)
class AlreadyMinted:
    """The credential is taken away for good; what takes its place was handed out before, and its password is told to nobody again."""

    minted: Minted
    agent_id: UUID


@dataclass(frozen=True, slots=True)
class LockedByHand:
    """An alarm that was raised by hand, and the credential that takes the locked one's place; None: the agent has all that it may have."""

    alarm: Alarm
    minted: Minted | None


BY_HAND: Final = "by-hand"
"""As an alarm's signal: an administrator's word."""


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
            waiting = await fraud_minted.waiting(connection, {row.replacement_id for row in found if row.replacement_id is not None})
        return [_alarm(row, locked, waiting) for row in found]

    async def get(self, org_id: OrgId, alarm_id: UUID) -> Alarm | None:
        """One alarm."""
        async with self._main.organisation(org_id) as connection:
            row = await table.alarm(connection, alarm_id)
            if row is None:
                return None
            locked = await table.locked(connection, {row.agent_id})
            waiting = set() if row.replacement_id is None else await fraud_minted.waiting(connection, {row.replacement_id})
        return _alarm(row, locked, waiting)

    async def undo(self, org_id: OrgId, alarm_id: UUID, *, actor: str) -> Alarm | None:
        """It was a false alarm: nothing stands against the agent any more, and its counters begin anew. Safe to repeat.

        All alarms and locks of the agent go with it, and what was minted with them and nobody has fetched. Gateways obey within a second;
        what was cut stays cut.
        """
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.hold(connection, alarm_id)
            if row is None:
                return None
            if row.undone_at is None:
                day = now.astimezone(UTC).date()
                if row.agent_id is None:
                    undone = await table.undo_nobodys(connection, row.subject_id, now, actor, day)
                else:
                    undone = await table.undo(connection, row.agent_id, now, actor, day)
                    for device_id in await fraud_minted.unwanted(connection, row.agent_id):
                        await self._devices.revoke_in(connection, org_id, row.agent_id, device_id, actor=actor)
                agent = None if row.agent_id is None else str(row.agent_id)
                fields: audit.Fields = {"agent": agent, "signal": row.signal, "alarms": undone}
                await audit.append(connection, org_id, now, actor, audit.Action.FRAUD_UNDONE, f"fraud-alarm:{alarm_id}", fields)
                row = replace(row, undone_at=now, undone_by=actor)
        return Alarm(row, is_locked=False)

    async def replace(
        self, org_id: OrgId, alarm_id: UUID, *, actor: str, waits: bool = False
    ) -> Minted | AlreadyMinted | TooMany | NoCredential | None:
        """The credential was stolen: take it away for good and hand out another one, in one transaction; None where there is no such alarm.

        The one that was minted with the lock, where one waits. None where one was handed out already and opens something still: an alarm
        has one. Else one that is made now. The agent's other devices go on, and so does what is limited; a hold on all that leaves the
        house stays until it is undone. Safe to repeat.
        """
        async with self._main.organisation(org_id) as connection:
            row = await table.hold(connection, alarm_id)
            if row is None:
                return None
            agent_id, credential_id = row.agent_id, row.credential_id
            if credential_id is None or agent_id is None:
                return NoCredential()
            waiting = await self._devices.hand_out(connection, org_id, agent_id, credential_id, actor=actor, waits=waits)
            if waiting is not None:
                await self._devices.revoke_in(connection, org_id, agent_id, credential_id, actor=actor)
            if waiting is None and row.replacement_id is not None:
                known = await self._devices.described(connection, org_id, agent_id, row.replacement_id)
                if known is not None:
                    await self._devices.revoke_in(connection, org_id, agent_id, credential_id, actor=actor)
                    await table.replaced(connection, agent_id, credential_id, self._clock.now(), known.id)
                    return AlreadyMinted(known, agent_id)
            minted = waiting or await self._devices.replace(connection, org_id, agent_id, credential_id, actor=actor, waits=waits)
            if isinstance(minted, Minted):
                await table.replaced(connection, agent_id, credential_id, self._clock.now(), minted.id)
            return minted

    async def lock(
        self, org_id: OrgId, agent_id: UUID, credential_id: UUID, *, actor: str, waits: bool = False
    ) -> LockedByHand | AlreadyLocked | None:
        """Lock a credential and make another one for the agent, in one transaction; None where there is no such credential.

        As where the breaker finds something: an alarm stands for it, gateways end its calls and registrations within a second, and undoing
        opens it again. `waits`: the new one has no password yet, and gets it when its link is opened. A lock never fails for the minting:
        where the agent has all the devices that it may have none is made.
        """
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            await device_table.agent(connection, agent_id, for_update=True)
            if not isinstance(await device_table.sealed_credential(connection, agent_id, credential_id), bytes):
                return None
            if (agent_id, credential_id) in await table.locked(connection, {agent_id}):
                return AlreadyLocked()
            made = await self._devices.mint(connection, org_id, agent_id, credential_id, actor=actor, waits=waits)
            if made is None:
                return None
            minted = made if isinstance(made, Minted) else None
            row = _by_hand(self._devices.new_id(now), agent_id, credential_id, now)
            alarm_id = await table.put_alarm(connection, org_id, row) or row.id
            await table.lock(connection, org_id, agent_id, credential_id, alarm_id, now)
            if minted is not None:
                await fraud_minted.name(connection, alarm_id, minted.id)
            named = None if minted is None else str(minted.id)
            said: audit.Fields = {"agent": str(agent_id), "credential": str(credential_id), "minted": named}
            await audit.append(connection, org_id, now, actor, audit.Action.FRAUD_LOCKED, f"fraud-alarm:{alarm_id}", said)
            told: audit.Fields = {"level": row.level, "signal": row.signal, "action": row.action, "seen": 1, "most": None, "locked": True}
            event = DomainEvent(self._devices.new_id(now), org_id, EventKind.FRAUD_ALARM, alarm_id, now, {**told, **said})
            await outbox.add(connection, event)
            raised = await table.alarm(connection, alarm_id)
            assert raised is not None
        return LockedByHand(Alarm(raised, is_locked=True, waits=False), minted)


def _by_hand(alarm_id: UUID, agent_id: UUID, credential_id: UUID, now: datetime) -> AlarmRow:
    return AlarmRow(
        id=alarm_id,
        level=Level.AGENT.value,
        subject_id=agent_id,
        agent_id=agent_id,
        credential_id=credential_id,
        signal=BY_HAND,
        action=Action.REPLACE.value,
        seen=1.0,
        most=None,
        times=1,
        hour=int(now.timestamp()) // 3600,
        first_at=now,
        last_at=now,
    )


def _alarm(row: AlarmRow, locked: set[tuple[UUID, UUID]], waiting: set[UUID]) -> Alarm:
    if row.agent_id is None:
        return Alarm(row, is_locked=False)
    wanted = table.EVERYTHING if row.credential_id is None else row.credential_id
    is_locked = row.undone_at is None and (row.agent_id, wanted) in locked
    return Alarm(row, is_locked, row.replacement_id in waiting)
