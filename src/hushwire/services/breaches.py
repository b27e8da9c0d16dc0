"""Breach cases: registered (T0), computed from the access log, told to each organisation concerned (docs/breach.md).

The rows are the state: registered -> computed -> noticed, each step in one transaction, carried on by whoever looks next. An incident of
the operator's is first spread over the organisations where its credential read something; registering the same again finds the same.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit, breach
from hushwire.privacy.breach import Counts, Window
from hushwire.privacy.clocks import ClockKind
from hushwire.services.clocks import Clocks
from hushwire.store import breaches as table
from hushwire.store import search
from hushwire.store.breaches import BreachRow, Incident, Place
from hushwire.store.database import Connection, Database
from hushwire.store.search import CallRow
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

OPERATOR: Final = "operator"
SUBJECT: Final = "breach"
_NO_ORG: Final = UUID(int=0)
_log = structlog.get_logger(__name__)


class Outbox(Protocol):
    """Where notices of breaches go."""

    async def queue_breach(self, connection: Connection, row: BreachRow, counts: Counts, measures: str, clock_id: UUID) -> UUID:
        """Put the notice into the outbox with the caller's transaction; the one that stands already, if there is one."""
        ...


@dataclass(frozen=True, slots=True)
class Spread:
    """An incident of the operator's and the cases that it led to."""

    incident: Incident
    cases: list[BreachRow]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody whose data was read, as the customer knows them."""

    number: str | None = field(repr=False)
    records: int


class Breaches:
    """Cases of every organisation. `outbox` sends; the worker carries on what an API process or a command left."""

    def __init__(self, main: Database, keyring: Keyring, clocks: Clocks, outbox: Outbox, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clocks = clocks
        self._outbox = outbox
        self._clock = clock
        self._random = random

    # Registering.

    async def register(self, org_id: OrgId, found: Window, *, by: str, note: str | None = None) -> BreachRow:
        """An organisation's own case, computed and told at once; the same credential and window again gives the same case."""
        row = await self._open(org_id, found, self._clock.now(), None, by, note)
        return await self._carry_on(row)

    async def register_everywhere(self, found: Window, *, note: str | None = None) -> Spread:
        """The operator's: every organisation where the credential read something gets its case. Needs the owner's role."""
        incident_id, now = self._new_id(), self._clock.now()
        keys = await self._keyring.deployment()
        place = {"table": "breach_incidents", "column": "note_sealed", "row": incident_id, "org": _NO_ORG}
        sealed = None if note is None else keys.operational.seal(note.encode(), **place)  # type: ignore[arg-type]
        async with self._main.transaction() as connection:
            incident = await table.put_incident(
                connection, Incident(incident_id, found.actor, found.since, found.until, now, sealed, None, None)
            )
        _log.warning("breach.registered", incident_id=str(incident.id), actor=found.actor)
        return await self._spread(incident)

    async def carry_on(self) -> int:
        """The worker's: everything that is not told yet, from wherever it stands. Returns how many cases went on."""
        async with self._main.transaction() as connection:
            incidents = await table.open_incidents(connection)
        for incident in incidents:
            await self._spread(incident)
        async with self._main.transaction() as connection:
            waiting = await table.open_cases(connection)

        async def carry_on(one: tuple[OrgId, UUID]) -> int:
            org_id, breach_id = one
            async with self._main.organisation(org_id) as connection:
                row = await table.get(connection, breach_id)
            if row is not None:
                await self._carry_on(row)
            return 1

        return await for_each(waiting, carry_on, "breaches")

    # Looking.

    async def get(self, org_id: OrgId, breach_id: UUID) -> BreachRow | None:
        """One case."""
        async with self._main.organisation(org_id) as connection:
            return await table.get(connection, breach_id)

    async def listed(self, org_id: OrgId, *, after: Place | None = None, limit: int = 50) -> list[BreachRow]:
        """Cases, newest first."""
        async with self._main.organisation(org_id) as connection:
            return await table.listed(connection, after=after, limit=limit)

    async def note(self, row: BreachRow, why: Why) -> str | None:
        """What a person wrote about it; None where nothing was, or its key is destroyed."""
        if row.note_sealed is None:
            return None
        try:
            key = await self._keyring.open_data_key(row.org_id, "case", row.id, why)
        except KeyUnavailable:
            return None
        return Columns(key.key).open(row.note_sealed, table="breaches", column="note_sealed", row=row.id, org=row.org_id).decode()

    async def persons(self, row: BreachRow, why: Why, *, after: bytes | None = None, limit: int = 50) -> tuple[list[Person], bytes | None]:
        """Who is concerned, with numbers opened, for the customer itself; and the place where the next page begins."""
        async with self._main.organisation(row.org_id) as connection:
            found = await table.persons(connection, row.id, after=after, limit=limit + 1)
            wanted = [person.call_id for person in found[:limit] if person.call_id is not None]
            calls: dict[UUID, CallRow] = {call.id: call for call in await search.get_calls(connection, wanted)}
        keys = await self._keyring.open_many(row.org_id, "call", {c.sealed_with for c in calls.values() if c.sealed_with}, why)
        people = []
        for person in found[:limit]:
            call = None if person.call_id is None else calls.get(person.call_id)
            key = keys.get(call.sealed_with) if call is not None and call.sealed_with is not None else None
            column = "diverted_to_sealed" if person.was_diverted_to else "remote_sealed"
            sealed = None if call is None else call.diverted_to_sealed if person.was_diverted_to else call.remote_sealed
            number = None
            if call is not None and key is not None and sealed is not None:
                place: dict[str, Any] = {"table": "calls", "column": column, "row": call.id, "org": row.org_id}
                number = Columns(key.key).open(sealed, **place).decode()
            people.append(Person(number, person.records))
        return people, found[limit - 1].remote_index if len(found) > limit else None

    # Steps.

    async def _spread(self, incident: Incident) -> Spread:
        found = Window(incident.actor, incident.since, incident.until)
        note = await self._incident_note(incident)
        async with self._main.transaction() as connection:
            affected = await table.read_by(connection, found.actor, found.since, found.until)
        cases = [await self._open(org_id, found, incident.registered_at, incident.id, OPERATOR, note) for org_id in affected]
        if incident.spread_at is None:
            async with self._main.transaction() as connection:
                await table.note_spread(connection, incident.id, self._clock.now(), len(affected))
        return Spread(incident, [await self._carry_on(row) for row in cases])

    async def _open(self, org_id: OrgId, found: Window, t0: datetime, incident_id: UUID | None, by: str, note: str | None) -> BreachRow:
        async with self._main.organisation(org_id) as connection:
            known = await table.of_window(connection, found.actor, found.since, found.until)
        if known is not None:
            return known
        breach_id = self._new_id()
        key = await self._keyring.new_data_key(org_id, "case", breach_id)
        place = {"table": "breaches", "column": "note_sealed", "row": breach_id, "org": org_id}
        sealed = None if note is None else Columns(key.key).seal(note.encode(), **place)  # type: ignore[arg-type]
        new = BreachRow(
            breach_id, org_id, incident_id or breach_id, found.actor, found.since, found.until, t0, by, sealed,
            "registered", None, None, None, None, None, None,
        )  # fmt: skip
        async with self._main.organisation(org_id) as connection:
            if await table.insert(connection, new):
                await self._clocks.start(connection, org_id, ClockKind.BREACH_NOTICE, SUBJECT, breach_id, t0)
                fields = {"credential": found.actor, "incident": str(new.incident_id)}
                await audit.append(connection, org_id, self._clock.now(), by, audit.Action.BREACH_REGISTERED, f"breach:{breach_id}", fields)
                _log.warning("breach.opened", org_id=str(org_id), breach_id=str(breach_id))
                return new
            standing = await table.of_window(connection, found.actor, found.since, found.until)
        await self._keyring.destroy_data_key(org_id, "case", breach_id)  # somebody else was first: our key is nobody's
        assert standing is not None
        return standing

    async def _carry_on(self, row: BreachRow) -> BreachRow:
        if row.state == "registered":
            row = await self._compute(row)
        if row.state == "computed":
            row = await self._tell(row)
        return row

    async def _compute(self, row: BreachRow) -> BreachRow:
        async with self._main.organisation(row.org_id) as connection:
            held = await _held(connection, row)
            if held.state != "registered":
                return held
            now = self._clock.now()
            counts = _counts(await table.compute(connection, held, now))
            said = {"records": counts.total, "accesses": counts.accesses, "persons": counts.persons, "agents": counts.agents}
            await audit.append(connection, row.org_id, now, "system:worker", audit.Action.BREACH_COMPUTED, f"breach:{row.id}", said)
            return await _held(connection, row)

    async def _tell(self, row: BreachRow) -> BreachRow:
        async with self._main.organisation(row.org_id) as connection:
            held = await _held(connection, row)
            if held.state != "computed":
                return held
            clock = await self._clocks.start(connection, row.org_id, ClockKind.BREACH_NOTICE, SUBJECT, row.id, row.registered_at)
            measures = breach.measures(await table.is_revoked(connection, held.actor))
            now = self._clock.now()
            notice_id = await self._outbox.queue_breach(connection, held, _counts(held.counts or {}), measures, clock.id)
            await table.note_noticed(connection, row.id, notice_id, now)
            fields = {"notice": str(notice_id)}
            await audit.append(connection, row.org_id, now, "system:worker", audit.Action.BREACH_NOTICED, f"breach:{row.id}", fields)
            return await _held(connection, row)

    async def _incident_note(self, incident: Incident) -> str | None:
        if incident.note_sealed is None:
            return None
        keys = await self._keyring.deployment()
        place = {"table": "breach_incidents", "column": "note_sealed", "row": incident.id, "org": _NO_ORG}
        return keys.operational.open(incident.note_sealed, **place).decode()  # type: ignore[arg-type]

    def _new_id(self) -> UUID:
        return uuid7(int(self._clock.now().timestamp() * 1000), self._random.token_bytes(10))


def counts_of(row: BreachRow) -> Counts | None:
    """What was read, once it is computed."""
    return None if row.counts is None else _counts(row.counts)


def _counts(found: dict[str, object]) -> Counts:
    records = found.get("records")
    return Counts(
        accesses=_int(found, "accesses"),
        persons=_int(found, "persons"),
        agents=_int(found, "agents"),
        unknown=_int(found, "unknown"),
        records={str(kind): int(count) for kind, count in records.items()} if isinstance(records, dict) else {},
    )


def _int(found: dict[str, object], name: str) -> int:
    value = found.get(name, 0)
    return value if isinstance(value, int) else 0


async def _held(connection: Connection, row: BreachRow) -> BreachRow:
    found = await table.get(connection, row.id, for_update=True)
    assert found is not None, "cases are never removed"
    return found
