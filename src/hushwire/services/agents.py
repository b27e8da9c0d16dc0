"""Agents as their organisation manages them: suspended and resumed, corrected. Each change stands in the audit log."""

import re
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.privacy import audit, endings
from hushwire.services.contacts import Unfit
from hushwire.services.phone_numbers import canonical_number
from hushwire.store import agents as table
from hushwire.store.database import Connection, Database
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.tombstones import Tombstone

EXTENSION: Final = re.compile(r"[0-9]{2,8}", re.ASCII)


class Agents:
    """Changes of one organisation's agents. Gateways hear of them by the organisation's version, within a second.

    A suspension stands in the keyring before the row changes, its end after it: no restore of an older database undoes it.
    """

    def __init__(self, main: Database, keyring: Keyring, clock: Clock) -> None:
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
                await tombstones.write(self._keyring.db, org_id, [stone])
        if stone and not suspended:
            await tombstones.write(self._keyring.db, org_id, [stone])
        return changed is not None

    async def rectify(
        self,
        org_id: OrgId,
        agent_id: UUID,
        *,
        actor: str,
        extension: str | None = None,
        caller_id: str | None = None,
        media_ports: str | None = None,
        hides_identity: bool | None = None,
    ) -> bool | Unfit:
        """Another extension, caller id, choice of media ports or of hiding the number (None: as it is); False: there is no such agent.

        The row is replaced, every node shows and calls with the new value from then on, and a superseding entry is in the audit log.
        """
        keys = await self._keyring.org_context(org_id)
        try:
            async with self._main.organisation(org_id) as connection:
                before = await table.display(connection, agent_id)
                if before is None:
                    return False
                after = await self._changed(connection, keys, agent_id, before, extension, caller_id)
                if isinstance(after, Unfit):
                    return after
                now = self._clock.now()
                await table.set_display(connection, agent_id, after, now)
                if media_ports is not None:
                    await table.set_media_ports(connection, agent_id, media_ports, now)
                if hides_identity is not None:
                    await table.set_hides_identity(connection, agent_id, hides_identity, now)
                said = {"extension": extension, "caller_id": caller_id, "media_ports": media_ports, "hides_identity": hides_identity}
                names = [name for name, value in said.items() if value is not None]
                await audit.append(
                    connection, org_id, now, actor, audit.Action.AGENT_RECTIFIED, f"agent:{agent_id}", {"fields": " ".join(names)}
                )
        except asyncpg.UniqueViolationError:
            return Unfit("extension", "is another agent's")
        return True

    async def suspend_within(self, connection: Connection, org_id: OrgId, agent_id: UUID, now: datetime, *, actor: str) -> None:
        """Suspend in the caller's transaction, which has nothing to append to the audit log before. Safe to repeat."""
        if await table.set_suspended(connection, agent_id, True, now):
            await audit.append(connection, org_id, now, actor, audit.Action.AGENT_SUSPENDED, f"agent:{agent_id}")
            await tombstones.write(self._keyring.db, org_id, [await self._stone(org_id, agent_id, True, now)])

    async def _stone(self, org_id: OrgId, agent_id: UUID, suspended: bool, now: datetime) -> Tombstone:
        """What the keyring is told: a suspension, or that exactly those known until now are over."""
        if suspended:
            return endings.agent_suspended(tombstones.new_id(), agent_id, now)
        async with self._keyring.db.organisation(org_id) as connection:
            known = await tombstones.of_object(connection, endings.AGENT, agent_id)
        over = [each.tombstone.id for each in known if each.tombstone.fields.get("state") == "suspended"]
        return endings.agent_let_in(tombstones.new_id(), agent_id, over, now)

    async def _changed(
        self, connection: Connection, keys: OrgKeys, agent_id: UUID, before: table.Display, extension: str | None, caller_id: str | None
    ) -> table.Display | Unfit:
        def sealed(value: str, column: str) -> bytes:
            return keys.operational.seal(value.encode(), table="agents", column=column, row=agent_id, org=keys.org_id)

        after = before
        if extension is not None:
            if not EXTENSION.fullmatch(extension):
                return Unfit("extension", "must be 2 to 8 digits")
            if await table.is_group(connection, extension):
                return Unfit("extension", "is a ring group's")
            after = replace(
                after, extension_sealed=sealed(extension, "extension_sealed"), extension_index=keys.index("agents.extension", extension)
            )
        if caller_id is not None:
            number = await canonical_number(connection, caller_id)
            if number is None:
                return Unfit("caller_id", 'must be a phone number such as "+493023125000"')
            after = replace(after, caller_id_sealed=sealed(number, "caller_id_sealed"))
        return after
