"""Destroying the keys of what stands in the ledger, and noting it everywhere: rows emptied, events, audit, receipts.

Keys and their tombstones go in one transaction of the keyring; what follows from it is one transaction of the main database. A crash
between the two leaves no key and an open entry, which whoever comes next carries on.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hushwire.core.clock import Clock, Random
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit, endings, receipts
from hushwire.privacy.canonical import canonical
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.erasure import copies_unusable_by
from hushwire.store import erasable, ledger, outbox
from hushwire.store.database import Connection, Database
from hushwire.store.ledger import LedgerEntry
from hushwire.vault.keyring import Keyring

_log = structlog.get_logger(__name__)


class Destroying:
    """Takes stopped entries to `unreadable`."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random

    async def destroy(self, org_id: OrgId, entries: Sequence[LedgerEntry]) -> dict[UUID, bytes]:
        """Destroys their keys. Returns receipts by entry: of recordings that were asked for by themselves, not by an operation."""
        ids = await self._key_ids(org_id, entries)
        alone = any(_has_own_receipt(entry) for entry in entries)
        _, signing = await asyncio.gather(
            self._keyring.destroy_keys(org_id, ids, [endings.of_erasure(entry) for entry in entries]),
            self._keyring.signing_key() if alone else _nothing(),
        )
        async with self._main.organisation(org_id) as connection:
            # Several may be at the same entries: the first to lock them notes them.
            mine = await ledger.lock_readable(connection, [entry.id for entry in entries])
            entries = [entry for entry in entries if entry.id in mine]
            if not entries:
                return {}
            now = max(self._clock.now(), *(entry.requested_at for entry in entries))  # two machines' clocks may differ
            for kind, objects in _by_kind(entries).items():
                await erasable.empty(connection, KINDS[kind], objects, now)
            await outbox.add_all(connection, [self._event(entry, now) for entry in entries])
            together = [entry.id for entry in entries if not _has_own_receipt(entry)]
            if together:
                await ledger.note_unreadable(connection, together, now)
            made = {}
            for entry in entries:
                if _has_own_receipt(entry):
                    assert signing is not None
                    made[entry.id] = await self._receipt(connection, entry, now, *signing)
                    await ledger.note_receipt(connection, entry.id, now, made[entry.id])
        _log.info("erasure.unreadable", org_id=str(org_id), entries=len(entries), ledger_id=str(entries[0].id))
        return made

    async def _key_ids(self, org_id: OrgId, entries: Sequence[LedgerEntry]) -> list[UUID]:
        found, by_kind = list[UUID](), _by_kind(entries)
        elsewhere = {kind: objects for kind, objects in by_kind.items() if KINDS[kind].key != "id"}
        for kind in by_kind.keys() - elsewhere.keys():
            found += by_kind[kind]
        if elsewhere:
            async with self._main.organisation(org_id) as connection:
                for kind, objects in elsewhere.items():
                    found += await erasable.key_ids(connection, KINDS[kind], objects)
        return found

    async def _receipt(self, connection: Connection, entry: LedgerEntry, now: datetime, key_id: UUID, key: Ed25519PrivateKey) -> bytes:
        head = await audit.append(
            connection,
            entry.org_id,
            now,
            entry.actor,
            EventKind.RECORDING_ERASED.value,
            f"recording:{entry.object_id}",
            {"ledger_position": entry.position, "reason": entry.reason, "receipt_id": str(entry.id)},
        )
        statement = receipts.Erasure(
            receipt_id=entry.id,
            org_id=entry.org_id,
            recording_id=entry.recording_id,
            ledger_position=entry.position,
            commitment=entry.commitment,
            key_fingerprint=entry.key_fingerprint or b"",
            audit_position=head.position,
            audit_head=head.hash,
            requested_at=entry.requested_at,
            unreadable_at=now,
            copies_unusable_by=copies_unusable_by(entry.requested_at, now),
        )
        return canonical(receipts.sign(statement, key_id, key))

    def _event(self, entry: LedgerEntry, now: datetime) -> DomainEvent:
        event_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        return DomainEvent(event_id, entry.org_id, EventKind(f"{entry.kind}.erased"), entry.object_id, now, {})


def _has_own_receipt(entry: LedgerEntry) -> bool:
    """A recording that was asked for by itself answers with a receipt of version 1; everything else is in its operation's."""
    return entry.kind == "recording" and entry.operation_id is None and entry.caused_by is None


def _by_kind(entries: Sequence[LedgerEntry]) -> Mapping[str, list[UUID]]:
    found: dict[str, list[UUID]] = {}
    for entry in entries:
        found.setdefault(entry.kind, []).append(entry.object_id)
    return found


async def _nothing() -> None:
    return None
