"""An organisation's voice-security rules as they stand in its row. The database raises the version and tells the gateways."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = (
    "id AS org_id, slug, rules_version AS version, home_country, outside_prefix, allowed_countries, classes, updated_at,"
    " time_zone, terms, hours, short_codes, risk_packs_off, telemarketing_hours, live_rules_version, four_eyes"
)


@dataclass(frozen=True, slots=True)
class RulesRow:
    """The rules at one version; lists as they were saved."""

    org_id: OrgId
    slug: str
    version: int
    home_country: str
    outside_prefix: str | None
    allowed_countries: tuple[str, ...]
    classes: tuple[str, ...]
    updated_at: datetime
    telemarketing_hours: tuple[str, ...]
    live_rules_version: int
    four_eyes: tuple[str, ...]
    time_zone: str = "UTC"
    terms: str = "{}"
    hours: str = "[]"
    short_codes: tuple[str, ...] = ()
    risk_packs_off: tuple[str, ...] = ()


async def get(connection: Connection, *, for_update: bool = False) -> RulesRow | None:
    """The rules of the entered organisation; `for_update` holds them until the transaction ends.

    Not against rows that refer to the organisation: who appends to its audit log meanwhile would wait for us, and we for the log.
    """
    query = f"SELECT {_COLUMNS} FROM orgs"  # noqa: S608
    row = await connection.fetchrow(query + " FOR NO KEY UPDATE" if for_update else query)
    if row is None:
        return None
    found: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
    return RulesRow(**found)


async def put_terms(
    connection: Connection,
    now: datetime,
    *,
    time_zone: str,
    terms: str,
    hours: str,
    short_codes: Sequence[str],
    risk_packs_off: Sequence[str],
) -> None:
    """Replace what the entered organisation's own level says beside its lists. The version rises if that differs from what stands there."""
    await connection.execute(
        "UPDATE orgs SET time_zone = $1, terms = $2, hours = $3, short_codes = $4, risk_packs_off = $5, updated_at = $6"
        " WHERE (time_zone, terms, hours, short_codes, risk_packs_off) IS DISTINCT FROM ($1, $2, $3, $4::text[], $5::text[])",
        time_zone,
        terms,
        hours,
        sorted(set(short_codes)),
        sorted(set(risk_packs_off)),
        now,
    )


async def put(connection: Connection, allowed_countries: Sequence[str], classes: Sequence[str], now: datetime) -> None:
    """Replace both lists of the entered organisation. The version rises if they differ from what stands there."""
    await connection.execute(
        "UPDATE orgs SET allowed_countries = $1, classes = $2, updated_at = $3"
        " WHERE allowed_countries IS DISTINCT FROM $1 OR classes IS DISTINCT FROM $2",
        list(allowed_countries),
        list(classes),
        now,
    )


async def set_telemarketing_hours(connection: Connection, hours: Sequence[str], now: datetime) -> None:
    """Replace them. The version rises if they differ."""
    query = "UPDATE orgs SET telemarketing_hours = $1, updated_at = $2 WHERE telemarketing_hours IS DISTINCT FROM $1"
    await connection.execute(query, list(hours), now)


async def set_four_eyes(connection: Connection, guarded: Sequence[str], now: datetime) -> None:
    """Replace the names that two must agree to before they are opened. The version rises if they differ."""
    query = "UPDATE orgs SET four_eyes = $1, updated_at = $2 WHERE four_eyes IS DISTINCT FROM $1"
    await connection.execute(query, list(guarded), now)


async def apply_to_live(connection: Connection) -> None:
    """Have every gateway judge the calls that it began under older rules by those of now. The version rises."""
    await connection.execute("UPDATE orgs SET live_rules_version = rules_version + 1")
