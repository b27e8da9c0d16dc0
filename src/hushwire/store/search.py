"""Finding calls: by time, agent, state, direction, or the blind index of the far number. Runs as the organisation."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import AgentId, CallId, NodeId, OrgId, RecordingId, TrunkId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "id, org_id, agent_id, peer_agent_id, trunk_id, node_id, recording_id, direction, state, started_at, answered_at, ended_at,"
    " duration_ms, sip_status, end_reason, verdict, verdict_reason, country, number_class, rules_version, sealed_with, remote_sealed,"
    " local_sealed, agent_leg, peer_leg, quality"
)


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call. What is sealed opens under the data key `sealed_with`."""

    id: CallId
    org_id: OrgId
    agent_id: AgentId | None
    peer_agent_id: AgentId | None
    trunk_id: TrunkId | None
    node_id: NodeId
    recording_id: RecordingId | None
    direction: str
    state: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None
    duration_ms: int | None
    sip_status: int | None
    end_reason: str | None
    verdict: str | None
    verdict_reason: str | None
    country: str | None
    number_class: str | None
    rules_version: int | None
    sealed_with: UUID | None
    remote_sealed: bytes | None = field(repr=False)
    local_sealed: bytes | None = field(repr=False)
    agent_leg: dict[str, Any] | None
    peer_leg: dict[str, Any] | None
    quality: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class CallFilter:
    """What to list; None: any. `agent` matches either side of an internal call. Times bound `started_at`: from <= t < until."""

    agent: AgentId | None = None
    state: str | None = None
    direction: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    remote_indexes: Sequence[bytes] | None = None


async def get_call(connection: Connection, call_id: CallId) -> CallRow | None:
    """The row, or None."""
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM calls WHERE id = $1", call_id)  # noqa: S608
    return None if row is None else _call(row)


async def find_calls(connection: Connection, wanted: CallFilter, *, after: Place | None = None, limit: int = 50) -> list[CallRow]:
    """Rows newest first, after a place in the list."""
    conditions, arguments = ["true"], list[Any]()

    def where(condition: str, *values: Any) -> None:
        numbers = [f"${len(arguments) + n + 1}" for n in range(len(values))]
        conditions.append(condition.format(*numbers))
        arguments.extend(values)

    if wanted.agent is not None:
        where("(agent_id = {0} OR peer_agent_id = {0})", wanted.agent)
    if wanted.state is not None:
        where("state = {0}", wanted.state)
    if wanted.direction is not None:
        where("direction = {0}", wanted.direction)
    if wanted.remote_indexes is not None:
        where("remote_index = ANY({0}::bytea[])", list(wanted.remote_indexes))
    if wanted.since is not None:
        where("started_at >= {0}", wanted.since)
    if wanted.until is not None:
        where("started_at < {0}", wanted.until)
    if after is not None:
        where("(started_at, id) < ({0}, {1})", after.started_at, after.id)
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM calls WHERE {' AND '.join(conditions)} ORDER BY started_at DESC, id DESC LIMIT {int(limit)}",  # noqa: S608
        *arguments,
    )
    return [_call(row) for row in rows]


def _call(row: Any) -> CallRow:
    fields = dict(row)
    for name in ("agent_leg", "peer_leg", "quality"):
        if isinstance(fields[name], str):
            fields[name] = json.loads(fields[name])
    return CallRow(**fields)
