"""Rows of an organisation's profile: jurisdictions, designated contacts, sealed records."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class ProfileRow:
    """The organisation's own row, as the profile shows it."""

    id: OrgId
    slug: str
    name: str
    home_country: str
    residency: str
    jurisdictions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A designated contact in force."""

    id: UUID
    role: str
    position: int
    email_sealed: bytes = field(repr=False)
    email_index: bytes = field(repr=False)
    designated_at: datetime


@dataclass(frozen=True, slots=True)
class RecordRow:
    """The version of a record that is in force."""

    id: UUID
    kind: str
    version: int
    body_sealed: bytes = field(repr=False)
    recorded_at: datetime


async def profile(connection: Connection, *, for_update: bool = False) -> ProfileRow | None:
    """The organisation that was entered."""
    row = await connection.fetchrow(
        f"SELECT id, slug, name, home_country, residency, jurisdictions FROM orgs{' FOR NO KEY UPDATE' if for_update else ''}"  # noqa: S608
    )
    return None if row is None else ProfileRow(**{**dict(row), "jurisdictions": tuple(row["jurisdictions"])})


async def put_jurisdictions(connection: Connection, tags: Sequence[str], now: datetime) -> None:
    """Which laws apply; no running clock is moved."""
    await connection.execute("UPDATE orgs SET jurisdictions = $1, updated_at = $2", list(tags), now)


async def contacts(connection: Connection) -> list[ContactRow]:
    """Contacts in force, in the order in which they are told."""
    rows = await connection.fetch(
        "SELECT id, role, position, email_sealed, email_index, designated_at FROM org_contacts WHERE removed_at IS NULL"
        " ORDER BY array_position(ARRAY['privacy', 'security', 'billing'], role), position, id"
    )
    return [ContactRow(**dict(row)) for row in rows]


async def contact(connection: Connection, contact_id: UUID) -> ContactRow | None:
    """One contact, if it is in force."""
    row = await connection.fetchrow(
        "SELECT id, role, position, email_sealed, email_index, designated_at FROM org_contacts WHERE id = $1 AND removed_at IS NULL",
        contact_id,
    )
    return None if row is None else ContactRow(**dict(row))


async def add_contact(connection: Connection, org_id: OrgId, row: ContactRow, by: str) -> None:
    """Designate a contact."""
    await connection.execute(
        "INSERT INTO org_contacts (id, org_id, role, position, email_sealed, email_index, designated_at, designated_by)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        row.id,
        org_id,
        row.role,
        row.position,
        row.email_sealed,
        row.email_index,
        row.designated_at,
        by,
    )


async def move_contact(connection: Connection, contact_id: UUID, position: int) -> None:
    """Another place in the order."""
    await connection.execute("UPDATE org_contacts SET position = $2 WHERE id = $1", contact_id, position)


async def remove_contacts(connection: Connection, ids: Sequence[UUID], now: datetime) -> None:
    """The addresses go; that there were contacts stays."""
    await connection.execute(
        "UPDATE org_contacts SET email_sealed = NULL, email_index = NULL, removed_at = $2"
        " WHERE id = ANY($1::uuid[]) AND removed_at IS NULL",
        list(ids),
        now,
    )


async def records(connection: Connection) -> list[RecordRow]:
    """Records in force."""
    rows = await connection.fetch(
        "SELECT id, kind, version, body_sealed, recorded_at FROM org_records WHERE replaced_at IS NULL ORDER BY kind"
    )
    return [RecordRow(**dict(row)) for row in rows]


async def replace_record(connection: Connection, org_id: OrgId, new: RecordRow, by: str, old: UUID | None) -> None:
    """A new version; the old one's body goes."""
    if old is not None:
        await connection.execute("UPDATE org_records SET body_sealed = NULL, replaced_at = $2 WHERE id = $1", old, new.recorded_at)
    await connection.execute(
        "INSERT INTO org_records (id, org_id, kind, version, body_sealed, recorded_at, recorded_by) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        new.id,
        org_id,
        new.kind,
        new.version,
        new.body_sealed,
        new.recorded_at,
        by,
    )


async def last_version(connection: Connection, kind: str) -> int:
    """The newest version of a record that there ever was; 0: none."""
    found: int = await connection.fetchval("SELECT coalesce(max(version), 0) FROM org_records WHERE kind = $1", kind)
    return found


async def forgettable(connection: Connection) -> tuple[list[UUID], list[UUID]]:
    """Contacts that were removed and versions of records that were replaced, whose keys still have to be destroyed."""
    contact_rows = await connection.fetch("SELECT id FROM org_contacts WHERE removed_at IS NOT NULL AND forgotten_at IS NULL")
    record_rows = await connection.fetch("SELECT id FROM org_records WHERE replaced_at IS NOT NULL AND forgotten_at IS NULL")
    return [row["id"] for row in contact_rows], [row["id"] for row in record_rows]


async def note_forgotten(connection: Connection, contact_ids: Sequence[UUID], record_ids: Sequence[UUID], now: datetime) -> None:
    """Their keys are gone."""
    await connection.execute("UPDATE org_contacts SET forgotten_at = $2 WHERE id = ANY($1::uuid[])", list(contact_ids), now)
    await connection.execute("UPDATE org_records SET forgotten_at = $2 WHERE id = ANY($1::uuid[])", list(record_ids), now)


async def to_forget_for(connection: Connection) -> list[OrgId]:
    """Organisations with keys to destroy; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT orgs_to_forget_for()")]
