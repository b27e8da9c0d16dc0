"""Recordings as the API gives them out: found, described, and played to somebody who says why.

The keyring notes each opening in the access log before the first byte flows, and while bytes flow the ledger and the
key's existence are checked each second: an erasure ends a playback that is under way.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import KeyUnavailable, LocalError
from hushwire.core.ids import OrgId, RecordingId
from hushwire.recording.containers import AudioFormat
from hushwire.recording.hwr import Closed, Identity, Reader
from hushwire.recording.playback import Player, measure
from hushwire.services.recordings_shipping import Spool
from hushwire.store import recordings as table
from hushwire.store.database import Database
from hushwire.store.recordings import Place, Recording, RecordingFilter
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

CHECK_EACH_S: Final = 1.0
_CHUNK: Final = 1 << 16
_log = structlog.get_logger(__name__)


class PlaybackEnded(LocalError):
    """The recording was erased or restricted while it was played: what was sent so far is all there is."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first, and where the next page begins."""

    rows: list[Recording]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording about to be played. `is_cut`: its tail is missing (it crashed), or it isn't finished yet."""

    recording: Recording
    media_type: str
    is_cut: bool
    chunks: AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Gone:
    """Erased: 410."""


@dataclass(frozen=True, slots=True)
class Missing:
    """No such recording of this organisation, or nothing was ever recorded: 404."""


@dataclass(frozen=True, slots=True)
class Restricted:
    """Its processing is restricted: kept, and not given out. 403."""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """It exists, but its bytes aren't within reach now: still in another machine's spool. 503, to be tried again."""

    retry_after_s: int = 5


class Recordings:
    """What the API needs of recordings. `spool` is this machine's."""

    def __init__(self, main: Database, keyring: Keyring, blobs: Blobs, spool: Spool, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._blobs = blobs
        self._spool = spool
        self._clock = clock

    async def listed(self, org_id: OrgId, wanted: RecordingFilter, *, after: Place | None = None, limit: int = 50) -> Page:
        """A page of recordings, erased ones included (as such)."""
        async with self._main.organisation(org_id) as connection:
            rows = await table.find(connection, wanted, after=after, limit=limit + 1)
        more = rows[limit - 1] if len(rows) > limit else None
        return Page(rows[:limit], None if more is None else Place(more.started_at, more.id))

    async def get(self, org_id: OrgId, recording_id: RecordingId) -> Recording | Gone | Missing | Restricted:
        """One recording's row."""
        async with self._main.organisation(org_id) as connection:
            found = await table.get(connection, recording_id)
        if found is None:
            return Missing()
        if found.is_gone:
            return Gone()
        return Restricted() if found.is_restricted else found

    async def open_audio(
        self, org_id: OrgId, recording_id: RecordingId, audio_format: AudioFormat, why: Why
    ) -> Audio | Gone | Missing | Restricted | Elsewhere:
        """The recording as an audio file, in chunks. The access is logged, committed, before this returns.

        Iterating raises PlaybackEnded if it is erased meanwhile, and RecordingError if the file is damaged: in both cases the
        caller must end the response so that it can't be taken for a whole one.
        """
        found = await self.get(org_id, recording_id)
        if not isinstance(found, Recording):
            return found
        if found.state == "failed":
            return Missing()
        source = await self._source(found)
        if source is None:
            has_key = await self._keyring.fingerprint(org_id, "recording", recording_id) is not None
            return Elsewhere() if has_key else await self._without_key(org_id, recording_id)
        try:
            key = (await self._keyring.open_data_key(org_id, "recording", recording_id, why)).key
        except KeyUnavailable:
            return await self._without_key(org_id, recording_id)
        length_ms = found.duration_ms
        if found.is_cut and audio_format is not AudioFormat.OGG and (length_ms is None or found.state == "live"):
            # a WAV header states the length; what there is now is measured, without decoding
            length_ms = await _measured(source(), _reader(found, key, is_whole=False))
        player = Player(_reader(found, key, is_whole=found.state != "live"), audio_format, length_ms=length_ms)
        return Audio(found, audio_format.media_type, found.is_cut, self._play(org_id, recording_id, player, source()))

    async def _play(
        self, org_id: OrgId, recording_id: RecordingId, player: Player, source: AsyncGenerator[bytes, None]
    ) -> AsyncGenerator[bytes, None]:
        """Decrypting, decoding and encoding run in a thread; this loop only hands chunks over."""
        checked_at = self._clock.monotonic()
        async with aclosing(source):
            async for sealed in source:
                if self._clock.monotonic() - checked_at >= CHECK_EACH_S:
                    await self._check(org_id, recording_id)
                    checked_at = self._clock.monotonic()
                if audio := await asyncio.to_thread(player.feed, sealed):
                    yield audio
        await self._check(org_id, recording_id)
        if audio := await asyncio.to_thread(player.finish):
            yield audio

    async def _check(self, org_id: OrgId, recording_id: RecordingId) -> None:
        """Raises PlaybackEnded once an erasure was entered, the key is gone, or its processing was restricted."""
        is_gone = not isinstance(await self.get(org_id, recording_id), Recording)
        if is_gone or await self._keyring.fingerprint(org_id, "recording", recording_id) is None:
            _log.info("playback.ended", org_id=str(org_id), recording_id=str(recording_id))
            raise PlaybackEnded("the recording was erased or restricted while it was played")

    async def _without_key(self, org_id: OrgId, recording_id: RecordingId) -> Gone:
        """No key, no content, whatever the row says: an erasure is just under way, or the key was lost with no entry to show for it."""
        found = await self.get(org_id, recording_id)
        if isinstance(found, Recording):
            _log.error("recording.key_missing", org_id=str(org_id), recording_id=str(recording_id))
        return Gone()

    async def _source(self, recording: Recording) -> Callable[[], AsyncGenerator[bytes, None]] | None:
        """Where the sealed bytes can be read now: the object store, or this machine's spool."""
        path = self._spool.path(recording)
        if recording.state != "stored" and await asyncio.to_thread(path.is_file):
            return lambda: self._spooled(recording, path)
        if await self._blobs.exists(recording.region, recording.blob_key):
            return lambda: _sliced(self._blobs.stream(recording.region, recording.blob_key))
        return None

    async def _spooled(self, recording: Recording, path: Path) -> AsyncGenerator[bytes, None]:
        """The spool's file; once open it stays readable, and if it was shipped and freed just now the store has it."""
        try:
            file = await asyncio.to_thread(path.open, "rb")
        except FileNotFoundError:
            async for chunk in _sliced(self._blobs.stream(recording.region, recording.blob_key)):
                yield chunk
            return
        try:
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk
        finally:
            file.close()


def _reader(recording: Recording, key: bytes, *, is_whole: bool) -> Reader:
    closed = Closed(recording.frames, recording.digest) if is_whole and recording.digest is not None else None
    return Reader(key, Identity(recording.org_id, recording.id, recording.segment), closed=closed, crashed=recording.is_cut)


async def _measured(source: AsyncIterator[bytes], reader: Reader) -> int:
    length_ms = 0
    async for sealed in source:
        length_ms = max(length_ms, await asyncio.to_thread(measure, (sealed,), reader))
    return length_ms


async def _sliced(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Smaller pieces: sound starts flowing early, and no piece keeps a thread for long."""
    async for chunk in source:
        for start in range(0, len(chunk), _CHUNK):
            yield chunk[start : start + _CHUNK]
