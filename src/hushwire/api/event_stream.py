"""An answer of server-sent events (WHATWG HTML, section 9.2): sent as they come, ended as soon as its reader has left."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import orjson
import structlog
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from hushwire.core.errors import HushwireError

STALLED_S: Final = 60.0
"""Who takes nothing for so long, while something waits for it, has its place taken."""
_log = structlog.get_logger(__name__)


def event(position: int, kind: str, data: Mapping[str, Any]) -> bytes:
    """One event: its place is what a reader names to go on behind it."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (position, kind.encode(), orjson.dumps(data))


def quiet(position: int) -> bytes:
    """A sign of life. It moves the reader's place, and is no event."""
    return b": quiet\nid: %d\n\n" % position


class EventStream(Response):
    """Chunks as they are made; `places` is left when the stream is over."""

    def __init__(self, chunks: AsyncIterator[bytes], places: contextlib.ExitStack) -> None:
        super().__init__(media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._chunks = chunks
        self._places = places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(_disconnect(receive))
        coming: asyncio.Future[bytes] | None = None
        with self._places:
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                while True:
                    coming = asyncio.ensure_future(anext(self._chunks))
                    await asyncio.wait({coming, leaving}, return_when=asyncio.FIRST_COMPLETED)
                    if leaving.done():
                        return
                    async with asyncio.timeout(STALLED_S):
                        await send({"type": "http.response.body", "body": coming.result(), "more_body": True})
            except StopAsyncIteration:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            except (HushwireError, OSError) as error:
                # Its end is not sent: who reads comes again, and names the last event that it saw.
                _log.warning("events.broken_off", error=type(error).__name__)
            finally:
                for task in (leaving, coming):
                    if task is not None:
                        task.cancel()
                        with contextlib.suppress(asyncio.CancelledError, Exception):
                            await task
                await self._chunks.aclose()  # type: ignore[attr-defined]


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
