"""What gateways say of trunks, for the API and for metrics. Trunks are the operator's: no organisation is entered."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hushwire.core.ids import NodeId, TrunkId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class TrunkState:
    """How one trunk stands at one gateway."""

    node_id: NodeId
    trunk_id: TrunkId
    standing: str
    reason: str | None
    since: datetime
    calls: int
    ways: int
    outcomes: Mapping[str, int]
    registered_until: datetime | None


async def tell(connection: Connection, node_id: NodeId, states: Iterable[TrunkState]) -> None:
    """All that this gateway says; what it said of other trunks before is gone."""
    told = list(states)
    await connection.execute(
        "DELETE FROM trunk_states WHERE node_id = $1 AND NOT trunk_id = ANY($2::uuid[])", node_id, [state.trunk_id for state in told]
    )
    await connection.executemany(
        "INSERT INTO trunk_states (node_id, trunk_id, standing, reason, since, calls, ways, outcomes, registered_until)"
        " SELECT $1, t.id, $3, $4, $5, $6, $7, $8::jsonb, $9 FROM trunks AS t WHERE t.id = $2"
        " ON CONFLICT (node_id, trunk_id) DO UPDATE SET standing = $3, reason = $4, since = $5, calls = $6, ways = $7,"
        " outcomes = $8::jsonb, registered_until = $9",
        [
            (
                node_id,
                state.trunk_id,
                state.standing,
                state.reason,
                state.since,
                state.calls,
                state.ways,
                json.dumps(dict(state.outcomes)),
                state.registered_until,
            )
            for state in told
        ],
    )


async def told(connection: Connection, within: timedelta) -> list[tuple[str, TrunkState]]:
    """(trunk's name, state) as each gateway said that gave a sign of life so lately."""
    rows = await connection.fetch(
        "SELECT t.name, s.node_id, s.trunk_id, s.standing, s.reason, s.since, s.calls, s.ways, s.outcomes, s.registered_until"
        " FROM trunk_states AS s JOIN nodes AS n ON n.id = s.node_id JOIN trunks AS t ON t.id = s.trunk_id"
        " WHERE n.seen_at > now() - $1::interval ORDER BY t.name, s.node_id",
        within,
    )
    return [
        (row["name"], TrunkState(**{key: json.loads(value) if key == "outcomes" else value for key, value in row.items() if key != "name"}))
        for row in rows
    ]
