"""Sub-processors from a customer's side: told of each, free to object in time, and what follows (clauses 4, 4.1, 4.2).

    announced --told, clock of ten business days--> too early --its day comes--> used
                                                        `--objection, clock of 18 days--> barred --withdrawn--> used
                                                                                            `--unresolved--> barred, may terminate

Customers are told by the worker on the day of the announcement; silence authorises. What stands against an entry keeps an
organisation's calls from its carriers (`services/snapshot_reading.py`), from the moment that it is committed.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.privacy.agreement import Bar, Standing, Subprocessor, barred
from hushwire.privacy.clocks import Clock as Running
from hushwire.privacy.clocks import ClockKind
from hushwire.privacy.notices import NoticeKind, Values
from hushwire.services.clocks import Clocks
from hushwire.services.notices import Notices
from hushwire.store import agreement as table
from hushwire.store.agreement import ObjectionRow, StandingRow, SubprocessorRow
from hushwire.store.database import Connection, Database
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

SUBJECT: Final = "sub-processor"
OBJECTION: Final = "objection"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry of the list as it stands with one organisation; `bar`: why it is not used for it now."""

    entry: SubprocessorRow
    notified_at: datetime | None
    active_from: datetime | None
    objection: str | None
    bar: Bar | None


@dataclass(frozen=True, slots=True)
class Objected:
    """Registered; `clock` runs until a solution has to be found."""

    objection: ObjectionRow
    clock: Running


@dataclass(frozen=True, slots=True)
class NotListed:
    """There is no such entry."""


@dataclass(frozen=True, slots=True)
class TooLate:
    """It is authorised already: the time to object was over, or it was on the list that the organisation agreed to."""

    active_from: datetime


@dataclass(frozen=True, slots=True)
class ObjectsAlready:
    """An objection stands already."""

    objection_id: UUID


@dataclass(frozen=True, slots=True)
class ObjectionView:
    """An objection with its grounds; None where they were erased."""

    row: ObjectionRow
    grounds: str | None = field(repr=False)


