"""Whom recordings hold that were made when only one party outside was noted with each, as the rows of their calls tell."""

from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


async def organisations(connection: Connection) -> list[OrgId]:
    """Those whose old recordings were not looked at yet; ids only."""
    return [OrgId(row[0]) for row in await connection.fetch("SELECT orgs_to_index()")]


async def index_parties(connection: Connection, after: UUID, limit: int) -> tuple[UUID | None, int]:
    """Note the further parties of the organisation's next recordings by id; the last one's id (None: there are no more), and of how many.

    A further party is whom the call was diverted to, and whoever came from another call by a transfer, for the segments that began while
    it was there. A segment begins just before its new party is let in, and the other call's row ends just after that.
    """
    rows = await connection.fetch(
        """
        WITH looked_at AS (
            SELECT id, call_id, started_at, remote_index, further_indexes, state FROM recordings WHERE id > $1 ORDER BY id LIMIT $2
        ), named AS (
            SELECT r.id, array_agg(DISTINCT party.index) AS indexes
            FROM looked_at AS r
            JOIN calls AS c ON c.id = r.call_id
            CROSS JOIN LATERAL (
                SELECT c.diverted_to_index AS index
                UNION SELECT unnest(ARRAY[t.remote_index, t.diverted_to_index]) FROM calls AS t
                WHERE t.transferred_to = c.id AND r.started_at >= t.ended_at - interval '5 seconds'
                    AND (t.leg_ended_at IS NULL OR r.started_at < t.leg_ended_at)
            ) AS party
            WHERE r.state <> 'erased' AND party.index IS NOT NULL AND party.index IS DISTINCT FROM r.remote_index
                AND party.index <> ALL (coalesce(r.further_indexes, '{}'))
            GROUP BY r.id
        ), changed AS (
            UPDATE recordings AS r SET further_indexes = coalesce(r.further_indexes, '{}') || n.indexes
            FROM named AS n WHERE r.id = n.id AND r.state <> 'erased' RETURNING r.id
        )
        SELECT id, id IN (SELECT id FROM changed) AS is_changed FROM looked_at ORDER BY id
        """,
        after,
        limit,
    )
    last = rows[-1]["id"] if len(rows) == limit else None
    return last, sum(row["is_changed"] for row in rows)


async def note_indexed(connection: Connection) -> None:
    """The organisation's old recordings are done."""
    await connection.execute("UPDATE orgs SET parties_indexed = true WHERE NOT parties_indexed")
