"""Restriction of processing: kept, not readable, out of statistics, until it is lifted. Reads ask the rows, so it holds at once everywhere.

A playback that is under way ends at its next look, within a second.
"""

from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.services.phone_numbers import REMOTE, canonical_number
from hushwire.store import restrictions as table
from hushwire.store.database import Connection, Database
from hushwire.store.restrictions import NewRestriction, Restriction, Scope
from hushwire.vault.keyring import Keyring


class Restrictions:
    """Restrictions of every organisation."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def restrict_object(self, org_id: OrgId, scope: Scope, object_id: UUID, *, actor: str) -> Restriction | None:
        """Restrict one thing; None if the organisation has no such thing (any more). Safe to repeat."""
        async with self._main.organisation(org_id) as connection:
            if not await table.exists(connection, scope, object_id):
                return None
            return await self.place(connection, org_id, scope, object_id=object_id, actor=actor)

    async def restrict_number(self, org_id: OrgId, typed: str, *, actor: str) -> Restriction | None:
        """Restrict what is held of a number, and what is yet to come; None for what is no number. Safe to repeat."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            number = await canonical_number(connection, typed)
            if number is None:
                return None
            return await self.place(connection, org_id, "number", remote_index=keys.index(REMOTE, number), actor=actor)

    async def place(
        self,
        connection: Connection,
        org_id: OrgId,
        scope: Scope,
        *,
        actor: str,
        remote_index: bytes | None = None,
        object_id: UUID | None = None,
        request_id: UUID | None = None,
    ) -> Restriction:
        """In the caller's transaction: the new restriction, or the one in force. Appends to the audit log."""
        now = self._clock.now()
        new = NewRestriction(self._new_id(), scope, remote_index, object_id, request_id, now, actor)
        found = await table.place(connection, org_id, new)
        if found.id == new.id:
            await audit.append(connection, org_id, now, actor, audit.Action.RESTRICTION_PLACED, f"restriction:{new.id}", _about(found))
        return found

    async def lift(self, org_id: OrgId, restriction_id: UUID, *, actor: str) -> Restriction | None:
        """Readable again, unless another restriction covers it; None if there is no such restriction. Safe to repeat."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if await table.lift(connection, restriction_id, now, actor):
                await audit.append(connection, org_id, now, actor, audit.Action.RESTRICTION_LIFTED, f"restriction:{restriction_id}")
            return await table.get(connection, restriction_id)

    async def get(self, org_id: OrgId, restriction_id: UUID) -> Restriction | None:
        """One restriction."""
        async with self._main.organisation(org_id) as connection:
            return await table.get(connection, restriction_id)

    async def listed(self, org_id: OrgId, *, after: UUID | None = None, limit: int = 50) -> tuple[list[Restriction], UUID | None]:
        """A page of restrictions, and the id after which the next page begins."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.listed(connection, after=after, limit=limit + 1)
        return rows[:limit], rows[limit - 1].id if len(rows) > limit else None

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))


def _about(row: Restriction) -> dict[str, str | int | bool | None]:
    said: dict[str, str | int | bool | None] = {"scope": row.scope}
    if row.object_id is not None:
        said["object"] = str(row.object_id)
    if row.request_id is not None:
        said["request"] = str(row.request_id)
    return said
