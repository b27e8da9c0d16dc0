"""Contact lists: made, found, corrected. Whatever names a person is sealed under the contact's own key.

A change is sealed under a new key; the old key is destroyed right after the commit (by the worker, where this process died between). So
a corrected value is not merely overwritten: what a backup or a dead row still holds of the old one opens nowhere.
"""

import unicodedata
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import Unavailable
from hushwire.core.ids import OrgId, uuid7
from hushwire.core.rounds import for_each
from hushwire.privacy import audit
from hushwire.services.once import KeyReused, Once, made_before
from hushwire.services.phone_numbers import REMOTE, canonical_number
from hushwire.store import contacts as table
from hushwire.store.contacts import ContactRow, NewContact, NumberRow, Wanted
from hushwire.store.database import Connection, Database
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.seal import Columns
from hushwire.vault.unseal import Why

_TRIES: Final = 3
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A number of a contact; `number` is canonical +E.164 where it comes out, as typed where it goes in."""

    label: str
    number: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Values:
    """What a contact says. `owner`: the agent whose contact it is; None: shared by the organisation."""

    name: str = field(repr=False)
    numbers: tuple[PhoneNumber, ...] = field(repr=False)
    notes: str | None = field(default=None, repr=False)
    picture: str | None = field(default=None, repr=False)
    owner: UUID | None = None
    is_minor: bool = False
    jurisdiction: str | None = None


@dataclass(frozen=True, slots=True)
class ContactView:
    """A contact; `values` is None while its processing is restricted: then it is kept, and not shown."""

    row: ContactRow
    values: Values | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class NotFound:
    """The organisation has no such contact."""


@dataclass(frozen=True, slots=True)
class Gone:
    """It was erased."""


@dataclass(frozen=True, slots=True)
class Restricted:
    """Its processing is restricted."""


@dataclass(frozen=True, slots=True)
class Unfit:
    """A value that can't be: the field, and what is wrong with it."""

    field: str
    message: str


