"""The register of data subjects' requests: received, identified, refused or cancelled, with evidence of each step.

What a granted request does is in `request_execution`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import KeyUnavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit
from hushwire.privacy.requests import Kind, Method, Refusal, State, Step, after, answer_due
from hushwire.services.contacts import Unfit
from hushwire.services.data_subject_notices import DataSubjectNotices
from hushwire.services.once import KeyReused, Once, made_before
from hushwire.services.phone_numbers import REMOTE, canonical_number
from hushwire.store import outbox
from hushwire.store import requests as table
from hushwire.store.database import Connection, Database
from hushwire.store.requests import RequestRow, StepRow, Wanted
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

Channel = Literal["customer", "data-subject"]
_AHEAD: Final = timedelta(minutes=5)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Person:
    """Who asks: by number, by contact, or both; how they are called and reached, in their own words."""

    number: str | None = field(default=None, repr=False)
    contact: UUID | None = None
    name: str | None = field(default=None, repr=False)
    reach: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Correction:
    """A value that is to be another: of a contact (`name`, `notes`, `number`) or an agent (`caller_id`, `extension`)."""

    target: Literal["contact", "agent"]
    id: UUID
    what: str
    value: str = field(repr=False)
    instead_of: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request as it is registered. `received_at` None: now."""

    kind: Kind
    channel: Channel
    person: Person
    received_at: datetime | None = None
    jurisdiction: str | None = None
    note: str | None = field(default=None, repr=False)
    corrections: tuple[Correction, ...] = ()


@dataclass(frozen=True, slots=True)
class StepView:
    """One step with its note opened."""

    row: StepRow
    note: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class RequestView:
    """A request opened; `person` is None once what named it was erased."""

    row: RequestRow
    person: Person | None = field(repr=False)
    note: str | None = field(repr=False)
    corrections: tuple[Correction, ...] = field(repr=False)
    steps: tuple[StepView, ...]


