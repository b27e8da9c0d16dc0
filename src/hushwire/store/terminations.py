"""The end of an organisation's agreement: one row, from its notice to the last erasure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = "org_id, id, requested_at, effective_at, actor, suspended_at, content_erased_at, erased_at, cancelled_at"


@dataclass(frozen=True, slots=True)
class TerminationRow:
    """One row; a time that is set is a step that is done."""

    org_id: OrgId
    id: UUID
    requested_at: datetime
    effective_at: datetime
    actor: str
    suspended_at: datetime | None
    content_erased_at: datetime | None
    erased_at: datetime | None
    cancelled_at: datetime | None

    @property
    def stands(self) -> bool:
        """Whether it will be, or was, carried out."""
        return self.cancelled_at is None


async def get(connection: Connection, *, for_update: bool = False) -> TerminationRow | None:
    """The row of the organisation that was entered."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM terminations{' FOR UPDATE' if for_update else ''}")  # noqa: S608
    return None if row is None else TerminationRow(**dict(row))


async def announce(connection: Connection, row: TerminationRow) -> None:
    """A new notice, or one after a notice that was cancelled."""
    await connection.execute(
        "INSERT INTO terminations (org_id, id, requested_at, effective_at, actor) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (org_id) DO UPDATE SET id = EXCLUDED.id, requested_at = EXCLUDED.requested_at, effective_at = EXCLUDED.effective_at,"
        " actor = EXCLUDED.actor, cancelled_at = NULL WHERE terminations.cancelled_at IS NOT NULL",
        row.org_id,
        row.id,
        row.requested_at,
        row.effective_at,
        row.actor,
    )


async def cancel(connection: Connection, at: datetime) -> None:
    """Not after all, as long as nothing was done."""
    await connection.execute("UPDATE terminations SET cancelled_at = $1 WHERE cancelled_at IS NULL AND suspended_at IS NULL", at)


async def note_suspended(connection: Connection, at: datetime) -> None:
    """In effect: the return window is open."""
    await connection.execute("UPDATE terminations SET suspended_at = $1 WHERE suspended_at IS NULL", at)


async def note_content_erased(connection: Connection, at: datetime) -> None:
    """Recordings, messages and documents are gone."""
    await connection.execute("UPDATE terminations SET content_erased_at = $1 WHERE content_erased_at IS NULL", at)


async def note_erased(connection: Connection, at: datetime) -> None:
    """Everything is gone."""
    await connection.execute("UPDATE terminations SET erased_at = $1 WHERE erased_at IS NULL", at)


async def open_ones(connection: Connection) -> list[OrgId]:
    """Organisations whose agreement ends; across tenants, ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT open_terminations()")]


async def erasure_begun(connection: Connection, reason: str, scope: str, since: datetime) -> UUID | None:
    """The erasure that was begun for a step of the end; None before."""
    found: UUID | None = await connection.fetchval(
        "SELECT id FROM erasure_operations WHERE reason = $1 AND scope = $2 AND requested_at >= $3 AND follows IS NULL"
        " ORDER BY requested_at, id LIMIT 1",
        reason,
        scope,
        since,
    )
    return found
