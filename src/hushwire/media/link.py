"""A lasting link to hushwire-media: HELLO under a fresh epoch, connecting again, and telling when its bridges are gone.

A connection that ends is made again. Only when the program itself is gone, or another run of it answers, are its bridges lost. A program
that is slow (a busy machine, a stopped process) still has them, and their keys: it is waited for.
"""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol
from uuid import UUID

import structlog

from hushwire.core.errors import Unavailable
from hushwire.media.client import MediaClient, listening_process
from hushwire.media.model import DtlsDatagram, Greeting, MediaEvent, MediaRefused

GRACE_S: Final = 0.5
"""How long a lost connection may take to come back to the same program before its bridges count as lost."""
PATIENCE_S: Final = 10.0
"""How long a program that is there may leave a PING unanswered before its bridges count as lost."""
_RETRY_S: Final = 0.05
_PING_EVERY_S: Final = 5.0
_log = structlog.get_logger(__name__)


class MediaObserver(Protocol):
    """Who is told; called on the loop."""

    def media_ready(self, greeting: Greeting) -> None:
        """A program answers: for the first time, or after `media_lost`. Its waiting events follow."""

    def media_lost(self, *, is_gone: bool) -> None:
        """Every bridge is lost. `is_gone`: the program has ended; else it only does not answer, and may still hold keys and record."""

    def media_event(self, event: MediaEvent) -> None:
        """An event; acknowledge it by `MediaLink.acknowledge` once it is dealt with for good."""


class MediaLink:
    """One gateway's control of one hushwire-media. `next_epoch` gives a number greater than any before, whoever asked. `on_dtls` is called
    on the loop for each DTLS datagram of a leg's party (media/client.py)."""

    def __init__(
        self,
        path: Path,
        next_epoch: Callable[[], Awaitable[int]],
        observer: MediaObserver,
        on_dtls: Callable[[DtlsDatagram], None] | None = None,
    ) -> None:
        self._path = path
        self._next_epoch = next_epoch
        self._observer = observer
        self._on_dtls = on_dtls
        self._client: MediaClient | None = None
        self._greeting: Greeting | None = None
        self._is_up = False
        self._task: asyncio.Task[None] | None = None
        self._process_id = 0

    @property
    def client(self) -> MediaClient:
        """The connection of this moment. Raises Unavailable while there is none."""
        if self._client is None or self._client.closed.is_set():
            raise Unavailable("hushwire-media does not answer now")
        return self._client

    @property
    def is_up(self) -> bool:
        """Whether requests can be made now."""
        return self._client is not None and not self._client.closed.is_set()

    @property
    def instance(self) -> UUID | None:
        """The run of the program that we control or last controlled."""
        return None if self._greeting is None else self._greeting.instance

    async def start(self, timeout_s: float = 15.0) -> None:
        """Connect and say HELLO; from then on the connection is kept. Raises Unavailable if nothing answers in time."""
        try:
            async with asyncio.timeout(timeout_s):
                client = await self._connect_patiently()
        except TimeoutError:
            raise Unavailable("hushwire-media does not answer on its control socket") from None
        self._task = asyncio.create_task(self._stay_connected(client), name="media-link")

    async def close(self) -> None:
        """Let go of control; bridges stay."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._client is not None:
            await self._client.close()
            self._client = None

    def acknowledge(self, *event_ids: int) -> None:
        """Let the media process forget these events. While there is no connection nothing is lost: they come again."""
        if self.is_up:
            self.client.acknowledge(event_ids)

    async def _stay_connected(self, client: MediaClient) -> None:
        while True:
            await self._watch(client)
            instance = self.instance
            _log.warning("media.connection_lost")
            patient = asyncio.create_task(self._connect_patiently(), name="media-connect")
            try:
                await client.close()
                done, _ = await asyncio.wait({patient}, timeout=GRACE_S)
                if not done:
                    self._tell_lost(is_gone=_is_deserted(self._path, self._process_id))
                client = await patient
            finally:
                patient.cancel()
            _log.info("media.connection_back", same_program=self.instance == instance)

    async def _watch(self, client: MediaClient) -> None:
        """Return when the connection ended, or the program has not answered on it for too long. The pings are its sign that we live."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PING_EVERY_S):
                    await client.closed.wait()
                return
            try:
                await client.ping(PATIENCE_S)
            except (Unavailable, MediaRefused):
                return

    async def _connect_patiently(self) -> MediaClient:
        while True:
            try:
                return await self._connect()
            except (Unavailable, MediaRefused, OSError) as error:
                _log.debug("media.connect_failed", error=type(error).__name__)
                await asyncio.sleep(_RETRY_S)

    async def _connect(self) -> MediaClient:
        epoch = await self._next_epoch()
        # Events follow HELLO's reply in the same breath: they wait until whoever is told has heard of the program itself.
        early: list[MediaEvent] | None = []

        def take(event: MediaEvent) -> None:
            if early is None:
                self._observer.media_event(event)
            else:
                early.append(event)

        client = MediaClient(take, self._on_dtls)
        try:
            greeting = await client.connect(self._path, epoch)
        except BaseException:
            await client.close()
            raise
        if self._greeting is not None and greeting.instance != self._greeting.instance:
            self._tell_lost(is_gone=True)
        self._greeting, self._client, self._process_id = greeting, client, client.process_id
        if not self._is_up:
            self._is_up = True
            self._observer.media_ready(greeting)
        waiting, early = early, None
        for event in waiting or ():
            self._observer.media_event(event)
        return client

    def _tell_lost(self, *, is_gone: bool) -> None:
        if self._is_up:
            self._is_up = False
            self._observer.media_lost(is_gone=is_gone)


def _is_deserted(path: Path, process_id: int) -> bool:
    """Whether that process no longer listens here: the kernel takes connections for one that is slow, and says whose they are."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        status = probe.connect_ex(str(path))
        if status:
            return status in (errno.ECONNREFUSED, errno.ENOENT)
        return listening_process(probe) != process_id
