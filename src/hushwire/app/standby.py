"""The keyring's copy in the second zone: a hot standby of PostgreSQL, kept in step synchronously, and what is done while it is away.

    away -- streams and has everything --> in sync -- not following for 2 s --> away

In sync, a commit returns when the copy has it on its disk. Away, commits don't wait, so that calls go on; this is told aloud, and
whatever ends for good (an erasure, a renewal) waits for the copy itself (`Keyring.confirm_zones`), so nothing is promised too early.
"""

import asyncio
import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import structlog

from hushwire.app import processes
from hushwire.app.folders import Account, Folders, Zone2, give, write_secret
from hushwire.app.postgres import REPLICA, SUPERUSER, Cluster, Passwords, programs
from hushwire.core.errors import ConfigError, HushwireError, Unavailable
from hushwire.store.roles import scram_verifier

APPLICATION: Final = "hushwire_zone2"
LOOK_EACH_S: Final = 0.25
AWAY_AFTER_S: Final = 2.0
ANEW_AFTER_S: Final = 20.0
"""A copy that runs but does not follow for so long lacks log that is gone: it is made anew."""
IN_SYNC_WITHIN_S: Final = 15.0
_RETRY_MOST_S: Final = 30.0
_log = structlog.get_logger(__name__)


class Standby(Cluster):
    """The copy's server."""

    def __init__(self, primary: Cluster, folders: Folders, zone2: Zone2, owner: Account | None, roles: tuple[str, ...]) -> None:
        super().__init__("keyring", folders, owner, roles, is_copied=True)
        self.name = "zone2"
        self._primary = primary
        self._data = zone2.keyring
        self._sockets = folders.run / "pg-keyring-2"
        self._log_file = zone2.root / "keyring.log"
        self._passfile = folders.run / "zone2.pgpass"
        self._settings = self._settings | {
            "primary_conninfo": f"host={primary.sockets} user={REPLICA} passfile={self._passfile} application_name={APPLICATION}",
            "hot_standby": "on",
            "hot_standby_feedback": "off",
            "wal_receiver_timeout": "5s",
            "wal_retrieve_retry_interval": "500ms",
            "shared_buffers": "16MB",
        }

    async def start(self) -> None:
        """Copy the keyring if there is no copy yet, then follow it. Raises Unavailable."""
        self._write_passfile()
        self.restore_aside()
        if not self.exists:
            await self.copy_anew()
        (self._data / "standby.signal").touch()
        await super().start()

    def restore_aside(self) -> None:
        """Take back the old copy if a crash came while it was exchanged for a new one."""
        old = self._data.with_name("keyring.old")
        if old.exists():
            if self.exists:
                shutil.rmtree(old)
            else:
                shutil.rmtree(self._data, ignore_errors=True)
                os.rename(old, self._data)

    async def copy_anew(self) -> None:
        """Copy the whole keyring; the old copy goes only when the new one is complete. The server must not run."""
        await self.end_leftover()
        new, old = self._data.with_name("keyring.new"), self._data.with_name("keyring.old")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        if self._owner:
            give(new, self._owner)
        process = await processes.start_child(
            [str(programs() / "pg_basebackup"), "-D", str(new), "-X", "stream", "--checkpoint=fast", "--no-slot", "--no-password",
             "-d", f"host={self._primary.sockets} user={REPLICA} passfile={self._passfile}"],
            environ={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            owner=self._owner,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            if await process.wait() != 0:
                raise Unavailable("the keyring could not be copied to the second zone")
        finally:
            await processes.end(process, signal.SIGKILL, 1.0)
        if self._data.exists():
            os.rename(self._data, old)
        os.rename(new, self._data)
        shutil.rmtree(old, ignore_errors=True)
        _log.info("zone2.copied")

    def _write_passfile(self) -> None:
        """In the run folder, which is as private as the sockets, and made anew at each start."""
        password = Passwords.kept(self._secrets_file, self._roles).by_role[REPLICA]
        write_secret(self._passfile, f"*:*:*:{REPLICA}:{password}\n".encode())
        if self._owner:
            os.chown(self._passfile, self._owner.uid, self._owner.gid)


class KeyringCopy:
    """Keeps the copy running, and the keyring's commits waiting for it exactly as long as it follows."""

    def __init__(self, primary: Cluster, standby: Standby, folders: Folders, zone2: Zone2) -> None:
        self._primary = primary
        self._standby = standby
        self._folders = folders
        self._zone2 = zone2
        self._is_in_sync = False
        self._followed_at = 0.0
        self._seen: str | None = None
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None
        self._watching: asyncio.Task[None] | None = None
        self._repairing: asyncio.Task[None] | None = None
        self._in_sync = asyncio.Event()
        self.restarts = 0
        self.on_change: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int | None:
        """The copy's server, while it runs."""
        process = self._standby.process
        return None if process is None or process.returncode is not None else process.pid

    def refuse_if_lost(self) -> None:
        """Raises ConfigError where the keyring is gone but its copy is there: a new keyring would open nothing."""
        self._standby.restore_aside()
        if not self._primary.exists and self._standby.exists:
            raise ConfigError(
                f"the keyring in {self._folders.postgres / 'keyring'} is gone, but its copy is in {self._zone2.keyring}: run "
                "`hushwire keys promote` to go on from the copy (hushwire never makes a new keyring over existing data)"
            )

    async def begin(self) -> None:
        """Right after the keyring's server started: nobody waits for a copy that isn't up yet."""
        self._note("away")
        await self._wait_for_nobody()

    async def start(self) -> None:
        """Start the copy and watch over it; returns when it is in sync, or after a while without it (told aloud)."""
        connection = await asyncpg.connect(self._primary.dsn(SUPERUSER, "postgres"))
        try:
            if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)", REPLICA):
                await connection.execute(f"CREATE ROLE {REPLICA} LOGIN REPLICATION NOSUPERUSER NOCREATEDB NOCREATEROLE NOINHERIT")
            password = json.loads(self._primary.secrets_file.read_bytes())[REPLICA]
            await connection.execute(f"ALTER ROLE {REPLICA} PASSWORD '{scram_verifier(password)}'")
        finally:
            await connection.close()
        if not self._zone2.passwords.exists() or self._zone2.passwords.read_bytes() != self._primary.secrets_file.read_bytes():
            new = self._zone2.passwords.with_suffix(".new")
            write_secret(new, self._primary.secrets_file.read_bytes())
            os.replace(new, self._zone2.passwords)
        self._watching = asyncio.create_task(self._watch(), name="keyring-copy")
        try:
            async with asyncio.timeout(IN_SYNC_WITHIN_S):
                await self._in_sync.wait()
        except TimeoutError:
            _log.error("zone2.away", advice="the keyring's copy does not follow: its server's log in the second zone says why")

    async def stop(self) -> None:
        """Stop the copy, after the keyring's own server, so that it has everything."""
        await self._standby.stop()

    async def stop_watching(self) -> None:
        """Leave the copy alone from now on."""
        tasks = [task for task in (self._watching, self._repairing) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._watching = self._repairing = None
        await self._hang_up()

    async def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._followed_at = loop.time()
        retry_s, retry_at = 0.5, 0.0
        while True:
            # Beside this loop: commits must not wait for a copy for as long as its start takes.
            is_idle = self._repairing is None or self._repairing.done()
            if self.pid is None and is_idle and loop.time() >= retry_at:
                retry_at, retry_s = loop.time() + retry_s, min(2 * retry_s, _RETRY_MOST_S)
                self._repairing = asyncio.create_task(self._start_standby(), name="keyring-copy-start")
            try:
                await self._look(loop.time())
            except (HushwireError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                # The keyring itself is down: its keeper starts it again, and the copy waits with everybody else.
                _log.debug("zone2.not_seen", error=type(error).__name__)
                self._followed_at = loop.time()
                await self._hang_up()
            if self._is_in_sync:
                retry_s = 0.5
            elif self.pid is not None and is_idle and loop.time() - self._followed_at > ANEW_AFTER_S:
                self._followed_at = loop.time()
                self._repairing = asyncio.create_task(self._make_anew(), name="keyring-copy-anew")
            await asyncio.sleep(LOOK_EACH_S)

    async def _look(self, now: float) -> None:
        row = await self._ask(
            "SELECT pg_current_wal_lsn()::text AS now, current_setting('synchronous_standby_names') AS names,"
            " r.state, r.flush_lsn >= $1::text::pg_lsn AS has_seen"
            " FROM (VALUES (1)) AS one LEFT JOIN pg_stat_replication AS r ON r.application_name = $2",
            self._seen or "0/0",
            APPLICATION,
        )
        is_following = row["state"] == "streaming" and bool(row["has_seen"])
        # What was written by the look before must be there by now: a copy that is connected but stuck is away too.
        if is_following or self._seen is None:
            self._seen = row["now"]
        if is_following:
            self._followed_at = now
            if not self._is_in_sync:
                await self._join()
        elif self._is_in_sync and now - self._followed_at > AWAY_AFTER_S:
            await self._leave()
        elif not self._is_in_sync and row["names"]:
            await self._wait_for_nobody()  # an attempt to join that failed half-way

    async def _join(self) -> None:
        """From here on commits wait for the copy; in sync is said once it has all that came before that."""
        await self._set_names(APPLICATION)
        upto = (await self._ask("SELECT pg_current_wal_lsn()::text AS lsn"))["lsn"]
        async with asyncio.timeout(AWAY_AFTER_S):
            while not await self._is_confirmed(upto):  # noqa: ASYNC110 (another process's doing: there is no event to wait for)
                await asyncio.sleep(0.02)
        self._note("in-sync")
        self._is_in_sync = True
        self._in_sync.set()
        _log.info("zone2.in_sync")
        self.on_change()

    async def _is_confirmed(self, upto: str) -> bool:
        row = await self._ask(
            "SELECT EXISTS (SELECT 1 FROM pg_stat_replication WHERE application_name = $1 AND sync_state = 'sync'"
            " AND flush_lsn >= $2::text::pg_lsn) AS is_there",
            APPLICATION,
            upto,
        )
        return bool(row["is_there"])

    async def _leave(self) -> None:
        """The order matters: first it is known that the copy is away, then commits stop waiting for it."""
        self._note("away")
        self._is_in_sync = False
        self._in_sync.clear()
        await self._wait_for_nobody()
        _log.error("zone2.away", advice="erasures and renewals wait until it follows again; calls go on")

    async def _wait_for_nobody(self) -> None:
        await self._set_names("")

    async def _set_names(self, names: str) -> None:
        # Neither statement writes to the log, so neither waits for the copy.
        await self._ask(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        await self._ask("SELECT pg_reload_conf()")

    async def _start_standby(self) -> None:
        try:
            await self._standby.start()
        except (HushwireError, OSError) as error:
            _log.error("zone2.not_started", error=type(error).__name__, reason=str(error) if isinstance(error, HushwireError) else None)
            await self._standby.stop()
            return
        self.restarts += 1
        self.on_change()

    async def _make_anew(self) -> None:
        _log.warning("zone2.copied_anew", reason="it could not catch up")
        await self._standby.stop()
        try:
            await self._standby.copy_anew()
        except (HushwireError, OSError) as error:
            _log.error("zone2.not_copied", error=type(error).__name__)

    async def _ask(self, query: str, *arguments: object) -> Any:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self._primary.dsn(SUPERUSER, "postgres"), timeout=5)
        async with asyncio.timeout(5):
            return await self._connection.fetchrow(query, *arguments)

    async def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
                connection.terminate()

    def _note(self, state: str) -> None:
        new = self._folders.zone2_state.with_suffix(".json.new")
        write_secret(new, json.dumps({"state": state, "since": datetime.now(UTC).isoformat()}).encode())
        os.replace(new, self._folders.zone2_state)
