"""A whole store held against the rows: every row has its object, every object its row, and each is, byte for byte, what was closed.

Objects are listed first and rows read afterwards, so what is recorded, shipped or erased meanwhile is no fault; and whatever looks like
one is looked at again before it is told. Only ids are told. Reading and hashing run in threads, as many as there are processors.
"""

import asyncio
import hashlib
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final
from uuid import UUID

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import OrgId
from hushwire.recording.failures import RecordingError
from hushwire.recording.hwr import HEADER_LENGTH, Closed, Identity, Reader, identify
from hushwire.store import verification as table
from hushwire.store.database import Database
from hushwire.store.verification import Expected
from hushwire.vault.blobs import BlobMissing, Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import INTEGRITY

PREFIX: Final = "recordings"
_OURS: Final = re.compile(r"recordings/([0-9a-f-]{36})/([0-9a-f-]{36})-(\d{1,9})\.hwr", re.ASCII)
_PAGE: Final = 500
_MOST_FAULTS: Final = 10_000
_NEVER: Final = UUID(int=0)


class Fault(StrEnum):
    """What can be wrong with an object."""

    MISSING = "missing"  # the row says that it is stored
    TRUNCATED = "truncated"  # shorter than what was closed
    ALTERED = "altered"  # other bytes than those that were closed
    SWAPPED = "swapped"  # another recording of the same organisation
    FOREIGN = "foreign"  # another organisation's
    ORPHANED = "orphaned"  # no row knows it
    ERASED = "erased-but-present"  # its erasure was said to be swept
    MISPLACED = "misplaced"  # in a store of another region than its row's
    UNREADABLE = "unreadable"  # the right bytes, but a frame does not authenticate, or the file is not whole
    KEYLESS = "keyless"  # stored and not erased, and its key is gone


@dataclass(frozen=True, slots=True)
class Found:
    """One fault. Ids only: what an object is named by others than us is not repeated."""

    fault: Fault
    region: str
    org_id: UUID | None
    recording_id: UUID | None
    detail: str = ""


@dataclass(slots=True)
class Report:
    """What a verification saw. `waiting`: not shipped yet; `to_sweep`: erased, and its sweep is still to come;
    `withheld`: keys that do not open here, so that frames could not be looked at.
    """

    objects: int = 0
    bytes: int = 0
    recordings: int = 0
    waiting: int = 0
    to_sweep: int = 0
    opened: int = 0
    withheld: int = 0
    counts: Counter[Fault] = field(default_factory=Counter)
    faults: list[Found] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.counts

    def add(self, found: Found) -> None:
        """One more fault; from some number on they are only counted."""
        self.counts[found.fault] += 1
        if len(self.faults) < _MOST_FAULTS:
            self.faults.append(found)


