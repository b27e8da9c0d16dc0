"""One pool of connections, and the only two ways to a transaction: as an organisation, or as none.

Row-level security hides every tenant's rows from a transaction that has not said whose it is, so what `organisation` sets is
not a filter that a query could forget. `transaction` sees the operator's tables and the functions that return ids.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from hushwire.core.errors import LocalError, Unavailable
from hushwire.core.ids import OrgId

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Notified: TypeAlias = Callable[[str], None]

# What asyncpg raises when the server is away, restarting, or dropped us: never an answer to a query.
AWAY: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
)
STORE_FAILED: Final = (LocalError, OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""How work with rows fails, on this side or the server's, today or for good: what repeats it, or answers for it, catches these. All else
is a fault in it."""
BY_KEY: Final = {
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
"""For a process that asks for rows by their keys alone, many times a second: a plan that was made while a table was small is still right
when it is not, so that each statement is planned once a session."""
_RECONNECT_FIRST_S: Final = 0.05
_RECONNECT_MOST_S: Final = 2.0
_log = structlog.get_logger(__name__)


class Database:
    """A pool of connections to one database, as one role."""

    def __init__(self, dsn: str, pool: "asyncpg.Pool[asyncpg.Record]", acquire_timeout_s: float) -> None:
        self._dsn = dsn
        self._pool = pool
        self._acquire_timeout_s = acquire_timeout_s
        self._listener: _Listener | None = None
        self._subscribing = asyncio.Lock()

    @classmethod
    async def connect(
        cls, dsn: str, *, min_size: int = 1, max_size: int = 8, acquire_timeout_s: float = 5.0, settings: Mapping[str, str] | None = None
    ) -> "Database":
        """Connect, or raise Unavailable. `acquire_timeout_s` bounds the wait for a free connection (and for a dead server).

        `settings` hold in each of its sessions, such as `BY_KEY`.
        """
        try:
            pool = await asyncpg.create_pool(
                dsn,
                min_size=min_size,
                max_size=max_size,
                timeout=acquire_timeout_s,
                connection_class=_Session,
                server_settings=dict(settings or {}),
            )
        except (*AWAY, OSError, TimeoutError) as error:
            raise Unavailable(f"the database does not answer ({type(error).__name__})") from error
        return cls(dsn, pool, acquire_timeout_s)

    def organisation(self, org_id: OrgId) -> AbstractAsyncContextManager[Connection]:
        """One transaction that sees `org_id`'s rows only; committed at the end, rolled back by an exception.

        Raises Unavailable if the server is away, then or during the transaction.
        """
        return self._transaction(org_id)

    def transaction(self) -> AbstractAsyncContextManager[Connection]:
        """One transaction of no organisation: no tenant's rows, only tables without row-level security and id functions."""
        return self._transaction(None)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Connection]:
        """A connection outside any transaction, for what can't run in one (VACUUM)."""
        async with self._acquired() as connection:
            connection.plainly()
            yield connection

    async def listen(self, channel: str, callback: Notified) -> None:
        """Call `callback(payload)` for each NOTIFY on `channel`, on the running loop.

        After the connection was lost and made again every callback is called once with an empty payload: something may have been
        missed, so look at the rows. A wake-up is never more than a hint.
        """
        async with self._subscribing:
            if self._listener is None:
                listener = _Listener(self._dsn, self._acquire_timeout_s)
                await listener.start()
                self._listener = listener
            await self._listener.add(channel, callback)

    async def close(self) -> None:
        """Close every connection; what is in flight gets five seconds."""
        if self._listener is not None:
            await self._listener.stop()
            self._listener = None
        try:
            async with asyncio.timeout(5):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def _transaction(self, org_id: OrgId | None) -> AsyncIterator[Connection]:
        async with self._acquired() as connection:
            connection.merging("" if org_id is None else _set_org(org_id))
            async with connection.transaction():
                yield connection

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Any]:
        try:
            connection = await self._pool.acquire(timeout=self._acquire_timeout_s)
        except (*AWAY, OSError, TimeoutError, asyncpg.InterfaceError) as error:
            raise Unavailable(f"the database does not answer ({type(error).__name__})") from error
        try:
            yield connection
        except AWAY as error:
            raise Unavailable(f"the database went away ({type(error).__name__})") from error
        except asyncpg.InterfaceError as error:
            if _is_gone(connection):
                raise Unavailable("the database went away (connection closed)") from error
            raise
        finally:
            await self._release(connection)

    async def _release(self, connection: "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]") -> None:
        try:
            await self._pool.release(connection)
        except (*AWAY, OSError, asyncpg.InterfaceError) as error:
            # A dead connection is the pool's to replace; the outcome of the transaction is already known.
            _log.debug("store.release_failed", error=type(error).__name__)


