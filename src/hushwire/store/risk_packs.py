"""Rows of the risk packs that were obeyed last, by who signed them. They are the operator's: no organisation is entered."""

from datetime import datetime

from hushwire.store.database import Connection


async def versions(connection: Connection) -> dict[tuple[str, str], int]:
    """The highest version of each name and id of a signing key."""
    rows = await connection.fetch("SELECT name, key_id, version FROM risk_packs")
    return {(row["name"], row["key_id"]): row["version"] for row in rows}


async def data(connection: Connection, name: str, key_id: str) -> bytes | None:
    """A pack as it was signed."""
    found: bytes | None = await connection.fetchval("SELECT data FROM risk_packs WHERE name = $1 AND key_id = $2", name, key_id)
    return found


async def keep(connection: Connection, name: str, key_id: str, version: int, signed: bytes, now: datetime) -> None:
    """Keep a version, unless a higher one of the same key is kept."""
    await connection.execute(
        "INSERT INTO risk_packs AS p (name, key_id, version, data, kept_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (name, key_id)"
        " DO UPDATE SET version = excluded.version, data = excluded.data, kept_at = excluded.kept_at WHERE p.version < excluded.version",
        name,
        key_id,
        version,
        signed,
        now,
    )


async def forget(connection: Connection, name: str) -> int | None:
    """Keep a name's versions no more, whoever signed them; which was the highest. None: none was kept."""
    found: int | None = await connection.fetchval(
        "WITH gone AS (DELETE FROM risk_packs WHERE name = $1 RETURNING version) SELECT max(version) FROM gone", name
    )
    return found
