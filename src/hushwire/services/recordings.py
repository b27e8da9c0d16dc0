"""Recordings as the API gives them out: found, described, and played to somebody who says why.

The keyring notes each opening in the access log before the first byte flows, and while bytes flow the ledger and the
key's existence are checked each second: an erasure ends a playback that is under way.
"""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import structlog

from hushwire.core.clock import Clock
from hushwire.core.errors import CustomerHeld, KeyUnavailable, LocalError
from hushwire.core.ids import OrgId, RecordingId
from hushwire.recording.containers import AudioFormat, Stereo, container, wav_header
from hushwire.recording.hwr import Closed, Identity, Reader
from hushwire.recording.peaks import Peaks
from hushwire.recording.playback import Player, measure, rate_in
from hushwire.recording.rendering import RENDERING
from hushwire.recording.seeking import Excerpt, Index
from hushwire.services.derivatives import Derivatives, GoneMeanwhile
from hushwire.services.recordings_shipping import Spool
from hushwire.services.sources import Source, Sources
from hushwire.store import recordings as table
from hushwire.store.database import Database
from hushwire.store.recordings import Place, Recording, RecordingFilter
from hushwire.vault.blobs import Blobs
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import Why

CHECK_EACH_S: Final = 1.0
_WAV_HEADER: Final = 44
_BYTES_A_SAMPLE: Final = 4
_log = structlog.get_logger(__name__)
T = TypeVar("T")


class PlaybackEnded(LocalError):
    """The recording was erased or restricted while it was played: what was sent so far is all there is."""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows newest first, and where the next page begins."""

    rows: list[Recording]
    next: Place | None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a recording, in milliseconds of it; `to_ms` None: up to its end."""

    from_ms: int = 0
    to_ms: int | None = None

    @property
    def is_all(self) -> bool:
        """Whether nothing is left out."""
        return self.from_ms == 0 and self.to_ms is None


_ALL: Final = Stretch()


@dataclass(frozen=True, slots=True)
class Audio:
    """A recording about to be played. `is_cut`: its tail is missing (it crashed), or it isn't finished yet.

    `chunks` are the whole answer. Where its `size` in bytes is known before, so is any part of it (`part(first, stop)`: bytes from
    `first` up to, not including, `stop`), and `etag` names exactly these bytes. Otherwise all three are None.
    """

    recording: Recording
    media_type: str
    is_cut: bool
    chunks: AsyncGenerator[bytes, None]
    size: int | None = None
    etag: str | None = None
    part: Callable[[int, int], AsyncGenerator[bytes, None]] | None = None


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


@dataclass(frozen=True, slots=True)
class Unfinished:
    """It is still being made, or was not measured yet: what needs its end can't be had. 409."""


@dataclass(frozen=True, slots=True)
class Withheld:
    """Its key exists, but doesn't open here: it is held by the customer alone. 409."""


@dataclass(frozen=True, slots=True)
class Beyond:
    """What was asked for begins behind its end. 422."""


@dataclass(frozen=True, slots=True)
class _Opened:
    recording: Recording
    key: bytes
    source: Source


Refusal = Gone | Missing | Restricted | Elsewhere | Unfinished | Withheld | Beyond


