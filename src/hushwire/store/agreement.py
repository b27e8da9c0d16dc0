"""Rows of the agreement: sub-processors and how they stand with a customer, policies, instructions, safeguards."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_ENTRY: Final = "s.id, s.name, s.purpose, s.country, s.categories, s.safeguard, s.announced_at, s.withdrawn_at"


@dataclass(frozen=True, slots=True)
class SubprocessorRow:
    """One entry of the operator's list."""

    id: UUID
    name: str
    purpose: str
    country: str
    categories: tuple[str, ...]
    safeguard: str | None
    announced_at: datetime
    withdrawn_at: datetime | None


@dataclass(frozen=True, slots=True)
class StandingRow:
    """An entry and how it stands with the organisation that was entered. `objection`: the state of one that stands."""

    entry: SubprocessorRow
    notified_at: datetime | None
    active_from: datetime | None
    activated_at: datetime | None
    objection: str | None


@dataclass(frozen=True, slots=True)
class ObjectionRow:
    """A customer's objection; its grounds are sealed."""

    id: UUID
    subprocessor_id: UUID
    actor: str
    grounds_sealed: bytes = field(repr=False)
    objected_at: datetime
    state: str
    decided_at: datetime | None


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A published text, and whether the organisation that was entered has acknowledged it."""

    id: UUID
    kind: str
    version: str
    text: str
    digest: bytes
    published_at: datetime
    effective_at: datetime
    notified_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None


@dataclass(frozen=True, slots=True)
class InstructionRow:
    """A customer's instruction; its text is sealed."""

    id: UUID
    version: int
    text_sealed: bytes = field(repr=False)
    actor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class SafeguardRow:
    """A safeguard on file."""

    id: UUID
    country: str
    kind: str
    document_digest: bytes
    actor: str
    filed_at: datetime
    expires_at: datetime | None
    withdrawn_at: datetime | None


# The operator's list; no organisation is entered.


async def subprocessors(connection: Connection) -> list[SubprocessorRow]:
    """Every entry, withdrawn ones too, by name."""
    rows = await connection.fetch(f"SELECT {_ENTRY} FROM subprocessors AS s ORDER BY s.name")  # noqa: S608
    return [_entry(row) for row in rows]


async def put_subprocessor(connection: Connection, row: SubprocessorRow) -> None:
    """Insert or change, as the owner."""
    await connection.execute(
        "INSERT INTO subprocessors (id, name, purpose, country, categories, safeguard, announced_at, withdrawn_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET purpose = EXCLUDED.purpose, country = EXCLUDED.country,"
        " categories = EXCLUDED.categories, safeguard = EXCLUDED.safeguard, announced_at = EXCLUDED.announced_at,"
        " withdrawn_at = EXCLUDED.withdrawn_at",
        row.id,
        row.name,
        row.purpose,
        row.country,
        list(row.categories),
        row.safeguard,
        row.announced_at,
        row.withdrawn_at,
    )


async def forget_standings(connection: Connection, subprocessor_id: UUID) -> None:
    """In the organisation that was entered: what it was told of an entry that changed counts no more."""
    await connection.execute("DELETE FROM subprocessor_standings WHERE subprocessor_id = $1", subprocessor_id)


async def newest_list(connection: Connection) -> tuple[int, datetime, list[dict[str, Any]], bytes] | None:
    """Version, time, entries and digest of the published list."""
    row = await connection.fetchrow("SELECT version, at, list, digest FROM subprocessor_lists ORDER BY version DESC LIMIT 1")
    return None if row is None else (row["version"], row["at"], json.loads(row["list"]), row["digest"])


async def lists(connection: Connection) -> list[tuple[int, datetime, list[dict[str, Any]], bytes]]:
    """Every version that was published, newest first."""
    rows = await connection.fetch("SELECT version, at, list, digest FROM subprocessor_lists ORDER BY version DESC")
    return [(row["version"], row["at"], json.loads(row["list"]), row["digest"]) for row in rows]


async def publish_list(connection: Connection, version: int, at: datetime, listed: bytes, digest: bytes) -> None:
    """A new version, as the owner; `listed` is its canonical JSON."""
    await connection.execute(
        "INSERT INTO subprocessor_lists (version, at, list, digest) VALUES ($1, $2, $3::jsonb, $4)", version, at, listed.decode(), digest
    )


# How entries stand with the organisation that was entered.


