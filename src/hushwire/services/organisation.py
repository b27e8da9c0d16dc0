"""The organisation's profile: which laws apply, who is told, and what is agreed with it, as sealed records.

What is replaced or removed loses its key at once; the worker goes on with what a crash left (`forget`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.personal import Personal
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.privacy.jurisdictions import tags_for_country
from hushwire.privacy.notices import ContactRole
from hushwire.store import notices
from hushwire.store import organisation as table
from hushwire.store.database import Connection, Database
from hushwire.store.organisation import ContactRow, ProfileRow, RecordRow
from hushwire.vault.keyring import Keyring
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

CONTACT_KEY: Final = "contact"
RECORD_KEY: Final = "document"
INDEX: Final = "org_contacts.email"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ContactView:
    """A designated contact, opened. The first of a role is told first."""

    id: UUID
    role: ContactRole
    email: str = field(repr=False)
    designated_at: datetime


@dataclass(frozen=True, slots=True)
class RecordView:
    """A record's version in force, opened."""

    kind: str
    version: int
    body: Mapping[str, Any] = field(repr=False)
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """An organisation. `applied`: the tags that count: its own, or those of its home country."""

    row: ProfileRow
    applied: tuple[str, ...]
    contacts: tuple[ContactView, ...]
    records: tuple[RecordView, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A change; None leaves a part as it is. `contacts`: all of them, in order. `records`: by kind, each as a whole."""

    jurisdictions: tuple[str, ...] | None = None
    contacts: tuple[tuple[ContactRole, Personal[str]], ...] | None = None
    records: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Designated:
    """What designating contacts changed."""

    added: int = 0
    removed: int = 0
    moved: int = 0

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.moved)


@dataclass(frozen=True, slots=True)
class Organisations:
    """Profiles of every organisation."""

    main: Database = field(repr=False)
    keyring: Keyring = field(repr=False)
    clock: Clock
    random: Random

    async def get(self, org_id: OrgId, why: Why) -> Profile:
        """The profile, opened; the reading is noted."""
        async with self.main.organisation(org_id) as connection:
            row = await table.profile(connection)
            contact_rows, record_rows = await table.contacts(connection), await table.records(connection)
        assert row is not None, "an API key's organisation exists"
        contact_keys = await self.keyring.open_many(org_id, CONTACT_KEY, [contact.id for contact in contact_rows], why)
        record_keys = await self.keyring.open_many(org_id, RECORD_KEY, [record.id for record in record_rows], why)
        return Profile(
            row=row,
            applied=row.jurisdictions or tags_for_country(row.home_country),
            contacts=tuple(
                ContactView(c.id, ContactRole(c.role), _email(Columns(contact_keys[c.id].key), org_id, c), c.designated_at)
                for c in contact_rows
                if c.id in contact_keys
            ),
            records=tuple(
                RecordView(r.kind, r.version, _body(Columns(record_keys[r.id].key), org_id, r), r.recorded_at)
                for r in record_rows
                if r.id in record_keys
            ),
        )

    async def change(self, org_id: OrgId, wanted: Wanted, by: str) -> None:
        """Carry a change out, in one transaction, and say so in the audit log; then the keys of what went are destroyed."""
        now = self.clock.now()
        async with self.main.organisation(org_id) as connection:
            row = await table.profile(connection, for_update=True)
            assert row is not None, "an API key's organisation exists"
            said: dict[str, str | int] = {}
            if wanted.jurisdictions is not None and wanted.jurisdictions != row.jurisdictions:
                await table.put_jurisdictions(connection, wanted.jurisdictions, now)
                said["jurisdictions"] = ",".join(wanted.jurisdictions)
            if wanted.contacts is not None:
                done = await designate(connection, self.keyring, org_id, wanted.contacts, now, by, self._new_id)
                if done:
                    said |= {"contacts_added": done.added, "contacts_removed": done.removed, "contacts_moved": done.moved}
            for kind, body in wanted.records.items():
                said[kind] = await self._record(connection, org_id, kind, body, now, by)
            if said:
                await audit.append(connection, org_id, now, by, "organisation.changed", f"organisation:{org_id}", said)
        await self.forget(org_id)

    async def forget(self, org_id: OrgId) -> int:
        """Destroy the keys of removed contacts and replaced records; returns how many. Safe to repeat."""
        async with self.main.organisation(org_id) as connection:
            contacts, records = await table.forgettable(connection)
        if not contacts and not records:
            return 0
        now = self.clock.now()
        for kind, ids in ((CONTACT_KEY, contacts), (RECORD_KEY, records)):
            if ids:
                await self.keyring.destroy_data_keys(org_id, kind, ids)  # type: ignore[arg-type]
        async with self.main.organisation(org_id) as connection:
            await table.note_forgotten(connection, contacts, records, now)
        return len(contacts) + len(records)

    async def forget_all(self) -> int:
        """`forget` for every organisation that has something to forget: the worker's job."""
        async with self.main.transaction() as connection:
            waiting = await table.to_forget_for(connection)
        return await for_each(waiting, self.forget, "profiles")

    async def _record(self, connection: Connection, org_id: OrgId, kind: str, body: Mapping[str, Any], now: datetime, by: str) -> int:
        version = await table.last_version(connection, kind) + 1
        old = next((record.id for record in await table.records(connection) if record.kind == kind), None)
        record_id = self._new_id(now)
        key = await self.keyring.new_data_key(org_id, RECORD_KEY, record_id)
        sealed = Columns(key.key).seal(
            json.dumps(dict(body)).encode(), table="org_records", column="body_sealed", row=record_id, org=org_id
        )
        await table.replace_record(connection, org_id, RecordRow(record_id, kind, version, sealed, now), by, old)
        return version

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self.random.token_bytes(10))


