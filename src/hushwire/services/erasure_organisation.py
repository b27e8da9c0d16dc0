"""The erasure of a whole organisation: unreadable at once, however much it is, then swept at the stores' speed.

    entered (410, no calls) --live recordings end--> stopped --its keys destroyed--> unreadable (receipt) --> swept --> closed

One ledger entry, of the kind organisation. Its data keys are not gone through: the buckets that they are sealed to end, with their
secrets, in both zones. Only the worker's database role may do this; the API enters it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import NodeId, OrgId, uuid7
from hushwire.privacy import audit, endings, merkle, operation_receipts, selection
from hushwire.privacy.canonical import canonical
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.erasure import NODE_IS_DEAD_AFTER, UNANSWERED_FOR, copies_unusable_by
from hushwire.privacy.operation_receipts import Item, OperationErasure
from hushwire.privacy.organisation_end import LAST, removed_tables
from hushwire.privacy.selection import Selector
from hushwire.services.erasure_entering import Asked, Entering
from hushwire.services.recordings_shipping import Spool, alone
from hushwire.store import commands, ended, erasable, ledger, operations, recordings
from hushwire.store.database import Connection, Database
from hushwire.store.erasable import Found
from hushwire.store.ledger import LedgerEntry
from hushwire.store.operations import OperationRow
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.shredding import keys_left, shred_organisation, sweep_keys

KIND: Final = "organisation"
PREFIXES: Final = ("recordings", "documents")
"""Folders of the object stores that hold an organisation's objects under its id."""

_BATCH: Final = 5000
_OBJECTS_AT_ONCE: Final = 16
_log = structlog.get_logger(__name__)