async def standings(connection: Connection) -> list[StandingRow]:
    """Every entry with its standing, by name."""
    rows = await connection.fetch(
        f"SELECT {_ENTRY}, t.notified_at, t.active_from, t.activated_at, o.state AS objection FROM subprocessors AS s"  # noqa: S608
        " LEFT JOIN subprocessor_standings AS t ON t.subprocessor_id = s.id"
        " LEFT JOIN objections AS o ON o.subprocessor_id = s.id AND o.state IN ('open', 'unresolved') ORDER BY s.name"
    )
    return [StandingRow(_entry(row), row["notified_at"], row["active_from"], row["activated_at"], row["objection"]) for row in rows]


async def barred_facts(connection: Connection, now: datetime) -> tuple[list[tuple[str, datetime | None, bool]], list[str]]:
    """What a gateway asks: name, day of activation and objection of each entry, and countries with a safeguard on file."""
    rows = await connection.fetch(
        "SELECT s.name, t.active_from, EXISTS (SELECT 1 FROM objections AS o WHERE o.subprocessor_id = s.id AND o.state IN ('open',"
        " 'unresolved')) AS objected FROM subprocessors AS s LEFT JOIN subprocessor_standings AS t ON t.subprocessor_id = s.id"
    )
    countries = await connection.fetch(
        "SELECT DISTINCT country FROM safeguards WHERE withdrawn_at IS NULL AND (expires_at IS NULL OR expires_at > $1)", now
    )
    return [(row["name"], row["active_from"], row["objected"]) for row in rows], [row["country"] for row in countries]


async def add_standing(connection: Connection, org_id: OrgId, subprocessor_id: UUID, at: datetime, active_from: datetime) -> bool:
    """The customer was told; False if it had been before."""
    tag = await connection.execute(
        "INSERT INTO subprocessor_standings (org_id, subprocessor_id, notified_at, active_from) VALUES ($1, $2, $3, $4)"
        " ON CONFLICT DO NOTHING",
        org_id,
        subprocessor_id,
        at,
        active_from,
    )
    return tag == "INSERT 0 1"


async def note_activated(connection: Connection, subprocessor_id: UUID, at: datetime) -> bool:
    """Its day has come: the rules change; False if that was noted before."""
    tag = await connection.execute(
        "UPDATE subprocessor_standings SET activated_at = $2 WHERE subprocessor_id = $1 AND activated_at IS NULL AND active_from <= $2",
        subprocessor_id,
        at,
    )
    return tag == "UPDATE 1"


# Objections.

_OBJECTION: Final = "id, subprocessor_id, actor, grounds_sealed, objected_at, state, decided_at"


async def objections(connection: Connection) -> list[ObjectionRow]:
    """The organisation's, newest first."""
    rows = await connection.fetch(f"SELECT {_OBJECTION} FROM objections ORDER BY objected_at DESC, id DESC")  # noqa: S608
    return [ObjectionRow(**dict(row)) for row in rows]


async def objection(connection: Connection, objection_id: UUID, *, for_update: bool = False) -> ObjectionRow | None:
    """One."""
    query = f"SELECT {_OBJECTION} FROM objections WHERE id = $1{' FOR UPDATE' if for_update else ''}"  # noqa: S608
    row = await connection.fetchrow(query, objection_id)
    return None if row is None else ObjectionRow(**dict(row))


async def standing_objection(connection: Connection, subprocessor_id: UUID) -> ObjectionRow | None:
    """The one that stands against an entry."""
    row = await connection.fetchrow(
        f"SELECT {_OBJECTION} FROM objections WHERE subprocessor_id = $1 AND state IN ('open', 'unresolved')",  # noqa: S608
        subprocessor_id,
    )
    return None if row is None else ObjectionRow(**dict(row))


async def add_objection(connection: Connection, org_id: OrgId, row: ObjectionRow) -> None:
    """Insert."""
    await connection.execute(
        "INSERT INTO objections (id, org_id, subprocessor_id, actor, grounds_sealed, objected_at, state)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        row.id,
        org_id,
        row.subprocessor_id,
        row.actor,
        row.grounds_sealed,
        row.objected_at,
        row.state,
    )


async def decide_objection(connection: Connection, objection_id: UUID, state: str, at: datetime) -> None:
    """open or unresolved -> `state`."""
    await connection.execute(
        "UPDATE objections SET state = $2, decided_at = $3 WHERE id = $1 AND state IN ('open', 'unresolved')", objection_id, state, at
    )


# Policies, instructions, safeguards.


async def policies(connection: Connection) -> list[PolicyRow]:
    """Every published text as it stands with the organisation that was entered, newest first."""
    rows = await connection.fetch(
        "SELECT p.id, p.kind, p.version, p.text, p.digest, p.published_at, p.effective_at, n.notified_at, n.acknowledged_at,"
        " n.acknowledged_by FROM policies AS p LEFT JOIN policy_notices AS n ON n.policy_id = p.id ORDER BY p.published_at DESC, p.id DESC"
    )
    return [PolicyRow(**dict(row)) for row in rows]


