"""Rows of the fraud breaker. Every function runs in a transaction of the organisation."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final
from uuid import UUID

import orjson

from hushwire.core.ids import AgentId, NodeId, OrgId
from hushwire.store import fraud_texts
from hushwire.store.database import Connection

CHANNEL: Final = "hushwire_fraud"
_SUBJECTS: Final = {"team": "teams", "agent": "agents"}
EVERYTHING: Final = UUID(int=0)
"""As a lock's credential: whatever leaves the house on the agent's wish."""


@dataclass(frozen=True, slots=True)
class FactRow:
    """As `fraud_facts`."""

    id: UUID
    agent_id: AgentId
    at: datetime
    kind: str
    destination_index: bytes | None
    tail_mark: bytes | None
    head_mark: bytes | None


@dataclass(frozen=True, slots=True)
class DayRow:
    """As `fraud_days`."""

    agent_id: AgentId
    day: date
    currency: str
    talk_ms: int
    spent_micros: int


@dataclass(frozen=True, slots=True)
class HabitRow:
    """As `fraud_habits`."""

    agent_id: AgentId
    kind: str
    key: str
    calls: int
    days: int


@dataclass(frozen=True, slots=True)
class AlarmRow:
    """As `fraud_alarms`."""

    id: UUID
    level: str
    subject_id: UUID
    agent_id: UUID | None
    credential_id: UUID | None
    signal: str
    action: str
    seen: float
    most: float | None
    times: int
    hour: int
    first_at: datetime
    last_at: datetime
    undone_at: datetime | None = None
    undone_by: str | None = None
    replaced_at: datetime | None = None
    replacement_id: UUID | None = None
    noticed_at: datetime | None = None


_ALARM: Final = (
    "id, level, subject_id, agent_id, credential_id, signal, action, seen, most, times, hour, first_at, last_at, undone_at, undone_by,"
    " replaced_at, replacement_id, noticed_at"
)


async def add_facts(connection: Connection, org_id: OrgId, node_id: NodeId, facts: Sequence[FactRow]) -> None:
    """Write what agents did here. Of an agent who was removed meanwhile nothing is kept."""
    await connection.execute(
        "INSERT INTO fraud_facts (id, org_id, node_id, agent_id, at, kind, destination_index, tail_mark, head_mark)"
        " SELECT (f->>0)::uuid, $1, $2, a.id, (f->>2)::timestamptz, f->>3, decode(f->>4, 'hex'), decode(f->>5, 'hex'), decode(f->>6, 'hex')"
        " FROM jsonb_array_elements($3::jsonb) AS told (f) JOIN agents AS a ON a.id = (f->>1)::uuid ON CONFLICT DO NOTHING",
        org_id,
        node_id,
        # One text for all: of an array's items each would be asked what it is, which costs more than to write it.
        orjson.dumps([_said(one) for one in facts]).decode(),
    )


def _said(fact: FactRow) -> tuple[str | datetime | None, ...]:
    marks = (fact.destination_index, fact.tail_mark, fact.head_mark)
    return str(fact.id), str(fact.agent_id), fact.at, fact.kind, *(None if mark is None else mark.hex() for mark in marks)


async def facts(connection: Connection, since: datetime, *, but: NodeId | None = None) -> list[FactRow]:
    """What agents did since then, oldest first; `but`: not at this node."""
    rows = await connection.fetch(
        "SELECT id, agent_id, at, kind, destination_index, tail_mark, head_mark FROM fraud_facts"
        " WHERE at > $1 AND ($2::uuid IS NULL OR node_id <> $2) ORDER BY at, id",
        since,
        but,
    )
    return [FactRow(**dict(row)) for row in rows]


async def undone(connection: Connection, since: datetime) -> dict[AgentId, datetime]:
    """Until when what agents did is not held against them, of those whose alarms were undone since then."""
    rows = await connection.fetch(
        "SELECT agent_id, max(undone_at) AS at FROM fraud_alarms WHERE undone_at > $1 AND agent_id IS NOT NULL GROUP BY agent_id", since
    )
    return {AgentId(row["agent_id"]): row["at"] for row in rows}


async def add_days(connection: Connection, org_id: OrgId, days: Sequence[DayRow]) -> None:
    """Add what was used."""
    await connection.execute(
        "INSERT INTO fraud_days AS d (org_id, agent_id, day, currency, talk_ms, spent_micros)"
        " SELECT $1, u.agent_id, u.day, u.currency, u.talk_ms, u.spent"
        " FROM unnest($2::uuid[], $3::date[], $4::text[], $5::bigint[], $6::bigint[])"
        " AS u (agent_id, day, currency, talk_ms, spent) JOIN agents AS a ON a.id = u.agent_id ORDER BY u.agent_id, u.day, u.currency"
        " ON CONFLICT (org_id, agent_id, day, currency)"
        " DO UPDATE SET talk_ms = d.talk_ms + excluded.talk_ms, spent_micros = d.spent_micros + excluded.spent_micros",
        org_id,
        [one.agent_id for one in days],
        [one.day for one in days],
        [one.currency for one in days],
        [one.talk_ms for one in days],
        [one.spent_micros for one in days],
    )


async def days(connection: Connection, day: date) -> list[DayRow]:
    """What a day has used."""
    rows = await connection.fetch("SELECT agent_id, day, currency, talk_ms, spent_micros FROM fraud_days WHERE day = $1", day)
    return [DayRow(**dict(row)) for row in rows]


async def add_habits(connection: Connection, org_id: OrgId, seen: Sequence[tuple[UUID, str, str]], day: date) -> None:
    """Count one more call of each of these: agent, kind and key."""
    await connection.execute(
        "INSERT INTO fraud_habits AS h (org_id, agent_id, kind, key, calls, days, last_day)"
        " SELECT $1, s.agent_id, s.kind, s.key, count(*), 1, $5 FROM unnest($2::uuid[], $3::text[], $4::text[]) AS s (agent_id, kind, key)"
        " JOIN agents AS a ON a.id = s.agent_id GROUP BY s.agent_id, s.kind, s.key ORDER BY s.agent_id, s.kind, s.key"
        " ON CONFLICT (org_id, agent_id, kind, key) DO UPDATE SET calls = h.calls + excluded.calls,"
        " days = h.days + CASE WHEN h.last_day = excluded.last_day THEN 0 ELSE 1 END, last_day = excluded.last_day",
        org_id,
        [agent_id for agent_id, _, _ in seen],
        [kind for _, kind, _ in seen],
        [key for _, _, key in seen],
        day,
    )


async def habits(connection: Connection) -> list[HabitRow]:
    """What is known of agents' habits."""
    return [HabitRow(**dict(row)) for row in await connection.fetch("SELECT agent_id, kind, key, calls, days FROM fraud_habits")]


