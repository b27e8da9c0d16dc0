"""What follows an erasure: carrying on what was interrupted, sweeping ciphertext, renewing buckets, closing the ledger entry."""

import asyncio
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, LocalError
from hushwire.core.ids import NodeId, OrgId
from hushwire.privacy import receipts
from hushwire.privacy.erasure import Step, next_step, renewal_is_due
from hushwire.services.erasure import Erasures
from hushwire.services.recordings_shipping import Spool, alone
from hushwire.store import ledger, recordings
from hushwire.store.database import Database
from hushwire.store.ledger import LedgerEntry
from hushwire.vault import renewal
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring

_CLOCKS_DIFFER_BY: Final = timedelta(minutes=1)
_log = structlog.get_logger(__name__)


class StillThere(LocalError):
    """Ciphertext that was removed is still found."""


class Upkeep:
    """One node's share of open erasures. Any number of workers may do this at once."""

    def __init__(
        self, main: Database, keyring: Keyring, blobs: Blobs, spool: Spool, node_id: NodeId, clock: Clock, erasures: Erasures
    ) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._spool = spool
        self._node_id = node_id
        self._clock = clock
        self._erasures = erasures

    async def carry_on(self) -> int:
        """Takes every open entry as far as it goes before its bucket's renewal; returns how many steps were done."""
        done = 0
        # A store that is away makes each sweep wait: keys that are still to be destroyed come first.
        for entry in sorted(await self._open_entries(), key=lambda entry: entry.receipt is not None):
            if next_step(entry) not in (Step.RENEW, Step.NONE):
                done += await self._guarded(entry)
        return done

    async def renew_buckets(self, *, at_once: bool = False) -> int:
        """Renews buckets once an erasure has waited long enough (or `at_once`), and closes entries; returns how many were closed."""
        now = self._clock.now()
        waiting = [entry for entry in await self._open_entries() if entry.renewed_at is None and entry.receipt is not None]
        if waiting and (at_once or any(renewal_is_due(entry, now) for entry in waiting)):
            await renewal.renew_due(self._keyring)
        closed = 0
        for entry in waiting:
            if entry.unreadable_at is not None and now > entry.requested_at + receipts.COPIES_UNUSABLE_WITHIN:
                _log.error("erasure.overdue", org_id=str(entry.org_id), ledger_id=str(entry.id), step=next_step(entry).value)
            if next_step(entry) is Step.RENEW and await self._is_renewed(entry):
                async with self._main.organisation(entry.org_id) as connection:
                    await ledger.note_renewed(connection, entry.id, self._clock.now())
                closed += await self._guarded(await self._read(entry.org_id, entry.id))
        return closed

    async def _guarded(self, entry: LedgerEntry) -> int:
        try:
            return await self._carry_on(entry)
        except (HushwireError, asyncpg.PostgresError, OSError) as error:
            _log.error("erasure.delayed", org_id=str(entry.org_id), ledger_id=str(entry.id), error=type(error).__name__)
            return 0

    async def _carry_on(self, entry: LedgerEntry) -> int:
        done = 0
        while True:
            before = next_step(entry)
            if before in (Step.STOP, Step.DESTROY):
                await self._erasures.advance(entry)
            elif before is Step.SWEEP:
                await self._sweep(entry)
            elif before is Step.CLOSE:
                async with self._main.organisation(entry.org_id) as connection:
                    await ledger.note_closed(connection, entry.id, self._clock.now())
                _log.info("erasure.closed", org_id=str(entry.org_id), ledger_id=str(entry.id))
            else:
                return done
            entry = await self._read(entry.org_id, entry.id)
            if next_step(entry) is before:
                return done
            done += 1

    async def _sweep(self, entry: LedgerEntry) -> None:
        """Removes the ciphertext from spool and store, asks both whether it is gone, and only then says so."""
        async with self._main.organisation(entry.org_id) as connection:
            recording = await recordings.get(connection, entry.recording_id)
        if recording is not None and recording.node_id != self._node_id:
            return  # its spool is on another machine, whose worker sweeps it
        if recording is not None:
            async with alone(self._main, recording.id) as is_alone:
                if not is_alone:
                    return
                await asyncio.to_thread(self._spool.remove, recording)
                await self._blobs.delete(recording.region, recording.blob_key)
                in_spool = await asyncio.to_thread(self._spool.path(recording).exists)
                if in_spool or await self._blobs.exists(recording.region, recording.blob_key):
                    raise StillThere("ciphertext that was removed is still found")
        async with self._main.organisation(entry.org_id) as connection:
            await ledger.note_swept(connection, entry.id, self._clock.now())
        _log.info("erasure.swept", org_id=str(entry.org_id), ledger_id=str(entry.id))

    async def _is_renewed(self, entry: LedgerEntry) -> bool:
        """Whether every bucket that may have held the erased key is destroyed, its secret included.

        The key was in the entry's bucket, or in one that this was renewed into before the key went: each bucket that lost a key
        and is older than the erasure has to be gone.
        """
        assert entry.unreadable_at is not None
        latest: datetime = entry.unreadable_at + _CLOCKS_DIFFER_BY
        async with self._keyring.db.organisation(entry.org_id) as connection:
            is_left: bool = await connection.fetchval(
                "SELECT EXISTS (SELECT 1 FROM buckets WHERE destroyed_at IS NULL AND (id = $1 OR (erasures > 0 AND created_at <= $2)))",
                entry.bucket_id,
                latest,
            )
        return not is_left

    async def _open_entries(self) -> list[LedgerEntry]:
        async with self._main.transaction() as connection:
            organisations = await ledger.organisations(connection)
        found = []
        for org_id in organisations:
            async with self._main.organisation(org_id) as connection:
                found += await ledger.open_entries(connection)
        return found

    async def _read(self, org_id: OrgId, ledger_id: UUID) -> LedgerEntry:
        async with self._main.organisation(org_id) as connection:
            entry = await ledger.get(connection, ledger_id)
        assert entry is not None  # ledger rows are never deleted
        return entry
