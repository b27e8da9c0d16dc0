"""Openings of guarded countries and classes that wait for a second person. Every function runs in a transaction of the organisation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection
from hushwire.store.recordings import Place

_COLUMNS: Final = (
    "id, countries, classes, released, terms, state, proposed_by, proposed_at, expires_at, decided_by, decided_at,"
    " short_codes, hours, subject, wanted, base"
)


@dataclass(frozen=True, slots=True)
class ProposalRow:
    """One opening. `state`: open, approved, rejected or outdated; one that is open after `expires_at` has lapsed.

    `subject`: the team or agent that it is about (None: the organisation's own lists), `wanted` what that is to be and `base` what it was;
    `countries`, `classes` and `short_codes` name what of what is guarded it would reach then.
    """

    id: UUID
    countries: tuple[str, ...]
    classes: tuple[str, ...]
    released: tuple[str, ...]
    state: str
    proposed_by: str
    proposed_at: datetime
    expires_at: datetime
    decided_by: str | None = None
    decided_at: datetime | None = None
    terms: str = "{}"
    short_codes: tuple[str, ...] = ()
    hours: str | None = None
    subject: str | None = None
    wanted: str | None = None
    base: bytes | None = None

    def is_open(self, now: datetime) -> bool:
        """Whether it can be decided."""
        return self.state == "open" and now < self.expires_at


async def insert(connection: Connection, org_id: OrgId, row: ProposalRow) -> None:
    """A new one."""
    await connection.execute(
        "INSERT INTO rule_proposals (id, org_id, countries, classes, released, proposed_by, proposed_at, expires_at, terms,"
        " short_codes, hours, subject, wanted, base) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        row.id,
        org_id,
        list(row.countries),
        list(row.classes),
        list(row.released),
        row.proposed_by,
        row.proposed_at,
        row.expires_at,
        row.terms,
        list(row.short_codes),
        row.hours,
        row.subject,
        row.wanted,
        row.base,
    )


async def get(connection: Connection, proposal_id: UUID, *, for_update: bool = False) -> ProposalRow | None:
    """One of them; `for_update` holds it until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM rule_proposals WHERE id = $1" + (" FOR UPDATE" if for_update else "")  # noqa: S608
    row = await connection.fetchrow(query, proposal_id)
    return None if row is None else _row(row)


async def decide(connection: Connection, proposal_id: UUID, state: str, by: str, at: datetime) -> None:
    """Approve or reject one that is open."""
    await connection.execute(
        "UPDATE rule_proposals SET state = $2, decided_by = $3, decided_at = $4 WHERE id = $1 AND state = 'open'",
        proposal_id,
        state,
        by,
        at,
    )


async def listed(connection: Connection, *, after: Place | None = None, limit: int = 50) -> Sequence[ProposalRow]:
    """Newest first."""
    found = await connection.fetch(
        f"SELECT {_COLUMNS} FROM rule_proposals WHERE $1::timestamptz IS NULL OR (proposed_at, id) < ($1, $2)"  # noqa: S608
        " ORDER BY proposed_at DESC, id DESC LIMIT $3",
        None if after is None else after.started_at,
        None if after is None else after.id,
        limit,
    )
    return [_row(row) for row in found]


def _row(row: Any) -> ProposalRow:
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return ProposalRow(**found)
