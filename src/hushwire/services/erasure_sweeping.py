"""Sweeping: what was made unreadable is removed, and each place that could still hold or name it is asked. Its answers are the evidence."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import HushwireError, LocalError
from hushwire.core.ids import NodeId, OrgId, RecordingId
from hushwire.privacy.erasable import KINDS
from hushwire.privacy.places import ROW_PLACES
from hushwire.services.recordings_shipping import Spool, alone_with
from hushwire.store import erasable, ledger, places, recordings
from hushwire.store.database import Connection, Database
from hushwire.store.ledger import LedgerEntry
from hushwire.store.recordings import Recording
from hushwire.vault.blobs import Blobs

_AT_ONCE: Final = 16
_log = structlog.get_logger(__name__)

Answers = dict[str, Any]


class StillThere(LocalError):
    """Something that was removed is still found."""


class Sweeping:
    """One node's sweeping. What lies in another machine's spool is that machine's."""

    def __init__(self, main: Database, blobs: Blobs, spool: Spool, node_id: NodeId, clock: Clock, copies: Blobs | None = None) -> None:
        self._main = main
        self._blobs = blobs
        self._spool = spool
        self._node_id = node_id
        self._clock = clock
        self._copies = copies  # the second zone's

    async def sweep(self, org_id: OrgId, entries: Sequence[LedgerEntry]) -> int:
        """Sweeps what can be swept here and now, and notes it with its evidence; returns how many. What fails is logged and left open."""
        files = await self._files(org_id, [entry for entry in entries if entry.kind == "recording"])
        here = [entry for entry in entries if not self._is_elsewhere(files.get(entry.object_id))]
        evidence: dict[UUID, Answers] = {}
        async with alone_with(self._main, [RecordingId(entry.object_id) for entry in here if entry.kind == "recording"]) as mine:
            limit = asyncio.Semaphore(_AT_ONCE)
            ready = [entry for entry in here if entry.kind != "recording" or entry.object_id in mine]
            objects = await self._objects(org_id, ready)
            answers = await asyncio.gather(*(self._guarded(entry, files.get(entry.object_id), objects, limit) for entry in ready))
            evidence = {entry.id: found for entry, found in zip(ready, answers, strict=True) if found is not None}
        swept = [entry for entry in ready if entry.id in evidence]
        if not swept:
            return 0
        async with self._main.organisation(org_id) as connection:
            noted = await self._ask_rows(connection, swept, evidence)
            await ledger.note_swept(connection, noted, self._clock.now())
        _log.info("erasure.swept", org_id=str(org_id), entries=len(noted))
        return len(noted)

    async def _files(self, org_id: OrgId, entries: Sequence[LedgerEntry]) -> dict[UUID, Recording]:
        if not entries:
            return {}
        async with self._main.organisation(org_id) as connection:
            found = await recordings.get_all(connection, [RecordingId(entry.object_id) for entry in entries])
        return {recording.id: recording for recording in found}

    def _is_elsewhere(self, recording: Recording | None) -> bool:
        return recording is not None and recording.node_id != self._node_id

    async def _objects(self, org_id: OrgId, entries: Sequence[LedgerEntry]) -> dict[UUID, tuple[str, str]]:
        """Region and key of sealed objects, of kinds that have such beside recordings."""
        found: dict[UUID, tuple[str, str]] = {}
        wanted = {kind: what for kind, what in KINDS.items() if what.object_key is not None and any(each.kind == kind for each in entries)}
        if wanted:
            async with self._main.organisation(org_id) as connection:
                for kind, what in wanted.items():
                    found |= await erasable.objects_of(connection, what, [each.object_id for each in entries if each.kind == kind])
        return found

    async def _guarded(
        self, entry: LedgerEntry, recording: Recording | None, objects: Mapping[UUID, tuple[str, str]], limit: asyncio.Semaphore
    ) -> Answers | None:
        async with limit:
            try:
                if recording is not None:
                    return await self._sweep_recording(recording)
                place = objects.get(entry.object_id)
                return {} if place is None else {"stores": await self._sweep_object(*place)}
            except (HushwireError, OSError) as error:
                _log.error("erasure.delayed", org_id=str(entry.org_id), ledger_id=str(entry.id), error=type(error).__name__)
                return None

    async def _sweep_recording(self, recording: Recording) -> Answers:
        """Removes the ciphertext from the spool and from the stores, then asks each whether it is gone."""
        await asyncio.to_thread(self._spool.remove, recording)
        stores = await self._sweep_object(recording.region, recording.blob_key)
        if await asyncio.to_thread(self._spool.path(recording).exists):
            raise StillThere("ciphertext that was removed is still found")
        return {"spool": 0, "stores": stores}

    async def _sweep_object(self, region: str, key: str) -> dict[str, int]:
        """Removes an object from its region's store and from wherever else it may be, and asks every store; all say that it is gone."""
        await self._blobs.delete(region, key)
        stores: dict[str, int] = {}
        for each in self._blobs.regions():
            if await self._blobs.exists(each, key):
                await self._blobs.delete(each, key)
                stores[each] = int(await self._blobs.exists(each, key))
            else:
                stores[each] = 0
        if self._copies is not None:
            for each in self._copies.regions():
                await self._copies.delete(each, key)
                stores[f"second zone {each}"] = int(await self._copies.exists(each, key))
        if any(stores.values()):
            raise StillThere("ciphertext that was removed is still found")
        return stores

    async def _ask_rows(self, connection: Connection, entries: Sequence[LedgerEntry], files: Mapping[UUID, Answers]) -> dict[UUID, Answers]:
        """The evidence of those entries that no table contradicts."""
        ids = [entry.object_id for entry in entries]
        rows: dict[UUID, dict[str, int]] = {each: {} for each in ids}
        open_ids: set[UUID] = set()
        for kind, what in KINDS.items():
            of_kind = [entry.object_id for entry in entries if entry.kind == kind]
            left = await places.still_personal(connection, what, of_kind)
            for each in of_kind:
                rows[each][what.table] = left.get(each, 0)
            open_ids |= left.keys()
        for place in ROW_PLACES:
            await places.clear(connection, place, ids)
            left = await places.ask(connection, place, ids)
            for each in ids:
                rows[each][place.name] = left.get(each, 0)
            if place.must_be_empty:
                open_ids |= left.keys()
        if open_ids:
            _log.error("erasure.delayed", org_id=str(entries[0].org_id), entries=len(open_ids), error=StillThere.__name__)
        return {entry.id: {**files[entry.id], "rows": rows[entry.object_id]} for entry in entries if entry.object_id not in open_ids}
