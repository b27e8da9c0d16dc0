"""Rows of data subjects' requests and of what was disclosed. Every function runs in a transaction of the organisation."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id, org_id, kind, state, channel, subject_sealed, remote_index, contact_id, asked_sealed, jurisdiction, received_at, due_at,"
    " created_by, verified_at, closed_at, refusal_reason, outcome, erased_at"
)


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request; what is sealed opens under the data key (kind case) with its id."""

    id: UUID
    org_id: OrgId
    kind: str
    state: str
    channel: str
    subject_sealed: bytes | None = field(repr=False)
    remote_index: bytes | None = field(repr=False)
    contact_id: UUID | None
    asked_sealed: bytes | None = field(repr=False)
    jurisdiction: str | None
    received_at: datetime
    due_at: datetime
    created_by: str
    verified_at: datetime | None = None
    closed_at: datetime | None = None
    refusal_reason: str | None = None
    outcome: dict[str, Any] | None = None
    erased_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepRow:
    """Something that was done with a request: who, when, how."""

    id: UUID
    at: datetime
    actor: str
    step: str
    state: str
    method: str | None
    note_sealed: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Disclosure:
    """Who received what, when, on which basis; all of it ids and codes."""

    id: UUID
    at: datetime
    recipient: str
    recipient_id: str
    kind: str
    object_id: UUID
    basis: str
    remote_index: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to list; None: any."""

    kind: str | None = None
    state: str | None = None
    remote_index: bytes | None = None


async def insert(connection: Connection, row: RequestRow) -> None:
    """A new request."""
    await connection.execute(
        "INSERT INTO privacy_requests (id, org_id, kind, state, channel, subject_sealed, remote_index, contact_id, asked_sealed,"
        " jurisdiction, received_at, due_at, created_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)",
        row.id,
        row.org_id,
        row.kind,
        row.state,
        row.channel,
        row.subject_sealed,
        row.remote_index,
        row.contact_id,
        row.asked_sealed,
        row.jurisdiction,
        row.received_at,
        row.due_at,
        row.created_by,
    )


async def get(connection: Connection, request_id: UUID, *, for_update: bool = False) -> RequestRow | None:
    """The row, or None; `for_update` holds it until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM privacy_requests WHERE id = $1"  # noqa: S608
    row = await connection.fetchrow(query + " FOR UPDATE" if for_update else query, request_id)
    return None if row is None else _request(row)


async def find(connection: Connection, wanted: Wanted, *, after: tuple[datetime, UUID] | None = None, limit: int = 50) -> list[RequestRow]:
    """Rows by the time of receipt, newest first."""
    conditions, arguments = ["true"], list[Any]()

    def where(condition: str, *values: Any) -> None:
        places = [f"${len(arguments) + n + 1}" for n in range(len(values))]
        conditions.append(condition.format(*places))
        arguments.extend(values)

    if wanted.kind is not None:
        where("kind = {0}", wanted.kind)
    if wanted.state is not None:
        where("state = {0}", wanted.state)
    if wanted.remote_index is not None:
        where("remote_index = {0}", wanted.remote_index)
    if after is not None:
        where("(received_at, id) < ({0}, {1})", *after)
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM privacy_requests WHERE {' AND '.join(conditions)} ORDER BY received_at DESC, id DESC LIMIT {int(limit)}",  # noqa: S608
        *arguments,
    )
    return [_request(row) for row in rows]


async def move(
    connection: Connection,
    request_id: UUID,
    state: str,
    *,
    verified_at: datetime | None = None,
    closed_at: datetime | None = None,
    refusal_reason: str | None = None,
    outcome: Mapping[str, Any] | None = None,
) -> None:
    """Put a request into a state; what is given is set with it."""
    await connection.execute(
        "UPDATE privacy_requests SET state = $2, verified_at = coalesce($3, verified_at), closed_at = coalesce($4, closed_at),"
        " refusal_reason = coalesce($5, refusal_reason), outcome = coalesce(outcome, '{}'::jsonb) || coalesce($6::jsonb, '{}'::jsonb)"
        " WHERE id = $1",
        request_id,
        state,
        verified_at,
        closed_at,
        refusal_reason,
        None if outcome is None else json.dumps(dict(outcome)),
    )


async def add_step(connection: Connection, org_id: OrgId, request_id: UUID, step: StepRow) -> None:
    """Evidence: appended, never changed."""
    await connection.execute(
        "INSERT INTO privacy_request_steps (id, org_id, request_id, at, actor, step, state, method, note_sealed)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        step.id,
        org_id,
        request_id,
        step.at,
        step.actor,
        step.step,
        step.state,
        step.method,
        step.note_sealed,
    )


async def steps(connection: Connection, request_id: UUID) -> list[StepRow]:
    """All that was done with a request, oldest first."""
    rows = await connection.fetch(
        "SELECT id, at, actor, step, state, method, note_sealed FROM privacy_request_steps WHERE request_id = $1 ORDER BY at, id",
        request_id,
    )
    return [StepRow(**dict(row)) for row in rows]


async def contact_indexes(connection: Connection, contact_id: UUID) -> list[bytes]:
    """Blind indexes of a contact's numbers."""
    rows = await connection.fetch("SELECT remote_index FROM contact_numbers WHERE contact_id = $1 ORDER BY position", contact_id)
    return [row[0] for row in rows]


async def disclose(connection: Connection, org_id: OrgId, entries: Sequence[Disclosure]) -> None:
    """Note what was given to whom."""
    await connection.executemany(
        "INSERT INTO disclosures (id, org_id, at, recipient, recipient_id, kind, object_id, basis, remote_index)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [(e.id, org_id, e.at, e.recipient, e.recipient_id, e.kind, e.object_id, e.basis, e.remote_index) for e in entries],
    )


async def disclosures(connection: Connection, remote_indexes: Sequence[bytes], *, limit: int = 1000) -> list[Disclosure]:
    """What was given to whom about a person, newest first."""
    rows = await connection.fetch(
        "SELECT id, at, recipient, recipient_id, kind, object_id, basis, remote_index FROM disclosures"
        " WHERE remote_index = ANY($1::bytea[]) ORDER BY at DESC, id DESC LIMIT $2",
        list(remote_indexes),
        limit,
    )
    return [Disclosure(**dict(row)) for row in rows]


def _request(row: Any) -> RequestRow:
    fields = dict(row)
    if isinstance(fields["outcome"], str):
        fields["outcome"] = json.loads(fields["outcome"])
    return RequestRow(**fields)
