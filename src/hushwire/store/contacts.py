"""Rows of contact lists. Every function runs in a transaction of the organisation; personal columns come and go sealed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "c.id, c.org_id, c.owner_agent_id, c.sealed_with, c.name_sealed, c.notes_sealed, c.picture_sealed, c.is_minor, c.jurisdiction,"
    " c.created_at, c.updated_at, c.erased_at,"
    " EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'contact' AND e.object_id = c.id) AS is_erasing,"
    " contact_is_restricted(c.id) AS is_restricted,"
    # In one statement with the rest: a correction moves all of a contact to a new key at once.
    " ARRAY(SELECT ROW(n.id, n.label, n.number_sealed, n.remote_index) FROM contact_numbers AS n WHERE n.contact_id = c.id"
    " ORDER BY n.position) AS numbers"
)


@dataclass(frozen=True, slots=True)
class NumberRow:
    """One number of a contact."""

    id: UUID
    label: str
    number_sealed: bytes = field(repr=False)
    remote_index: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ContactRow:
    """One contact. What is sealed opens under the data key `sealed_with`."""

    id: UUID
    org_id: OrgId
    owner_agent_id: UUID | None
    sealed_with: UUID | None
    name_sealed: bytes | None = field(repr=False)
    notes_sealed: bytes | None = field(repr=False)
    picture_sealed: bytes | None = field(repr=False)
    is_minor: bool
    jurisdiction: str | None
    created_at: datetime
    updated_at: datetime
    erased_at: datetime | None
    is_erasing: bool
    is_restricted: bool
    numbers: tuple[NumberRow, ...] = field(repr=False)

    @property
    def is_gone(self) -> bool:
        """Erased, or on its way there: reads answer 410."""
        return self.is_erasing or self.erased_at is not None


@dataclass(frozen=True, slots=True)
class NewContact:
    """What a contact's row is to say, all of it sealed under one key."""

    id: UUID
    owner_agent_id: UUID | None
    sealed_with: UUID
    name_sealed: bytes = field(repr=False)
    name_index: bytes = field(repr=False)
    notes_sealed: bytes | None = field(repr=False)
    picture_sealed: bytes | None = field(repr=False)
    is_minor: bool
    jurisdiction: str | None
    numbers: tuple[NumberRow, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to list; None: any. Erased contacts are never listed."""

    owner_agent_id: UUID | None = None
    remote_indexes: Sequence[bytes] | None = None
    name_index: bytes | None = None


async def get(connection: Connection, contact_id: UUID, *, for_update: bool = False) -> ContactRow | None:
    """The row, or None; `for_update` holds it until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM contacts AS c WHERE c.id = $1"  # noqa: S608
    if for_update:
        # A statement of its own: one that waits for the row answers from before the wait, and an erasure enters while it holds the row.
        await connection.execute("SELECT 1 FROM contacts WHERE id = $1 FOR UPDATE", contact_id)
    row = await connection.fetchrow(query, contact_id)
    return None if row is None else _contact(row)


async def find(connection: Connection, wanted: Wanted, *, after: UUID | None = None, limit: int = 50) -> list[ContactRow]:
    """Rows by id, after one of them."""
    conditions, arguments = ["c.erased_at IS NULL"], list[Any]()

    def where(condition: str, value: Any) -> None:
        arguments.append(value)
        conditions.append(condition.format(f"${len(arguments)}"))

    if wanted.owner_agent_id is not None:
        where("c.owner_agent_id = {0}", wanted.owner_agent_id)
    if wanted.remote_indexes is not None:
        where("c.id IN (SELECT n.contact_id FROM contact_numbers AS n WHERE n.remote_index = ANY({0}::bytea[]))", wanted.remote_indexes)
    if wanted.name_index is not None:
        where("c.name_index = {0}", wanted.name_index)
    if after is not None:
        where("c.id > {0}", after)
    conditions.append("NOT EXISTS (SELECT 1 FROM erasure_ledger AS e WHERE e.kind = 'contact' AND e.object_id = c.id)")
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM contacts AS c WHERE {' AND '.join(conditions)} ORDER BY c.id LIMIT {int(limit)}",  # noqa: S608
        *arguments,
    )
    return [_contact(row) for row in rows]


