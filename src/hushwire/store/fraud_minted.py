"""Rows of credentials that were minted with a lock and wait to be fetched. Runs as the organisation."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A credential that nobody knows yet, with what its phone has to be told."""

    device_id: UUID
    secret_sealed: bytes = field(repr=False)
    login: str
    slug: str
    username_sealed: bytes = field(repr=False)


async def keep(
    connection: Connection,
    org_id: OrgId,
    device_id: UUID,
    alarm_id: UUID,
    agent_id: UUID,
    credential_id: UUID,
    secret_sealed: bytes,
    now: datetime,
) -> None:
    """Let a new device's password wait, and have the alarm name the device."""
    await connection.execute(
        "INSERT INTO fraud_minted (org_id, device_id, alarm_id, agent_id, credential_id, secret_sealed, created_at)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7)",
        org_id,
        device_id,
        alarm_id,
        agent_id,
        credential_id,
        secret_sealed,
        now,
    )
    await name(connection, alarm_id, device_id)


async def name(connection: Connection, alarm_id: UUID, device_id: UUID) -> None:
    """Have an alarm name the device that was minted for it."""
    await connection.execute("UPDATE fraud_alarms SET replacement_id = $2 WHERE id = $1", alarm_id, device_id)


async def fetch(connection: Connection, agent_id: UUID, credential_id: UUID) -> WaitingRow | None:
    """What waits in place of a credential; it waits no more. None: nothing does."""
    row = await connection.fetchrow(
        "WITH gone AS (DELETE FROM fraud_minted WHERE agent_id = $1 AND credential_id = $2 RETURNING device_id, secret_sealed)"
        " SELECT g.device_id, g.secret_sealed, d.login, (SELECT slug FROM orgs) AS slug, a.username_sealed FROM gone AS g"
        " JOIN devices AS d ON d.id = g.device_id JOIN agents AS a ON a.id = d.agent_id WHERE d.revoked_at IS NULL",
        agent_id,
        credential_id,
    )
    return None if row is None else WaitingRow(**dict(row))


async def forget(connection: Connection, device_id: UUID) -> None:
    """A device opens nothing any more: the password that waited for it is not to be told."""
    await connection.execute("DELETE FROM fraud_minted WHERE device_id = $1", device_id)


async def unwanted(connection: Connection, agent_id: UUID) -> list[UUID]:
    """Take away what waits for an agent: the devices whose passwords nobody will ever know."""
    rows = await connection.fetch("DELETE FROM fraud_minted WHERE agent_id = $1 RETURNING device_id", agent_id)
    return [row["device_id"] for row in rows]


async def waiting(connection: Connection, device_ids: Iterable[UUID]) -> set[UUID]:
    """Which of these devices wait to be fetched."""
    rows = await connection.fetch("SELECT device_id FROM fraud_minted WHERE device_id = ANY($1::uuid[])", list(device_ids))
    return {row["device_id"] for row in rows}


async def let_wait(connection: Connection, device_id: UUID) -> None:
    """Take a device's credential away until its link is opened: the password that waited is nobody's."""
    await connection.execute("UPDATE devices SET ha1_sealed = NULL WHERE id = $1", device_id)
