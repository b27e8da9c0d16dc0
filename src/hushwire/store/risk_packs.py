"""Rows of the risk packs that were obeyed last. They are the operator's: no organisation is entered."""

from datetime import datetime

from hushwire.store.database import Connection


async def versions(connection: Connection) -> dict[str, int]:
    """The highest version of each name."""
    return {row["name"]: row["version"] for row in await connection.fetch("SELECT name, version FROM risk_packs")}


async def data(connection: Connection, name: str) -> bytes | None:
    """A pack as it was signed."""
    found: bytes | None = await connection.fetchval("SELECT data FROM risk_packs WHERE name = $1", name)
    return found


async def keep(connection: Connection, name: str, version: int, signed: bytes, now: datetime) -> None:
    """Keep a version, unless a higher one is kept."""
    await connection.execute(
        "INSERT INTO risk_packs AS p (name, version, data, kept_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name)"
        " DO UPDATE SET version = excluded.version, data = excluded.data, kept_at = excluded.kept_at WHERE p.version < excluded.version",
        name,
        version,
        signed,
        now,
    )


async def forget(connection: Connection, name: str) -> int | None:
    """Keep a name's version no more; which it was. None: none was kept."""
    found: int | None = await connection.fetchval("DELETE FROM risk_packs WHERE name = $1 RETURNING version", name)
    return found
