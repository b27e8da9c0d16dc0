"""What is made of a recording once and kept sealed: the index for playing from anywhere, the peaks, the timeline.

All three come of one pass. They are sealed under the recording's own data key, each for its own place, so the recording's erasure makes
them noise in the same moment; its sweep removes the rows.
"""

import asyncio
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import LocalError, MalformedError
from hushwire.core.ids import RecordingId
from hushwire.recording.hwr import Closed, Identity, Reader
from hushwire.recording.peaks import Peaks
from hushwire.recording.seeking import MOST_BYTES, Index
from hushwire.recording.survey import Survey, Surveyed
from hushwire.services.sources import Source
from hushwire.store import derivatives as table
from hushwire.store.database import Database
from hushwire.store.recordings import Recording
from hushwire.vault.seal import context, open_sealed, seal

_AT_ONCE: Final = 2
_log = structlog.get_logger(__name__)


class GoneMeanwhile(LocalError):
    """The recording was erased while something was made of it."""


@dataclass(slots=True)
class Derivatives:
    """Makes and keeps them. The caller has opened `key`, the recording's data key, and has said why."""

    main: Database
    clock: Clock
    _making: dict[RecordingId, asyncio.Task[Surveyed]] = field(default_factory=dict)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def kept_index(self, recording: Recording, key: bytes) -> Index | None:
        """The index, if it was made."""
        packed = await self._kept(recording, key, "index")
        try:
            found = None if packed is None else Index.unpack(packed)
        except MalformedError:
            return None
        return found if found is not None and found.digest == recording.digest and found.length_ms == recording.duration_ms else None

    async def index(self, source: Source, key: bytes) -> Index:
        """The index. Raises RecordingError, GoneMeanwhile."""
        return await self.kept_index(source.recording, key) or (await self.survey(source, key)).index

    async def peaks(self, source: Source, key: bytes) -> Peaks:
        """The peaks at the finest resolution. Raises RecordingError, GoneMeanwhile."""
        packed = await self._kept(source.recording, key, "peaks")
        return (await self.survey(source, key)).peaks if packed is None else Peaks.unpack(packed)

    async def timeline(self, source: Source, key: bytes) -> dict[str, Any]:
        """What happened on each leg. Raises RecordingError, GoneMeanwhile."""
        packed = await self._kept(source.recording, key, "timeline")
        if packed is None:
            return (await self.survey(source, key)).timeline
        found: dict[str, Any] = orjson.loads(zlib.decompress(packed))
        return found

    async def survey(self, source: Source, key: bytes) -> Surveyed:
        """All three, made now and kept. Who asks for the same recording meanwhile waits for the same work."""
        recording = source.recording
        task = self._making.get(recording.id)
        if task is None:
            task = self._making[recording.id] = asyncio.create_task(self._survey(source, key), name="survey")
            task.add_done_callback(lambda _: self._making.pop(recording.id, None))
        return await asyncio.shield(task)

    async def _survey(self, source: Source, key: bytes) -> Surveyed:
        recording = source.recording
        if recording.digest is None or recording.duration_ms is None:
            raise ValueError("what has not ended has no index")
        reader = Reader(
            key,
            Identity(recording.org_id, recording.id, recording.segment),
            closed=Closed(recording.frames, recording.digest),
            crashed=recording.is_cut,
        )
        survey = Survey(reader, recording.duration_ms, recording.digest)
        async with self._places:
            async for sealed in source.read():
                await asyncio.to_thread(survey.feed, sealed)
            found = await asyncio.to_thread(survey.finish)
            made = await asyncio.to_thread(_packed, found)
        sealed_by_kind = {kind: seal(key, packed, _place(recording, kind)) for kind, packed in made.items()}
        async with self.main.organisation(recording.org_id) as connection:
            if not await table.put(connection, recording.org_id, recording.id, sealed_by_kind, self.clock.now()):
                raise GoneMeanwhile("the recording was erased while it was looked at")
        return found

    async def _kept(self, recording: Recording, key: bytes, kind: str) -> bytes | None:
        async with self.main.organisation(recording.org_id) as connection:
            sealed = await table.get(connection, recording.id, kind)
        if sealed is None:
            return None
        try:
            return open_sealed(key, sealed, _place(recording, kind))
        except MalformedError:
            _log.error("derivative.damaged", recording_id=str(recording.id), kind=kind)
            return None  # made anew from the recording itself


def _packed(found: Surveyed) -> dict[str, bytes]:
    made = {"index": found.index.pack(), "peaks": found.peaks.pack(), "timeline": zlib.compress(orjson.dumps(found.timeline))}
    return {kind: packed for kind, packed in made.items() if len(packed) <= MOST_BYTES}


def _place(recording: Recording, kind: str) -> bytes:
    return context("derivative", kind, recording.id, recording.org_id)
