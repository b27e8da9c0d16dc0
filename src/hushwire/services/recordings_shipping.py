"""From the spool to the object store: measured, stored, read back, and only then freed. And what became of recordings whose node died.

The rows are the queue: a recording that is `closed` or `crashed` is to be shipped, so nothing can be lost between a row and a job.
"""

import asyncio
import hashlib
import os
import shutil
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import CustomerHeld, LocalError, RefusedError, Unavailable
from hushwire.core.events import DomainEvent, EventKind
from hushwire.core.ids import NodeId, OrgId, RecordingId, uuid7
from hushwire.privacy.erasure import NODE_IS_DEAD_AFTER
from hushwire.recording.failures import RecordingError
from hushwire.recording.hwr import HEADER_LENGTH, Ending, Identity, Reader, identify
from hushwire.recording.playback import measure
from hushwire.store import outbox, recordings
from hushwire.store.database import Connection, Database
from hushwire.store.recordings import Recording
from hushwire.vault.blobs import BlobExists, BlobMissing, Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import INTEGRITY

CALL_OVER_FOR: Final = timedelta(seconds=120)
"""A recording that is still live this long after its call ended lost its writer: nobody will close it any more."""

SUSPECTED_FOR_S: Final = 40.0
UNTOUCHED_FOR_S: Final = 60.0
STILL_FOR_S: Final = 5.0
"""A media process that still records writes several times in this time."""

RETRY_FIRST_S: Final = 2.0
RETRY_MOST_S: Final = 300.0
STORE_RETRY_MOST_S: Final = 60.0
PREPARED_FROM_MS: Final = 600_000
"""Shorter recordings are prepared within a second or so when they are first asked for: most never are."""
MOST_TO_PREPARE: Final = 10_000
_CHUNK: Final = 1 << 18
GIVEN: Final = "given-"
"""Begins the names of files that were made of what somebody gave: those have their rows after they are written, all others before."""
UNCLAIMED_AFTER: Final = timedelta(hours=7)
"""Then such a file gets no row any more: its key was not used in time (vault/pool.py)."""
_log = structlog.get_logger(__name__)


class DigestDiffers(LocalError):
    """A file is not the one that was closed."""


class StoreAway(Unavailable):
    """A region's store does not answer: its files wait, in their order."""

    def __init__(self, region: str) -> None:
        super().__init__(f"the object store of region {region} does not answer")
        self.region = region


@dataclass(frozen=True, slots=True)
class Backlog:
    """What lies in a spool; `oldest_s`: since when the file waits that nobody has written to for longest."""

    files: int
    bytes: int
    oldest_s: float
    free_bytes: int