class Subprocessors:
    """The list, one organisation at a time."""

    def __init__(self, main: Database, keyring: Keyring, clocks: Clocks, notices: Notices, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clocks = clocks
        self._notices = notices
        self._clock = clock
        self._random = random

    async def listed(self, org_id: OrgId) -> list[EntryView]:
        """Every entry with its standing."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            rows = await table.standings(connection)
            _, safeguarded = await table.barred_facts(connection, now)
            residency = await table.residency(connection)
        return [_view(row, residency, safeguarded, now) for row in rows]

    async def object(
        self, org_id: OrgId, subprocessor_id: UUID, grounds: str, *, actor: str
    ) -> Objected | NotListed | TooLate | ObjectsAlready:
        """A written objection, before the entry's day: it bars the entry at once, and starts its clock."""
        now = self._clock.now()
        objection_id = self._new_id(now)
        key = await self._keyring.new_data_key(org_id, "case", objection_id)
        sealed = Columns(key.key).seal(grounds.encode(), table="objections", column="grounds_sealed", row=objection_id, org=org_id)
        async with self._main.organisation(org_id) as connection:
            row = next((row for row in await table.standings(connection) if row.entry.id == subprocessor_id), None)
            if row is None or row.entry.withdrawn_at is not None:
                return NotListed()
            if (standing := await table.standing_objection(connection, subprocessor_id)) is not None:
                return ObjectsAlready(standing.id)
            if row.active_from is not None and now >= row.active_from:
                return TooLate(row.active_from)
            objection = ObjectionRow(objection_id, subprocessor_id, actor, sealed, now, "open", None)
            await table.add_objection(connection, org_id, objection)
            running = await self._clocks.start(connection, org_id, ClockKind.OBJECTION, OBJECTION, objection_id, now)
            values: Values = {"objection": objection_id, "name": row.entry.name, "received_at": now, "due_at": running.due_at}
            await self._notices.queue(connection, org_id, NoticeKind.OBJECTION, OBJECTION, objection_id, values)
            await audit.append(
                connection, org_id, now, actor, "subprocessor.objected", f"objection:{objection_id}", {"subprocessor": str(subprocessor_id)}
            )
        return Objected(objection, running)

    async def withdraw(self, org_id: OrgId, objection_id: UUID, *, actor: str) -> ObjectionRow | None:
        """The customer's objection ends, and the entry is authorised; None if there is no such objection. Safe to repeat."""
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            row = await table.objection(connection, objection_id, for_update=True)
            if row is None or row.state not in ("open", "unresolved"):
                return row
            await table.decide_objection(connection, objection_id, "withdrawn", now)
            await self._clocks.end(connection, org_id, ClockKind.OBJECTION, OBJECTION, objection_id, outcome="withdrawn")
            await audit.append(connection, org_id, now, actor, "subprocessor.objection-withdrawn", f"objection:{objection_id}")
            return await table.objection(connection, objection_id)

    async def objections(self, org_id: OrgId, why: Why) -> list[ObjectionView]:
        """The organisation's objections with their grounds."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.objections(connection)
        keys = await self._keyring.open_many(org_id, "case", [row.id for row in rows], why)

        def grounds(row: ObjectionRow) -> str | None:
            key = keys.get(row.id)
            if key is None:
                return None
            return Columns(key.key).open(row.grounds_sealed, table="objections", column="grounds_sealed", row=row.id, org=org_id).decode()

        return [ObjectionView(row, grounds(row)) for row in rows]

    # The worker's part.

    async def carry_on(self) -> int:
        """Tell every customer of what was announced and published, activate what is due, close what time closed. Safe to repeat.

        What fails for one customer holds up no other; who was erased is told nothing.
        """
        async with self._main.transaction() as connection:
            organisations = [OrgId(row[0]) for row in await connection.fetch("SELECT org_ids()")]
        return await for_each(organisations, self._carry_on, "agreement")

    async def _carry_on(self, org_id: OrgId) -> int:
        async with self._main.organisation(org_id) as connection:
            if await table.is_over(connection):
                return 0
            done = await self._tell(connection, org_id)
            done += await self._tell_policies(connection, org_id)
            done += await self._close(connection, org_id)
            return done + await table.expire_safeguards(connection, self._clock.now())

    async def _tell(self, connection: Connection, org_id: OrgId) -> int:
        done, now = 0, self._clock.now()
        for row in await table.standings(connection):
            entry = row.entry
            if entry.withdrawn_at is not None:
                continue
            if row.notified_at is None:
                # The period begins when the customer is told, not when the operator wrote it down.
                running = await self._clocks.start(connection, org_id, ClockKind.SUB_PROCESSOR_CHANGE, SUBJECT, entry.id, now)
                values: Values = {
                    "name": entry.name,
                    "purpose": entry.purpose,
                    "country": entry.country,
                    "announced_at": now,
                    "active_from": running.due_at,
                }
                await table.add_standing(connection, org_id, entry.id, now, running.due_at)
                await self._notices.queue(
                    connection, org_id, NoticeKind.SUB_PROCESSOR_CHANGE, SUBJECT, entry.id, values, occasion=entry.announced_at.isoformat()
                )
                _log.info(
                    "subprocessor.announced", org_id=str(org_id), subprocessor_id=str(entry.id), active_from=running.due_at.isoformat()
                )
                done += 1
            elif row.activated_at is None and row.active_from is not None and row.active_from <= now and row.objection is None:
                done += await table.note_activated(connection, entry.id, now)
                await self._clocks.end(connection, org_id, ClockKind.SUB_PROCESSOR_CHANGE, SUBJECT, entry.id, outcome="authorised")
        return done

    async def _tell_policies(self, connection: Connection, org_id: OrgId) -> int:
        done, now = 0, self._clock.now()
        for policy in await table.policies(connection):
            if policy.notified_at is None and await table.add_policy_notice(connection, org_id, policy.id, now):
                values: Values = {
                    "kind": policy.kind,
                    "version": policy.version,
                    "digest": policy.digest.hex(),
                    "effective_at": policy.effective_at,
                }
                await self._notices.queue(connection, org_id, NoticeKind.POLICY, "policy", policy.id, values)
                done += 1
        return done

    async def _close(self, connection: Connection, org_id: OrgId) -> int:
        """Objections whose time is over, or whose entry was withdrawn."""
        done, now = 0, self._clock.now()
        entries = {row.entry.id: row.entry for row in await table.standings(connection)}
        for objection in await table.objections(connection):
            entry = entries.get(objection.subprocessor_id)
            if objection.state not in ("open", "unresolved") or entry is None:
                continue
            if entry.withdrawn_at is not None:
                await table.decide_objection(connection, objection.id, "resolved", now)
                await self._clocks.end(connection, org_id, ClockKind.OBJECTION, OBJECTION, objection.id, outcome="resolved")
                done += 1
                continue
            running = await self._clocks.of(connection, ClockKind.OBJECTION, OBJECTION, objection.id)
            if objection.state == "open" and running is not None and running.due_at <= now:
                await table.decide_objection(connection, objection.id, "unresolved", now)
                values: Values = {"objection": objection.id, "name": entry.name, "due_at": running.due_at}
                await self._notices.queue(connection, org_id, NoticeKind.OBJECTION_UNRESOLVED, OBJECTION, objection.id, values)
                await self._clocks.end(connection, org_id, ClockKind.OBJECTION, OBJECTION, objection.id, outcome="unresolved")
                done += 1
        return done

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


def _view(row: StandingRow, residency: str, safeguarded: list[str], now: datetime) -> EntryView:
    entry = row.entry
    known = Subprocessor(entry.id, entry.name, entry.country, entry.safeguard, entry.withdrawn_at is not None)
    standing = None if row.notified_at is None else Standing(row.active_from, row.objection is not None)
    return EntryView(entry, row.notified_at, row.active_from, row.objection, barred(known, standing, residency, safeguarded, now))
