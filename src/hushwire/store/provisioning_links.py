"""Rows of one-time links for phones' accounts."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class DeviceRow:
    """The device that a link stands for, and what its account is made of."""

    id: UUID
    agent_id: UUID
    login: str
    ha1_sealed: bytes | None = field(repr=False)
    username_sealed: bytes = field(repr=False)
    slug: str
    agent_srtp: str


async def is_usable(connection: Connection, agent_id: UUID, device_id: UUID, now: datetime) -> bool:
    """Whether the agent has this device, neither revoked nor expired."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM devices WHERE id = $1 AND agent_id = $2 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > $3)",
            device_id,
            agent_id,
            now,
        )
    )


async def put(
    connection: Connection, org_id: OrgId, link_id: UUID, device_id: UUID, token_hash: bytes, now: datetime, expires_at: datetime
) -> None:
    """The device's only link."""
    await connection.execute("DELETE FROM provisioning_links WHERE device_id = $1", device_id)
    await connection.execute(
        "INSERT INTO provisioning_links (id, org_id, device_id, token_hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        link_id,
        org_id,
        device_id,
        token_hash,
        now,
        expires_at,
    )


async def find(connection: Connection, token_hash: bytes) -> tuple[OrgId, UUID] | None:
    """Whose unused link this is; no organisation is entered."""
    row = await connection.fetchrow("SELECT org_id, link_id FROM find_provisioning_link($1)", token_hash)
    return None if row is None else (OrgId(row["org_id"]), row["link_id"])


async def use(connection: Connection, link_id: UUID, now: datetime) -> DeviceRow | None:
    """Use it up; None where somebody did already, where it has expired, or where its device was revoked or its agent suspended."""
    row = await connection.fetchrow(
        "WITH used AS (UPDATE provisioning_links SET used_at = $2"
        " WHERE id = $1 AND used_at IS NULL AND expires_at > $2 RETURNING device_id)"
        " SELECT d.id, d.agent_id, d.login, d.ha1_sealed, a.username_sealed, o.slug, o.agent_srtp FROM used"
        " JOIN devices AS d ON d.id = used.device_id JOIN agents AS a ON a.id = d.agent_id CROSS JOIN orgs AS o"
        " WHERE d.revoked_at IS NULL AND (d.expires_at IS NULL OR d.expires_at > $2) AND NOT a.suspended AND o.erased_at IS NULL",
        link_id,
        now,
    )
    return None if row is None else DeviceRow(**dict(row))


async def set_credential(connection: Connection, device_id: UUID, ha1_sealed: bytes) -> None:
    """What digest needs from now on."""
    await connection.execute("UPDATE devices SET ha1_sealed = $2 WHERE id = $1", device_id, ha1_sealed)
