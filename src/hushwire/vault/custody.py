"""Whom an organisation's new keys are sealed to: hushwire's bucket, the customer's own keys, or both. And the copies for customers.

The mode has a version that each change raises. A key knows the version that it was sealed under, and the keyring refuses one of an
older version (migration 0005), so that from the commit of a change on no key comes in that was sealed as it was wanted before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.vault import envelopes
from hushwire.vault.buckets import DataKey, KeyKind, PublicBucket
from hushwire.vault.recipients import Algorithm, PublicKey

Mode = Literal["hushwire", "both", "customer"]
State = Literal["pending", "active", "retired"]

HELD_KINDS: Final[frozenset[KeyKind]] = frozenset({"recording"})
"""What customers may hold the keys of; the database has the same list (`may_be_held`)."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """A customer's key that keys are sealed to now."""

    id: UUID
    key: PublicKey
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Copy:
    """One key in an envelope for one recipient."""

    data_key_id: UUID
    recipient_id: UUID
    algorithm: Algorithm
    key_id: bytes
    envelope: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Custody:
    """How an organisation wants its new keys sealed. `recipients`: active and unexpired ones."""

    mode: Mode
    version: int
    recipients: tuple[Recipient, ...]

    @property
    def is_impossible(self) -> bool:
        """The customer should hold the key, and has none that is good."""
        return self.mode != "hushwire" and not self.recipients

    @property
    def good_until(self) -> datetime | None:
        """When the first recipient expires: a key that waits in a pool is not used after that."""
        if self.mode == "hushwire":
            return None
        return min((r.expires_at for r in self.recipients if r.expires_at is not None), default=None)

    def seal(self, org_id: OrgId, bucket: PublicBucket, keys: Sequence[DataKey]) -> tuple[list[bytes | None], list[Copy]]:
        """Each key sealed to the bucket (None where hushwire may not open it) and in an envelope for each recipient."""
        ours = [None if self.mode == "customer" else bucket.seal(key) for key in keys]
        if self.mode == "hushwire":
            return ours, []
        copies = [
            Copy(
                key.id,
                recipient.id,
                recipient.key.algorithm,
                recipient.key.fingerprint,
                envelopes.seal(key.key, recipient.key, envelopes.Subject(org_id, key.kind, key.id)),
            )
            for key in keys
            for recipient in self.recipients
        ]
        return ours, copies


OURS: Final = Custody("hushwire", 0, ())


async def current(connection: Connection) -> Custody:
    """The custody of the transaction's organisation, by the database's clock."""
    row = await connection.fetchrow("SELECT mode, version FROM custody")
    if row is None:
        return OURS
    found = await connection.fetch(
        "SELECT id, algorithm, public_key, expires_at FROM recipients"
        " WHERE state = 'active' AND (expires_at IS NULL OR expires_at > clock_timestamp()) ORDER BY id"
    )
    recipients = (Recipient(r["id"], PublicKey(Algorithm(r["algorithm"]), r["public_key"]), r["expires_at"]) for r in found)
    return Custody(row["mode"], row["version"], tuple(recipients))


async def add_copies(connection: Connection, org_id: OrgId, copies: Sequence[Copy]) -> None:
    """Insert copies in the transaction that inserts their keys."""
    await connection.execute(
        "INSERT INTO data_key_copies (org_id, data_key_id, recipient_id, sealed)"
        " SELECT $1, data_key_id, recipient_id, sealed"
        " FROM unnest($2::uuid[], $3::uuid[], $4::bytea[]) AS made (data_key_id, recipient_id, sealed)",
        org_id,
        [copy.data_key_id for copy in copies],
        [copy.recipient_id for copy in copies],
        [copy.envelope for copy in copies],
    )


async def copies(connection: Connection, kind: KeyKind, data_key_id: UUID) -> list[Copy]:
    """The copies of one key."""
    rows = await connection.fetch(
        "SELECT c.data_key_id, c.recipient_id, r.algorithm, r.fingerprint, c.sealed FROM data_key_copies AS c"
        " JOIN recipients AS r ON r.id = c.recipient_id JOIN data_keys AS k ON k.id = c.data_key_id"
        " WHERE c.data_key_id = $1 AND k.kind = $2 ORDER BY c.recipient_id",
        data_key_id,
        kind,
    )
    return [Copy(r["data_key_id"], r["recipient_id"], Algorithm(r["algorithm"]), r["fingerprint"], r["sealed"]) for r in rows]