async def publish_policy(connection: Connection, row: PolicyRow) -> None:
    """A new text, as the owner; texts are never changed."""
    await connection.execute(
        "INSERT INTO policies (id, kind, version, text, digest, published_at, effective_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        row.id,
        row.kind,
        row.version,
        row.text,
        row.digest,
        row.published_at,
        row.effective_at,
    )


async def add_policy_notice(connection: Connection, org_id: OrgId, policy_id: UUID, at: datetime) -> bool:
    """The customer was told; False if it had been before."""
    tag = await connection.execute(
        "INSERT INTO policy_notices (org_id, policy_id, notified_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING", org_id, policy_id, at
    )
    return tag == "INSERT 0 1"


async def acknowledge_policy(connection: Connection, policy_id: UUID, actor: str, at: datetime) -> bool:
    """Once; False if the text is not known to the organisation, or was acknowledged before."""
    tag = await connection.execute(
        "UPDATE policy_notices SET acknowledged_at = $3, acknowledged_by = $2 WHERE policy_id = $1 AND acknowledged_at IS NULL",
        policy_id,
        actor,
        at,
    )
    return tag == "UPDATE 1"


async def instructions(connection: Connection, limit: int = 200) -> list[InstructionRow]:
    """Versions, newest first."""
    rows = await connection.fetch("SELECT id, version, text_sealed, actor, at FROM instructions ORDER BY version DESC LIMIT $1", limit)
    return [InstructionRow(**dict(row)) for row in rows]


async def add_instruction(connection: Connection, org_id: OrgId, instruction_id: UUID, text_sealed: bytes, actor: str, at: datetime) -> int:
    """The next version's number."""
    await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('instructions:' || $1, 0))", str(org_id))
    version: int = await connection.fetchval(
        "INSERT INTO instructions (id, org_id, version, text_sealed, actor, at)"
        " SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5 FROM instructions RETURNING version",
        instruction_id,
        org_id,
        text_sealed,
        actor,
        at,
    )
    return version


async def safeguards(connection: Connection) -> list[SafeguardRow]:
    """Everything on file, newest first."""
    rows = await connection.fetch(
        "SELECT id, country, kind, document_digest, actor, filed_at, expires_at, withdrawn_at FROM safeguards"
        " ORDER BY filed_at DESC, id DESC"
    )
    return [SafeguardRow(**dict(row)) for row in rows]


async def add_safeguard(connection: Connection, org_id: OrgId, row: SafeguardRow) -> None:
    """Put one on file."""
    await connection.execute(
        "INSERT INTO safeguards (id, org_id, country, kind, document_digest, actor, filed_at, expires_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        row.id,
        org_id,
        row.country,
        row.kind,
        row.document_digest,
        row.actor,
        row.filed_at,
        row.expires_at,
    )


async def withdraw_safeguard(connection: Connection, safeguard_id: UUID, at: datetime) -> bool:
    """It counts no more; False if there is no such one in force."""
    tag = await connection.execute("UPDATE safeguards SET withdrawn_at = $2 WHERE id = $1 AND withdrawn_at IS NULL", safeguard_id, at)
    return tag == "UPDATE 1"


async def expire_safeguards(connection: Connection, now: datetime) -> int:
    """Those whose time is over count no more, and the rules that rested on them change; returns how many."""
    tag = await connection.execute("UPDATE safeguards SET withdrawn_at = expires_at WHERE withdrawn_at IS NULL AND expires_at <= $1", now)
    return int(tag.rpartition(" ")[2])


async def is_over(connection: Connection) -> bool:
    """Whether the organisation that was entered was erased: nobody of it is left to be told anything."""
    return bool(await connection.fetchval("SELECT org_is_erased()"))


async def residency(connection: Connection) -> str:
    """The region of the organisation that was entered."""
    found: str = await connection.fetchval("SELECT residency FROM orgs")
    return found


def names(rows: Sequence[SubprocessorRow]) -> dict[str, SubprocessorRow]:
    """Entries by name."""
    return {row.name: row for row in rows}


def _entry(row: Any) -> SubprocessorRow:
    return SubprocessorRow(
        row["id"],
        row["name"],
        row["purpose"],
        row["country"],
        tuple(row["categories"]),
        row["safeguard"],
        row["announced_at"],
        row["withdrawn_at"],
    )
