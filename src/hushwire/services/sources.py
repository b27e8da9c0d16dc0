"""Where a recording's sealed bytes can be read now: the object store, or this machine's spool."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hushwire.services.recordings_shipping import Spool
from hushwire.store.recordings import Recording
from hushwire.vault.blobs import Blobs

_CHUNK: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Source:
    """One recording's sealed file. `path`: in the spool; None: in the store."""

    recording: Recording
    blobs: Blobs
    path: Path | None

    async def read(self, start: int = 0) -> AsyncGenerator[bytes, None]:
        """Its bytes from `start` on, in small pieces: sound starts flowing early, and no piece keeps a thread for long.

        A spooled file, once open, stays readable; if it was shipped and freed just now, the store has it.
        """
        if self.path is not None:
            try:
                file = await asyncio.to_thread(self.path.open, "rb")
            except FileNotFoundError:
                pass
            else:
                try:
                    file.seek(start)
                    while chunk := await asyncio.to_thread(file.read, _CHUNK):
                        yield chunk
                finally:
                    file.close()
                return
        async for chunk in self.blobs.stream(self.recording.region, self.recording.blob_key, start=start):
            for at in range(0, len(chunk), _CHUNK):
                yield chunk[at : at + _CHUNK]


@dataclass(frozen=True, slots=True)
class Sources:
    """The store and the spool together."""

    blobs: Blobs
    spool: Spool

    async def find(self, recording: Recording) -> Source | None:
        """Where this recording's bytes are; None: not within this machine's reach."""
        path = self.spool.path(recording)
        if recording.state != "stored" and await asyncio.to_thread(path.is_file):
            return Source(recording, self.blobs, path)
        if await self.blobs.exists(recording.region, recording.blob_key):
            return Source(recording, self.blobs, None)
        return None
