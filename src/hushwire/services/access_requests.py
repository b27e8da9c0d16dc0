"""Access that agents ask for, as administrators decide it: one more country for one agent, until a day.

An approved request is the permission itself, beside whatever the lists of organisation, team and agent say (policy/grants.py); it ends by
itself. Where the country is guarded, two people approve. Asking is done by whoever dials the feature code (services/access_asking.py),
or here for somebody.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.policy.four_eyes import ALL
from hushwire.policy.terms import read_terms
from hushwire.privacy.notices import NoticeKind, Values
from hushwire.services.notices import Notices
from hushwire.store import access_requests as table
from hushwire.store import api_keys, outbox
from hushwire.store import rules as rules_table
from hushwire.store.access_requests import ASKABLE, AccessRow
from hushwire.store.database import Connection, Database
from hushwire.store.recordings import Place
from hushwire.store.rules import RulesRow

WAITS: Final = timedelta(days=7)
LONGEST: Final = timedelta(days=92)
"""Of a permission: what is needed for longer belongs on a list."""
MOST_OPEN: Final = 20
"""Requests of one agent that wait at once."""


@dataclass(frozen=True, slots=True)
class NoRequest:
    """The organisation has no such request, call or agent."""


@dataclass(frozen=True, slots=True)
class NotAskable:
    """The call was not refused for its country, or its countries have to be named."""


@dataclass(frozen=True, slots=True)
class AskedAlready:
    """The same is open already, or the agent has asked for too much."""


@dataclass(frozen=True, slots=True)
class Over:
    """It can't be decided so any more."""


@dataclass(frozen=True, slots=True)
class OwnAgreement:
    """Somebody else has to agree too."""


@dataclass(frozen=True, slots=True)
class WrongEnd:
    """The permission must end in the future, and within `LONGEST`."""


class AccessRequests:
    """Requests of every organisation's agents."""

    def __init__(self, main: Database, clock: Clock, random: Random) -> None:
        self._main = main
        self._clock = clock
        self._random = random

    async def ask(
        self, org_id: OrgId, call_id: UUID, countries: Sequence[str], *, actor: str
    ) -> AccessRow | NoRequest | NotAskable | AskedAlready:
        """Ask for what a call's agent was refused. `countries`: where the number may lie in several, all of them."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            call = await table.refused_call(connection, call_id)
            if call is None or call.agent_id is None:
                return NoRequest()
            wanted = sorted({*countries}) or ([call.country] if call.reason == ASKABLE[0] and call.country else [])
            if call.reason not in ASKABLE or not wanted:
                return NotAskable()
            row = asked(new_id(self._random, now), call.agent_id, call_id, wanted, actor, now)
            if not await table.ask(connection, org_id, row, MOST_OPEN):
                return AskedAlready()
            await outbox.add(connection, asked_event(self._new_id(now), org_id, row))
        return row

    async def listed(self, org_id: OrgId, *, after: Place | None = None, limit: int = 50) -> Sequence[AccessRow]:
        """Newest first."""
        async with self._main.organisation(org_id) as connection:
            return await table.listed(connection, after=after, limit=limit)

    async def get(self, org_id: OrgId, request_id: UUID) -> AccessRow | NoRequest:
        """One of them."""
        async with self._main.organisation(org_id) as connection:
            return await table.get(connection, request_id) or NoRequest()

    async def approve(
        self, org_id: OrgId, request_id: UUID, until: datetime, *, actor: str
    ) -> AccessRow | NoRequest | Over | OwnAgreement | WrongEnd:
        """Let the agent reach it until then. Where it is guarded, the first to approve agrees, and the second opens it (the earlier end
        counts). The next call of the agent obeys."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            rules = await rules_table.get(connection)
            row = await table.get(connection, request_id, for_update=True)
            if row is None or rules is None:
                return NoRequest()
            if not row.is_open(now):
                return Over()
            if not now < until <= now + LONGEST:
                return WrongEnd()
            if row.agreed_by is None and _is_guarded(row, rules):
                await table.agree(connection, request_id, actor, until)
                return replace(row, agreed_by=actor, ends_at=until)
            if row.agreed_by is not None and await api_keys.is_same_person(connection, row.agreed_by, actor):
                return OwnAgreement()
            ends_at = until if row.ends_at is None else min(until, row.ends_at)
            return await self._decided(connection, org_id, row, "approved", actor, now, ends_at)

    async def reject(self, org_id: OrgId, request_id: UUID, *, actor: str) -> AccessRow | NoRequest | Over:
        """The agent does not get it."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, request_id, for_update=True)
            if row is None:
                return NoRequest()
            if not row.is_open(now):
                return Over()
            return await self._decided(connection, org_id, row, "rejected", actor, now, None)

    async def revoke(self, org_id: OrgId, request_id: UUID, *, actor: str) -> AccessRow | NoRequest | Over:
        """Take a permission back before it ends."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, request_id, for_update=True)
            if row is None:
                return NoRequest()
            if row.state != "approved" or row.ends_at is None or row.ends_at <= now:
                return Over()
            return await self._decided(connection, org_id, row, "revoked", actor, now, now)

    async def _decided(
        self, connection: Connection, org_id: OrgId, row: AccessRow, state: str, actor: str, now: datetime, ends_at: datetime | None
    ) -> AccessRow:
        await table.decide(connection, row.id, state, actor, now, ends_at)
        fields: dict[str, str | int | bool | None] = {
            "actor": actor,
            "state": state,
            "agent": str(row.agent_id),
            "countries": ",".join(row.countries),
            "ends_at": None if ends_at is None else ends_at.isoformat(),
            "agreed_by": row.agreed_by,
        }
        await outbox.add(connection, DomainEvent(self._new_id(now), org_id, EventKind.ACCESS_DECIDED, row.id, now, fields))
        return replace(row, state=state, decided_by=actor, decided_at=now, ends_at=ends_at or row.ends_at)

    def _new_id(self, now: datetime) -> UUID:
        return new_id(self._random, now)


