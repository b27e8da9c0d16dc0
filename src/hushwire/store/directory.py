"""Rows that the gateway knows by heart: organisations, agents, numbers, trunks. Sealed columns leave here as they are."""

from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from hushwire.core.ids import AgentId, OrgId, TrunkId
from hushwire.store.database import Connection

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OrgRow:
    """The settings of one organisation that calls obey."""

    id: OrgId
    slug: str
    home_country: str
    residency: str
    record: str
    agent_srtp: str
    allow_sdes_in_clear: bool
    without_recording: str
    recording_consent: str
    jurisdictions: list[str]
    do_not_call_version: int
    outside_prefix: str | None
    allowed_countries: list[str]
    classes: list[str]
    rules_version: int
    custody_version: int
    ringback: str
    music_on_hold: bool
    announcement: str
    announce_at: str
    record_from: str
    spoken_refusals: bool
    beep: str
    beep_every_s: int
    presence: str
    telemarketing_hours: list[str]
    live_rules_version: int
    time_zone: str
    terms: str
    hours: str
    short_codes: list[str]
    risk_packs_off: list[str]
    record_emergency: bool


@dataclass(frozen=True, slots=True)
class AgentRow:
    """An agent, sealed columns closed."""

    id: AgentId
    username_sealed: bytes
    role: str
    extension_sealed: bytes | None
    caller_id_sealed: bytes | None
    ha1_sealed: bytes | None
    suspended: bool
    telemarketing: bool
    media_ports: str
    hides_identity: bool
    forwarding_sealed: bytes | None
    address_sealed: bytes | None


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """A credential of one device; what digest needs is closed."""

    id: UUID
    agent_id: AgentId
    login: str
    ha1_sealed: bytes
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NumberRow:
    """An assigned number; `lookup` is its blind index under the deployment's key."""

    id: UUID
    number_sealed: bytes
    lookup: bytes
    agent_id: AgentId | None
    masks: bool
    group_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A ring group."""

    id: UUID
    name: str
    extension: str
    strategy: str
    ring_s: int
    follows_forwarding: bool
    members: list[AgentId]


@dataclass(frozen=True, slots=True)
class TrunkRow:
    """A carrier; its password closed."""

    id: TrunkId
    name: str
    uri: str
    srtp: str
    username: str | None
    password_sealed: bytes | None
    realm: str | None
    addresses: list[str]
    media_ports: str
    subprocessor: str | None
    keying: str
    priority: int
    weight: int
    prefixes: list[str]
    number_format: str
    country: str | None
    caller_id: str
    caller_ids: list[str]
    caller_id_otherwise: str | None
    channels: int | None
    codecs: list[str]
    early_media: bool
    silent_after_s: int
    options_every_s: int
    down_after: int
    up_after: int
    register_every_s: int
    pins: list[str]
    networks: list[str]
    trusted: bool
    signs: bool
    attest: str
    verify: str
    emergency: bool | None
    location_header: str | None
    geolocation: bool
    rates_version: int


async def versions(connection: Connection) -> dict[OrgId, int]:
    """The rules version of each organisation; it rises with every change that calls must obey. No organisation is entered."""
    return {OrgId(row["org_id"]): row["version"] for row in await connection.fetch("SELECT org_id, version FROM rules_versions()")}


async def devices_versions(connection: Connection) -> dict[OrgId, int]:
    """The version of each organisation's credentials of devices. No organisation is entered."""
    return {OrgId(row["org_id"]): row["version"] for row in await connection.fetch("SELECT org_id, version FROM devices_versions()")}


async def devices(connection: Connection) -> list[DeviceRow]:
    """Credentials of devices of the entered organisation that were handed out and not revoked; expired ones among them."""
    rows = await connection.fetch(
        f"SELECT {_names(DeviceRow)} FROM devices WHERE revoked_at IS NULL AND ha1_sealed IS NOT NULL"  # noqa: S608 (names are ours)
    )
    return [DeviceRow(**dict(row)) for row in rows]


async def organisation(connection: Connection) -> tuple[OrgRow, list[AgentRow], list[NumberRow]] | None:
    """All of the organisation that was entered, as of one moment; None where it is gone."""
    found = await connection.fetchrow(f"SELECT {_names(OrgRow)} FROM orgs")  # noqa: S608 (names are ours)
    if found is None:
        return None
    return OrgRow(**dict(found)), await _all(connection, AgentRow, "agents"), await _all(connection, NumberRow, "numbers")


async def groups(connection: Connection) -> list[GroupRow]:
    """The ring groups of the entered organisation, members in their order."""
    rows = await connection.fetch(
        "SELECT id, name, dialled AS extension, strategy, ring_s, follows_forwarding, ARRAY(SELECT m.agent_id FROM ring_group_members AS m"
        " WHERE m.group_id = g.id ORDER BY m.position) AS members FROM ring_groups AS g"
    )
    return [GroupRow(**dict(row)) for row in rows]


async def settings(connection: Connection) -> OrgRow:
    """The settings of the organisation that was entered."""
    (found,) = await _all(connection, OrgRow, "orgs")
    return found


async def unrecorded(connection: Connection) -> frozenset[bytes]:
    """Blind indexes (`calls.remote`) of the numbers of the entered organisation that are not recorded."""
    return frozenset(row[0] for row in await connection.fetch("SELECT remote_index FROM unrecorded_numbers"))


async def do_not_call(connection: Connection) -> frozenset[bytes]:
    """Blind indexes (`do_not_call.number`) of the numbers that the telemarketing of the entered organisation must not call."""
    return frozenset(row[0] for row in await connection.fetch("SELECT number_index FROM do_not_call"))


async def has_ended(connection: Connection) -> bool:
    """Whether the agreement of the organisation that was entered is over: nobody of it registers or calls."""
    return bool(
        await connection.fetchval("SELECT EXISTS (SELECT 1 FROM terminations WHERE suspended_at IS NOT NULL AND cancelled_at IS NULL)")
    )


async def trunks(connection: Connection) -> list[TrunkRow]:
    """Every trunk, by name. They belong to the operator: no organisation is entered."""
    return sorted(await _all(connection, TrunkRow, "trunks"), key=lambda trunk: trunk.name)


def _names(kind: Any) -> str:
    return ", ".join(item.name for item in fields(kind))


async def _all(connection: Connection, kind: type[T], table: str) -> list[T]:
    rows = await connection.fetch(f"SELECT {_names(kind)} FROM {table}")  # noqa: S608 (both are ours)
    return [kind(**dict(row)) for row in rows]
