"""Rows that `apply` reads and writes, as the owner, inside one transaction that enters one organisation after the other."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, fields
from datetime import datetime
from typing import Final, TypeVar
from uuid import UUID

import asyncpg

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection

_LOCK: Final = 0x6877_6170_706C  # "hwappl"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class TrunkSettings:
    """What is said of a carrier (docs/trunks.md), but for its password."""

    name: str
    uri: str
    srtp: str
    username: str | None
    realm: str | None
    addresses: tuple[str, ...]
    media_ports: str
    subprocessor: str | None = None
    keying: str = "sdes"
    priority: int = 0
    weight: int = 1
    prefixes: tuple[str, ...] = ()
    number_format: str = "+e164"
    country: str | None = None
    caller_id: str = "pass"
    caller_ids: tuple[str, ...] = ()
    caller_id_otherwise: str | None = None
    channels: int | None = None
    codecs: tuple[str, ...] = ()
    early_media: bool = True
    silent_after_s: int = 4
    options_every_s: int = 0
    down_after: int = 2
    up_after: int = 2
    register_every_s: int = 0
    pins: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    trusted: bool = False
    signs: bool = False
    attest: str = "A"
    verify: str = "off"
    emergency: bool | None = None
    location_header: str | None = None
    geolocation: bool = False


@dataclass(frozen=True, slots=True)
class TrunkRow(TrunkSettings):
    """A carrier; its password closed."""

    id: UUID = field(kw_only=True)
    password_sealed: bytes | None = field(kw_only=True)


@dataclass(frozen=True, slots=True)
class OrgRow:
    """An organisation's own settings; `allowed_countries` and `classes` sorted."""

    slug: str
    name: str
    home_country: str
    residency: str
    record: str
    agent_srtp: str
    allow_sdes_in_clear: bool
    without_recording: str
    outside_prefix: str | None
    allowed_countries: tuple[str, ...]
    classes: tuple[str, ...]
    recording_consent: str = "contract"
    ringback: str = "phone"
    music_on_hold: bool = False
    announcement: str = "off"
    announce_at: str = "answer"
    record_from: str = "announcement"
    spoken_refusals: bool = False
    beep: str = "off"
    beep_every_s: int = 15
    presence: str = "state"
    telemarketing_hours: tuple[str, ...] = ()
    time_zone: str = "UTC"
    terms: str = "{}"
    hours: str = "[]"
    short_codes: tuple[str, ...] = ()
    risk_packs_off: tuple[str, ...] = ()
    record_emergency: bool = False


@dataclass(frozen=True, slots=True)
class AgentRow:
    id: UUID
    username_sealed: bytes
    username_index: bytes
    role: str
    extension_sealed: bytes | None
    extension_index: bytes | None
    caller_id_sealed: bytes | None
    ha1_sealed: bytes | None
    suspended: bool
    telemarketing: bool = False
    media_ports: str = "auto"
    hides_identity: bool = False
    forwarding_sealed: bytes | None = None
    address_sealed: bytes | None = None


@dataclass(frozen=True, slots=True)
class NumberRow:
    id: UUID
    number_sealed: bytes
    number_index: bytes
    lookup: bytes
    agent_id: UUID | None
    masks: bool = False
    group_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class GroupRow:
    id: UUID
    name: str
    extension: str
    strategy: str
    ring_s: int
    follows_forwarding: bool
    members: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class ApiKeyRow:
    id: UUID
    name: str
    role: str
    purpose: str
    secret_hash: bytes
    revoked: bool
    agent_id: UUID | None = None


async def lock(connection: Connection) -> None:
    """One `apply` at a time."""
    await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)


async def enter(connection: Connection, org_id: OrgId) -> None:
    """From here on the transaction sees `org_id`'s rows."""
    await connection.execute("SELECT set_config('hushwire.org', $1, true)", str(org_id))