async def put_alarm(connection: Connection, org_id: OrgId, row: AlarmRow) -> UUID | None:
    """Raise an alarm; its id. One that stands for the same thing within the hour counts on instead. None: the agent is gone."""
    same = (
        "(org_id, subject_id, signal, hour) WHERE undone_at IS NULL AND agent_id IS NULL"
        if row.agent_id is None
        else "(org_id, subject_id, signal, hour, agent_id, coalesce(credential_id, agent_id)) WHERE undone_at IS NULL"
    )
    found: UUID | None = await connection.fetchval(
        "INSERT INTO fraud_alarms AS f (org_id, id, level, subject_id, agent_id, credential_id, signal, action, seen, most, times, hour,"  # noqa: S608 (ours)
        " first_at, last_at) SELECT $1, $2, $3, $4, $5::uuid, $6, $7, $8, $9, $10, $11, $12, $13, $14"
        f" WHERE $5::uuid IS NULL OR EXISTS (SELECT 1 FROM agents WHERE id = $5) ON CONFLICT {same}"
        " DO UPDATE SET times = f.times + excluded.times, last_at = greatest(f.last_at, excluded.last_at),"
        " seen = greatest(f.seen, excluded.seen), action = excluded.action RETURNING id",
        org_id,
        row.id,
        row.level,
        row.subject_id,
        row.agent_id,
        row.credential_id,
        row.signal,
        row.action,
        row.seen,
        row.most,
        row.times,
        row.hour,
        row.first_at,
        row.last_at,
    )
    return found


