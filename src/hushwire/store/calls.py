"""Rows that a gateway writes about calls and their recordings. Each function runs in a transaction of the organisation.

Every write may be repeated: a gateway whose commit was lost on the way writes the same again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import datetime
from enum import IntEnum
from typing import Final
from uuid import UUID

import orjson

from hushwire.core.ids import AgentId, CallId, NodeId, OrgId, RecordingId, TrunkId
from hushwire.core.values import frozen
from hushwire.store.database import Connection

Facts = Mapping[str, str | int | float | bool | None]
Attempts = Sequence[Facts]


@frozen
class NewCall:
    """A call as it begins, or as it was refused: then `ended_at`, `sip_status` and the verdict are set already."""

    id: CallId
    agent_id: AgentId | None
    peer_agent_id: AgentId | None
    trunk_id: TrunkId | None
    node_id: NodeId
    bridge_id: UUID | None
    direction: str
    state: str
    started_at: datetime
    verdict: str | None = None
    verdict_reason: str | None = None
    country: str | None = None
    number_class: str | None = None
    rules_version: int | None = None
    sealed_with: UUID | None = None
    remote_sealed: bytes | None = field(default=None, repr=False)
    remote_index: bytes | None = field(default=None, repr=False)
    local_sealed: bytes | None = field(default=None, repr=False)
    ended_at: datetime | None = None
    sip_status: int | None = None
    end_reason: str | None = None
    joined_call_id: CallId | None = None
    """The call that it joins as a further party, and as what."""
    joined_as: str | None = None
    caller_hidden: bool = False
    masking_session_id: UUID | None = None
    device_id: UUID | None = None
    """Whose credential the agent's phone showed, where it is known already."""
    diversions: Attempts | None = None
    """How it went on from who was called first: [{"agent", "reason", "leads_out", "refused"}], in order."""
    diverted_to_sealed: bytes | None = field(default=None, repr=False)
    """The number outside that it was diverted to at last, under the call's key, and its blind index."""
    diverted_to_index: bytes | None = field(default=None, repr=False)
    caller_verdict: str | None = None
    """Whether the number of who calls was vouched for, and by whom (STIR/SHAKEN)."""
    caller_verdict_reason: str | None = None
    caller_attestation: str | None = None
    caller_signer: str | None = None


@frozen
class CallAnswer:
    """What is known once a call is answered."""

    id: CallId
    answered_at: datetime
    peer_agent_id: AgentId | None
    agent_leg: Facts
    peer_leg: Facts
    trunk_id: TrunkId | None = None
    """Of the carrier that carries it."""
    device_id: UUID | None = None
    peer_device_id: UUID | None = None
    """The devices that took it: of the agent, of the peer agent."""
    agent_id: AgentId | None = None
    """Who is in the call: of a call that was diverted not who was called first."""


@frozen
class Transferred:
    """Where the other party of a call that is over goes on, how, and on which agent's wish.

    `leg_ended_at` where the party had come from yet another call: this row's own leg is over.
    """

    to: CallId
    kind: str
    by: AgentId
    leg_ended_at: datetime | None = None


@frozen
class CallEnd:
    """How a call ended. `state` is `ended` where it was answered, else `failed`."""

    id: CallId
    state: str
    ended_at: datetime
    duration_ms: int | None
    sip_status: int | None
    end_reason: str
    quality: Mapping[str, Facts] | None
    trunk_id: TrunkId | None = None
    """Of the carrier that had it last."""
    trunk_attempts: Attempts | None = None
    transferred: Transferred | None = None
    took_parties_in: bool = False
    """Parties of other calls went on in this one: their legs end with it."""


@frozen
class NewRecording:
    """A recording as it begins; its key is committed to the keyring already."""

    id: RecordingId
    call_id: CallId
    agent_id: AgentId | None
    peer_agent_id: AgentId | None
    node_id: NodeId
    segment: int
    remote_index: bytes | None = field(repr=False)
    spool_name: str
    region: str
    lawful_basis: str
    started_at: datetime
    key_fingerprint: bytes = field(repr=False)
    custody: str = "hushwire"
    custody_version: int = 0
    key_good_until: datetime | None = None
    further_indexes: tuple[bytes, ...] = field(default=(), repr=False)
    """Of parties outside beside the far one."""


@frozen
class RecordingEnd:
    """A recording that the media process closed, or left behind: then everything but the id and the time is None."""

    id: RecordingId
    ended_at: datetime
    duration_ms: int | None = None
    frames: int | None = None
    size_bytes: int | None = None
    digest: bytes | None = None


@frozen
class LiveCall:
    """What a restarted gateway finds of a call that it no longer holds."""

    id: CallId
    org_id: OrgId
    bridge_id: UUID | None
    recording_id: RecordingId | None
    answered_at: datetime | None
    started_at: datetime