class Recordings:
    """What the API needs of recordings. `spool` is this machine's."""

    def __init__(self, main: Database, keyring: Keyring, blobs: Blobs, spool: Spool, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._sources = Sources(blobs, spool)
        self._clock = clock
        self._derivatives = Derivatives(main, clock)

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
        self, org_id: OrgId, recording_id: RecordingId, audio_format: AudioFormat, why: Why, stretch: Stretch = _ALL
    ) -> Audio | Refusal:
        """The recording as an audio file, in chunks. The access is logged, committed, before this returns.

        Iterating raises PlaybackEnded if it is erased meanwhile, and RecordingError if the file is damaged: in both cases the
        caller must end the response so that it can't be taken for a whole one. Raises RecordingError if its beginning is damaged.
        """
        opened = await self._open(org_id, recording_id, why)
        if not isinstance(opened, _Opened):
            return opened
        found, key, source = opened.recording, opened.key, opened.source
        if found.digest is not None and found.duration_ms is not None and found.state != "live":
            if not stretch.is_all:
                return await self._excerpt(opened, audio_format, stretch)
            index = await self._derivatives.kept_index(found, key) if audio_format is AudioFormat.WAV else None
            chunks = self._play(opened, Player(_reader(found, key, is_whole=True), audio_format, length_ms=found.duration_ms))
            if audio_format is not AudioFormat.WAV:
                return Audio(found, audio_format.media_type, found.is_cut, chunks)
            rate = index.rate if index is not None else await self._rate(opened)
            size = _WAV_HEADER + found.duration_ms * rate // 1000 * _BYTES_A_SAMPLE
            return self._seekable(opened, stretch, size, chunks, lambda first, stop: self._wav(opened, index, 0, None, first, stop))
        if not stretch.is_all:
            return Unfinished()
        length_ms = found.duration_ms
        if audio_format is not AudioFormat.OGG and (length_ms is None or found.state == "live"):
            # a WAV header states the length; what there is now is measured, without decoding
            length_ms = await _measured(source.read(), _reader(found, key, is_whole=False))
        player = Player(_reader(found, key, is_whole=found.state != "live"), audio_format, length_ms=length_ms)
        return Audio(found, audio_format.media_type, found.is_cut, self._play(opened, player))

    async def peaks(self, org_id: OrgId, recording_id: RecordingId, why: Why) -> Peaks | Refusal:
        """How loud each leg is, at the finest resolution. The access is logged. Raises RecordingError if the file is damaged."""
        return await self._derived(org_id, recording_id, why, self._derivatives.peaks)

    async def timeline(self, org_id: OrgId, recording_id: RecordingId, why: Why) -> dict[str, Any] | Refusal:
        """What happened on each leg (docs/playback.md). The access is logged. Raises RecordingError if the file is damaged."""
        return await self._derived(org_id, recording_id, why, self._derivatives.timeline)

    async def prepare(self, org_id: OrgId, recording_id: RecordingId, why: Why) -> bool:
        """Makes what playing from anywhere takes, if it isn't there; False if there is nothing to make it of, or no key for it."""
        opened = await self._open(org_id, recording_id, why)
        if not isinstance(opened, _Opened) or opened.recording.digest is None or opened.recording.state == "live":
            return False
        if await self._derivatives.kept_index(opened.recording, opened.key) is None:
            try:
                await self._derivatives.survey(opened.source, opened.key)
            except GoneMeanwhile:
                return False
        return True

    async def _open(self, org_id: OrgId, recording_id: RecordingId, why: Why) -> _Opened | Refusal:
        found = await self.get(org_id, recording_id)
        if not isinstance(found, Recording):
            return found
        if found.state == "failed":
            return Missing()
        source = await self._sources.find(found)
        if source is None:
            has_key = await self._keyring.fingerprint(org_id, "recording", recording_id) is not None
            return Elsewhere() if has_key else await self._without_key(org_id, recording_id)
        try:
            key = (await self._keyring.open_data_key(org_id, "recording", recording_id, why)).key
        except CustomerHeld:
            return Withheld()
        except KeyUnavailable:
            return await self._without_key(org_id, recording_id)
        return _Opened(found, key, source)

    async def _derived(
        self, org_id: OrgId, recording_id: RecordingId, why: Why, made: Callable[[Source, bytes], Awaitable[T]]
    ) -> T | Refusal:
        opened = await self._open(org_id, recording_id, why)
        if not isinstance(opened, _Opened):
            return opened
        if opened.recording.digest is None or opened.recording.duration_ms is None or opened.recording.state == "live":
            return Unfinished()
        try:
            found = await made(opened.source, opened.key)
        except GoneMeanwhile:
            return Gone()
        still = await self.get(org_id, recording_id)  # a survey takes its time
        return found if isinstance(still, Recording) else still

    async def _excerpt(self, opened: _Opened, audio_format: AudioFormat, stretch: Stretch) -> Audio | Refusal:
        found = opened.recording
        try:
            index = await self._derivatives.index(opened.source, opened.key)
        except GoneMeanwhile:
            return Gone()
        to_ms = index.length_ms if stretch.to_ms is None else min(stretch.to_ms, index.length_ms)
        start, stop = stretch.from_ms * index.rate // 1000, to_ms * index.rate // 1000
        if start >= stop:
            return Beyond()
        if audio_format is AudioFormat.WAV:
            size = _WAV_HEADER + (stop - start) * _BYTES_A_SAMPLE
            return self._seekable(
                opened,
                stretch,
                size,
                self._wav(opened, index, start, stop, 0, size),
                lambda first, last: self._wav(opened, index, start, stop, first, last),
            )
        return Audio(found, audio_format.media_type, found.is_cut, self._contained(opened, index, audio_format, start, stop))

    def _seekable(
        self,
        opened: _Opened,
        stretch: Stretch,
        size: int,
        chunks: AsyncGenerator[bytes, None],
        part: Callable[[int, int], AsyncGenerator[bytes, None]],
    ) -> Audio:
        found = opened.recording
        named = f"{RENDERING}/wav/{stretch.from_ms}/{stretch.to_ms}/{size}/".encode() + (found.digest or b"")
        etag = f'"{hashlib.sha256(named).hexdigest()[:32]}"'
        return Audio(found, AudioFormat.WAV.media_type, found.is_cut, chunks, size, etag, part)

    async def _wav(
        self, opened: _Opened, index: Index | None, start: int, stop: int | None, first: int, last: int
    ) -> AsyncGenerator[bytes, None]:
        """Bytes `first` up to `last` (not included) of the WAV file that holds samples `start` up to `stop`."""
        if index is None:
            try:
                index = await self._derivatives.index(opened.source, opened.key)
            except GoneMeanwhile:
                raise PlaybackEnded("the recording was erased while it was looked at") from None
        stop = index.samples if stop is None else stop
        if first < _WAV_HEADER:
            yield wav_header(index.rate, stop - start)[first:last]
        if last <= _WAV_HEADER:
            return
        from_byte = max(first, _WAV_HEADER) - _WAV_HEADER
        left = last - max(first, _WAV_HEADER)
        skipped = from_byte % _BYTES_A_SAMPLE
        begin = start + from_byte // _BYTES_A_SAMPLE
        end = min(stop, begin + (skipped + left + _BYTES_A_SAMPLE - 1) // _BYTES_A_SAMPLE)
        async with aclosing(self._samples(opened, index, begin, end)) as blocks:
            async for block in blocks:
                data = block.astype("<i2", copy=False).tobytes()[skipped:][:left]
                skipped = 0
                left -= len(data)
                yield data

    async def _contained(
        self, opened: _Opened, index: Index, audio_format: AudioFormat, start: int, stop: int
    ) -> AsyncGenerator[bytes, None]:
        made = container(audio_format, index.rate, stop - start)
        async with aclosing(self._samples(opened, index, start, stop)) as blocks:
            async for block in blocks:
                if data := await asyncio.to_thread(made.add, block):
                    yield data
        yield await asyncio.to_thread(made.close)

    async def _samples(self, opened: _Opened, index: Index, start: int, stop: int) -> AsyncGenerator[Stereo, None]:
        """Only what these samples take is read."""
        found = opened.recording
        excerpt = await asyncio.to_thread(Excerpt, opened.key, _identity(found), index, start, stop, crashed=found.is_cut)
        watched = _Watch(self._clock.monotonic())
        async with aclosing(opened.source.read(excerpt.offset)) as source:
            async for sealed in source:
                await self._look(watched, found)
                for block in await asyncio.to_thread(excerpt.feed, sealed):
                    yield block
                if excerpt.is_done:
                    break
        await self._check(found.org_id, found.id)
        for block in await asyncio.to_thread(excerpt.finish):
            yield block

    async def _play(self, opened: _Opened, player: Player) -> AsyncGenerator[bytes, None]:
        """Decrypting, decoding and encoding run in a thread; this loop only hands chunks over."""
        found = opened.recording
        watched = _Watch(self._clock.monotonic())
        async with aclosing(opened.source.read()) as source:
            async for sealed in source:
                await self._look(watched, found)
                if audio := await asyncio.to_thread(player.feed, sealed):
                    yield audio
        await self._check(found.org_id, found.id)
        if audio := await asyncio.to_thread(player.finish):
            yield audio

    async def _rate(self, opened: _Opened) -> int:
        """What the file's first frame says. Raises RecordingError."""
        reader = _reader(opened.recording, opened.key, is_whole=False)
        async with aclosing(opened.source.read()) as source:
            async for sealed in source:
                if (rate := await asyncio.to_thread(rate_in, reader, sealed)) is not None:
                    return rate
        return 8000

    async def _look(self, watched: "_Watch", found: Recording) -> None:
        if self._clock.monotonic() - watched.at >= CHECK_EACH_S:
            await self._check(found.org_id, found.id)
            watched.at = self._clock.monotonic()

    async def _check(self, org_id: OrgId, recording_id: RecordingId) -> None:
        """Raises PlaybackEnded once an erasure was entered, the key is gone, or its processing was restricted."""
        is_gone = not isinstance(await self.get(org_id, recording_id), Recording)
        if is_gone or await self._keyring.fingerprint(org_id, "recording", recording_id) is None:
            _log.info("playback.ended", org_id=str(org_id), recording_id=str(recording_id))
            raise PlaybackEnded("the recording was erased or restricted while it was played")

    async def _without_key(self, org_id: OrgId, recording_id: RecordingId) -> Gone | Withheld:
        """The key is there and doesn't open, or it is gone: then so is the content, whatever the row says."""
        found = await self.get(org_id, recording_id)
        if isinstance(found, Recording):
            if await self._keyring.fingerprint(org_id, "recording", recording_id) is not None:
                return Withheld()
            _log.error("recording.key_missing", org_id=str(org_id), recording_id=str(recording_id))
        return Gone()


@dataclass(slots=True)
class _Watch:
    """When it was last seen that the recording may still be played."""

    at: float


def _reader(recording: Recording, key: bytes, *, is_whole: bool) -> Reader:
    closed = Closed(recording.frames, recording.digest) if is_whole and recording.digest is not None else None
    return Reader(key, _identity(recording), closed=closed, crashed=recording.is_cut)


def _identity(recording: Recording) -> Identity:
    return Identity(recording.org_id, recording.id, recording.segment)


async def _measured(source: AsyncIterator[bytes], reader: Reader) -> int:
    length_ms = 0
    async for sealed in source:
        length_ms = max(length_ms, await asyncio.to_thread(measure, (sealed,), reader))
    return length_ms