async def lock(connection: Connection, org_id: OrgId, agent_id: UUID, credential_id: UUID, alarm_id: UUID, now: datetime) -> bool:
    """Lock a credential; whether it was not."""
    tag = await connection.execute(
        "INSERT INTO fraud_locks (org_id, agent_id, credential_id, alarm_id, created_at)"
        " SELECT $1, $2, $3, $4, $5 FROM agents WHERE id = $2 ON CONFLICT DO NOTHING",
        org_id,
        agent_id,
        credential_id,
        alarm_id,
        now,
    )
    return tag == "INSERT 0 1"


async def locks(connection: Connection) -> list[tuple[AgentId, UUID]]:
    """What is locked: agents with a credential, or with `EVERYTHING`."""
    return [(row["agent_id"], row["credential_id"]) for row in await connection.fetch("SELECT agent_id, credential_id FROM fraud_locks")]


async def alarm(connection: Connection, alarm_id: UUID) -> AlarmRow | None:
    """One alarm."""
    row = await connection.fetchrow(f"SELECT {_ALARM} FROM fraud_alarms WHERE id = $1", alarm_id)  # noqa: S608 - our own columns
    return None if row is None else AlarmRow(**dict(row))


async def hold(connection: Connection, alarm_id: UUID) -> AlarmRow | None:
    """One alarm, and all others of its agent, until the transaction ends; None where there is no such alarm.

    Everybody who changes more than one row of an agent takes them in one order, or two at the same time wait for each other for ever: the
    agent, its alarms by time, what hangs on them, the audit log.
    """
    found = await alarm(connection, alarm_id)
    if found is None:
        return None
    if found.agent_id is not None:
        await connection.execute("SELECT FROM agents WHERE id = $1 FOR NO KEY UPDATE", found.agent_id)
    await connection.execute(
        "SELECT FROM fraud_alarms WHERE id = $1 OR agent_id = $2 OR ($2::uuid IS NULL AND agent_id IS NULL AND subject_id = $3)"
        " ORDER BY first_at, id FOR UPDATE",
        alarm_id,
        found.agent_id,
        found.subject_id,
    )
    return await alarm(connection, alarm_id)


async def alarms(
    connection: Connection, *, standing: bool | None, agent_id: UUID | None, before: tuple[datetime, UUID] | None, limit: int
) -> list[AlarmRow]:
    """Alarms, newest first."""
    rows = await connection.fetch(
        f"SELECT {_ALARM} FROM fraud_alarms WHERE ($1::boolean IS NULL OR (undone_at IS NULL) = $1)"  # noqa: S608 - our own columns
        " AND ($2::uuid IS NULL OR agent_id = $2) AND ($3::timestamptz IS NULL OR (first_at, id) < ($3, $4))"
        " ORDER BY first_at DESC, id DESC LIMIT $5",
        standing,
        agent_id,
        None if before is None else before[0],
        None if before is None else before[1],
        limit,
    )
    return [AlarmRow(**dict(row)) for row in rows]


async def locked(connection: Connection, agents: Iterable[UUID | None]) -> set[tuple[UUID, UUID]]:
    """What is locked of these agents."""
    rows = await connection.fetch(
        "SELECT agent_id, credential_id FROM fraud_locks WHERE agent_id = ANY($1::uuid[])", [one for one in agents if one is not None]
    )
    return {(row["agent_id"], row["credential_id"]) for row in rows}


async def undo(connection: Connection, agent_id: UUID, now: datetime, by: str, day: date) -> int:
    """Nothing stands against an agent any more: its alarms are undone, its locks end, its counters are empty; how many alarms stood."""
    await connection.execute("DELETE FROM fraud_locks WHERE agent_id = $1", agent_id)
    await connection.execute("DELETE FROM fraud_facts WHERE agent_id = $1", agent_id)
    await connection.execute("DELETE FROM fraud_days WHERE agent_id = $1 AND day = $2", agent_id, day)
    await fraud_texts.forget(connection, agent_id, day)
    tag = await connection.execute(
        "UPDATE fraud_alarms SET undone_at = $2, undone_by = $3 WHERE agent_id = $1 AND undone_at IS NULL", agent_id, now, by
    )
    return _count(tag)


async def undo_nobodys(connection: Connection, subject_id: UUID, now: datetime, by: str, day: date) -> int:
    """As `undo`, of alarms that no agent's doing raised: texts of programs."""
    await fraud_texts.forget(connection, None, day)
    tag = await connection.execute(
        "UPDATE fraud_alarms SET undone_at = $2, undone_by = $3 WHERE agent_id IS NULL AND subject_id = $1 AND undone_at IS NULL",
        subject_id,
        now,
        by,
    )
    return _count(tag)