@dataclass(frozen=True, slots=True)
class Spool:
    """This node's folder of sealed files."""

    folder: Path

    def backlog(self, now: datetime) -> Backlog:
        """What waits here. Raises OSError if the folder is not there."""
        files = size = 0
        oldest = now.timestamp()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                if entry.name.endswith(".hwr"):
                    try:
                        state = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue  # shipped just now
                    files += 1
                    size += state.st_size
                    oldest = min(oldest, state.st_mtime)
        return Backlog(files, size, now.timestamp() - oldest, shutil.disk_usage(self.folder).free)

    def path(self, recording: Recording) -> Path:
        """The recording's file. Raises RefusedError for a name that would leave the folder."""
        name = recording.spool_name
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise RefusedError("a spool name is a plain file name")
        return self.folder / name

    def remove(self, recording: Recording) -> None:
        """Frees the file, durably; nothing happens if it is gone."""
        self.path(recording).unlink(missing_ok=True)
        fd = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class Shipping:
    """One node's shipping."""

    def __init__(self, main: Database, keyring: Keyring, blobs: Blobs, spool: Spool, node_id: NodeId, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._spool = spool
        self._node_id = node_id
        self._clock = clock
        self._random = random
        self._not_before: dict[RecordingId, tuple[float, float]] = {}
        self._to_prepare: deque[tuple[OrgId, RecordingId]] = deque(maxlen=MOST_TO_PREPARE)
        self._stores_away: dict[str, tuple[float, float]] = {}
        self._suspected: dict[tuple[OrgId, RecordingId], float] = {}

    async def ship_all(self) -> int:
        """Ships what waits in this node's spool and returns how many files; what fails is logged and waits for the next time."""
        async with self._main.transaction() as connection:
            waiting = await recordings.to_ship(connection, self._node_id)
        shipped = 0
        for org_id, recording_id in waiting:
            at, delay_s = self._not_before.get(recording_id, (0.0, RETRY_FIRST_S))
            if self._clock.monotonic() < at:
                continue
            try:
                shipped += await self.ship(org_id, recording_id)
                self._not_before.pop(recording_id, None)
            except StoreAway:
                continue  # nothing is held against the file: it keeps its place, and no other of that region is tried in vain
            except Exception as error:
                self._not_before[recording_id] = (self._clock.monotonic() + delay_s, min(2 * delay_s, RETRY_MOST_S))
                _log.error("recording.not_shipped", org_id=str(org_id), recording_id=str(recording_id), error=type(error).__name__)
        return shipped

    async def ship(self, org_id: OrgId, recording_id: RecordingId) -> bool:
        """Ships one recording; False if there is nothing to ship, it is being erased, or somebody else is at it."""
        async with alone(self._main, recording_id) as is_alone:
            recording = await self._get(org_id, recording_id)
            if not is_alone or recording is None or recording.is_gone or recording.state not in ("closed", "crashed"):
                return False
            path = self._spool.path(recording)
            if not await asyncio.to_thread(path.is_file):
                if not await asyncio.to_thread(self._spool.folder.is_dir):
                    raise Unavailable("the spool is not there")
                return await self._without_file(recording)
            if recording.digest is None:
                if await self._is_written_to(org_id, recording_id, STILL_FOR_S):
                    return False  # given up too early: what it still gets would be lost
                recording = await self._measure(recording, path)
            await self._to_store(recording, path)
            async with self._main.organisation(org_id) as connection:
                is_stored = await recordings.mark_stored(connection, recording_id, recording.blob_key)
                if is_stored:
                    await self._tell(connection, recording)
            if is_stored:
                if recording.duration_ms is not None and recording.duration_ms >= PREPARED_FROM_MS:
                    self._to_prepare.append((org_id, recording_id))
                await asyncio.to_thread(self._spool.remove, recording)
                _log.info("recording.stored", org_id=str(org_id), recording_id=str(recording_id), size_bytes=recording.size_bytes)
            return is_stored

    def to_prepare(self) -> Iterator[tuple[OrgId, RecordingId]]:
        """Long recordings that were stored lately, each once: what playing them from their middle takes is made beforehand.

        They are not written down: one that is forgotten is prepared when it is first played.
        """
        while self._to_prepare:
            yield self._to_prepare.popleft()

    async def abort_stale_uploads(self) -> int:
        """Parts that died with their process are dropped from the stores; returns how many uploads that were."""
        dropped = await self._blobs.abort_stale_uploads(self._clock.now())
        if dropped:
            _log.warning("store.uploads_aborted", uploads=dropped)
        return dropped

    async def mark_crashed(self) -> int:
        """Recordings of this node that nobody makes any more become crashed; returns how many.

        It takes a dead node or an ended call, seen so for a while (after an outage of the database every node looks dead for a
        moment), and a file that nobody writes to.
        """
        async with self._main.transaction() as connection:
            live = await recordings.live(connection, self._node_id)
            unseen_for = await recordings.node_unseen_for(connection, self._node_id)
        node_is_dead = unseen_for is None or unseen_for > NODE_IS_DEAD_AFTER
        suspects = {found for found in live if node_is_dead or await self._call_is_long_over(*found)}
        moment = self._clock.monotonic()
        self._suspected = {found: self._suspected.get(found, moment) for found in suspects}
        marked = 0
        for (org_id, recording_id), since in self._suspected.items():
            if moment - since < SUSPECTED_FOR_S or await self._is_written_to(org_id, recording_id):
                continue
            async with self._main.organisation(org_id) as connection:
                if await recordings.mark_crashed(connection, recording_id):
                    marked += 1
                    _log.warning("recording.crashed", org_id=str(org_id), recording_id=str(recording_id))
        return marked

    async def tidy_spool(self) -> int:
        """Frees files that are in the store already (a crash came between storing and freeing), and takes up those of recordings
        that were given up for lost (the media process had begun one whose confirmation never arrived). Returns how many files.
        """
        done = 0
        for path in await asyncio.to_thread(lambda: sorted(self._spool.folder.glob("*.hwr"))):
            identity = await asyncio.to_thread(_named_in, path)
            if identity is None:
                continue
            recording = await self._get(OrgId(identity.org_id), RecordingId(identity.recording_id))
            if recording is None and path.name.startswith(GIVEN) and await asyncio.to_thread(_is_unclaimed, path, self._clock.now()):
                await asyncio.to_thread(path.unlink, missing_ok=True)  # who made it died before its row, and its key is swept by now
                done += 1
                continue
            if recording is None or recording.spool_name != path.name:
                continue
            if recording.state == "erased":
                # Begun by a media process that answered only after it was swept, or left by a sweep of another node's worker.
                await asyncio.to_thread(self._spool.remove, recording)
                done += 1
            elif recording.is_gone:
                continue
            elif recording.state == "stored" and await self._blobs.exists(recording.region, recording.blob_key):
                await asyncio.to_thread(self._spool.remove, recording)
                done += 1
            elif recording.state == "failed" and not await self._is_written_to(recording.org_id, recording.id):
                async with self._main.organisation(recording.org_id) as connection:
                    done += await recordings.mark_found(connection, recording.id)
        return done

    async def _call_is_long_over(self, org_id: OrgId, recording_id: RecordingId) -> bool:
        async with self._main.organisation(org_id) as connection:
            ended_at = await recordings.call_ended_at(connection, recording_id)
        return ended_at is not None and self._clock.now() - ended_at > CALL_OVER_FOR

    async def _is_written_to(self, org_id: OrgId, recording_id: RecordingId, within_s: float = UNTOUCHED_FOR_S) -> bool:
        recording = await self._get(org_id, recording_id)
        if recording is None:
            return False
        try:
            state = await asyncio.to_thread(self._spool.path(recording).stat)
        except FileNotFoundError:
            return False
        return abs(self._clock.now().timestamp() - state.st_mtime) < within_s

    async def _to_store(self, recording: Recording, path: Path) -> None:
        """As `_put`. Raises StoreAway while the region's store is known not to answer: it is asked again by one file at a time."""
        at, delay_s = self._stores_away.get(recording.region, (0.0, RETRY_FIRST_S))
        if self._clock.monotonic() < at:
            raise StoreAway(recording.region)
        try:
            await self._put(recording, path)
        except Unavailable:
            self._stores_away[recording.region] = (self._clock.monotonic() + delay_s, min(2 * delay_s, STORE_RETRY_MOST_S))
            _log.warning("store.away", region=recording.region, recording_id=str(recording.id), again_after_s=delay_s)
            raise StoreAway(recording.region) from None
        if self._stores_away.pop(recording.region, None) is not None:
            _log.info("store.back", region=recording.region)

    async def _put(self, recording: Recording, path: Path) -> None:
        """In the store afterwards, as read back from it. Raises DigestDiffers if the spool's file isn't the one that was closed."""
        if recording.digest is None or (await asyncio.to_thread(_digest, path))[0] != recording.digest:
            raise DigestDiffers("the file in the spool is not the one that was closed")
        try:
            await self._blobs.put_file(recording.region, recording.blob_key, path)
        except BlobExists:
            _log.info("recording.was_put_before", recording_id=str(recording.id))
        if await self._stored_digest(recording) != recording.digest:
            await self._blobs.delete(recording.region, recording.blob_key)
            raise DigestDiffers("the store gave back other bytes than it was given")

    async def _stored_digest(self, recording: Recording) -> bytes:
        digest = hashlib.sha256()
        await self._blobs.scan(recording.region, recording.blob_key, digest.update)
        return digest.digest()

    async def _measure(self, recording: Recording, path: Path) -> Recording:
        """What the file of a recording holds that nobody closed properly, noted in its row."""
        digest, size = await asyncio.to_thread(_digest, path)
        duration_ms: int | None = None
        frames: int | None = None
        try:
            key = (await self._keyring.open_data_key(recording.org_id, "recording", recording.id, INTEGRITY)).key
        except CustomerHeld:
            # What is in it only the customer can tell: it is kept as it is, and its end is when it was last written to.
            written_at = datetime.fromtimestamp((await asyncio.to_thread(path.stat)).st_mtime, UTC)
            ended_at = max(written_at, recording.started_at)
            _log.info(
                "recording.not_measured",
                org_id=str(recording.org_id),
                recording_id=str(recording.id),
                why="only the customer's key opens it",
            )
        else:
            reader = Reader(key, Identity(recording.org_id, recording.id, recording.segment), crashed=True)
            duration_ms = await asyncio.to_thread(lambda: measure(_chunks(path), reader))
            frames = reader.frame_count if reader.finish() is Ending.FINAL else None
            ended_at = recording.started_at + timedelta(milliseconds=duration_ms)
        async with self._main.organisation(recording.org_id) as connection:
            await recordings.note_file(
                connection,
                recording.id,
                ended_at=ended_at,
                duration_ms=duration_ms,
                frames=frames,
                size_bytes=size,
                digest=digest,
            )
        measured = await self._get(recording.org_id, recording.id)
        assert measured is not None
        return measured

    async def _without_file(self, recording: Recording) -> bool:
        """Its file is not in this spool: stored by an earlier attempt that died before it said so, or lost."""
        try:
            is_there = recording.digest is not None and await self._stored_digest(recording) == recording.digest
        except BlobMissing:
            is_there = False
        async with self._main.organisation(recording.org_id) as connection:
            if is_there:
                return await recordings.mark_stored(connection, recording.id, recording.blob_key)
            if await recordings.mark_failed(connection, recording.id):
                _log.error("recording.lost", org_id=str(recording.org_id), recording_id=str(recording.id))
        return False

    async def _tell(self, connection: Connection, recording: Recording) -> None:
        now = self._clock.now()
        event_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
        fields: dict[str, str | int | bool | None] = {"size_bytes": recording.size_bytes, "crashed": recording.state == "crashed"}
        await outbox.add(connection, DomainEvent(event_id, recording.org_id, EventKind.RECORDING_STORED, recording.id, now, fields))

    async def _get(self, org_id: OrgId, recording_id: RecordingId) -> Recording | None:
        async with self._main.organisation(org_id) as connection:
            return await recordings.get(connection, recording_id)


@asynccontextmanager
async def alone(main: Database, recording_id: RecordingId) -> AsyncIterator[bool]:
    """Holds a recording's ciphertext against other workers, so that nothing is stored while it is swept; False if another holds it.

    The lock belongs to a connection: it ends with the process that holds it.
    """
    async with main.session() as connection:
        name = f"ciphertext:{recording_id}"
        if not await connection.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", name):
            yield False
            return
        try:
            yield True
        finally:
            await connection.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", name)


@asynccontextmanager
async def alone_with(main: Database, ids: Sequence[RecordingId]) -> AsyncIterator[set[RecordingId]]:
    """Like `alone` for many at once, on one connection: those of the recordings that nobody else is at."""
    if not ids:
        yield set()
        return
    async with main.session() as connection:
        rows = await connection.fetch(
            "SELECT id, pg_try_advisory_lock(hashtextextended('ciphertext:' || id, 0)) AS is_mine FROM unnest($1::uuid[]) AS id", ids
        )
        try:
            yield {RecordingId(row["id"]) for row in rows if row["is_mine"]}
        finally:
            held = [row["id"] for row in rows if row["is_mine"]]
            await connection.execute(
                "SELECT pg_advisory_unlock(hashtextextended('ciphertext:' || id, 0)) FROM unnest($1::uuid[]) AS id", held
            )


def _digest(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest(), file.tell()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _is_unclaimed(path: Path, now: datetime) -> bool:
    try:
        return now.timestamp() - path.stat().st_mtime > UNCLAIMED_AFTER.total_seconds()
    except FileNotFoundError:
        return False


def _named_in(path: Path) -> Identity | None:
    try:
        with path.open("rb") as file:
            return identify(file.read(HEADER_LENGTH))
    except (OSError, RecordingError):
        return None
