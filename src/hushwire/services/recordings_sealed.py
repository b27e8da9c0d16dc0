"""Recordings as they lie in the store, sealed, for customers who open them at home: ciphertext, envelopes, and how the file was closed.

Nothing is opened here. Handing out an envelope is a reading all the same: who has the key behind it can open the recording from then on.
So both are logged with their purpose before the first byte flows, and end when the recording is erased.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import structlog

from hushwire.core.clock import Clock, Random
from hushwire.core.errors import Unavailable
from hushwire.core.ids import OrgId, RecordingId
from hushwire.services.recordings import CHECK_EACH_S, Elsewhere, Gone, Missing, PlaybackEnded, Restricted, Unfinished
from hushwire.services.recordings_shipping import Spool
from hushwire.services.sources import Source, Sources
from hushwire.store import recordings as table
from hushwire.store.database import Database
from hushwire.store.recordings import Recording
from hushwire.vault.blobs import Blobs
from hushwire.vault.custody import Copy
from hushwire.vault.keyring import Keyring
from hushwire.vault.unseal import AccessLog, Why

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Envelopes:
    """What opens a recording at the customer's, and what its file must be."""

    recording: Recording
    copies: list[Copy]


class SealedRecordings:
    """What the API gives out unopened. `spool` is this machine's."""

    def __init__(self, main: Database, keyring: Keyring, blobs: Blobs, spool: Spool, clock: Clock, random: Random) -> None:
        self._main = main
        self._keyring = keyring
        self._sources = Sources(blobs, spool)
        self._clock = clock
        self._access = AccessLog(main, clock, random)

    async def file(
        self, org_id: OrgId, recording_id: RecordingId, why: Why
    ) -> Source | Gone | Missing | Restricted | Elsewhere | Unfinished:
        """The sealed file; the access is logged before this returns."""
        found = await self._finished(org_id, recording_id)
        if not isinstance(found, Recording):
            return found
        source = await self._sources.find(found)
        if source is None:
            return Elsewhere()
        await self._access.note(org_id, why, [f"recording:{recording_id}"])
        return source

    async def envelopes(self, org_id: OrgId, recording_id: RecordingId, why: Why) -> Envelopes | Gone | Missing | Restricted | Unfinished:
        """The envelopes, none where only hushwire's key opens it; the access is logged before this returns."""
        found = await self._finished(org_id, recording_id)
        if not isinstance(found, Recording):
            return found
        await self._access.note(org_id, why, [f"recording:{recording_id}"])
        copies = await self._keyring.envelopes(org_id, "recording", recording_id)
        # An erasure may have come in between: once it was entered, nothing is handed out.
        again = await self._finished(org_id, recording_id)
        return Envelopes(again, copies) if isinstance(again, Recording) else again

    async def read(self, source: Source, start: int, end: int) -> AsyncGenerator[bytes, None]:
        """Its bytes from `start` to before `end`. Raises PlaybackEnded if it is erased meanwhile, Unavailable if they can't be had."""
        recording, left = source.recording, end - start
        checked_at = self._clock.monotonic()
        async with aclosing(source.read(start)) as pieces:
            async for piece in pieces:
                if self._clock.monotonic() - checked_at >= CHECK_EACH_S:
                    if not isinstance(await self._finished(recording.org_id, recording.id), Recording):
                        _log.info("download.ended_by_erasure", org_id=str(recording.org_id), recording_id=str(recording.id))
                        raise PlaybackEnded("the recording was erased or restricted while it was handed out")
                    checked_at = self._clock.monotonic()
                yield piece[:left]
                left -= min(left, len(piece))
                if not left:
                    return
        if left:
            raise Unavailable("the sealed file is shorter than its row says")

    async def _finished(self, org_id: OrgId, recording_id: RecordingId) -> Recording | Gone | Missing | Restricted | Unfinished:
        async with self._main.organisation(org_id) as connection:
            found = await table.get(connection, recording_id)
        if found is None or found.state == "failed":
            return Missing()
        if found.is_gone:
            return Gone()
        if found.is_restricted:
            return Restricted()
        if found.digest is None or found.size_bytes is None:
            return Unfinished()
        return found