class OrganisationEnd:
    """Enters and carries out ends of organisations."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random, entering: Entering) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._entering = entering

    async def begin(
        self, org_id: OrgId, *, actor: str, reason: str, follows: OperationRow | None = None
    ) -> tuple[OperationRow, bytes | None]:
        """The operation, entered and committed, with its selector's salt; the one that there is already; or one that holds defer."""
        now, salt = self._clock.now(), self._random.token_bytes(32)
        selector = Selector(everything=True)
        row = OperationRow(
            id=self._new_id(now),
            org_id=org_id,
            scope="organisation",
            state="running",
            requested_at=now,
            actor=actor,
            reason=reason,
            selector=selector.plain(),
            selector_sealed=None,
            selector_commitment=selection.commitment(salt, selector),
            note_sealed=None,
            planned_at=now,
            unreadable_at=None,
            done_at=None,
            deferred=0,
            follows=None if follows is None else follows.id,
            receipt=None,
        )
        async with self._main.organisation(org_id) as connection:
            await ledger.lock_ledger(connection, org_id)
            if (known := await self._known(connection, org_id)) is not None:
                return known, None
            if follows is not None:
                await operations.close(connection, follows.id, now)
            # What is destroyed here can't spare anything: any hold at all keeps the whole.
            if holds := await erasable.holds_in_force(connection):
                row = replace(row, state="deferred", deferred=len(holds))
                await operations.add(connection, row)
                await operations.defer(connection, org_id, row.id, holds, now)
                return row, salt
            await operations.add(connection, row)
            await self._enter(connection, row)
            await audit.append(
                connection, org_id, now, actor, "erasure.requested", f"erasure:{row.id}", {"scope": row.scope, "reason": reason}
            )
        _log.warning("erasure.organisation_entered", org_id=str(org_id), operation_id=str(row.id))
        return row, salt

    async def run(self, row: OperationRow) -> None:
        """Carries it on to its receipt, from wherever it stands; while a recording goes on, no further than that."""
        async with self._main.organisation(row.org_id) as connection:
            entry = await ledger.by_object(connection, KIND, row.org_id)
            if entry is None:
                return
            if entry.stopped_at is None:
                if not await self._is_stopped(connection, entry):
                    return
                await ledger.note_stopped(connection, [entry.id], self._clock.now())
        if entry.unreadable_at is None:
            await shred_organisation(self._keyring, row.org_id, endings.of_erasure(entry))
            async with self._main.organisation(row.org_id) as connection:
                await ledger.note_unreadable(connection, [entry.id], max(self._clock.now(), entry.requested_at))
            _log.warning("erasure.organisation_unreadable", org_id=str(row.org_id), operation_id=str(row.id))
        await self._prove(row, entry)

    async def sweep(self, entry: LedgerEntry, blobs: Blobs, copies: Blobs | None, spool: Spool, node_id: NodeId) -> bool:
        """Removes files, objects, keys and rows, batch by batch, then asks each place; True once all is gone and noted.

        What lies in another machine's spool is that machine's: then its worker does the rest.
        """
        org_id = entry.org_id
        if not await self._empty_spool(org_id, spool, node_id):
            return False
        stores: dict[str, int] = {}
        for name, each in (("", blobs), ("second zone ", copies)):
            for region in [] if each is None else each.regions():
                assert each is not None
                await _remove_objects(each, region, org_id)
                stores[f"{name}{region}"] = len([key async for key in _objects(each, region, org_id)])
        while await sweep_keys(self._keyring, org_id, _BATCH):
            pass
        for kind, what in KINDS.items():
            after: UUID | None = None
            while True:
                async with self._main.organisation(org_id) as connection:
                    ids = await ended.unerased(connection, what, after, _BATCH)
                    if not ids:
                        break
                    await erasable.empty(connection, what, ids, self._clock.now())
                after = ids[-1]
                _log.info("erasure.organisation_swept", org_id=str(org_id), kind=kind, things=len(ids))
        rows = await self._remove_rows(org_id, removed_tables())
        keys = await keys_left(self._keyring, org_id)
        async with self._main.organisation(org_id) as connection:
            left = await ended.counts(connection, KINDS)
            await ended.forget_name(connection, org_id, self._clock.now())
            is_gone = not any(stores.values()) and not any(rows.values()) and not any(keys.values()) and not left
            if is_gone:
                evidence = {"stores": stores, "rows": rows, "keyring": keys}
                await ledger.note_swept(connection, {entry.id: evidence}, self._clock.now())
        return is_gone

    async def _empty_spool(self, org_id: OrgId, spool: Spool, node_id: NodeId) -> bool:
        """Removes this node's files; False while other nodes have theirs."""
        async with self._main.organisation(org_id) as connection:
            waiting = await ended.spooled(connection)
        for recording_id in [found for found, node in waiting if node == node_id]:
            async with alone(self._main, recording_id) as is_alone:
                async with self._main.organisation(org_id) as connection:
                    recording = await recordings.get(connection, recording_id)
                if is_alone and recording is not None:
                    await asyncio.to_thread(spool.remove, recording)
                    async with self._main.organisation(org_id) as connection:
                        await erasable.empty(connection, KINDS["recording"], [recording_id], self._clock.now())
        async with self._main.organisation(org_id) as connection:
            return not await ended.spooled(connection)

    async def close(self, org_id: OrgId) -> None:
        """The last rows go: the process's own, and the keys that could ask about it."""
        await self._remove_rows(org_id, LAST)

    async def _known(self, connection: Connection, org_id: OrgId) -> OperationRow | None:
        entry = await ledger.by_object(connection, KIND, org_id)
        return None if entry is None or entry.operation_id is None else await operations.get(connection, entry.operation_id)

    async def _enter(self, connection: Connection, row: OperationRow) -> None:
        """The ledger entry; from its commit on no call begins, no gateway knows the organisation, and live ones end."""
        calls, live = await ended.live(connection)
        found = Found(kind=KIND, id=row.org_id, key_id=None, began_at=row.requested_at, is_live=bool(live))
        await self._entering.enter(connection, row.org_id, Asked(row.requested_at, row.actor, row.reason, row.id), [found])
        await ended.note_erased(connection, row.requested_at)
        wipes = [(self._new_id(row.requested_at), node, call) for node, call in calls]
        await ledger.command_wipe(connection, row.org_id, wipes, row.requested_at)
        for node, call in calls:
            await commands.ask(connection, self._new_id(row.requested_at), row.org_id, node, call, "hangup", row.requested_at)

    async def _is_stopped(self, connection: Connection, entry: LedgerEntry) -> bool:
        """Whether nothing is recorded any more, or by nodes only that count as dead."""
        _, live = await ended.live(connection)
        if not live:
            return True
        if self._clock.now() - entry.requested_at < UNANSWERED_FOR:
            return False
        for node in {node for _, node in live}:
            unseen_for = await recordings.node_unseen_for(connection, node)
            if unseen_for is not None and unseen_for <= NODE_IS_DEAD_AFTER:
                return False
        return True

    async def _prove(self, row: OperationRow, entry: LedgerEntry) -> None:
        key_id, key = await self._keyring.signing_key()
        async with self._main.organisation(row.org_id) as connection:
            current = await operations.get(connection, row.id, for_update=True)
            if current is None or current.receipt is not None:
                return
            now = max(self._clock.now(), row.requested_at)
            item = Item(KIND, row.org_id, entry.position, entry.commitment)
            statement = OperationErasure(
                receipt_id=row.id,
                org_id=row.org_id,
                scope=row.scope,
                selector_commitment=row.selector_commitment,
                counts=await ended.counts(connection, KINDS),
                items=1,
                deferred=0,
                ledger_first=entry.position,
                ledger_last=entry.position,
                root=merkle.root([operation_receipts.leaf(item)]),
                audit_position=0,
                audit_head=b"",
                requested_at=row.requested_at,
                unreadable_at=now,
                copies_unusable_by=copies_unusable_by(row.requested_at, now),
            )
            fields: audit.Fields = {"receipt_id": str(row.id), "root": statement.root.hex(), "reason": row.reason}
            head = await audit.append(connection, row.org_id, now, row.actor, "erasure.unreadable", f"erasure:{row.id}", fields)
            statement = replace(statement, audit_position=head.position, audit_head=head.hash)
            await operations.note_receipt(connection, row.id, now, canonical(operation_receipts.sign(statement, key_id, key)))
            await operations.forget_selector(connection, row.id)

    async def _remove_rows(self, org_id: OrgId, tables: Sequence[str]) -> dict[str, int]:
        """Removes the rows of these tables and returns how many each still has; in rounds, since some refer to others."""
        left = dict.fromkeys(tables, 1)
        for _ in range(len(tables)):
            for table in [name for name, count in left.items() if count]:
                left[table] = await self._remove_from(org_id, table)
            if not any(left.values()):
                break
        return left

    async def _remove_from(self, org_id: OrgId, table: str) -> int:
        while True:
            try:
                async with self._main.organisation(org_id) as connection:
                    if not await ended.remove(connection, table, _BATCH):
                        return 0
            except ended.StillReferred:
                return 1

    def _new_id(self, at: datetime) -> UUID:
        return uuid7(int(at.timestamp() * 1000), self._random.token_bytes(10))


async def _objects(blobs: Blobs, region: str, org_id: OrgId) -> AsyncIterator[str]:
    for prefix in PREFIXES:
        async for key in blobs.keys(region, f"{prefix}/{org_id}"):
            yield key


async def _remove_objects(blobs: Blobs, region: str, org_id: OrgId) -> None:
    limit = asyncio.Semaphore(_OBJECTS_AT_ONCE)

    async def remove(key: str) -> None:
        async with limit:
            await blobs.delete(region, key)

    batch: list[str] = []
    async for key in _objects(blobs, region, org_id):
        batch.append(key)
        if len(batch) >= _BATCH:
            await asyncio.gather(*map(remove, batch))
            batch.clear()
    await asyncio.gather(*map(remove, batch))