@frozen
class Engagement:
    """An agent's part in a call that lives."""

    agent_id: AgentId
    call_id: CallId
    state: str
    is_initiator: bool


async def engagements(connection: Connection, agent_ids: Sequence[AgentId], node_ids: Sequence[UUID]) -> list[Engagement]:
    """Calls that these agents are in on these nodes: neither a conference's room nor a supervisor's legs."""
    rows = await connection.fetch(
        "SELECT id, agent_id, peer_agent_id, direction, state FROM calls WHERE state IN ('ringing', 'active') AND node_id = ANY($1)"
        " AND (agent_id = ANY($2) OR peer_agent_id = ANY($2)) AND direction <> 'supervision'"
        " AND (direction <> 'conference' OR joined_as IS NOT NULL)",
        list(node_ids),
        list(agent_ids),
    )
    wanted = set(agent_ids)
    found = []
    for row in rows:
        if row["agent_id"] in wanted:
            found.append(Engagement(AgentId(row["agent_id"]), CallId(row["id"]), row["state"], row["direction"] != "inbound"))
        if row["peer_agent_id"] in wanted and row["peer_agent_id"] != row["agent_id"]:
            found.append(Engagement(AgentId(row["peer_agent_id"]), CallId(row["id"]), row["state"], False))
    return found


class Step(IntEnum):
    """What is written of every call, in the order in which it is: so steps of many calls can go in one round trip each."""

    BEGIN = 0
    ANSWER = 1
    END = 2


Row = tuple[object, ...]


def as_json(value: object) -> str:
    """The text of a jsonb column."""
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # a surrogate, or a number of more than 64 bits: the database says what is wrong with it
        return json.dumps(value)


_STEPS: Final = {
    Step.BEGIN: (
        "INSERT INTO calls (org_id, id, agent_id, peer_agent_id, trunk_id, node_id, bridge_id, direction, state, started_at, verdict,"
        " verdict_reason, country, number_class, rules_version, sealed_with, remote_sealed, remote_index, local_sealed, ended_at,"
        " sip_status, end_reason, joined_call_id, joined_as, caller_hidden, device_id, diversions, diverted_to_sealed, diverted_to_index,"
        " caller_verdict, caller_verdict_reason, caller_attestation, caller_signer, masking_session_id)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26,"
        " $27::jsonb, $28, $29, $30, $31, $32, $33, $34)"
        " ON CONFLICT (id) DO NOTHING"
    ),
    Step.ANSWER: (
        "UPDATE calls SET state = CASE WHEN state = 'ringing' THEN 'active' ELSE state END, answered_at = $2,"
        " peer_agent_id = coalesce($3, peer_agent_id), agent_leg = $4::jsonb, peer_leg = $5::jsonb,"
        " trunk_id = coalesce($6, trunk_id), device_id = coalesce($7, device_id), peer_device_id = coalesce($8, peer_device_id),"
        " agent_id = coalesce($9, agent_id) WHERE id = $1 AND answered_at IS NULL"
    ),
    Step.END: (
        "UPDATE calls SET state = $2, ended_at = $3, duration_ms = $4, sip_status = coalesce($5, sip_status), end_reason = $6,"
        " quality = $7::jsonb, trunk_id = coalesce($8, trunk_id), trunk_attempts = $9::jsonb,"
        " transferred_to = $10, transferred_as = $11, transferred_by = $12, leg_ended_at = $13"
        " WHERE id = $1 AND state IN ('ringing', 'active')"
    ),
}


async def write_steps(connection: Connection, step: Step, rows: Sequence[Row]) -> None:
    """The same step of several calls, each row as `begun`, `answered` or `ended` gives it; what stands there already stays."""
    if len(rows) == 1:
        await connection.execute(_STEPS[step], *rows[0])
    else:
        await connection.executemany(_STEPS[step], rows)


async def begin(connection: Connection, org_id: OrgId, call: NewCall) -> bool:
    """Insert the row of a call; False if it is there already."""
    tag = await connection.execute(_STEPS[Step.BEGIN], *begun(org_id, call))
    return tag == "INSERT 0 1"


def begun(org_id: OrgId, call: NewCall) -> Row:
    """A call's row as it begins."""
    return (
        org_id,
        call.id,
        call.agent_id,
        call.peer_agent_id,
        call.trunk_id,
        call.node_id,
        call.bridge_id,
        call.direction,
        call.state,
        call.started_at,
        call.verdict,
        call.verdict_reason,
        call.country,
        call.number_class,
        call.rules_version,
        call.sealed_with,
        call.remote_sealed,
        call.remote_index,
        call.local_sealed,
        call.ended_at,
        call.sip_status,
        call.end_reason,
        call.joined_call_id,
        call.joined_as,
        call.caller_hidden,
        call.device_id,
        None if call.diversions is None else as_json(call.diversions),
        call.diverted_to_sealed,
        call.diverted_to_index,
        call.caller_verdict,
        call.caller_verdict_reason,
        call.caller_attestation,
        call.caller_signer,
        call.masking_session_id,
    )