async def find_org(connection: Connection, slug: str) -> OrgId | None:
    """The id of the organisation called `slug`."""
    found: UUID | None = await connection.fetchval("SELECT find_org($1)", slug)
    return None if found is None else OrgId(found)


async def only_org(connection: Connection) -> OrgId | None:
    """The id of the organisation, where there is exactly one."""
    found: UUID | None = await connection.fetchval("SELECT only_org()")
    return None if found is None else OrgId(found)


async def org(connection: Connection) -> OrgRow:
    """The organisation that was entered."""
    (found,) = await _all(connection, OrgRow, "orgs")
    return found


async def put_org(connection: Connection, org_id: OrgId, row: OrgRow, now: datetime) -> None:
    """Insert or change."""
    columns = [item.name for item in fields(OrgRow)]
    await _put(connection, "orgs", ["id", *columns], [org_id, *_values(row)], now, has_updated_at=True)


async def rules_version(connection: Connection) -> int:
    """The version of the rules of the organisation that was entered."""
    return int(await connection.fetchval("SELECT rules_version FROM orgs"))


async def trunks(connection: Connection) -> list[TrunkRow]:
    """Every trunk."""
    return await _all(connection, TrunkRow, "trunks")


async def put_trunk(connection: Connection, row: TrunkRow, now: datetime) -> None:
    """Insert or change."""
    await _put(connection, "trunks", [item.name for item in fields(TrunkRow)], _values(row), now, has_updated_at=True)


async def remove_trunk(connection: Connection, trunk_id: UUID) -> bool:
    """Remove a trunk that no call record names; False if one does."""
    try:
        async with connection.transaction():
            await connection.execute("DELETE FROM trunks WHERE id = $1", trunk_id)
    except asyncpg.ForeignKeyViolationError:
        return False
    return True


async def agents(connection: Connection) -> list[AgentRow]:
    """Every agent of the organisation that was entered."""
    return await _all(connection, AgentRow, "agents")


async def put_agent(connection: Connection, org_id: OrgId, row: AgentRow, now: datetime) -> None:
    """Insert or change."""
    columns = ["org_id", *(item.name for item in fields(AgentRow))]
    await _put(connection, "agents", columns, [org_id, *_values(row)], now, has_updated_at=True)


async def free_extensions(connection: Connection, ids: Sequence[UUID]) -> None:
    """Take the extensions of these agents away."""
    if ids:
        await connection.execute("UPDATE agents SET extension_sealed = NULL, extension_index = NULL WHERE id = ANY($1::uuid[])", ids)


async def suspend_agent(connection: Connection, agent_id: UUID, now: datetime) -> None:
    """No more calls and registrations; the phones' present registrations end."""
    await connection.execute("UPDATE agents SET suspended = true, updated_at = $2 WHERE id = $1", agent_id, now)
    await connection.execute("DELETE FROM registrations WHERE agent_id = $1", agent_id)


async def numbers(connection: Connection) -> list[NumberRow]:
    """Every number of the organisation that was entered."""
    return await _all(connection, NumberRow, "numbers")


async def groups(connection: Connection) -> list[GroupRow]:
    """Every ring group of the organisation that was entered, its members in their order."""
    found = await connection.fetch(
        "SELECT id, name, dialled AS extension, strategy, ring_s, follows_forwarding, ARRAY(SELECT m.agent_id FROM ring_group_members AS m"
        " WHERE m.group_id = g.id ORDER BY m.position) AS members FROM ring_groups AS g"
    )
    return [GroupRow(**{**dict(row), "members": tuple(row["members"])}) for row in found]


async def put_group(connection: Connection, org_id: OrgId, row: GroupRow, now: datetime) -> None:
    """Insert or change, members and all."""
    columns = [item.name for item in fields(GroupRow) if item.name != "members"]
    values = [getattr(row, name) for name in columns]
    await _put(
        connection, "ring_groups", ["org_id", *(_COLUMN.get(name, name) for name in columns)], [org_id, *values], now, has_updated_at=True
    )
    await connection.execute("DELETE FROM ring_group_members WHERE group_id = $1", row.id)
    await connection.executemany(
        "INSERT INTO ring_group_members (org_id, group_id, agent_id, position) VALUES ($1, $2, $3, $4)",
        [(org_id, row.id, agent_id, position) for position, agent_id in enumerate(row.members)],
    )


