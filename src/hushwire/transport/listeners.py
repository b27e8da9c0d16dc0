"""Listening for connections: TCP, TLS and WebSocket peers are taken in, each with a place from before its handshake on.

After a restart thousands of phones connect in one moment. Begun all together their handshakes would share the processor until none of
them is done in time, and the next attempts would meet the same. So a few are under way at once, and the others wait, with a ClientHello
that is not answered yet. Next is who comes from the source with the fewest under way, and of those the newest: it has all of its patience
left, while who has waited longest is about to give up and try again. Who has hung up meanwhile costs no handshake, and who has not said a
whole ClientHello does not wait for a turn at all.
"""

import asyncio
import socket
import ssl
from collections.abc import Coroutine
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Final, Protocol

import structlog

from hushwire.core.errors import ConfigError
from hushwire.sip.flow import Transport
from hushwire.transport import hello
from hushwire.transport.connection import Connection
from hushwire.transport.places import Places, Waiting
from hushwire.transport.sources import source_key

_BACKLOG: Final = 4096
_HANDSHAKES: Final = 32
_QUICK_S: Final = 0.25
"""A handshake that takes longer waits for its peer and not for us: it keeps nobody else waiting."""
_HESITATION_S: Final = 1.0
_MOST_WAITING: Final = 1024
_PATIENCE_S: Final = 30.0
_ACCEPT_AGAIN_S: Final = 0.1
_log = structlog.get_logger(__name__)


class Host(Protocol):
    """Whose connections they are: the endpoint."""

    def connection(self, transport: Transport, *, has_place: bool = False) -> Connection:
        """A new one, not open yet."""

    def enters(self, host: str, transport: Transport) -> bool:
        """Whether one more connection of this source may stay; it then has a place."""

    def leaves(self, host: str) -> None:
        """A place is free again."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Work that ends with the endpoint."""