async def divert(connection: Connection, call: NewCall) -> None:
    """What a row says of a call that went on to somebody else. An erased one learns no number."""
    await connection.execute(
        "UPDATE calls SET agent_id = $2, peer_agent_id = $3, trunk_id = coalesce($4, trunk_id), verdict = $5, country = $6,"
        " number_class = $7, diversions = $8::jsonb,"
        " diverted_to_sealed = CASE WHEN sealed_with IS NOT NULL THEN $9::bytea END,"
        " diverted_to_index = CASE WHEN sealed_with IS NOT NULL THEN $10::bytea END WHERE id = $1",
        call.id,
        call.agent_id,
        call.peer_agent_id,
        call.trunk_id,
        call.verdict,
        call.country,
        call.number_class,
        None if call.diversions is None else as_json(call.diversions),
        call.diverted_to_sealed,
        call.diverted_to_index,
    )


async def end_leg(connection: Connection, call_id: CallId, at: datetime) -> None:
    """The party that had come out of this call is not in the other one any more."""
    await connection.execute("UPDATE calls SET leg_ended_at = $2 WHERE id = $1 AND leg_ended_at IS NULL", call_id, at)


async def move_leg(connection: Connection, call_id: CallId, to: CallId) -> None:
    """The party that had come out of this call goes on in yet another one."""
    await connection.execute("UPDATE calls SET transferred_to = $2 WHERE id = $1 AND leg_ended_at IS NULL", call_id, to)


async def update_joined_as(connection: Connection, call_id: CallId, role: str) -> None:
    """As what the call is in the other one from now on."""
    await connection.execute("UPDATE calls SET joined_as = $2 WHERE id = $1", call_id, role)


async def answer(connection: Connection, call: CallAnswer) -> bool:
    """ringing -> active; a call that has ended meanwhile only learns when it was answered and how it was protected.

    False if that is known already.
    """
    tag = await connection.execute(_STEPS[Step.ANSWER], *answered(call))
    return tag == "UPDATE 1"


def answered(call: CallAnswer) -> Row:
    """What a call's row learns once it is answered."""
    return (
        call.id,
        call.answered_at,
        call.peer_agent_id,
        as_json(call.agent_leg),
        as_json(call.peer_leg),
        call.trunk_id,
        call.device_id,
        call.peer_device_id,
        call.agent_id,
    )


async def update_legs(connection: Connection, call_id: CallId, agent_leg: Facts, peer_leg: Facts) -> None:
    """The legs after a re-INVITE."""
    await connection.execute(
        "UPDATE calls SET agent_leg = $2::jsonb, peer_leg = $3::jsonb WHERE id = $1", call_id, as_json(agent_leg), as_json(peer_leg)
    )


async def update_quality(connection: Connection, call_id: CallId, quality: Mapping[str, Facts]) -> None:
    """How a call that is not over sounds."""
    await connection.execute(
        "UPDATE calls SET quality = $2::jsonb WHERE id = $1 AND state IN ('ringing', 'active')", call_id, as_json(quality)
    )


async def end(connection: Connection, call: CallEnd) -> bool:
    """Close the row; False if it was closed already."""
    tag = await connection.execute(_STEPS[Step.END], *ended(call))
    if call.took_parties_in:
        await connection.execute(
            "UPDATE calls SET leg_ended_at = $2 WHERE transferred_to = $1 AND leg_ended_at IS NULL", call.id, call.ended_at
        )
    return tag == "UPDATE 1"


def ended(call: CallEnd) -> Row:
    """What closes a call's row."""
    return (
        call.id,
        call.state,
        call.ended_at,
        call.duration_ms,
        call.sip_status,
        call.end_reason,
        None if call.quality is None else as_json(call.quality),
        call.trunk_id,
        None if call.trunk_attempts is None else as_json(call.trunk_attempts),
        None if call.transferred is None else call.transferred.to,
        None if call.transferred is None else call.transferred.kind,
        None if call.transferred is None else call.transferred.by,
        None if call.transferred is None else call.transferred.leg_ended_at,
    )