if TYPE_CHECKING:
    _Base = asyncpg.Connection[asyncpg.Record]
else:
    _Base = asyncpg.Connection


class _Session(_Base):
    """A pooled connection that sends a transaction's frame in two round trips instead of four.

    BEGIN goes out together with the statement that says whose transaction it is, COMMIT together with the reset that a connection
    gets before the next one uses it: a third less time and CPU for a short transaction. Were asyncpg to word its own BEGIN
    otherwise one day, no organisation would be set and no row seen: it fails closed.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._prologue: str | None = None
        self._is_reset = False

    def merging(self, prologue: str) -> None:
        """For the one transaction that follows: `prologue` right after its BEGIN, the reset right after its COMMIT."""
        self._prologue = prologue
        self._is_reset = False

    def plainly(self) -> None:
        """No merging: several transactions may follow, and settings stay between them."""
        self._prologue = None
        self._is_reset = False

    async def execute(self, query: str, *args: object, timeout: float | None = None) -> str:  # noqa: ASYNC109 - asyncpg's own
        if self._prologue is not None and not args:
            if query == "BEGIN;":
                return await super().execute(f"BEGIN; {self._prologue}", timeout=timeout)
            if query == "COMMIT;":
                status = await super().execute(f"COMMIT; {super().get_reset_query()}", timeout=timeout)
                self._is_reset = True
                return status
        return await super().execute(query, *args, timeout=timeout)

    def get_reset_query(self) -> str:
        return "" if self._is_reset else super().get_reset_query()


def _is_gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:
        # The pool took the connection back because it was lost.
        return True


def _set_org(org_id: UUID) -> str:
    # A plain statement, since it is sent together with BEGIN; the text of a UUID holds nothing to quote.
    return f"SET LOCAL hushwire.org = '{UUID(int=org_id.int)}'"


class _Listener:
    """One connection of its own that stays subscribed: it connects again when it is lost."""

    def __init__(self, dsn: str, timeout_s: float) -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._callbacks: dict[str, list[Notified]] = {}
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._lost = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        try:
            await self._connect()
        except (*AWAY, OSError, TimeoutError) as error:
            raise Unavailable(f"the database does not answer ({type(error).__name__})") from error
        self._task = asyncio.create_task(self._stay_connected(), name="store-listener")

    async def add(self, channel: str, callback: Notified) -> None:
        first = channel not in self._callbacks
        self._callbacks.setdefault(channel, []).append(callback)
        if first and self._connection is not None and not self._connection.is_closed():
            try:
                await self._connection.add_listener(channel, self._notified)
            except (*AWAY, OSError, asyncpg.InterfaceError):
                self._lost.set()

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._connection is not None:
            self._connection.terminate()

    async def _connect(self) -> None:
        self._lost.clear()
        connection = await asyncpg.connect(self._dsn, timeout=self._timeout_s)
        connection.add_termination_listener(lambda _: self._lost.set())
        try:
            for channel in list(self._callbacks):
                await connection.add_listener(channel, self._notified)
        except BaseException:
            connection.terminate()
            raise
        self._connection = connection

    async def _stay_connected(self) -> None:
        while True:
            await self._lost.wait()
            _log.warning("store.listener_lost")
            delay_s = _RECONNECT_FIRST_S
            while True:
                try:
                    await self._connect()
                    break
                except (*AWAY, OSError, TimeoutError, asyncpg.InterfaceError):
                    await asyncio.sleep(delay_s)
                    delay_s = min(2 * delay_s, _RECONNECT_MOST_S)
            _log.info("store.listener_back")
            for callbacks in list(self._callbacks.values()):
                for callback in callbacks:
                    self._call(callback, "")

    def _notified(self, _connection: Any, _pid: int, channel: str, payload: object) -> None:
        for callback in self._callbacks.get(channel, []):
            self._call(callback, str(payload))

    @staticmethod
    def _call(callback: Notified, payload: str) -> None:
        try:
            callback(payload)
        except Exception as error:
            # One reader's fault must not silence the others; it stays subscribed and looks at the rows next time.
            _log.error("store.listener_callback_failed", error=type(error).__name__)
