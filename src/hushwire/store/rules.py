"""An organisation's voice-security rules as they stand in its row. The database raises the version and tells the gateways."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_COLUMNS: Final = "id AS org_id, slug, rules_version AS version, home_country, outside_prefix, allowed_countries, classes, updated_at"


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


async def get(connection: Connection, *, for_update: bool = False) -> RulesRow | None:
    """The rules of the entered organisation; `for_update` holds them until the transaction ends."""
    query = f"SELECT {_COLUMNS} FROM orgs"  # noqa: S608
    row = await connection.fetchrow(query + " FOR UPDATE" if for_update else query)
    if row is None:
        return None
    return RulesRow(**{**dict(row), "allowed_countries": tuple(row["allowed_countries"]), "classes": tuple(row["classes"])})


async def put(connection: Connection, allowed_countries: Sequence[str], classes: Sequence[str], now: datetime) -> None:
    """Replace both lists of the entered organisation. The version rises if they differ from what stands there."""
    await connection.execute(
        "UPDATE orgs SET allowed_countries = $1, classes = $2, updated_at = $3"
        " WHERE allowed_countries IS DISTINCT FROM $1 OR classes IS DISTINCT FROM $2",
        list(allowed_countries),
        list(classes),
        now,
    )
