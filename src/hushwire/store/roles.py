"""The roles that every database of hushwire knows, and what keeps each of them small.

    administrator     whoever runs this module: makes roles and databases, then steps back (embedded: the cluster's superuser)
    hushwire_owner    owns tables, runs migrations and provisioning; row-level security is forced upon it too
    hushwire_finder   nobody logs in as it: owns the look-up functions, and may read ids and look-up columns across tenants
    hushwire_watcher  nobody logs in as it: owns the one function that says how far the keyring's second zone is behind
    hushwire_gateway, hushwire_api, hushwire_worker    the application; what each may touch stands in the migrations
    hushwire_backup   reads every row of the main database and writes none; nobody can log in as it but a backup, while it runs

None of them is a superuser or can become another one, and none but the last bypasses row-level security. Roles belong to a whole
cluster, so where both databases live in one cluster this runs once; grants belong to a database and stand in its first migration.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from hushwire.core.errors import ConfigError

OWNER: Final = "hushwire_owner"
FINDER: Final = "hushwire_finder"
WATCHER: Final = "hushwire_watcher"
GATEWAY: Final = "hushwire_gateway"
API: Final = "hushwire_api"
WORKER: Final = "hushwire_worker"
BACKUP: Final = "hushwire_backup"

APPLICATION_ROLES: Final = (GATEWAY, API, WORKER)
LOGIN_ROLES: Final = (OWNER, *APPLICATION_ROLES)

# A statement that runs longer than this is a fault, and would hold a connection that calls wait for.
STATEMENT_TIMEOUT_S: Final = {OWNER: 0, GATEWAY: 5, API: 15, WORKER: 60}
IDLE_IN_TRANSACTION_TIMEOUT_S: Final = {OWNER: 0, GATEWAY: 15, API: 60, WORKER: 300}

_LOCK: Final = 0x6877_726F_6C65  # "hwrole"
_BACKUP_LOCK: Final = 0x6877_6261_636B  # "hwback"
_BACKUP_WITHIN: Final = timedelta(hours=24)
_SCRAM_ITERATIONS: Final = 4096


async def ensure_roles(dsn: str, passwords: Mapping[str, str]) -> None:
    """Make the roles where they are missing and set the given passwords; run by an administrator, safe to repeat.

    `passwords` maps role names of `LOGIN_ROLES` to secrets; a role that is left out keeps what it has. The server sees SCRAM
    verifiers only, so no password can stand in its log. Raises ConfigError if a role exists with rights that would undo
    tenant isolation, or if a password is given for a name that is not ours.
    """
    unknown = sorted(set(passwords) - set(LOGIN_ROLES))
    if unknown:
        raise ConfigError(f"no such database role: {', '.join(unknown)}")
    connection = await asyncpg.connect(dsn)
    try:
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            for role in (*LOGIN_ROLES, FINDER, WATCHER):
                await _ensure_role(connection, role)
            # The owner hands functions over to these two, and inherits nothing from them (it is NOINHERIT).
            for role in (FINDER, WATCHER):
                if not await connection.fetchval("SELECT pg_has_role($1::name, $2::name, 'MEMBER')", OWNER, role):
                    await connection.execute(f"GRANT {role} TO {OWNER}")
            await _let_watch(connection)
            for role, password in passwords.items():
                await connection.execute(f"ALTER ROLE {role} PASSWORD '{scram_verifier(password)}'")
            for role in LOGIN_ROLES:
                await connection.execute(f"ALTER ROLE {role} SET statement_timeout = '{STATEMENT_TIMEOUT_S[role]}s'")
                await connection.execute(
                    f"ALTER ROLE {role} SET idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT_S[role]}s'"
                )
    finally:
        await connection.close()


@asynccontextmanager
async def backup_login(dsn: str, database: str) -> AsyncIterator[str]:
    """The password of `hushwire_backup` while a backup of `database` runs; before and after it nobody can log in as that role.

    `dsn` is an administrator's connection. The role bypasses row-level security (docs/adr/0011-backups.md): it may read everything in
    this one database, write nothing, and its password lives in memory only. Raises ConfigError if another backup is running, or if
    the administrator can't make such a role.
    """
    password = secrets.token_urlsafe(32)
    connection = await asyncpg.connect(dsn)
    try:
        if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _BACKUP_LOCK):
            raise ConfigError("another backup of this database is running: let it end first")
        try:
            async with connection.transaction():
                if not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = $1)", BACKUP):
                    await connection.execute(
                        f"CREATE ROLE {BACKUP} NOLOGIN NOSUPERUSER BYPASSRLS NOCREATEDB NOCREATEROLE INHERIT NOREPLICATION"
                    )
                await connection.execute(f"GRANT pg_read_all_data TO {BACKUP}")
                await connection.execute(f"GRANT CONNECT ON DATABASE {_quoted(database)} TO {BACKUP}")
                await connection.execute(f"ALTER ROLE {BACKUP} SET default_transaction_read_only = on")
                await connection.execute(
                    f"ALTER ROLE {BACKUP} LOGIN BYPASSRLS CONNECTION LIMIT 4 PASSWORD '{scram_verifier(password)}'"
                    f" VALID UNTIL '{datetime.now(UTC) + _BACKUP_WITHIN:%Y-%m-%d %H:%M:%S}+00'"
                )
        except asyncpg.InsufficientPrivilegeError:
            raise ConfigError(
                "[database] dsn: its user can't make the role that reads all rows for a backup: let a superuser run "
                f"CREATE ROLE {BACKUP} NOLOGIN BYPASSRLS; GRANT pg_read_all_data TO {BACKUP}, and let that user administer it"
            ) from None
        try:
            yield password
        finally:
            await connection.execute(f"ALTER ROLE {BACKUP} NOLOGIN PASSWORD NULL")
    finally:
        await connection.close()


async def ensure_database(dsn: str, name: str) -> bool:
    """Make the database `name`, owned by `hushwire_owner` and closed to everyone but our roles; True if it is new.

    `dsn` is an administrator's connection to another database of the same cluster (`postgres`).
    """
    connection = await asyncpg.connect(dsn)
    try:
        quoted = _quoted(name)
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        exists = bool(await connection.fetchval("SELECT true FROM pg_database WHERE datname = $1", name))
        if not exists:
            # A managed server's administrator must be a member of the role that it gives a database to.
            if not await connection.fetchval("SELECT pg_has_role(current_user, $1::name, 'MEMBER')", OWNER):
                await connection.execute(f"GRANT {OWNER} TO CURRENT_USER")
            await connection.execute(f"CREATE DATABASE {quoted} OWNER {OWNER}")
        await connection.execute(f"REVOKE ALL ON DATABASE {quoted} FROM PUBLIC")
        await connection.execute(f"GRANT CONNECT ON DATABASE {quoted} TO {', '.join(APPLICATION_ROLES)}")
        # The schema belongs to the database's owner by membership only, which before PostgreSQL 16 a NOINHERIT role has nothing of.
        inside = await asyncpg.connect(dsn, database=name)
        try:
            if await inside.fetchval("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'public'") != OWNER:
                await inside.execute(f"ALTER SCHEMA public OWNER TO {OWNER}")
        finally:
            await inside.close()
        return not exists
    finally:
        await connection.close()


def scram_verifier(password: str) -> str:
    """What the server stores for `password` (RFC 5803, SCRAM-SHA-256); the secrets here are ASCII, so SASLprep is the identity.

    Raises ConfigError for an empty password or characters outside printable ASCII.
    """
    if not password or not all(" " < letter <= "~" for letter in password):
        raise ConfigError("a database password must be printable ASCII without blanks, and not empty")
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"


async def _let_watch(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Let the watcher see the state of replication, which is nobody's data. A managed server may refuse: then that state stays unknown."""
    if await connection.fetchval("SELECT pg_has_role($1::name, 'pg_read_all_stats', 'MEMBER')", WATCHER):
        return
    with suppress(asyncpg.InsufficientPrivilegeError):
        async with connection.transaction():
            await connection.execute(f"GRANT pg_read_all_stats TO {WATCHER}")


async def _ensure_role(connection: "asyncpg.Connection[asyncpg.Record]", role: str) -> None:
    found = await connection.fetchrow(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolinherit, rolreplication FROM pg_roles WHERE rolname = $1", role
    )
    if found is None:
        login = "NOLOGIN" if role in (FINDER, WATCHER) else "LOGIN"
        # Only the watcher has anything to inherit: the right to see the state of replication.
        inherit = "INHERIT" if role == WATCHER else "NOINHERIT"
        await connection.execute(f"CREATE ROLE {role} {login} NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE {inherit} NOREPLICATION")
        return
    if any(value for right, value in found.items() if (role, right) != (WATCHER, "rolinherit")):
        raise ConfigError(
            f"the database role {role} must not be a superuser, bypass row-level security, create roles, replicate or inherit: "
            f"ALTER ROLE {role} NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION NOINHERIT"
        )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
