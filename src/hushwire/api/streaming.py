"""Answers that may fail half-way: then their end is not sent, so nobody takes them for whole."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import structlog
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

from hushwire.core.errors import HushwireError

_log = structlog.get_logger(__name__)


class Streaming(Response):
    """Bytes as they are made. Without a Content-Length in `headers` their number is not told beforehand."""

    def __init__(self, status: int, first: bytes, rest: AsyncIterator[bytes], media_type: str, headers: Mapping[str, str]) -> None:
        super().__init__(status_code=status, media_type=media_type, headers=headers)
        if "Content-Length" not in headers:
            del self.headers["content-length"]
        self._first = first
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": self._first, "more_body": True})
        leaving = asyncio.create_task(_disconnect(receive), name="playback-listener")
        try:
            async for chunk in self._rest:
                if leaving.done():
                    return
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        except (HushwireError, OSError) as error:
            _log.warning("playback.broken_off", error=type(error).__name__)
            return
        finally:
            leaving.cancel()
            await self._rest.aclose()  # type: ignore[attr-defined]
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnect(receive: Receive) -> None:
    """Returns when the listener has left, so that nothing more is decoded for nobody."""
    while (await receive())["type"] != "http.disconnect":
        pass