_COLUMN: Final = {"extension": "dialled"}


async def remove_group(connection: Connection, group_id: UUID) -> None:
    """Its extension leads nowhere from now on, and numbers that led there ring nobody."""
    await connection.execute("DELETE FROM ring_groups WHERE id = $1", group_id)


async def number_is_taken(connection: Connection, lookup: bytes) -> bool:
    """Whether any organisation has the number."""
    return bool(await connection.fetchval("SELECT EXISTS (SELECT 1 FROM find_number($1))", lookup))


async def put_number(connection: Connection, org_id: OrgId, row: NumberRow, now: datetime) -> None:
    """Insert or change."""
    columns = ["org_id", *(item.name for item in fields(NumberRow))]
    await _put(connection, "numbers", columns, [org_id, *_values(row)], now, has_updated_at=False)


async def remove_number(connection: Connection, number_id: UUID) -> None:
    """Release a number."""
    await connection.execute("DELETE FROM numbers WHERE id = $1", number_id)


async def api_keys(connection: Connection) -> list[ApiKeyRow]:
    """Every API key of the organisation that was entered, revoked ones too."""
    found = await connection.fetch("SELECT id, name, role, purpose, secret_hash, revoked_at IS NOT NULL AS revoked, agent_id FROM api_keys")
    return [ApiKeyRow(**dict(row)) for row in found]


async def put_api_key(connection: Connection, org_id: OrgId, row: ApiKeyRow, now: datetime) -> None:
    """Insert, or change and make valid again."""
    columns = ["org_id", "id", "name", "role", "purpose", "secret_hash", "revoked_at", "agent_id"]
    values = [org_id, row.id, row.name, row.role, row.purpose, row.secret_hash, now if row.revoked else None, row.agent_id]
    await _put(connection, "api_keys", columns, values, now, has_updated_at=False)


async def revoke_api_key(connection: Connection, key_id: UUID, now: datetime) -> None:
    """The key opens nothing from now on."""
    await connection.execute("UPDATE api_keys SET revoked_at = $2 WHERE id = $1", key_id, now)


async def _all(connection: Connection, kind: type[T], table: str) -> list[T]:
    names = [item.name for item in fields(kind)]  # type: ignore[arg-type]
    found = await connection.fetch(f"SELECT {', '.join(names)} FROM {table}")  # noqa: S608 (both are ours)
    return [kind(**{name: tuple(row[name]) if isinstance(row[name], list) else row[name] for name in names}) for row in found]


def _values(row: "OrgRow | TrunkRow | AgentRow | NumberRow") -> list[object]:
    return [list(value) if isinstance(value, tuple) else value for value in astuple(row)]


async def _put(
    connection: Connection, table: str, columns: list[str], values: list[object], now: datetime, *, has_updated_at: bool
) -> None:
    """Insert the row, or bring the one with the same id up to date."""
    places = ", ".join(f"${position}" for position in range(1, len(values) + 1))
    stamp = f"${len(values) + 1}"
    made = ["created_at", *(["updated_at"] if has_updated_at else [])]
    changes = [f"{column} = EXCLUDED.{column}" for column in columns if column not in ("id", "org_id")]
    changes += ["updated_at = EXCLUDED.updated_at"] if has_updated_at else []
    await connection.execute(
        f"INSERT INTO {table} ({', '.join(columns + made)}) VALUES ({places}, {', '.join([stamp] * len(made))})"  # noqa: S608 (ours)
        f" ON CONFLICT (id) DO UPDATE SET {', '.join(changes)}",
        *values,
        now,
    )
