"""How controls stand, read from the rows that they leave: how many, how many of them need attention, and the last piece of evidence.

Every query runs in a transaction of the organisation; $1 is now. Each is a probe of an index or a count of few rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Evidence:
    """`evidence`: the id of the last thing that shows it, and when that was."""

    total: int
    attention: int
    evidence: str | None
    at: datetime | None


_MOST: Final = 10_000
_NEWEST: Final = "LEFT JOIN LATERAL (SELECT {columns} FROM {source} ORDER BY {order} DESC LIMIT 1) AS newest (evidence, at) ON true"


def _query(total: str, attention: str, columns: str, source: str, order: str) -> str:
    newest = _NEWEST.format(columns=columns, source=source, order=order)
    counts = f"({total})::bigint AS total, ({attention})::bigint AS attention"
    return f"SELECT {counts}, newest.evidence, newest.at FROM (SELECT $1::timestamptz) AS asked {newest}"  # noqa: S608 (ours)


def _count(source: str) -> str:
    return f"SELECT count(*) FROM {source}"  # noqa: S608


def _some(source: str) -> str:
    """A count that gives up at 10 000: more says no more."""
    return f"SELECT count(*) FROM (SELECT 1 FROM {source} LIMIT {_MOST}) AS counted"  # noqa: S608


_DAY: Final = "$1::timestamptz - interval '24 hours'"
_DUTIES: Final = (
    "kind IN ('data-subject-notice', 'account-deletion', 'number-data', 'objection', 'breach-notice', 'dispute', 'termination-content')"
)

QUERIES: Final[Mapping[str, str]] = {
    "access": _query(_some(f"access_log WHERE at > {_DAY}"), "0", "id::text, at", "access_log", "at"),
    "audit-chain": _query(
        "SELECT coalesce(max(position), 0) FROM audit_log",
        "SELECT CASE WHEN max(at) > $1::timestamptz - interval '2 hours' THEN 0 ELSE 1 END FROM audit_heads",
        "'head:' || seq, at",
        "audit_heads",
        "seq",
    ),
    "breaches": _query(
        _count("breaches"), _count("breaches WHERE state <> 'noticed'"), "id::text, registered_at", "breaches", "registered_at"
    ),
    "clocks": _query(
        _count("clocks WHERE ended_at IS NULL"),
        _count(f"clocks WHERE ended_at IS NULL AND due_at <= $1::timestamptz AND {_DUTIES}"),
        "id::text, ended_at",
        "clocks WHERE ended_at IS NOT NULL",
        "ended_at",
    ),
    "contacts": _query(
        _count("org_contacts WHERE removed_at IS NULL"),
        "SELECT CASE WHEN EXISTS (SELECT 1 FROM org_contacts WHERE removed_at IS NULL) THEN 0 ELSE 1 END",
        "id::text, designated_at",
        "org_contacts WHERE removed_at IS NULL",
        "designated_at",
    ),
    "countries": _query(
        "SELECT cardinality(allowed_countries) FROM orgs", "0", "'rules:' || rules_version, updated_at", "orgs", "updated_at"
    ),
    "custody": _query("SELECT custody_version FROM orgs", "0", "'custody:' || custody_version, updated_at", "orgs", "updated_at"),
    "erasure": _query(
        _count("erasure_ledger WHERE closed_at IS NULL"),
        _count(f"erasure_ledger WHERE unreadable_at IS NULL AND requested_at < {_DAY}"),
        "id::text, unreadable_at",
        "erasure_ledger WHERE unreadable_at IS NOT NULL",
        "position",
    ),
    "sweep": _query(
        _count("erasure_ledger WHERE closed_at IS NULL AND unreadable_at IS NOT NULL AND swept_at IS NULL"),
        _count(f"erasure_ledger WHERE closed_at IS NULL AND swept_at IS NULL AND unreadable_at < {_DAY}"),
        "id::text, swept_at",
        "erasure_ledger WHERE swept_at IS NOT NULL",
        "position",
    ),
    "renewal": _query(
        _count("erasure_ledger WHERE closed_at IS NULL AND unreadable_at IS NOT NULL AND renewed_at IS NULL"),
        _count(f"erasure_ledger WHERE closed_at IS NULL AND renewed_at IS NULL AND unreadable_at < {_DAY}"),
        "id::text, renewed_at",
        "erasure_ledger WHERE renewed_at IS NOT NULL",
        "position",
    ),
    "holds": _query(_count("legal_holds WHERE released_at IS NULL"), "0", "id::text, placed_at", "legal_holds", "placed_at"),
    "legs": _query(
        _some(f"calls WHERE started_at > {_DAY}"),
        _some(f"calls WHERE started_at > {_DAY} AND (agent_leg->>'media' = 'rtp' OR peer_leg->>'media' = 'rtp')"),
        "id::text, started_at",
        "calls",
        "started_at",
    ),
    "notices": _query(
        _count("notices WHERE state IN ('sent', 'acknowledged')"),
        _count(
            "notices WHERE state IN ('failed', 'unaddressed') OR (state = 'queued' AND created_at < $1::timestamptz - interval '1 hour')"
        ),
        "id::text, sent_at",
        "notices WHERE sent_at IS NOT NULL",
        "sent_at",
    ),
    "purposes": _query(
        "SELECT coalesce(max(version), 0) FROM purpose_rules", "0", "'purposes:' || version, at", "purpose_rules", "version"
    ),
    "recordings": _query(
        _count("recordings WHERE state IN ('live', 'closed', 'crashed')"), "0", "id::text, started_at", "recordings", "started_at"
    ),
    "requests": _query(
        _count("privacy_requests WHERE closed_at IS NULL"),
        _count("privacy_requests WHERE closed_at IS NULL AND due_at <= $1::timestamptz"),
        "id::text, closed_at",
        "privacy_requests WHERE closed_at IS NOT NULL",
        "closed_at",
    ),
    "retention": _query(
        _count("retention_rules"),
        _count("retention_state WHERE pending_id IS NOT NULL AND confirmed_at IS NULL"),
        "'retention', last_seen_at",
        "retention_state",
        "last_seen_at",
    ),
    "sub-processors": _query(
        _count("subprocessors WHERE withdrawn_at IS NULL"), "0", "'list:' || version, at", "subprocessor_lists", "version"
    ),
    "suspended": _query(_count("agents WHERE suspended"), "0", "id::text, updated_at", "agents WHERE suspended", "updated_at"),
    "undertakings": _query(_count("undertakings WHERE withdrawn_at IS NULL"), "0", "id::text, signed_at", "undertakings", "signed_at"),
    "audits": _query(
        _count("audits"),
        _count("api_keys WHERE role = 'auditor' AND revoked_at IS NULL AND expires_at IS NULL"),
        "id::text, requested_at",
        "audits",
        "requested_at",
    ),
}


async def of(connection: Connection, probe: str, now: datetime) -> Evidence:
    """What a probe's rows say. Raises KeyError for one that reads no rows."""
    row = await connection.fetchrow(QUERIES[probe], now)
    assert row is not None
    return Evidence(row["total"], row["attention"], row["evidence"], row["at"])


async def counts_of_sealing(connection: Connection) -> dict[str, int]:
    """How the organisation's recordings can be opened: by hushwire, by both, by the customer only."""
    rows = await connection.fetch("SELECT custody, count(*) AS n FROM recordings WHERE state <> 'erased' GROUP BY custody ORDER BY custody")
    return {row["custody"]: row["n"] for row in rows}


async def settings(connection: Connection) -> dict[str, object]:
    """What the organisation's row says of protection and retention."""
    row = await connection.fetchrow(
        "SELECT slug, name, home_country, residency, record, agent_srtp, allow_sdes_in_clear, without_recording, allowed_countries,"
        " jurisdictions, custody_version FROM orgs"
    )
    assert row is not None
    rules = await connection.fetch(
        "SELECT class, keep_days, agent_id IS NOT NULL AS of_one_agent FROM retention_rules ORDER BY class, agent_id"
    )
    return {**dict(row), "retention_rules": [dict(rule) for rule in rules]}
