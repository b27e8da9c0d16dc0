"""Masked sessions as their organisation manages them: two parties, a proxy number of the pool between them, and an end.

Neither number is shown again once it was given: not in the session, not on calls, not in any message to a party. They are sealed, found by
blind index alone, and forgotten when the session ends, by request, by time, or because one of the two is erased.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import AgentId, OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.services.contacts import Unfit
from hushwire.services.once import KeyReused, Once, made_before
from hushwire.services.phone_numbers import REMOTE, canonical_number
from hushwire.store import expiry
from hushwire.store import masking as table
from hushwire.store.database import Connection, Database
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.unseal import AccessLog, Why

MOST_SESSIONS: Final = 2_000
"""Of one organisation at once: gateways hold them in memory, and read them anew when one changes."""
LONGEST_S: Final = 30 * 86_400
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session: `number` is what both parties see and call."""

    id: UUID
    number: str = field(repr=False)
    agent_id: AgentId
    created_at: datetime
    expires_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class NoneFree:
    """Each proxy number of the pool stands between one of the parties and somebody else already, or there is none."""


@dataclass(frozen=True, slots=True)
class TooMany:
    """The organisation has as many sessions as it may have."""


class _NotMade(Exception):
    """Leaves the transaction with what there is to say."""

    def __init__(self, why: "NoneFree | TooMany | Unfit") -> None:
        super().__init__()
        self.why = why


Made = SessionView | NoneFree | TooMany | Unfit | KeyReused


class Masking:
    """Changes of one organisation's sessions. Gateways hear of them within a second."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._access = AccessLog(main, clock, random)

    async def begin(
        self, org_id: OrgId, agent_id: UUID, parties: tuple[str, str], expires_in_s: int, *, actor: str, once: Once | None = None
    ) -> Made | None:
        """A proxy number for two numbers as a person types them, for so long; None where there is no such agent, or it is suspended.

        Calls of the session are made in the agent's name and under its rules, judged when each is made.
        """
        keys = await self._keyring.org_context(org_id)
        now = self._clock.now()
        session_id = self._id(now)
        try:
            async with self._main.organisation(org_id) as connection:
                return await self._begin(connection, keys, session_id, agent_id, parties, now, expires_in_s, actor, once)
        except _NotMade as refused:
            # What was begun is rolled back, so that the Idempotency-Key stands for nothing.
            return refused.why

    async def _begin(
        self,
        connection: Connection,
        keys: OrgKeys,
        session_id: UUID,
        agent_id: UUID,
        parties: tuple[str, str],
        now: datetime,
        expires_in_s: int,
        actor: str,
        once: Once | None,
    ) -> Made | None:
        if not await table.agent_is_there(connection, agent_id):
            return None
        numbers = []
        for place, typed in enumerate(parties):
            number = await canonical_number(connection, typed)
            if number is None:
                return Unfit(f"parties[{place}]", 'must be a phone number such as "+493023125000"')
            numbers.append(number)
        if numbers[0] == numbers[1]:
            return Unfit("parties[1]", "must be another number than the first")
        await table.lock(connection)
        before = await made_before(connection, keys, once, session_id, now)
        if isinstance(before, KeyReused):
            return before
        if before is not None:
            row = await table.get(connection, before)
            return KeyReused() if row is None else self._view(keys, row)
        made = await self._made(connection, keys, session_id, agent_id, numbers, now, expires_in_s)
        if not isinstance(made, UUID):
            raise _NotMade(made)
        fields: audit.Fields = {"agent": str(agent_id), "number": str(made), "expires_in_s": expires_in_s}
        await audit.append(connection, keys.org_id, now, actor, audit.Action.MASKING_BEGUN, f"masking:{session_id}", fields)
        row = await table.get(connection, session_id)
        assert row is not None
        return self._view(keys, row)

    async def listed(self, org_id: OrgId, why: Why, *, after: UUID | None = None, limit: int = 50) -> tuple[list[SessionView], UUID | None]:
        """Sessions newest first, and the id after which the next page begins."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            rows = await table.listed(connection, after=after, limit=limit + 1)
            await self._access.note_in(connection, org_id, why, [f"masking:{row.id}" for row in rows[:limit]])
        return [self._view(keys, row) for row in rows[:limit]], rows[limit - 1].id if len(rows) > limit else None

    async def get(self, org_id: OrgId, session_id: UUID, why: Why) -> SessionView | None:
        """One session."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, session_id)
            if row is None:
                return None
            await self._access.note_in(connection, org_id, why, [f"masking:{row.id}"])
        return self._view(keys, row)

    async def end(self, org_id: OrgId, session_id: UUID, *, actor: str) -> bool:
        """Forget who its parties are; False where there is no such session. Safe to repeat. Calls under way go on."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            if await table.get(connection, session_id) is None:
                return False
            if await table.end(connection, session_id, now):
                await audit.append(connection, org_id, now, actor, audit.Action.MASKING_ENDED, f"masking:{session_id}", {})
        return True

    async def _made(
        self, connection: Connection, keys: OrgKeys, session_id: UUID, agent_id: UUID, numbers: list[str], now: datetime, expires_in_s: int
    ) -> UUID | NoneFree | TooMany | Unfit:
        """The id of the proxy number."""
        if await table.is_own_number(connection, [keys.index("numbers.number", number) for number in numbers]):
            return Unfit("parties", "must not be proxy numbers themselves")
        await table.end_expired(connection, now)
        if await table.count(connection) >= MOST_SESSIONS:
            return TooMany()
        indexes = [keys.index(REMOTE, number) for number in numbers]
        number_id = await table.free_number(connection, indexes)
        if number_id is None:
            return NoneFree()
        rows = []
        for number, index in zip(numbers, indexes, strict=True):
            party_id = self._id(now)
            place = {"table": "masking_parties", "column": "number_sealed"}
            rows.append((party_id, keys.operational.seal(number.encode(), row=party_id, org=keys.org_id, **place), index))
        await table.add(connection, keys.org_id, session_id, agent_id, number_id, now, now + timedelta(seconds=expires_in_s), rows)
        return number_id

    def _view(self, keys: OrgKeys, row: table.SessionRow) -> SessionView:
        number = keys.operational.open(row.number_sealed, table="numbers", column="number_sealed", row=row.number_id, org=keys.org_id)
        over = row.expires_at if row.ended_at is None and row.expires_at <= self._clock.now() else row.ended_at
        return SessionView(row.id, number.decode(), row.agent_id, row.created_at, row.expires_at, over)

    def _id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


async def end_expired(main: Database, clock: Clock) -> int:
    """Forget the parties of all sessions whose time is over; returns how many sessions. The worker's, each minute."""
    async with main.transaction() as connection:
        organisations = await expiry.organisations(connection)

    async def end(org_id: OrgId) -> int:
        async with main.organisation(org_id) as connection:
            return len(await table.end_expired(connection, clock.now()))

    ended = await for_each(organisations, end, "masking")
    if ended:
        _log.info("masking.expired", sessions=ended)
    return ended
