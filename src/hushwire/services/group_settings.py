"""Ring groups as their organisation's administrators make them, besides the provisioning file. Each change stands in the audit log."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.policy.emergency import is_emergency
from hushwire.privacy import audit
from hushwire.services.agents import EXTENSION
from hushwire.services.contacts import Unfit
from hushwire.services.ring_groups import RING_IN_TURN_S, RING_TOGETHER_S, Strategy
from hushwire.store import listing, organisation
from hushwire.store import provisioning as rows
from hushwire.store.database import Connection, Database
from hushwire.store.provisioning import GroupRow
from hushwire.vault.keyring import Keyring

MOST_GROUPS: Final = 500
MOST_MEMBERS: Final = 64


@dataclass(frozen=True, slots=True)
class Wanted:
    """A group as it is to be. `ring_s` of None: as usual for the strategy. Members in the order in which they are rung in turn."""

    name: str
    extension: str
    strategy: Strategy
    ring_s: int | None
    follows_forwarding: bool
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class TooMany:
    """The organisation has as many groups as it may have."""


class GroupSettings:
    """Groups of one organisation. Gateways hear of a change by the organisation's version, within a second."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def listed(self, org_id: OrgId) -> list[GroupRow]:
        """All of them, by name."""
        async with self._main.organisation(org_id) as connection:
            return sorted(await rows.groups(connection), key=lambda row: row.name)

    async def get(self, org_id: OrgId, group_id: UUID) -> GroupRow | None:
        """One of them."""
        return next((row for row in await self.listed(org_id) if row.id == group_id), None)

    async def add(self, org_id: OrgId, wanted: Wanted, *, actor: str) -> GroupRow | Unfit | TooMany:
        """A new group."""
        now = self._clock.now()
        group_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        return await self._put(org_id, group_id, wanted, now, actor=actor, is_new=True) or TooMany()

    async def change(self, org_id: OrgId, group_id: UUID, wanted: Wanted, *, actor: str) -> GroupRow | Unfit | None:
        """The whole group anew; None where there is no such group. Calls that ring there already go on as they began."""
        return await self._put(org_id, group_id, wanted, self._clock.now(), actor=actor, is_new=False)

    async def remove(self, org_id: OrgId, group_id: UUID, *, actor: str) -> bool:
        """Its extension leads nowhere from now on, and numbers that rang it ring nobody; False where there is no such group."""
        async with self._main.organisation(org_id) as connection:
            if all(row.id != group_id for row in await rows.groups(connection)):
                return False
            await rows.remove_group(connection, group_id)
            await audit.append(connection, org_id, self._clock.now(), actor, audit.Action.GROUP_REMOVED, f"group:{group_id}")
        return True

    async def _put(
        self, org_id: OrgId, group_id: UUID, wanted: Wanted, now: datetime, *, actor: str, is_new: bool
    ) -> GroupRow | Unfit | None:
        keys = await self._keyring.org_context(org_id)
        index = keys.index("agents.extension", wanted.extension), keys.index("agents.username", wanted.extension)
        try:
            async with self._main.organisation(org_id) as connection:
                known = {row.id: row for row in await rows.groups(connection)}
                if len(known) >= MOST_GROUPS if is_new else group_id not in known:
                    return None
                others = [row for row in known.values() if row.id != group_id]
                unfit = await self._unfit(connection, wanted, others, index)
                if unfit is not None:
                    return unfit
                row = _row(group_id, wanted)
                if row != known.get(group_id):
                    await rows.put_group(connection, org_id, row, now)
                    action = audit.Action.GROUP_MADE if is_new else audit.Action.GROUP_CHANGED
                    await audit.append(connection, org_id, now, actor, action, f"group:{group_id}", {"members": len(row.members)})
        except asyncpg.ForeignKeyViolationError:
            return Unfit("members", "names somebody who is no agent of the organisation")
        except asyncpg.UniqueViolationError:
            return Unfit("extension", "or the name was taken by another group just now")
        return row

    async def _unfit(self, connection: Connection, wanted: Wanted, others: Sequence[GroupRow], index: tuple[bytes, bytes]) -> Unfit | None:
        profile = await organisation.profile(connection)
        if any(row.name == wanted.name for row in others):
            return Unfit("name", "is another group's")
        if not EXTENSION.fullmatch(wanted.extension):
            return Unfit("extension", "must be 2 to 8 digits")
        if profile is not None and is_emergency(wanted.extension, profile.home_country):
            return Unfit("extension", "is an emergency number")
        is_taken = any(row.extension == wanted.extension for row in others)
        if is_taken or await listing.agent_reached(connection, *index) is not None:
            return Unfit("extension", "is another group's, or an agent's")
        if len(set(wanted.members)) < len(wanted.members):
            return Unfit("members", "names an agent twice")
        return None


def _row(group_id: UUID, wanted: Wanted) -> GroupRow:
    usual_s = RING_TOGETHER_S if wanted.strategy is Strategy.PARALLEL else RING_IN_TURN_S
    ring_s = usual_s if wanted.ring_s is None else wanted.ring_s
    return GroupRow(group_id, wanted.name, wanted.extension, wanted.strategy.value, ring_s, wanted.follows_forwarding, wanted.members)
