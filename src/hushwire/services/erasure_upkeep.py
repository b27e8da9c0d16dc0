"""What follows an erasure: carrying on what was interrupted, sweeping, renewing buckets, closing ledger entries and operations."""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import BucketId, NodeId, OrgId
from hushwire.privacy import receipts
from hushwire.privacy.erasure import Step, next_step, renewal_is_due
from hushwire.services.erasure import Erasures
from hushwire.services.erasure_organisation import KIND as ORGANISATION
from hushwire.services.erasure_sweeping import StillThere, Sweeping
from hushwire.services.recordings_shipping import Spool
from hushwire.store import ledger, operations
from hushwire.store.database import Database
from hushwire.store.ledger import Waiting
from hushwire.vault import renewal
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring

_BATCH: Final = 1000
_CLOCKS_DIFFER_BY: Final = timedelta(minutes=1)
_log = structlog.get_logger(__name__)


class Upkeep:
    """One node's share of open erasures. Any number of workers may do this at once."""

    def __init__(
        self,
        main: Database,
        keyring: Keyring,
        blobs: Blobs,
        spool: Spool,
        node_id: NodeId,
        clock: Clock,
        erasures: Erasures,
        copies: Blobs | None = None,
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._copies = copies
        self._spool = spool
        self._node_id = node_id
        self._clock = clock
        self._erasures = erasures
        self._sweeping = Sweeping(main, blobs, spool, node_id, clock, copies)

    async def carry_on(self) -> int:
        """Takes everything open as far as it goes before its bucket's renewal; returns how many steps were done."""
        done = 0
        async with self._main.transaction() as connection:
            released = await operations.released(connection)
            under_way = await operations.open_operations(connection)
        for org_id, operation_id in released:
            done += await self._guarded(org_id, self._again(org_id, operation_id))
        for org_id, operation_id in under_way:
            done += await self._guarded(org_id, self._run(org_id, operation_id))
        async with self._main.transaction() as connection:
            organisations = await ledger.organisations(connection)
        # A store that is away makes each sweep wait: keys that are still to be destroyed come first.
        for org_id in organisations:
            done += await self._guarded(org_id, self._destroy(org_id))
        for org_id in organisations:
            done += await self._guarded(org_id, self._sweep(org_id))
            done += await self._guarded(org_id, self._close(org_id))
        return done

    async def renew_buckets(self, *, at_once: bool = False) -> int:
        """Renews buckets once an erasure has waited long enough (or `at_once`), and closes entries; returns how many were closed."""
        now = self._clock.now()
        async with self._main.transaction() as connection:
            organisations = await ledger.organisations(connection)
        waiting: dict[OrgId, list[Waiting]] = {}
        for org_id in organisations:
            async with self._main.organisation(org_id) as connection:
                waiting[org_id] = await ledger.waiting_for_renewal(connection)
        every = [each for found in waiting.values() for each in found]
        if every and (at_once or any(renewal_is_due(each.oldest, now) for each in every)):
            await renewal.renew_due(self._keyring)
        closed = 0
        for org_id, found in waiting.items():
            if found:
                if now > min(each.oldest for each in found) + receipts.COPIES_UNUSABLE_WITHIN:
                    _log.error("erasure.overdue", org_id=str(org_id), entries=sum(each.entries for each in found), step=Step.RENEW.value)
                await self._note_renewed(org_id, now)
                closed += await self._guarded(org_id, self._close(org_id))
        return closed

    async def _guarded(self, org_id: OrgId, work: Awaitable[int]) -> int:
        """What fails for one organisation holds up no other."""
        try:
            return await work
        except Exception as error:
            _log.error("erasure.delayed", org_id=str(org_id), error=type(error).__name__)
            return 0

    async def _again(self, org_id: OrgId, operation_id: UUID) -> int:
        return int(await self._erasures.operations.again(org_id, operation_id) is not None)

    async def _run(self, org_id: OrgId, operation_id: UUID) -> int:
        await self._erasures.operations.run(org_id, operation_id)
        return 1

    async def _destroy(self, org_id: OrgId) -> int:
        done = 0
        while True:
            async with self._main.organisation(org_id) as connection:
                entries = await ledger.readable_entries(connection, limit=_BATCH)
            moved = await self._erasures.advance_all(org_id, entries) if entries else 0
            done += moved
            if not moved:
                return done

    async def _sweep(self, org_id: OrgId) -> int:
        done, after = 0, 0
        while True:
            async with self._main.organisation(org_id) as connection:
                entries = await ledger.open_entries(connection, after=after, limit=_BATCH)
            due = [entry for entry in entries if next_step(entry) is Step.SWEEP]
            done += await self._sweeping.sweep(org_id, [entry for entry in due if entry.kind != ORGANISATION])
            for entry in due:
                if entry.kind == ORGANISATION:
                    done += await self._erasures.organisations.sweep(entry, self._blobs, self._copies, self._spool, self._node_id)
            if len(entries) < _BATCH:
                return done
            after = entries[-1].position

    async def _close(self, org_id: OrgId) -> int:
        async with self._main.organisation(org_id) as connection:
            closed = await ledger.close_all(connection, self._clock.now())
            forgetful = await operations.still_remembered(connection)
            finished = await operations.close_finished(connection, self._clock.now())
            end = await ledger.by_object(connection, ORGANISATION, org_id) if finished else None
        for operation_id in forgetful:
            await self._erasures.operations.forget(org_id, operation_id)
        if end is not None and end.closed_at is not None:
            await self._erasures.organisations.close(org_id)
        for ledger_id in closed if len(closed) < 10 else ():
            _log.info("erasure.closed", org_id=str(org_id), ledger_id=str(ledger_id))
        if closed or finished:
            _log.info("erasure.all_closed", org_id=str(org_id), entries=len(closed), operations=len(finished))
        return len(closed)

    async def _note_renewed(self, org_id: OrgId, now: datetime) -> None:
        """Notes the entries of which every bucket that may have held the erased key is destroyed, its secret included.

        The key was in the entry's bucket, or in one that this was renewed into before the key went: each bucket that lost a key
        and is older than the erasure has to be gone.
        """
        async with self._keyring.db.organisation(org_id) as connection:
            rows = await connection.fetch("SELECT id, erasures, created_at FROM buckets WHERE destroyed_at IS NULL")
        oldest = min((row["created_at"] for row in rows if row["erasures"] > 0), default=None)
        async with self._main.organisation(org_id) as connection:
            await ledger.note_renewed_where(
                connection,
                now,
                unreadable_before=None if oldest is None else oldest - _CLOCKS_DIFFER_BY,
                but_buckets=[BucketId(row["id"]) for row in rows],
            )


__all__ = ["StillThere", "Upkeep"]