@dataclass(frozen=True, slots=True)
class AccessWatch:
    """The worker tells the organisation's contacts of what its agents ask for."""

    main: Database
    notices: Notices
    clock: Clock

    async def look(self) -> int:
        """One round; returns how many were told of."""
        async with self.main.transaction() as connection:
            waiting = await table.unnoticed(connection)
        return await for_each(waiting, self._tell, "access-requests")

    async def _tell(self, waiting: tuple[OrgId, UUID]) -> int:
        org_id, request_id = waiting
        async with self.main.organisation(org_id) as connection:
            row = await table.get(connection, request_id)
            if row is None or not await table.note_noticed(connection, request_id, self.clock.now()):
                return 0
            values: Values = {
                "request": row.id, "agent": row.agent_id, "countries": ", ".join(row.countries), "asked_at": row.asked_at,
                "expires_at": row.expires_at,
            }  # fmt: skip
            await self.notices.queue(connection, org_id, NoticeKind.ACCESS_REQUESTED, "access-request", row.id, values)
        return 1


def asked(request_id: UUID, agent_id: UUID, call_id: UUID | None, countries: Sequence[str], actor: str, now: datetime) -> AccessRow:
    """A new request."""
    return AccessRow(request_id, agent_id, call_id, tuple(countries), "open", actor, now, now + WAITS)


def asked_event(event_id: UUID, org_id: OrgId, row: AccessRow) -> DomainEvent:
    """What the outbox carries of it."""
    fields: dict[str, str | int | bool | None] = {
        "actor": row.asked_by,
        "agent": str(row.agent_id),
        "call": None if row.call_id is None else str(row.call_id),
        "countries": ",".join(row.countries),
    }
    return DomainEvent(event_id, org_id, EventKind.ACCESS_REQUESTED, row.id, row.asked_at, fields)


def new_id(random: Random, now: datetime) -> UUID:
    """An id in the order of time."""
    return uuid7(int(now.timestamp() * 1000), random.token_bytes(10))


def _is_guarded(row: AccessRow, rules: RulesRow) -> bool:
    """Whether it opens what two must agree to: a country that is not listed, or is on terms, which a permission goes past."""
    on_terms = {subject for subject, _ in read_terms(rules.terms)}
    new = {*row.countries} - ({*rules.allowed_countries} - on_terms)
    return bool(new) and (ALL in rules.four_eyes or bool(new & {*rules.four_eyes}))