Change = Callable[[Values], Values]


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows that were read, what may be shown of them, and where the next page begins."""

    rows: list[ContactRow]
    shown: list[ContactView]
    next: UUID | None


class Contacts:
    """The contact lists of every organisation."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def create(
        self, org_id: OrgId, values: Values, why: Why, *, once: Once | None = None
    ) -> ContactView | KeyReused | Unfit | NotFound:
        """A new contact; with `once`, the one that an earlier request under the key made (NotFound if that is erased by now)."""
        now = self._clock.now()
        contact_id = self._new_id(now)
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            checked = await self._checked(connection, values)
        if isinstance(checked, Unfit):
            return checked
        key = await self._keyring.new_data_key(org_id, "contact", contact_id)
        new = self._sealed(keys, contact_id, key.id, Columns(key.key), checked)
        try:
            async with self._main.organisation(org_id) as connection:
                known = await made_before(connection, keys, once, contact_id, now)
                if known is None:
                    await table.insert(connection, org_id, new, now)
                    await audit.append(connection, org_id, now, why.actor, audit.Action.CONTACT_CREATED, f"contact:{contact_id}")
                    row = await table.get(connection, contact_id)
        except asyncpg.ForeignKeyViolationError:
            await self._keyring.destroy_data_key(org_id, "contact", contact_id)
            return Unfit("owner", "is no agent of the organisation")
        if known is None:
            assert row is not None
            return ContactView(row, checked)
        await self._keyring.destroy_data_key(org_id, "contact", contact_id)
        if isinstance(known, KeyReused):
            return known
        found = await self.get(org_id, known, why)
        return found if isinstance(found, ContactView) else NotFound()

    async def get(self, org_id: OrgId, contact_id: UUID, why: Why) -> ContactView | NotFound | Gone | Restricted:
        """One contact."""
        found = await self._one(org_id, contact_id, why)
        return Restricted() if isinstance(found, ContactView) and found.values is None else found

    async def find(
        self, org_id: OrgId, why: Why, wanted: Wanted, *, after: UUID | None = None, limit: int = 50
    ) -> tuple[list[ContactView], UUID | None]:
        """A page of contacts, and the id after which the next page begins. Restricted ones are listed without their values."""

        async def read(connection: Connection) -> list[ContactRow]:
            return await table.find(connection, wanted, after=after, limit=limit + 1)

        views = await self._read(org_id, why, read, limit)
        return views.shown, views.next

    async def wanted(self, org_id: OrgId, *, number: str | None = None, name: str | None = None) -> Wanted | None:
        """What a typed number or a name looks for; None for what is no number."""
        keys = await self._keyring.org_context(org_id)
        if name is not None:
            return Wanted(name_index=keys.index("contacts.name", canonical_name(name)))
        async with self._main.organisation(org_id) as connection:
            found = await canonical_number(connection, number or "")
        return None if found is None else Wanted(remote_indexes=[keys.index(REMOTE, found)])

    async def change(
        self,
        org_id: OrgId,
        contact_id: UUID,
        change: Change,
        why: Why,
        *,
        action: audit.Action = audit.Action.CONTACT_CHANGED,
        is_rectifying: bool = False,
    ) -> ContactView | NotFound | Gone | Restricted | Unfit:
        """Correct it. The audit log gets an entry that supersedes; the old values open nowhere once this returns.

        `is_rectifying`: on the data subject's own request, so a restriction does not stand in the way.
        """
        for _ in range(_TRIES):
            found = await self._one(org_id, contact_id, why, shows_restricted=is_rectifying)
            if not isinstance(found, ContactView):
                return found
            if found.values is None:
                return Restricted()
            outcome = await self._replaced(org_id, found.row, found.values, change, why, action)
            if outcome is not None:
                return outcome
        raise Unavailable("the contact is changed by others faster than it can be read")

    async def destroy_retired(self) -> int:
        """Destroy the keys that corrections left behind, where the process that made them died before it could; returns how many."""
        async with self._main.transaction() as connection:
            waiting = await table.keys_to_destroy(connection)

        async def destroy(one: tuple[OrgId, UUID]) -> int:
            await self._destroy(*one)
            return 1

        return await for_each(waiting, destroy, "retired-keys")

    async def _replaced(
        self, org_id: OrgId, old: ContactRow, said: Values, change: Change, why: Why, action: audit.Action
    ) -> ContactView | Unfit | None:
        """The contact with its change in one commit; None if somebody else changed it meanwhile."""
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            checked = await self._checked(connection, change(said))
        if isinstance(checked, Unfit):
            return checked
        if checked == said:
            return ContactView(old, said)
        now = self._clock.now()
        key = await self._keyring.new_data_key(org_id, "contact", self._new_id(now))
        new = self._sealed(keys, old.id, key.id, Columns(key.key), checked)
        row: ContactRow | None = None
        unfit: Unfit | None = None
        try:
            async with self._main.organisation(org_id) as connection:
                current = await table.get(connection, old.id, for_update=True)
                if current is not None and current.sealed_with == old.sealed_with and not current.is_gone:
                    await table.replace(connection, org_id, new, now)
                    fields: dict[str, str | int | bool | None] = {"fields": " ".join(_different(said, checked))}
                    await audit.append(connection, org_id, now, why.actor, action, f"contact:{old.id}", fields)
                    row = await table.get(connection, old.id)
        except asyncpg.ForeignKeyViolationError:
            unfit = Unfit("owner", "is no agent of the organisation")
        if row is None:
            await self._keyring.destroy_data_key(org_id, "contact", key.id)
            return unfit
        if old.sealed_with is not None:
            await self._destroy(org_id, old.sealed_with)
        return ContactView(row, checked)

    async def _destroy(self, org_id: OrgId, key_id: UUID) -> None:
        """A key that nothing is sealed under any more, for good. Safe to repeat."""
        await self._keyring.destroy_data_key(org_id, "contact", key_id)
        async with self._main.organisation(org_id) as connection:
            await table.note_destroyed(connection, key_id)

    async def _checked(self, connection: Connection, values: Values) -> Values | Unfit:
        """With canonical numbers, each once."""
        numbers: dict[str, PhoneNumber] = {}
        for place, given in enumerate(values.numbers):
            found = await canonical_number(connection, given.number)
            if found is None:
                return Unfit(f"numbers[{place}].number", 'must be a phone number such as "+493023125000"')
            numbers.setdefault(found, PhoneNumber(given.label, found))
        return replace(values, numbers=tuple(numbers.values()))

    def _sealed(self, keys: OrgKeys, contact_id: UUID, key_id: UUID, columns: Columns, values: Values) -> NewContact:
        def sealed(text: str | None, column: str) -> bytes | None:
            return None if text is None else columns.seal(text.encode(), table="contacts", column=column, row=contact_id, org=keys.org_id)

        name = sealed(values.name, "name_sealed")
        assert name is not None
        numbers = []
        for number in values.numbers:
            row_id = self._new_id(self._clock.now())
            closed = columns.seal(number.number.encode(), table="contact_numbers", column="number_sealed", row=row_id, org=keys.org_id)
            numbers.append(NumberRow(row_id, number.label, closed, keys.index(REMOTE, number.number)))
        return NewContact(
            id=contact_id,
            owner_agent_id=values.owner,
            sealed_with=key_id,
            name_sealed=name,
            name_index=keys.index("contacts.name", canonical_name(values.name)),
            notes_sealed=sealed(values.notes, "notes_sealed"),
            picture_sealed=sealed(values.picture, "picture_sealed"),
            is_minor=values.is_minor,
            jurisdiction=values.jurisdiction,
            numbers=tuple(numbers),
        )

    async def _one(self, org_id: OrgId, contact_id: UUID, why: Why, *, shows_restricted: bool = False) -> ContactView | NotFound | Gone:
        async def read(connection: Connection) -> list[ContactRow]:
            row = await table.get(connection, contact_id)
            return [] if row is None else [replace(row, is_restricted=row.is_restricted and not shows_restricted)]

        page = await self._read(org_id, why, read, 1)
        if not page.rows:
            return NotFound()
        return page.shown[0] if page.shown else Gone()

    async def _read(self, org_id: OrgId, why: Why, read: Callable[[Connection], Awaitable[list[ContactRow]]], limit: int) -> "_Page":
        """Rows and their values. A row whose key is gone was corrected between the two looks, so look again; else it is being erased."""
        for is_last in (*[False] * (_TRIES - 1), True):
            async with self._main.organisation(org_id) as connection:
                rows = await read(connection)
            page, more = rows[:limit], rows[limit - 1].id if len(rows) > limit else None
            closed = [row for row in page if not row.is_restricted and not row.is_gone]
            wanted = {row.sealed_with: row.id for row in closed if row.sealed_with}
            keys = await self._keyring.open_many(org_id, "contact", wanted, why, of=wanted)
            missing = [row for row in closed if row.sealed_with not in keys]
            if not missing or is_last:
                break
        for row in missing:
            _log.error("contact.key_missing", org_id=str(org_id), contact_id=str(row.id))
        shown = []
        for row in page:
            if row.is_restricted and not row.is_gone:
                shown.append(ContactView(row, None))
            elif row.sealed_with in keys and not row.is_gone:
                shown.append(ContactView(row, _values(row, Columns(keys[row.sealed_with].key))))
        return _Page(page, shown, more)

    def _new_id(self, now: datetime) -> UUID:
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))


def canonical_name(name: str) -> str:
    """The form in which a name is looked for: letters without their case, blanks once."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _values(row: ContactRow, columns: Columns) -> Values:
    def opened(sealed: bytes | None, column: str) -> str | None:
        return None if sealed is None else columns.open(sealed, table="contacts", column=column, row=row.id, org=row.org_id).decode()

    return Values(
        name=opened(row.name_sealed, "name_sealed") or "",
        numbers=tuple(
            PhoneNumber(
                number.label,
                columns.open(number.number_sealed, table="contact_numbers", column="number_sealed", row=number.id, org=row.org_id).decode(),
            )
            for number in row.numbers
        ),
        notes=opened(row.notes_sealed, "notes_sealed"),
        picture=opened(row.picture_sealed, "picture_sealed"),
        owner=row.owner_agent_id,
        is_minor=row.is_minor,
        jurisdiction=row.jurisdiction,
    )


def _different(before: Values, after: Values) -> list[str]:
    """Names of the fields that differ."""
    names = ("name", "numbers", "notes", "picture", "owner", "is_minor", "jurisdiction")
    return [name for name in names if getattr(before, name) != getattr(after, name)]