async def designate(
    connection: Connection,
    keyring: Keyring,
    org_id: OrgId,
    wanted: Sequence[tuple[ContactRole, Personal[str]]],
    now: datetime,
    by: str,
    new_id: Callable[[datetime], UUID],
) -> Designated:
    """Make these the contacts in force, in this order, in the caller's transaction; those that stand already keep their rows.

    What found no contact before is sent again. The keys of removed ones are destroyed afterwards (`Organisations.forget`).
    """
    keys = await keyring.org_context(org_id)
    known = {(row.role, row.email_index): row for row in await table.contacts(connection)}
    added = moved = 0
    for position, (role, email) in enumerate(wanted, 1):
        index = keys.index(INDEX, email.reveal())
        old = known.pop((role.value, index), None)
        if old is not None:
            if old.position != position:
                await table.move_contact(connection, old.id, position)
                moved += 1
            continue
        contact_id = new_id(now)
        key = await keyring.new_data_key(org_id, CONTACT_KEY, contact_id)
        place = {"table": "org_contacts", "column": "email_sealed", "row": contact_id, "org": org_id}
        sealed = Columns(key.key).seal(email.reveal().encode(), **place)  # type: ignore[arg-type]
        await table.add_contact(connection, org_id, ContactRow(contact_id, role.value, position, sealed, index, now), by)
        added += 1
    if known:
        await table.remove_contacts(connection, [row.id for row in known.values()], now)
    if added and (again := await notices.queue_again(connection, now)):
        _log.info("notices.queued_again", org_id=str(org_id), notices=again)
    return Designated(added, len(known), moved)


async def opened_email(keyring: Keyring, org_id: OrgId, contact: ContactRow, why: Why) -> str:
    """A contact's address. Raises KeyUnavailable if its key is gone."""
    key = await keyring.open_data_key(org_id, CONTACT_KEY, contact.id, why)
    return _email(Columns(key.key), org_id, contact)


def _email(columns: Columns, org_id: OrgId, row: ContactRow) -> str:
    return columns.open(row.email_sealed, table="org_contacts", column="email_sealed", row=row.id, org=org_id).decode()


def _body(columns: Columns, org_id: OrgId, row: RecordRow) -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(columns.open(row.body_sealed, table="org_records", column="body_sealed", row=row.id, org=org_id))
    return found