async def replaced(connection: Connection, agent_id: UUID, credential_id: UUID, now: datetime, replacement_id: UUID) -> None:
    """A credential was taken away for good, and this one made: what stands against it is settled, and its lock has nothing left to lock."""
    await connection.execute("DELETE FROM fraud_locks WHERE agent_id = $1 AND credential_id = $2", agent_id, credential_id)
    await connection.execute("DELETE FROM fraud_facts WHERE agent_id = $1", agent_id)
    await connection.execute(
        "UPDATE fraud_alarms SET replaced_at = $3, replacement_id = $4 WHERE agent_id = $1 AND credential_id = $2 AND replaced_at IS NULL",
        agent_id,
        credential_id,
        now,
        replacement_id,
    )


async def unnoticed(connection: Connection, limit: int) -> list[AlarmRow]:
    """Alarms that nobody was told of, oldest first."""
    rows = await connection.fetch(
        f"SELECT {_ALARM} FROM fraud_alarms WHERE noticed_at IS NULL ORDER BY first_at, id LIMIT $1 FOR UPDATE",  # noqa: S608
        limit,
    )
    return [AlarmRow(**dict(row)) for row in rows]


async def note_noticed(connection: Connection, alarm_ids: Sequence[UUID], now: datetime) -> None:
    """They were told of."""
    await connection.execute("UPDATE fraud_alarms SET noticed_at = $2 WHERE id = ANY($1::uuid[])", list(alarm_ids), now)


async def lapse(connection: Connection, facts_before: datetime, days_before: date, habits_before: date, alarms_before: datetime) -> int:
    """Remove what says nothing any more: facts, days and habits, and alarms that were undone long ago; how many rows."""
    removed = _count(await connection.execute("DELETE FROM fraud_facts WHERE at < $1", facts_before))
    removed += _count(await connection.execute("DELETE FROM fraud_days WHERE day < $1", days_before))
    removed += await fraud_texts.lapse(connection, days_before)
    removed += _count(await connection.execute("DELETE FROM fraud_habits WHERE last_day < $1", habits_before))
    # An alarm stays for as long as something is locked for it.
    return removed + _count(
        await connection.execute(
            "DELETE FROM fraud_alarms AS f WHERE last_at < $1 AND NOT EXISTS (SELECT 1 FROM fraud_locks AS l WHERE l.alarm_id = f.id)",
            alarms_before,
        )
    )


async def limits(connection: Connection) -> list[tuple[str, UUID, Mapping[str, Any]]]:
    """What the organisation has set: level, subject, bounds."""
    rows = await connection.fetch("SELECT level, subject_id, bounds FROM fraud_limits")
    return [(row["level"], row["subject_id"], json.loads(row["bounds"])) for row in rows]


async def lock_limits(connection: Connection) -> None:
    """One change of the organisation's limits at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('limits:' || current_org()::text, 0))")


async def has_subject(connection: Connection, level: str, subject_id: UUID) -> bool:
    """Whether there is such a `team` or `agent`."""
    return bool(await connection.fetchval(f"SELECT EXISTS (SELECT 1 FROM {_SUBJECTS[level]} WHERE id = $1)", subject_id))  # noqa: S608


async def put_limits(connection: Connection, org_id: OrgId, level: str, subject_id: UUID, bounds: Mapping[str, Any], now: datetime) -> bool:
    """Set limits, or with none take what was set away; whether anything changed."""
    if not bounds:
        tag = await connection.execute("DELETE FROM fraud_limits WHERE level = $1 AND subject_id = $2", level, subject_id)
        return _count(tag) > 0
    tag = await connection.execute(
        "INSERT INTO fraud_limits AS l (org_id, level, subject_id, bounds, updated_at) VALUES ($1, $2, $3, $4, $5)"
        " ON CONFLICT (org_id, level, subject_id) DO UPDATE SET bounds = excluded.bounds, updated_at = excluded.updated_at"
        " WHERE l.bounds IS DISTINCT FROM excluded.bounds",
        org_id,
        level,
        subject_id,
        json.dumps(bounds),
        now,
    )
    return _count(tag) > 0


def _count(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
