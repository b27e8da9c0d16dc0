"""Rows of purpose rules, undertakings, and the access log as people search it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class PurposeRuleRow:
    """One version of the customer's instruction."""

    version: int
    allowed: tuple[str, ...] | None
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class UndertakingRow:
    """Somebody's word on one version of the text."""

    id: UUID
    signer: str
    version: str
    digest: bytes
    signed_at: datetime
    signed_by: str
    withdrawn_at: datetime | None
    withdrawn_by: str | None


@dataclass(frozen=True, slots=True)
class TextRow:
    """A published text."""

    version: str
    text: str
    published_at: datetime
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class AccessRow:
    """One reading."""

    id: UUID
    at: datetime
    actor: str
    purpose: str
    object: str


@dataclass(frozen=True, slots=True)
class AccessFilter:
    """Which readings; None: any. Times bound `at`: from <= t < until."""

    actor: str | None = None
    object: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a list by time."""

    at: datetime
    id: UUID


async def purpose_rule(connection: Connection) -> PurposeRuleRow | None:
    """The instruction in force."""
    row = await connection.fetchrow("SELECT version, allowed, actor, at FROM purpose_rules ORDER BY version DESC LIMIT 1")
    return None if row is None else _rule(row)


async def add_purpose_rule(connection: Connection, row_id: UUID, org_id: OrgId, row: PurposeRuleRow) -> bool:
    """A new version; False if that version stands already."""
    made = await connection.fetchval(
        "INSERT INTO purpose_rules (id, org_id, version, allowed, actor, at) VALUES ($1, $2, $3, $4, $5, $6)"
        " ON CONFLICT (org_id, version) DO NOTHING RETURNING true",
        row_id,
        org_id,
        row.version,
        None if row.allowed is None else list(row.allowed),
        row.actor,
        row.at,
    )
    return made is not None


async def texts(connection: Connection, kind: str) -> list[TextRow]:
    """Published texts of a kind, oldest first; in any transaction."""
    rows = await connection.fetch(
        "SELECT version, text, published_at, effective_at FROM policies WHERE kind = $1 ORDER BY published_at, id", kind
    )
    return [TextRow(**dict(row)) for row in rows]


async def signatures(connection: Connection, signer: str) -> list[UndertakingRow]:
    """What a signer signed, withdrawn words included, oldest first."""
    rows = await connection.fetch(
        "SELECT id, signer, version, digest, signed_at, signed_by, withdrawn_at, withdrawn_by FROM undertakings"
        " WHERE signer = $1 ORDER BY signed_at, id",
        signer,
    )
    return [UndertakingRow(**dict(row)) for row in rows]


async def all_signatures(connection: Connection, *, after: Place | None = None, limit: int = 50) -> list[UndertakingRow]:
    """Everybody's, newest first."""
    rows = await connection.fetch(
        "SELECT id, signer, version, digest, signed_at, signed_by, withdrawn_at, withdrawn_by FROM undertakings"
        " WHERE ($1::timestamptz IS NULL OR (signed_at, id) < ($1, $2::uuid)) ORDER BY signed_at DESC, id DESC LIMIT $3",
        None if after is None else after.at,
        None if after is None else after.id,
        limit,
    )
    return [UndertakingRow(**dict(row)) for row in rows]


async def sign(connection: Connection, org_id: OrgId, row: UndertakingRow) -> bool:
    """Note a signature; False if this version is signed already."""
    made = await connection.fetchval(
        "INSERT INTO undertakings (id, org_id, signer, version, digest, signed_at, signed_by) VALUES ($1, $2, $3, $4, $5, $6, $7)"
        " ON CONFLICT (org_id, signer, version) WHERE withdrawn_at IS NULL DO NOTHING RETURNING true",
        row.id,
        org_id,
        row.signer,
        row.version,
        row.digest,
        row.signed_at,
        row.signed_by,
    )
    return made is not None


async def withdraw(connection: Connection, signer: str, at: datetime, by: str) -> int:
    """Take back what a signer signed; returns how many signatures stood."""
    status = await connection.execute(
        "UPDATE undertakings SET withdrawn_at = $2, withdrawn_by = $3 WHERE signer = $1 AND withdrawn_at IS NULL", signer, at, by
    )
    return int(status.rpartition(" ")[2])


async def readings(connection: Connection, wanted: AccessFilter, *, after: Place | None = None, limit: int = 50) -> list[AccessRow]:
    """The access log, newest first. Walks one index in the list's order, so that a page costs the same however much there is."""
    conditions, arguments = list[str](), list[Any]()

    def given(value: Any) -> str:
        arguments.append(value)
        return f"${len(arguments)}"

    if wanted.actor is not None:
        conditions.append(f"actor = {given(wanted.actor)}")
    if wanted.object is not None:
        conditions.append(f"object = {given(wanted.object)}")
    if wanted.since is not None:
        conditions.append(f"at >= {given(wanted.since)}")
    if wanted.until is not None:
        conditions.append(f"at < {given(wanted.until)}")
    if after is not None:
        conditions.append(f"(at, id) < ({given(after.at)}, {given(after.id)})")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    rows = await connection.fetch(
        f"SELECT id, at, actor, purpose, object FROM access_log{where} ORDER BY at DESC, id DESC LIMIT {given(limit)}",  # noqa: S608 (ours)
        *arguments,
    )
    return [AccessRow(**dict(row)) for row in rows]


async def unsigned_keys(connection: Connection, known: Sequence[tuple[str, bytes]]) -> int:
    """How many API keys in force have signed none of these versions."""
    found: int = await connection.fetchval(
        "SELECT count(*) FROM api_keys AS k WHERE k.revoked_at IS NULL AND NOT EXISTS (SELECT 1 FROM undertakings AS u"
        " JOIN unnest($1::text[], $2::bytea[]) AS t (version, digest) ON u.version = t.version AND u.digest = t.digest"
        " WHERE u.signer = 'api-key:' || k.id AND u.withdrawn_at IS NULL)",
        [version for version, _ in known],
        [digest for _, digest in known],
    )
    return found


def _rule(row: Any) -> PurposeRuleRow:
    allowed = row["allowed"]
    return PurposeRuleRow(row["version"], None if allowed is None else tuple(allowed), row["actor"], row["at"])