@dataclass(frozen=True, slots=True)
class NoRequest:
    """The organisation has no such request."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """Not in the present state."""

    state: State


class Requests:
    """Requests of every organisation."""

    def __init__(self, main: Database, keyring: Keyring, owing: DataSubjectNotices, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._owing = owing
        self._clock = clock
        self._random = random

    async def register(self, org_id: OrgId, new: NewRequest, why: Why, *, once: Once | None = None) -> RequestView | KeyReused | Unfit:
        """Enter a request. One that came directly from a data subject starts the clock of the notice that the customer is owed."""
        now = self._clock.now()
        received_at = new.received_at or now
        if received_at > now + _AHEAD:
            return Unfit("received_at", "can't lie in the future")
        keys = await self._keyring.org_context(org_id)
        request_id = self._new_id(now)
        async with self._main.organisation(org_id) as connection:
            number = None if new.person.number is None else await canonical_number(connection, new.person.number)
        if new.person.number is not None and number is None:
            return Unfit("subject.number", 'must be a phone number such as "+493023125000"')
        corrections = await self._canonical(org_id, new.corrections)
        if isinstance(corrections, Unfit):
            return corrections
        key = Columns((await self._keyring.new_data_key(org_id, "case", request_id)).key)
        said = {"number": number, "name": new.person.name, "reach": new.person.reach}
        asked = {"note": new.note, "corrections": [_written(each) for each in corrections]}
        row = RequestRow(
            id=request_id,
            org_id=org_id,
            kind=new.kind,
            state=State.RECEIVED,
            channel=new.channel,
            subject_sealed=_sealed(key, org_id, request_id, "subject_sealed", said),
            remote_index=None if number is None else keys.index(REMOTE, number),
            contact_id=new.person.contact,
            asked_sealed=_sealed(key, org_id, request_id, "asked_sealed", asked),
            jurisdiction=new.jurisdiction,
            received_at=received_at,
            due_at=answer_due(new.kind, received_at),
            created_by=why.actor,
        )
        known: UUID | KeyReused | None = None
        unfit: Unfit | None = None
        try:
            async with self._main.organisation(org_id) as connection:
                known = await made_before(connection, keys, once, request_id, now)
                if known is None:
                    await table.insert(connection, row)
                    await self._begin(connection, row, why.actor, now)
        except asyncpg.ForeignKeyViolationError:
            unfit = Unfit("subject.contact", "is no contact of the organisation")
        if unfit is not None or known is not None:
            await self._keyring.destroy_data_key(org_id, "case", request_id)
        if unfit is not None or isinstance(known, KeyReused):
            return unfit or KeyReused()
        found = await self.get(org_id, known or request_id, why)
        assert isinstance(found, RequestView), "requests are never removed"
        _log.info("request.received", org_id=str(org_id), request_id=str(found.row.id), kind=found.row.kind, channel=found.row.channel)
        return found

    async def get(self, org_id: OrgId, request_id: UUID, why: Why) -> RequestView | NoRequest:
        """One request, opened, with its evidence."""
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, request_id)
            steps = await table.steps(connection, request_id)
        if row is None:
            return NoRequest()
        try:
            key = Columns((await self._keyring.open_data_key(org_id, "case", request_id, why)).key)
        except KeyUnavailable:
            # What named the person was erased; that they asked, and what came of it, stays.
            return RequestView(row, None, None, (), tuple(StepView(step, None) for step in steps))
        said = _opened(key, org_id, request_id, "subject_sealed", row.subject_sealed)
        asked = _opened(key, org_id, request_id, "asked_sealed", row.asked_sealed)
        notes = (_opened_note(key, org_id, step) for step in steps)
        return RequestView(
            row,
            None if row.subject_sealed is None else Person(said.get("number"), row.contact_id, said.get("name"), said.get("reach")),
            asked.get("note"),
            tuple(_read(each) for each in asked.get("corrections", ())),
            tuple(StepView(step, note) for step, note in zip(steps, notes, strict=True)),
        )

    async def find(
        self, org_id: OrgId, wanted: Wanted, *, after: tuple[datetime, UUID] | None = None, limit: int = 50
    ) -> tuple[list[RequestRow], RequestRow | None]:
        """A page of requests, newest first, unopened; and the last row of it if more follow."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.find(connection, wanted, after=after, limit=limit + 1)
        return rows[:limit], rows[limit - 1] if len(rows) > limit else None

    async def index_of(self, org_id: OrgId, typed: str) -> bytes | None:
        """The blind index that a number's requests stand under; None for what is no number."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            number = await canonical_number(connection, typed)
        return None if number is None else keys.index(REMOTE, number)

    async def check_identity(
        self, org_id: OrgId, request_id: UUID, step: Step, method: Method, why: Why, *, note: str | None = None
    ) -> RequestView | NoRequest | NotNow:
        """Note an identity check: asked for, failed, or passed (`VERIFIED`). Who checked, how and when is the evidence."""
        return await self.take(org_id, request_id, step, why, method=method, note=note)

    async def refuse(
        self, org_id: OrgId, request_id: UUID, reason: Refusal, why: Why, *, note: str | None = None
    ) -> RequestView | NoRequest | NotNow:
        """Don't grant it, for a reason that the data subject is to be told."""
        return await self.take(org_id, request_id, Step.REFUSED, why, note=note, refusal=reason)

    async def cancel(self, org_id: OrgId, request_id: UUID, why: Why, *, note: str | None = None) -> RequestView | NoRequest | NotNow:
        """The data subject took it back."""
        return await self.take(org_id, request_id, Step.CANCELLED, why, note=note)

    async def take(
        self,
        org_id: OrgId,
        request_id: UUID,
        step: Step,
        why: Why,
        *,
        method: Method | None = None,
        note: str | None = None,
        refusal: Refusal | None = None,
    ) -> RequestView | NoRequest | NotNow:
        """Take one step, with its evidence, in one commit; the request as it stands then."""
        found = await self.get(org_id, request_id, why)
        if isinstance(found, NoRequest):
            return found
        step_id = self._new_id(self._clock.now())
        sealed = await self.sealed_note(found, step_id, note, why)
        async with self._main.organisation(org_id) as connection:
            row = await table.get(connection, request_id, for_update=True)
            assert row is not None, "requests are never removed"
            state = State(row.state)
            if after(state, step) is None:
                return NotNow(state)
            await self.move(connection, row, step, why.actor, method=method, sealed=sealed, refusal=refusal, step_id=step_id)
        shown = await self.get(org_id, request_id, why)
        assert isinstance(shown, RequestView)
        return shown

    async def sealed_note(self, found: RequestView, step_id: UUID, note: str | None, why: Why) -> bytes | None:
        """A note of a step under the request's key; None where there is none, or what named the person was erased."""
        if note is None or found.person is None:
            return None
        key = Columns((await self._keyring.open_data_key(found.row.org_id, "case", found.row.id, why)).key)
        return key.seal(note.encode(), table="privacy_request_steps", column="note_sealed", row=step_id, org=found.row.org_id)

    async def move(
        self,
        connection: Connection,
        row: RequestRow,
        step: Step,
        actor: str,
        *,
        method: Method | None = None,
        sealed: bytes | None = None,
        refusal: Refusal | None = None,
        outcome: Mapping[str, Any] | None = None,
        step_id: UUID | None = None,
    ) -> State:
        """Take a step that may be taken in the caller's transaction, which holds the row. Appends to the audit log.

        Raises ValueError for a step that may not be taken.
        """
        now = self._clock.now()
        state = after(State(row.state), step)
        if state is None:
            raise ValueError(f"{step} can't follow {row.state}")
        await table.move(
            connection,
            row.id,
            state,
            verified_at=now if step is Step.VERIFIED else None,
            closed_at=None if state.is_open or row.closed_at is not None else now,
            refusal_reason=refusal,
            outcome=outcome,
        )
        evidence = StepRow(step_id or self._new_id(now), now, actor, step, state, method, sealed)
        await table.add_step(connection, row.org_id, row.id, evidence)
        said: dict[str, str | int | bool | None] = {"kind": row.kind}
        if method is not None:
            said["method"] = method.value
        if refusal is not None:
            said["reason"] = refusal.value
        await audit.append(connection, row.org_id, now, actor, audit.Action(f"request.{step}"), f"request:{row.id}", said)
        return state

    async def _canonical(self, org_id: OrgId, corrections: tuple[Correction, ...]) -> tuple[Correction, ...] | Unfit:
        """Corrections of numbers with both numbers in the form in which they are stored."""
        found = []
        for place, each in enumerate(corrections):
            if each.what not in ("number", "caller_id"):
                found.append(each)
                continue
            async with self._main.organisation(org_id) as connection:
                value = await canonical_number(connection, each.value)
                instead_of = None if each.instead_of is None else await canonical_number(connection, each.instead_of)
            if value is None or (each.instead_of is not None and instead_of is None):
                name = "value" if value is None else "instead_of"
                return Unfit(f"corrections[{place}].{name}", 'must be a phone number such as "+493023125000"')
            found.append(replace(each, value=value, instead_of=instead_of))
        return tuple(found)

    async def _begin(self, connection: Connection, row: RequestRow, actor: str, now: datetime) -> None:
        await table.add_step(connection, row.org_id, row.id, StepRow(self._new_id(now), now, actor, Step.RECEIVED, State.RECEIVED, None))
        tags = () if row.jurisdiction is None else (row.jurisdiction,)
        if row.channel == "data-subject":
            await self._owing.owe(connection, row.org_id, row.id, row.kind, row.received_at, tags=tags)
        fields: dict[str, str | int | bool | None] = {"kind": row.kind, "channel": row.channel, "actor": actor}
        event = DomainEvent(self._new_id(now), row.org_id, EventKind.REQUEST_RECEIVED, row.id, row.received_at, fields)
        await outbox.add(connection, event)

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


def _sealed(key: Columns, org_id: OrgId, request_id: UUID, column: str, said: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(said), ensure_ascii=False, separators=(",", ":"))
    return key.seal(text.encode(), table="privacy_requests", column=column, row=request_id, org=org_id)


def _opened(key: Columns, org_id: OrgId, request_id: UUID, column: str, sealed: bytes | None) -> dict[str, Any]:
    if sealed is None:
        return {}
    found: dict[str, Any] = json.loads(key.open(sealed, table="privacy_requests", column=column, row=request_id, org=org_id))
    return found


def _opened_note(key: Columns, org_id: OrgId, step: StepRow) -> str | None:
    if step.note_sealed is None:
        return None
    return key.open(step.note_sealed, table="privacy_request_steps", column="note_sealed", row=step.id, org=org_id).decode()


def _written(each: Correction) -> dict[str, str | None]:
    return {"target": each.target, "id": str(each.id), "what": each.what, "value": each.value, "instead_of": each.instead_of}


def _read(said: Mapping[str, Any]) -> Correction:
    return Correction(said["target"], UUID(said["id"]), said["what"], said["value"], said.get("instead_of"))