async def insert(connection: Connection, org_id: OrgId, contact: NewContact, now: datetime) -> None:
    """A new contact and its numbers."""
    await connection.execute(
        "INSERT INTO contacts (id, org_id, owner_agent_id, sealed_with, name_sealed, name_index, notes_sealed, picture_sealed, is_minor,"
        " jurisdiction, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)",
        contact.id,
        org_id,
        contact.owner_agent_id,
        contact.sealed_with,
        contact.name_sealed,
        contact.name_index,
        contact.notes_sealed,
        contact.picture_sealed,
        contact.is_minor,
        contact.jurisdiction,
        now,
    )
    await _put_numbers(connection, org_id, contact, now)


async def replace(connection: Connection, org_id: OrgId, contact: NewContact, now: datetime) -> None:
    """All that the row says, anew. The key that it stood under before is noted as one to destroy."""
    await connection.execute(
        "INSERT INTO retired_keys (key_id, org_id, kind, object_id, retired_at)"
        " SELECT sealed_with, org_id, 'contact', id, $2 FROM contacts WHERE id = $1 AND sealed_with IS NOT NULL",
        contact.id,
        now,
    )
    await connection.execute(
        "UPDATE contacts SET owner_agent_id = $2, sealed_with = $3, name_sealed = $4, name_index = $5, notes_sealed = $6,"
        " picture_sealed = $7, is_minor = $8, jurisdiction = $9, updated_at = $10 WHERE id = $1",
        contact.id,
        contact.owner_agent_id,
        contact.sealed_with,
        contact.name_sealed,
        contact.name_index,
        contact.notes_sealed,
        contact.picture_sealed,
        contact.is_minor,
        contact.jurisdiction,
        now,
    )
    await connection.execute("DELETE FROM contact_numbers WHERE contact_id = $1", contact.id)
    await _put_numbers(connection, org_id, contact, now)


async def _put_numbers(connection: Connection, org_id: OrgId, contact: NewContact, now: datetime) -> None:
    await connection.executemany(
        "INSERT INTO contact_numbers (id, org_id, contact_id, position, label, number_sealed, remote_index)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(row.id, org_id, contact.id, at, row.label, row.number_sealed, row.remote_index) for at, row in enumerate(contact.numbers)],
    )
    # A minor is never recorded, whoever calls: the gateways hold these numbers in their rules.
    wanted = [row.remote_index for row in contact.numbers] if contact.is_minor else []
    await connection.execute(
        "DELETE FROM unrecorded_numbers WHERE source = 'minor' AND source_id = $1 AND remote_index <> ALL($2::bytea[])", contact.id, wanted
    )
    await connection.execute(
        "INSERT INTO unrecorded_numbers (id, org_id, remote_index, source, source_id, created_at)"
        " SELECT gen_random_uuid(), $1, number, 'minor', $2, $4 FROM unnest($3::bytea[]) AS number ON CONFLICT DO NOTHING",
        org_id,
        contact.id,
        wanted,
        now,
    )


async def keys_to_destroy(connection: Connection) -> list[tuple[OrgId, UUID]]:
    """Keys that nothing is sealed under any more; across tenants, ids only."""
    return [(OrgId(row["org_id"]), row["key_id"]) for row in await connection.fetch("SELECT org_id, key_id FROM keys_to_destroy()")]


async def note_destroyed(connection: Connection, key_id: UUID) -> None:
    """A retired key is gone from the keyring."""
    await connection.execute("DELETE FROM retired_keys WHERE key_id = $1", key_id)


def _contact(row: Any) -> ContactRow:
    return ContactRow(**{**dict(row), "numbers": tuple(NumberRow(*number) for number in row["numbers"])})


async def number_indexes(connection: Connection, contact_id: UUID) -> list[bytes]:
    """The blind indexes of a contact's numbers, under which calls with them are found too."""
    rows = await connection.fetch("SELECT remote_index FROM contact_numbers WHERE contact_id = $1 ORDER BY position", contact_id)
    return [row["remote_index"] for row in rows]
