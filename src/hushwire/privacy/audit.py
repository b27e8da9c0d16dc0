"""The audit log: a hash chain per organisation, over pseudonyms only.

Each row's hash covers the row and the hash before it, so a row that is altered, taken out or moved breaks the chain after it. A
chain that was cut at its end is whole in itself: that is found by a head kept elsewhere, such as those in receipts.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.privacy.canonical import canonical
from hushwire.store import audit as table
from hushwire.store.audit import AuditRow
from hushwire.store.database import Connection, Database

_DOMAIN: Final = b"hushwire/audit/1\x00"
Fields = Mapping[str, str | int | bool | None]


@dataclass(frozen=True, slots=True)
class Head:
    """The newest link of a chain: whoever keeps it notices when the chain is cut or rewritten."""

    position: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class ChainResult:
    """The verdict on one organisation's chain. `broken_at` is the position where it fails, with one sentence."""

    org_id: OrgId
    rows: int
    head: Head | None
    broken_at: int | None = None
    explanation: str = "every row is in its place and unchanged"

    @property
    def is_whole(self) -> bool:
        """True when nothing was found."""
        return self.broken_at is None


async def append(
    connection: Connection, org_id: OrgId, at: datetime, actor: str, action: str, subject: str, fields: Fields | None = None
) -> Head:
    """Adds a row within the caller's transaction and returns the new head.

    `actor` and `subject` are pseudonyms (`api-key:<id>`, `recording:<id>`); `fields` hold no personal value. Other appends of the
    organisation wait until the transaction ends, so append last.
    """
    found = await table.lock_head(connection, org_id)
    position, previous = (found[0] + 1, found[1]) if found else (1, _beginning(org_id))
    unlinked = AuditRow(org_id, position, at.astimezone(UTC), actor, action, subject, dict(fields or {}), previous, b"")
    digest = link(unlinked)
    await table.insert(connection, AuditRow(org_id, position, at, actor, action, subject, dict(fields or {}), previous, digest))
    return Head(position, digest)


def link(row: AuditRow) -> bytes:
    """The hash that a row must have."""
    content = {
        "org_id": str(row.org_id),
        "position": row.position,
        "at": row.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "actor": row.actor,
        "action": row.action,
        "object": row.object,
        "fields": row.fields,
        "previous": row.previous.hex(),
    }
    return hashlib.sha256(_DOMAIN + canonical(content)).digest()


async def verify(db: Database, org_id: OrgId, *, known: Head | None = None) -> ChainResult:
    """Checks an organisation's whole chain, against the heads in its receipts and `known` too."""
    async with db.organisation(org_id) as connection:
        heads = {int(receipt["audit_position"]): bytes.fromhex(receipt["audit_head"]) for receipt in await table.receipts(connection)}
        if known is not None:
            if heads.get(known.position, known.hash) != known.hash:
                return ChainResult(org_id, 0, None, known.position, "the head given and the receipts contradict each other")
            heads[known.position] = known.hash
        head = Head(0, _beginning(org_id))
        async for row in table.rows(connection):
            if (fault := _fault(row, org_id, head, heads)) is not None:
                return ChainResult(org_id, head.position, head if head.position else None, head.position + 1, fault)
            head = Head(row.position, row.hash)
    missing = [position for position in heads if position > head.position]
    if missing:
        return ChainResult(org_id, head.position, head, head.position + 1, f"the end is missing: the chain once reached {max(missing)}")
    return ChainResult(org_id, head.position, head if head.position else None)


async def verify_all(db: Database) -> list[ChainResult]:
    """`verify` for every organisation."""
    async with db.transaction() as connection:
        found: list[UUID] = [row[0] for row in await connection.fetch("SELECT org_ids()")]
    return [await verify(db, OrgId(org_id)) for org_id in found]


def _fault(row: AuditRow, org_id: OrgId, head: Head, heads: Mapping[int, bytes]) -> str | None:
    if row.position != head.position + 1:
        return f"row {head.position + 1} is missing"
    if row.org_id != org_id or row.previous != head.hash:
        return f"row {row.position} doesn't follow the row before it"
    if link(row) != row.hash:
        return f"row {row.position} was altered"
    if heads.get(row.position, row.hash) != row.hash:
        return f"row {row.position} is not the one that a receipt names: the chain was rewritten"
    return None


def _beginning(org_id: OrgId) -> bytes:
    return hashlib.sha256(_DOMAIN + UUID(int=org_id.int).bytes).digest()
