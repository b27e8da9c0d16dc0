"""The access log: who read which personal data, why, and when."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


async def note(connection: Connection, org_id: OrgId, at: datetime, actor: str, purpose: str, objects: Sequence[tuple[UUID, str]]) -> None:
    """One row for each object that was read: (id of the row, `kind:<id>`)."""
    if objects:
        await connection.execute(
            "INSERT INTO access_log (id, org_id, at, actor, purpose, object)"
            " SELECT id, $1, $2, $3, $4, object FROM unnest($5::uuid[], $6::text[]) AS read (id, object)",
            org_id,
            at,
            actor,
            purpose,
            [row_id for row_id, _ in objects],
            [name for _, name in objects],
        )
