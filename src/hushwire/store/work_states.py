"""What roles say of the work that they keep going, where some of it broke. It is the operator's: no organisation is entered."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hushwire.core.ids import NodeId
from hushwire.store.database import Connection

_KEPT: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class WorkState:
    """One task of a role. `error` is a class, with counts at most; `since`: it has not worked since then, None: it does again."""

    task: str
    failures: int
    error: str
    failed_at: datetime | None
    since: datetime | None


async def tell(connection: Connection, node_id: NodeId, role: str, states: Iterable[WorkState]) -> None:
    """All that this role says; what it said before is gone, and what others of long ago said."""
    await connection.execute(
        "DELETE FROM work_states WHERE node_id = $1 AND role = $2 OR failed_at < now() - $3::interval", node_id, role, _KEPT
    )
    await connection.executemany(
        "INSERT INTO work_states (node_id, role, task, failures, error, failed_at, since) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (node_id, role, task) DO UPDATE SET failures = $4, error = $5, failed_at = $6, since = $7",
        [(node_id, role, one.task, one.failures, one.error, one.failed_at, one.since) for one in states],
    )


async def told(connection: Connection) -> list[tuple[str, WorkState]]:
    """(role, state), of all nodes."""
    rows = await connection.fetch("SELECT role, task, failures, error, failed_at, since FROM work_states ORDER BY role, task, node_id")
    return [(row["role"], WorkState(row["task"], row["failures"], row["error"], row["failed_at"], row["since"])) for row in rows]