async def begin_recording(connection: Connection, org_id: OrgId, recording: NewRecording, *, has_begun: bool = False) -> bool:
    """Insert the row of a recording and name it on its call's row.

    False, and nothing is written, if its key was sealed under a custody that the organisation has changed since, or to a recipient
    that has expired. One that `has_begun` while the database was away gets its row in any case.
    """
    tag = await connection.execute(
        "INSERT INTO recordings (org_id, id, call_id, agent_id, peer_agent_id, node_id, segment, state, remote_index, spool_name, region,"
        " lawful_basis, started_at, key_fingerprint, custody, further_indexes)"
        " SELECT $1, $2, $3, $4, $5, $6, $7, 'live', $8, $9, $10, $11, $12, $13, $14, $18::bytea[] WHERE $17 OR custody_admits($15, $16)"
        " ON CONFLICT (id) DO NOTHING",
        org_id,
        recording.id,
        recording.call_id,
        recording.agent_id,
        recording.peer_agent_id,
        recording.node_id,
        recording.segment,
        recording.remote_index,
        recording.spool_name,
        recording.region,
        recording.lawful_basis,
        recording.started_at,
        recording.key_fingerprint,
        recording.custody,
        recording.custody_version,
        recording.key_good_until,
        has_begun,
        list(recording.further_indexes) or None,
    )
    if tag != "INSERT 0 1" and not await connection.fetchval("SELECT EXISTS (SELECT 1 FROM recordings WHERE id = $1)", recording.id):
        return False
    await connection.execute("UPDATE calls SET recording_id = $2 WHERE id = $1", recording.call_id, recording.id)
    return True


async def add_parties(connection: Connection, recording_id: RecordingId, indexes: Sequence[bytes]) -> None:
    """Let a recording that is not erased be found by these parties' numbers too."""
    await connection.execute(
        "UPDATE recordings SET further_indexes = ARRAY(SELECT DISTINCT one FROM unnest(further_indexes || $2::bytea[]) AS one"
        "  WHERE one IS DISTINCT FROM remote_index)"
        " WHERE id = $1 AND state <> 'erased' AND NOT $2::bytea[] <@ array_append(further_indexes, remote_index)",
        recording_id,
        list(indexes),
    )


async def set_recorded_agents(connection: Connection, recording_id: RecordingId, agent_id: AgentId, peer_agent_id: AgentId | None) -> None:
    """Whose recording it is, where its row names somebody who did not come after all."""
    await connection.execute(
        "UPDATE recordings SET agent_id = $2, peer_agent_id = $3 WHERE id = $1 AND state <> 'erased'"
        " AND (agent_id, peer_agent_id) IS DISTINCT FROM ($2, $3)",
        recording_id,
        agent_id,
        peer_agent_id,
    )


async def close_recording(connection: Connection, recording: RecordingEnd) -> bool:
    """live -> closed with what the file holds, or -> crashed where nobody closed it; False if it was not live."""
    tag = await connection.execute(
        "UPDATE recordings SET state = $2, ended_at = $3, duration_ms = $4, frames = $5, size_bytes = $6, digest = $7"
        " WHERE id = $1 AND state = 'live'",
        recording.id,
        "crashed" if recording.digest is None else "closed",
        recording.ended_at,
        recording.duration_ms,
        recording.frames,
        recording.size_bytes,
        recording.digest,
    )
    return tag == "UPDATE 1"


async def fail_recording(connection: Connection, recording_id: RecordingId, at: datetime) -> None:
    """live -> failed: its file was never begun."""
    await connection.execute("UPDATE recordings SET state = 'failed', ended_at = $2 WHERE id = $1 AND state = 'live'", recording_id, at)


async def live(connection: Connection, node_id: NodeId) -> list[tuple[OrgId, CallId]]:
    """Calls that this node's rows say are going on; across tenants, ids only."""
    rows = await connection.fetch("SELECT org_id, call_id FROM live_calls($1)", node_id)
    return [(OrgId(row["org_id"]), CallId(row["call_id"])) for row in rows]


async def get_live(connection: Connection, call_id: CallId) -> LiveCall | None:
    """One of those calls, if it still is."""
    row = await connection.fetchrow(
        "SELECT id, org_id, bridge_id, recording_id, answered_at, started_at FROM calls WHERE id = $1 AND state IN ('ringing', 'active')",
        call_id,
    )
    return None if row is None else LiveCall(**dict(row))


async def keys_in_use(connection: Connection, kind: str, keys: Sequence[UUID]) -> set[UUID]:
    """Those of these data keys that a call, a recording or a message of the entered organisation is sealed under."""
    query = {
        "recording": "SELECT id FROM recordings WHERE id = ANY($1::uuid[])",
        "call": "SELECT sealed_with FROM calls WHERE sealed_with = ANY($1::uuid[])",
        "message": "SELECT sealed_with FROM messages WHERE sealed_with = ANY($1::uuid[])",
    }[kind]
    return {row[0] for row in await connection.fetch(query, list(keys))}
