"""What an organisation holds of one person, found by the blind indexes of their numbers. Runs in a transaction of the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.store import requests
from hushwire.store.database import Connection
from hushwire.store.requests import RequestRow


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose data it is. `shared`: contacts that hold one of the numbers, but may be somebody else's who shares it."""

    indexes: tuple[bytes, ...] = field(repr=False)
    contacts: tuple[UUID, ...]
    shared: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """How much is held of one kind."""

    kind: str
    count: int
    first: datetime | None
    last: datetime | None


@dataclass(frozen=True, slots=True)
class CarriedCall:
    """A call whose carrier received the number."""

    id: UUID
    at: datetime
    trunk_id: UUID
    carrier: str


async def of_request(connection: Connection, row: RequestRow) -> Subject:
    """The person behind a request.

    A contact that the request names is theirs. Where only a number is known, the contact that holds it is theirs if there is just
    one: of several, sharing a line, each may be another person, and none is given out without being named.
    """
    indexes = [] if row.remote_index is None else [row.remote_index]
    if row.contact_id is not None:
        indexes += await requests.contact_indexes(connection, row.contact_id)
    found = await connection.fetch(
        "SELECT DISTINCT n.contact_id FROM contact_numbers AS n JOIN contacts AS c ON c.id = n.contact_id"
        " WHERE n.remote_index = ANY($1::bytea[]) AND c.erased_at IS NULL ORDER BY n.contact_id",
        indexes,
    )
    holders = tuple(each[0] for each in found)
    if row.contact_id is not None:
        return Subject(tuple(dict.fromkeys(indexes)), (row.contact_id,), tuple(each for each in holders if each != row.contact_id))
    own = holders if len(holders) == 1 else ()
    return Subject(tuple(indexes), own, () if own else holders)


async def held(connection: Connection, subject: Subject) -> list[Held]:
    """How many calls, recordings, contacts, requests, consents and messages there are, and from when to when."""
    row = await connection.fetchrow(
        "SELECT (SELECT ROW(count(*), min(started_at), max(started_at)) FROM calls"
        "  WHERE remote_index = ANY($1::bytea[]) OR diverted_to_index = ANY($1::bytea[])) AS call,"
        " (SELECT ROW(count(*), min(started_at), max(started_at)) FROM recordings"
        "  WHERE (remote_index = ANY($1::bytea[]) OR (further_indexes IS NOT NULL AND further_indexes && $1::bytea[]))"
        "  AND state NOT IN ('erased', 'failed')) AS recording,"
        " (SELECT ROW(count(*), min(created_at), max(updated_at)) FROM contacts"
        "  WHERE id = ANY($2::uuid[]) AND erased_at IS NULL) AS contact,"
        " (SELECT ROW(count(*), min(received_at), max(received_at)) FROM privacy_requests"
        '  WHERE remote_index = ANY($1::bytea[]) OR contact_id = ANY($2::uuid[])) AS "case",'
        " (SELECT ROW(count(*), min(noted_at), max(noted_at)) FROM consents WHERE remote_index = ANY($1::bytea[])) AS consent,"
        " (SELECT ROW(count(*), min(created_at), max(created_at)) FROM messages WHERE remote_index = ANY($1::bytea[])) AS message",
        list(subject.indexes),
        list(subject.contacts),
    )
    assert row is not None
    return [Held(kind, *row[kind]) for kind in ("call", "recording", "contact", "case", "consent", "message")]


async def carried(connection: Connection, indexes: Sequence[bytes], *, limit: int) -> tuple[list[CarriedCall], int]:
    """The newest calls that went over a carrier, and how many there are."""
    rows = await connection.fetch(
        "SELECT c.id, c.started_at AS at, c.trunk_id, t.name AS carrier FROM calls AS c JOIN trunks AS t ON t.id = c.trunk_id"
        " WHERE c.remote_index = ANY($1::bytea[]) OR c.diverted_to_index = ANY($1::bytea[])"
        " ORDER BY c.started_at DESC, c.id DESC LIMIT $2",
        list(indexes),
        limit,
    )
    count: int = await connection.fetchval(
        "SELECT count(*) FROM calls"
        " WHERE (remote_index = ANY($1::bytea[]) OR diverted_to_index = ANY($1::bytea[])) AND trunk_id IS NOT NULL",
        list(indexes),
    )
    return [CarriedCall(**dict(row)) for row in rows], count
