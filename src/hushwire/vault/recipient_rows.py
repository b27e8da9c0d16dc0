"""Rows of an organisation's custody as its owner changes them: the mode, and the keys of customers with their states.

    pending --proven--> active --retired--> retired
       `---removed

Each change of whom new keys are sealed to raises the version, under the lock that a new key holds shared until it is committed.
Every function runs in a transaction of the organisation in the keyring.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.vault.custody import Mode, State
from hushwire.vault.recipients import Algorithm, PublicKey


@dataclass(frozen=True, slots=True)
class RecipientRow:
    """One key of a customer, its name closed. `has_expired`: by the database's clock."""

    id: UUID
    name_sealed: bytes
    key: PublicKey
    fingerprint: bytes
    state: State
    expires_at: datetime | None
    created_at: datetime
    activated_at: datetime | None
    retired_at: datetime | None
    has_expired: bool
    answer_hash: bytes | None = field(repr=False)
    answer_until: datetime | None


@dataclass(frozen=True, slots=True)
class CustodyRows:
    """The whole of one organisation's custody."""

    mode: Mode
    version: int
    recipients: tuple[RecipientRow, ...]

    def recipient(self, recipient_id: UUID) -> RecipientRow | None:
        """One of them."""
        return next((row for row in self.recipients if row.id == recipient_id), None)

    @property
    def can_seal(self) -> bool:
        """Whether a recording's key can be sealed as the mode wants it."""
        return self.mode == "hushwire" or any(row.state == "active" and not row.has_expired for row in self.recipients)


async def lock(connection: Connection, org_id: OrgId) -> None:
    """Nobody seals a key for this organisation, and nobody else changes its custody, until this transaction ends."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('custody:' || $1, 0))", str(org_id))


async def read(connection: Connection) -> CustodyRows:
    """All of it, oldest key first."""
    row = await connection.fetchrow("SELECT mode, version FROM custody")
    found = await connection.fetch(
        "SELECT id, name_sealed, algorithm, public_key, fingerprint, state, expires_at, created_at, activated_at, retired_at,"
        " coalesce(expires_at <= clock_timestamp(), false) AS has_expired, answer_hash, answer_until"
        " FROM recipients ORDER BY created_at, id"
    )
    recipients = tuple(_recipient(dict(entry)) for entry in found)
    return CustodyRows("hushwire", 0, recipients) if row is None else CustodyRows(row["mode"], row["version"], recipients)


async def set_mode(connection: Connection, org_id: OrgId, mode: Mode, now: datetime) -> None:
    """From the commit on new keys are sealed so."""
    await connection.execute(
        "INSERT INTO custody (org_id, mode, version, changed_at) VALUES ($1, $2, 1, $3)"
        " ON CONFLICT (org_id) DO UPDATE SET mode = $2, version = custody.version + 1, changed_at = $3",
        org_id,
        mode,
        now,
    )


async def add_pending(
    connection: Connection,
    org_id: OrgId,
    recipient_id: UUID,
    name_sealed: bytes,
    key: PublicKey,
    expires_at: datetime | None,
    now: datetime,
) -> None:
    """A key that nothing is sealed to yet."""
    await connection.execute(
        "INSERT INTO recipients (id, org_id, name_sealed, algorithm, public_key, fingerprint, state, expires_at, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, 'pending', $7, $8)",
        recipient_id,
        org_id,
        name_sealed,
        key.algorithm.value,
        key.encoded,
        key.fingerprint,
        expires_at,
        now,
    )


async def expect(connection: Connection, recipient_id: UUID, answer_hash: bytes, until: datetime) -> None:
    """What the next answer must hash to; an earlier challenge is void."""
    await connection.execute(
        "UPDATE recipients SET answer_hash = $2, answer_until = $3 WHERE id = $1 AND state = 'pending'", recipient_id, answer_hash, until
    )


async def activate(connection: Connection, org_id: OrgId, recipient_id: UUID, now: datetime) -> None:
    """pending -> active."""
    await connection.execute(
        "UPDATE recipients SET state = 'active', activated_at = $2, answer_hash = NULL, answer_until = NULL"
        " WHERE id = $1 AND state = 'pending'",
        recipient_id,
        now,
    )
    await _raise_version(connection, org_id, now)


async def describe(
    connection: Connection, org_id: OrgId, recipient_id: UUID, name_sealed: bytes, expires_at: datetime | None, now: datetime
) -> None:
    """Another name or end."""
    await connection.execute("UPDATE recipients SET name_sealed = $2, expires_at = $3 WHERE id = $1", recipient_id, name_sealed, expires_at)
    await _raise_version(connection, org_id, now)


async def retire(connection: Connection, org_id: OrgId, recipient_id: UUID, now: datetime) -> None:
    """active -> retired: nothing new is sealed to it; what was sealed stays the customer's to open."""
    await connection.execute(
        "UPDATE recipients SET state = 'retired', retired_at = $2 WHERE id = $1 AND state = 'active'", recipient_id, now
    )
    await _raise_version(connection, org_id, now)


async def remove_pending(connection: Connection, recipient_ids: Sequence[UUID]) -> None:
    """Keys that were never proven leave no trace."""
    await connection.execute("DELETE FROM recipients WHERE id = ANY($1::uuid[]) AND state = 'pending'", list(recipient_ids))


async def _raise_version(connection: Connection, org_id: OrgId, now: datetime) -> None:
    await connection.execute(
        "INSERT INTO custody (org_id, mode, version, changed_at) VALUES ($1, 'hushwire', 1, $2)"
        " ON CONFLICT (org_id) DO UPDATE SET version = custody.version + 1, changed_at = $2",
        org_id,
        now,
    )


def _recipient(row: dict[str, object]) -> RecipientRow:
    key = PublicKey(Algorithm(str(row.pop("algorithm"))), row.pop("public_key"))  # type: ignore[arg-type]
    return RecipientRow(key=key, **row)  # type: ignore[arg-type]
