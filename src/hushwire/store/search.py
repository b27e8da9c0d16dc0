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
    " local_sealed, agent_leg, peer_leg, quality, trunk_attempts, joined_call_id, joined_as,"
    " caller_hidden, masking_session_id, device_id, peer_device_id, diversions, diverted_to_sealed,"
    " transferred_to, transferred_as, transferred_by, leg_ended_at,"
    " (SELECT array_agg(other.id ORDER BY other.id) FROM calls AS other WHERE other.org_id = calls.org_id"
    " AND other.transferred_to = calls.id)"
    " AS took_in,"
    " caller_verdict, caller_verdict_reason, caller_attestation, caller_signer,"
    " (SELECT sum(duration_ms)::bigint FROM calls AS guest WHERE guest.org_id = calls.org_id AND guest.joined_call_id = calls.id"
    " AND guest.direction = 'supervision') AS supervised_ms,"
    " is_restricted(remote_index, id) OR (diverted_to_index IS NOT NULL AND is_restricted(diverted_to_index, id)) AS is_restricted"
)


STATES: Final = ("ringing", "active", "ended", "refused", "failed")


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
    trunk_attempts: list[dict[str, Any]] | None
    joined_call_id: CallId | None
    joined_as: str | None
    transferred_to: CallId | None
    transferred_as: str | None
    transferred_by: AgentId | None
    leg_ended_at: datetime | None
    took_in: list[UUID] | None
    caller_hidden: bool
    masking_session_id: UUID | None
    diversions: list[dict[str, Any]] | None
    diverted_to_sealed: bytes | None = field(repr=False)
    device_id: UUID | None
    peer_device_id: UUID | None
    caller_verdict: str | None
    caller_verdict_reason: str | None
    caller_attestation: str | None
    caller_signer: str | None
    supervised_ms: int | None
    is_restricted: bool


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


async def get_calls(connection: Connection, ids: Sequence[UUID]) -> list[CallRow]:
    """These calls, as far as they exist."""
    return [_call(row) for row in await connection.fetch(f"SELECT {_COLUMNS} FROM calls WHERE id = ANY($1::uuid[])", list(ids))]  # noqa: S608


async def find_calls(connection: Connection, wanted: CallFilter, *, after: Place | None = None, limit: int = 50) -> list[CallRow]:
    """Rows newest first, after a place in the list.

    Each way in which a row can match (either side of an internal call, each spelling of a number) is a walk of its own along an
    index that is in the list's order, so a page costs the same however many rows match.
    """
    conditions, arguments = list[str](), list[Any]()

    def given(value: Any) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    if wanted.state is not None:
        # Written out, not given: then the planner sees that a partial index holds all such rows.
        if wanted.state not in STATES:
            raise ValueError("not a state of calls")
        conditions.append(f"state = '{wanted.state}'")
    if wanted.direction is not None:
        conditions.append(f"direction = {given(wanted.direction)}")
    if wanted.since is not None:
        conditions.append(f"started_at >= {given(wanted.since)}")
    if wanted.until is not None:
        conditions.append(f"started_at < {given(wanted.until)}")
    if after is not None:
        conditions.append(f"(started_at, id) < ({given(after.started_at)}, {given(after.id)})")
    walks = ["true"]
    if wanted.agent is not None:
        agent = given(wanted.agent)
        walks = [f"agent_id = {agent}", f"peer_agent_id = {agent} AND agent_id IS DISTINCT FROM {agent}"]
    if wanted.remote_indexes is not None:
        # One number as both the caller's and the one that the call was diverted to is found once.
        numbers = [
            where
            for index in map(given, wanted.remote_indexes)
            for where in (f"remote_index = {index}", f"diverted_to_index = {index} AND remote_index IS DISTINCT FROM {index}")
        ]
        walks = [f"{walk} AND {where}" for where in numbers for walk in walks]
    order = f"ORDER BY started_at DESC, id DESC LIMIT {int(limit)}"
    parts = [f"(SELECT {_COLUMNS} FROM calls WHERE {' AND '.join([walk, *conditions])} {order})" for walk in walks]  # noqa: S608
    rows = await connection.fetch(f"{' UNION ALL '.join(parts)} {order}" if len(parts) > 1 else parts[0], *arguments)
    return [_call(row) for row in rows]


def _call(row: Any) -> CallRow:
    fields = dict(row)
    for name in ("agent_leg", "peer_leg", "quality", "trunk_attempts", "diversions"):
        if isinstance(fields[name], str):
            fields[name] = json.loads(fields[name])
    return CallRow(**fields)
