"""Rows of what was made of recordings (index, peaks, timeline), sealed. Every function runs in a transaction of the organisation.

From its ledger entry on `put` refuses; the sweep of an erasure removes what is there (privacy/places.py).
"""

from collections.abc import Mapping
from datetime import datetime

from hushwire.core.ids import OrgId, RecordingId
from hushwire.store import recordings
from hushwire.store.database import Connection


async def put(connection: Connection, org_id: OrgId, recording_id: RecordingId, sealed: Mapping[str, bytes], at: datetime) -> bool:
    """Keep these, by kind, instead of what was kept before; False if the recording is gone or going.

    An erasure enters the ledger while it holds the recording's row. So does this: either it sees the entry, or the sweep sees the rows.
    """
    await connection.execute("SELECT 1 FROM recordings WHERE id = $1 FOR SHARE", recording_id)
    found = await recordings.get(connection, recording_id)
    if found is None or found.is_gone:
        return False
    await connection.execute(
        "INSERT INTO derivatives (org_id, recording_id, kind, sealed, made_at)"
        " SELECT $1, $2, kind, sealed, $5 FROM unnest($3::text[], $4::bytea[]) AS made (kind, sealed)"
        " ON CONFLICT (recording_id, kind) DO UPDATE SET sealed = excluded.sealed, made_at = excluded.made_at",
        org_id,
        recording_id,
        list(sealed),
        list(sealed.values()),
        at,
    )
    return True


async def get(connection: Connection, recording_id: RecordingId, kind: str) -> bytes | None:
    """The sealed bytes of a kind, if they were made."""
    sealed: bytes | None = await connection.fetchval(
        "SELECT sealed FROM derivatives WHERE recording_id = $1 AND kind = $2", recording_id, kind
    )
    return sealed
