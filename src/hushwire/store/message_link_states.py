"""What processes say of their links to carriers of short messages. Carriers are the operator's: no organisation is entered."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class LinkState:
    """How one link stands. `reason`: why it is not bound, in a word; empty while it is. `counts` since its process began."""

    centre_id: UUID
    link: int
    reason: str
    since: datetime
    sends: bool
    in_window: int
    window_size: int
    counts: Mapping[str, int]

    @property
    def is_bound(self) -> bool:
        return not self.reason


async def tell(connection: Connection, run_id: UUID, states: Iterable[LinkState]) -> None:
    """All that this process says; what it said before is gone. A process that was given up says nothing."""
    await connection.execute("DELETE FROM message_link_states WHERE run_id = $1", run_id)
    await connection.executemany(
        "INSERT INTO message_link_states (run_id, centre_id, link, reason, since, sends, in_window, window_size, counts)"
        " SELECT r.id, c.id, $3, $4, $5, $6, $7, $8, $9::jsonb FROM message_runs AS r, message_centres AS c WHERE r.id = $1 AND c.id = $2",
        [
            (
                run_id,
                one.centre_id,
                one.link,
                one.reason,
                one.since,
                one.sends,
                one.in_window,
                one.window_size,
                json.dumps(dict(one.counts)),
            )
            for one in states
        ],
    )


async def told(connection: Connection, within: timedelta) -> list[tuple[str, LinkState]]:
    """(carrier's name, state) as each process said that gave a sign of life so lately."""
    rows = await connection.fetch(
        "SELECT c.name, s.centre_id, s.link, s.reason, s.since, s.sends, s.in_window, s.window_size, s.counts FROM message_link_states AS s"
        " JOIN message_runs AS r ON r.id = s.run_id JOIN message_centres AS c ON c.id = s.centre_id"
        " WHERE r.seen_at > now() - $1::interval ORDER BY c.name, s.link, s.run_id",
        within,
    )
    return [
        (row["name"], LinkState(**{key: json.loads(value) if key == "counts" else value for key, value in row.items() if key != "name"}))
        for row in rows
    ]