class Listeners:
    """The listening sockets of one endpoint. TLS handshakes may take `handshake_s`, and so many of one source be without a ClientHello."""

    def __init__(self, host: Host, places: Places, tls: ssl.SSLContext | None, handshake_s: float, most_silent_per_source: int) -> None:
        self._host = host
        self._places = places
        self._tls = tls
        self._handshake_s = handshake_s
        self._servers: list[asyncio.Server] = []
        self._turns = _Turns(_HANDSHAKES)
        self._room = asyncio.Semaphore(_MOST_WAITING)
        self._silent = Waiting(1 << 30, most_silent_per_source)  # of all sources together `places` counts them

    async def open(self, transport: Transport, host: str, port: int) -> int:
        """Listen there; the real port. Raises OSError, and ConfigError where there is no certificate to show."""
        if transport.is_protected:
            return self._open_protected(transport, host, port)
        server = await asyncio.get_running_loop().create_server(lambda: self._host.connection(transport), host, port, backlog=_BACKLOG)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Take nobody in any more. (TLS listeners end with the endpoint's work.)"""
        for server in self._servers:
            server.close()

    async def wait_closed(self) -> None:
        """Until all is closed."""
        for server in self._servers:
            await server.wait_closed()

    def _open_protected(self, transport: Transport, host: str, port: int) -> int:
        context = self._tls
        if context is None or context.minimum_version < ssl.TLSVersion.TLSv1_2:
            raise ConfigError(f"[sip] listen: a {transport}:// listener needs a certificate and TLS 1.2 or newer")
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG)
        listener.setblocking(False)
        self._host.spawn(self._accept(listener, transport, context))
        return int(listener.getsockname()[1])

    async def _accept(self, listener: socket.socket, transport: Transport, context: ssl.SSLContext) -> None:
        """Take TLS peers in. An asyncio server would tell of them only after the handshake: too late to limit those in progress."""
        loop = asyncio.get_running_loop()
        with listener:
            while True:
                async with self._room:
                    pass  # not while so many wait that have said their first word
                try:
                    peer, address = await loop.sock_accept(listener)
                except OSError as error:
                    _log.warning("sip.accept_failed", error=type(error).__name__)
                    await asyncio.sleep(_ACCEPT_AGAIN_S)
                    continue
                if self._host.enters(address[0], transport):
                    connection = self._host.connection(transport, has_place=True)
                    task = self._host.spawn(self._secure(peer, address[0], connection, context))
                    # Not in the task itself: one that is cancelled before its first step never comes to its `finally`.
                    task.add_done_callback(partial(self._done, peer, address[0], connection))
                    self._places.expect(connection.id, address[0], task.cancel)
                else:
                    peer.close()

    async def _secure(self, peer: socket.socket, host: str, connection: Connection, context: ssl.SSLContext) -> None:
        try:
            async with asyncio.timeout(self._handshake_s):
                await self._hello(peer, host, connection.id)
            source = source_key(host)
            async with self._room, asyncio.timeout(_PATIENCE_S):
                await self._turns.take(source)
            with _Turn(self._turns, source):
                if hello.has_hung_up(peer):
                    return
                await asyncio.get_running_loop().connect_accepted_socket(
                    lambda: connection, peer, ssl=context, ssl_handshake_timeout=self._handshake_s
                )
        except OSError as error:
            # ssl.SSLError, TimeoutError, and the error of a handshake that takes too long, are OSErrors.
            _log.debug("sip.handshake_failed", error=type(error).__name__)

    def _done(self, peer: socket.socket, host: str, connection: Connection, _task: asyncio.Task[None]) -> None:
        """The handshake is over, or never began: what did not become a connection gives its place back."""
        self._silent.drop(connection.id)
        if connection.flow is None:
            peer.close()
            self._places.proven(connection.id)
            self._host.leaves(host)

    async def _hello(self, peer: socket.socket, host: str, id_: int) -> None:
        """Return once it is said. Phones behind one address may connect all at once: who hesitates for a moment only is not counted."""
        task = asyncio.current_task()
        assert task is not None
        try:
            async with asyncio.timeout(_HESITATION_S):
                await hello.said(peer)
        except TimeoutError:
            self._silent.put(id_, host, task.cancel)
            await hello.said(peer)
            self._silent.drop(id_)


class _Turns:
    """So many at once; of those who wait who comes from the source with the fewest, and of these the newest, is next."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []
        self._taken: dict[str, int] = {}

    async def take(self, source: str) -> None:
        """Return once it is ours."""
        if self._free:
            self._free -= 1
            self._taken[source] = self._taken.get(source, 0) + 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((source, turn))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.release(source)  # it was given to us in the moment in which we gave up
            raise

    def release(self, source: str) -> None:
        """Let somebody else have it."""
        left = self._taken[source] - 1
        if left:
            self._taken[source] = left
        else:
            del self._taken[source]
        best = self._next()
        if best is None:
            self._free += 1
            return
        source, turn = self._waiting.pop(best)
        self._taken[source] = self._taken.get(source, 0) + 1
        turn.set_result(None)

    def _next(self) -> int | None:
        best, fewest = None, 1 << 30
        self._waiting = [one for one in self._waiting if not one[1].done()]
        for place in range(len(self._waiting) - 1, -1, -1):
            taken = self._taken.get(self._waiting[place][0], 0)
            if taken < fewest:
                best, fewest = place, taken
            if not taken:
                break
        return best


class _Turn(AbstractContextManager[None]):
    """One of them that was taken, given up after a while or at the end."""

    def __init__(self, turns: _Turns, source: str) -> None:
        self._turns = turns
        self._source = source
        self._timer = asyncio.get_running_loop().call_later(_QUICK_S, self._give_up)
        self._is_over = False

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        self._give_up()

    def _give_up(self) -> None:
        if not self._is_over:
            self._is_over = True
            self._turns.release(self._source)