class Verification:
    """One run over the stores. `on_progress` is told the report as it grows."""

    def __init__(self, main: Database, keyring: Keyring, blobs: Blobs, *, deep: bool = False, threads: int | None = None) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._deep = deep
        self._limit = asyncio.Semaphore(threads or max(2, os.cpu_count() or 2))

    async def run(self, regions: list[str] | None = None, on_progress: Callable[[Report], None] = lambda _: None) -> Report:
        """Verifies these stores (of `blobs.regions()`; None: all)."""
        report = Report()
        wanted = self._blobs.regions() if regions is None else regions
        listed: dict[str, dict[str, int]] = {}
        for store in wanted:
            listed[store] = {key: size async for key, size in self._blobs.listed(store, PREFIX)}
            report.objects += len(listed[store])
        async for rows in self._rows():
            mine = [row for row in rows if self._blobs.store_of(row.region) in listed]
            report.recordings += len(mine)
            keys = await self._keys([row for row in mine if row.state == "stored" and not row.is_gone])
            await asyncio.gather(*(self._row(row, listed, keys.get(row.id), report) for row in mine))
            for row in mine:
                self._elsewhere(row, listed, report)
            on_progress(report)
        for store, left in listed.items():
            for key in left:
                await self._orphan(store, key, report)
        on_progress(report)
        return report

    async def _rows(self) -> AsyncIterator[list[Expected]]:
        async with self._main.transaction() as connection:
            organisations = await table.organisations(connection)
        for org_id in organisations:
            after = _NEVER
            while True:
                async with self._main.organisation(org_id) as connection:
                    rows = await table.page(connection, after, _PAGE)
                if not rows:
                    break
                yield rows
                after = rows[-1].id

    async def _keys(self, rows: list[Expected]) -> dict[UUID, bytes | None]:
        """The data keys to look at frames with; None where a key exists and does not open here."""
        if not self._deep or not rows:
            return {}
        org_id = rows[0].org_id
        try:
            opened = await self._keyring.open_many(org_id, "recording", [row.id for row in rows], INTEGRITY)
        except KeyUnavailable:
            opened = {}
        found: dict[UUID, bytes | None] = {each: data_key.key for each, data_key in opened.items()}
        for row in rows:
            if row.id not in found and await self._keyring.fingerprint(org_id, "recording", row.id) is not None:
                found[row.id] = None
        return found

    async def _row(self, row: Expected, listed: dict[str, dict[str, int]], key: bytes | None, report: Report) -> None:
        store = self._blobs.store_of(row.region)
        assert store is not None
        is_listed = listed[store].pop(row.key, None) is not None
        if row.is_gone:
            if is_listed and row.swept_at is not None and await self._blobs.exists(row.region, row.key):
                report.add(self._found(Fault.ERASED, row))
            elif is_listed:
                report.to_sweep += 1
            return
        if row.state != "stored":
            report.waiting += row.state in ("live", "closed", "crashed")
            return
        async with self._limit:
            found = await self._look(row, key, report)
        if found is None:
            return
        async with self._main.organisation(row.org_id) as connection:
            now = await table.one(connection, row.id)
        if now is not None and not now.is_gone:  # erased while it was read: no fault
            report.add(found)

    async def _look(self, row: Expected, key: bytes | None, report: Report) -> Found | None:
        digest, look = hashlib.sha256(), _Look()
        reader = None
        if key is not None and row.digest is not None:
            closed = Closed(row.frames, row.digest)
            reader = Reader(key, Identity(row.org_id, row.id, row.segment), closed=closed, crashed=row.frames is None)

        def consume(chunk: bytes) -> None:
            digest.update(chunk)
            look.at(chunk, reader)

        try:
            size = await self._blobs.scan(row.region, row.key, consume)
        except BlobMissing:
            return self._found(Fault.MISSING, row)
        report.bytes += size
        if digest.digest() != row.digest or size != row.size_bytes:
            return self._found(self._difference(row, look.header, size), row)
        if not self._deep:
            return None
        if reader is None:
            has_key = await self._keyring.fingerprint(row.org_id, "recording", row.id) is not None
            report.withheld += has_key
            return None if has_key else self._found(Fault.KEYLESS, row)
        report.opened += 1
        failure = look.ended(reader)
        return None if failure is None else self._found(Fault.UNREADABLE, row, failure)

    def _difference(self, row: Expected, header: bytes, size: int) -> Fault:
        try:
            named = identify(header)
        except RecordingError:
            return Fault.TRUNCATED if len(header) < HEADER_LENGTH else Fault.ALTERED
        if named.org_id != row.org_id:
            return Fault.FOREIGN
        if (named.recording_id, named.segment) != (row.id, row.segment):
            return Fault.SWAPPED
        return Fault.TRUNCATED if row.size_bytes is not None and size < row.size_bytes else Fault.ALTERED

    def _elsewhere(self, row: Expected, listed: dict[str, dict[str, int]], report: Report) -> None:
        for store, keys in listed.items():
            if keys.pop(row.key, None) is not None:
                report.add(Found(Fault.MISPLACED, store, row.org_id, row.id))

    async def _orphan(self, store: str, key: str, report: Report) -> None:
        match = _OURS.fullmatch(key)
        try:
            org_id, recording_id = (UUID(match[1]), UUID(match[2])) if match else (None, None)
        except ValueError:
            org_id = recording_id = None
        if org_id is not None and recording_id is not None:
            async with self._main.organisation(OrgId(org_id)) as connection:
                row = await table.one(connection, recording_id)
            if row is not None and row.key == key:
                if self._blobs.store_of(row.region) != store:
                    report.add(Found(Fault.MISPLACED, store, org_id, recording_id))
                return  # else it came while rows were read
        report.add(Found(Fault.ORPHANED, store, org_id, recording_id, "" if match else "not a name of ours"))

    def _found(self, fault: Fault, row: Expected, detail: str = "") -> Found:
        return Found(fault, row.region, row.org_id, row.id, detail)


class _Look:
    """Keeps a file's header, and what a reader had to say against it."""

    def __init__(self) -> None:
        self.header = b""
        self._failure: str | None = None

    def at(self, chunk: bytes, reader: Reader | None) -> None:
        if len(self.header) < HEADER_LENGTH:
            self.header += chunk[: HEADER_LENGTH - len(self.header)]
        if reader is not None and self._failure is None:
            try:
                for _ in reader.frames(chunk):
                    pass
            except RecordingError as error:
                self._failure = error.failure.value

    def ended(self, reader: Reader) -> str | None:
        if self._failure is None:
            try:
                reader.finish()
            except RecordingError as error:
                self._failure = error.failure.value
        return self._failure
