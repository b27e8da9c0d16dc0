"""Agents' devices, as their organisation manages them: each has a credential of its own, shown once, that can be taken away alone.

The agent's own password, as provisioned, is the first device: its id is the agent's. A device that is revoked can't register or call
from then on, its bindings end, and so do its live calls, an emergency call excepted: what was stolen must not go on talking. A
short-lived credential ends by itself: nothing new is done with it, and a call that it began goes on.
"""

import base64
import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit, endings
from hushwire.services.provisioning import credentials
from hushwire.store import devices as table
from hushwire.store import fraud_minted
from hushwire.store.database import Connection, Database
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring, OrgKeys
from hushwire.vault.unseal import AccessLog, Why

MOST_DEVICES: Final = 20
OWN: Final = "own password"
REPLACEMENT: Final = "replacement"
_KEPT_EXPIRED: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Minted:
    """A new device with what its phone has to be told. The password stands nowhere else; None: it waits for its link to be opened."""

    id: UUID
    username: str = field(repr=False)
    slug: str
    login: str
    password: str | None = field(repr=False)
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device and its state: `waiting` (not handed out yet), `active`, `expired` or `revoked`."""

    id: UUID
    name: str = field(repr=False)
    login: str | None
    state: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(frozen=True, slots=True)
class TooMany:
    """The agent has as many devices as it may have."""


class Devices:
    """Changes of one organisation's devices. Gateways hear of them by their version, within a second.

    `domain` is `[sip] domain`, the realm of every digest.
    """

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random, domain: str) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._domain = domain
        self._log = AccessLog(main, clock, random)

    async def add(
        self, org_id: OrgId, agent_id: UUID, name: str, *, actor: str, ttl_s: int | None = None, waits: bool = False
    ) -> Minted | TooMany | None:
        """A device with a fresh credential, which ends by itself after `ttl_s` seconds; None where there is no such agent.

        `waits`: it has none yet, and gets it when its link is opened (services/provisioning_links.py).
        """
        async with self._main.organisation(org_id) as connection:
            return await self._add(connection, org_id, agent_id, name, actor=actor, ttl_s=ttl_s, waits=waits)

    async def replace(
        self, connection: Connection, org_id: OrgId, agent_id: UUID, device_id: UUID, *, actor: str, waits: bool = False
    ) -> Minted | TooMany | None:
        """Take a credential away and make another one for the agent, in this transaction; None where there is no such credential.

        As after `revoke`, nothing gives the old one back; where too many others are there, it stays as it is.
        """
        minted = await self.mint(connection, org_id, agent_id, device_id, actor=actor, waits=waits)
        if isinstance(minted, Minted):
            await self.revoke_in(connection, org_id, agent_id, device_id, actor=actor)
        return minted

    async def mint(
        self, connection: Connection, org_id: OrgId, agent_id: UUID, device_id: UUID, *, actor: str, waits: bool = False
    ) -> Minted | TooMany | None:
        """Make a credential that is to take this one's place, in this transaction; None where there is no such credential."""
        sealed = await table.sealed_credential(connection, agent_id, device_id)
        if sealed is False:
            return None
        most = MOST_DEVICES + (device_id != agent_id and isinstance(sealed, bytes))
        return await self._add(connection, org_id, agent_id, REPLACEMENT, actor=actor, waits=waits, most=most)

    async def hand_out(
        self, connection: Connection, org_id: OrgId, agent_id: UUID, device_id: UUID, *, actor: str, waits: bool = False
    ) -> Minted | None:
        """What was minted when this credential was locked, and waited for this, in this transaction; None where nothing waits.

        It is told once. `waits`: nobody is told, and the device waits for its link instead.
        """
        found = await fraud_minted.fetch(connection, agent_id, device_id)
        if found is None:
            return None
        keys, now = await self._keyring.org_context(org_id), self._clock.now()
        username = _open(keys, found.username_sealed, "agents", "username_sealed", agent_id)
        password = None if waits else _open(keys, found.secret_sealed, "fraud_minted", "secret_sealed", found.device_id)
        if waits:
            await fraud_minted.let_wait(connection, found.device_id)
        else:
            await self._note(connection, org_id, now, actor, audit.Action.DEVICE_HANDED_OUT, found.device_id, agent_id)
        return Minted(found.device_id, username, found.slug, found.login, password, None)

    async def described(self, connection: Connection, org_id: OrgId, agent_id: UUID, device_id: UUID) -> Minted | None:
        """A device as it was told when it was made, without its password: that stands nowhere. None: it opens nothing any more."""
        agent, login = await table.agent(connection, agent_id), await table.login(connection, agent_id, device_id, self._clock.now())
        if agent is None or login is None:
            return None
        username = _open(await self._keyring.org_context(org_id), agent.username_sealed, "agents", "username_sealed", agent_id)
        return Minted(device_id, username, agent.slug, login, None, None)

    async def _add(
        self,
        connection: Connection,
        org_id: OrgId,
        agent_id: UUID,
        name: str,
        *,
        actor: str,
        ttl_s: int | None = None,
        waits: bool = False,
        most: int = MOST_DEVICES,
    ) -> Minted | TooMany | None:
        keys = await self._keyring.org_context(org_id)
        now = self._clock.now()
        agent = await table.agent(connection, agent_id, for_update=True)
        if agent is None:
            return None
        await table.forget_expired(connection, agent_id, now - _KEPT_EXPIRED)
        if await table.count_live(connection, agent_id, now) >= most:
            return TooMany()
        username = _open(keys, agent.username_sealed, "agents", "username_sealed", agent_id)
        device_id = self.new_id(now)
        login, password = new_login(self._random), new_password(self._random)
        expires_at = None if ttl_s is None else now + timedelta(seconds=ttl_s)
        sealed_name = keys.operational.seal(name.encode(), table="devices", column="name_sealed", row=device_id, org=org_id)
        ha1 = None if waits else sealed_ha1(keys, device_id, login, agent.slug, self._domain, password)
        await table.add(connection, org_id, device_id, agent_id, login, sealed_name, ha1, now, expires_at)
        await self._note(connection, org_id, now, actor, audit.Action.DEVICE_ADDED, device_id, agent_id, ttl_s)
        return Minted(device_id, username, agent.slug, login, None if waits else password, expires_at)

    async def listed(self, org_id: OrgId, agent_id: UUID, why: Why) -> list[DeviceView] | None:
        """The agent's devices, the own password first; None where there is no such agent."""
        keys = await self._keyring.org_context(org_id)
        now = self._clock.now()
        async with self._main.organisation(org_id) as connection:
            agent = await table.agent(connection, agent_id)
            if agent is None:
                return None
            rows = await table.of_agent(connection, agent_id)
            await self._log.note_in(connection, org_id, why, [f"agent:{agent_id}", *(f"device:{row.id}" for row in rows)])
        own = DeviceView(agent_id, OWN, None, "active" if agent.has_own else "revoked", agent.created_at, None, None)
        return [own, *(_view(keys, row, now) for row in rows)]

    async def revoke(self, org_id: OrgId, agent_id: UUID, device_id: UUID, *, actor: str) -> bool:
        """Take a device's credential away; False where there is no such device. Safe to repeat.

        It stands in the keyring before the row changes: no restore of an older database gives it back.
        """
        async with self._main.organisation(org_id) as connection:
            await table.agent(connection, agent_id, for_update=True)  # first of all, as whoever answers an alarm does
            return await self.revoke_in(connection, org_id, agent_id, device_id, actor=actor)

    async def revoke_in(self, connection: Connection, org_id: OrgId, agent_id: UUID, device_id: UUID, *, actor: str) -> bool:
        """As `revoke`, in this transaction."""
        now = self._clock.now()
        sealed = await table.sealed_credential(connection, agent_id, device_id)
        if sealed is False:
            return False
        if await table.revoke(connection, agent_id, device_id, now):
            await fraud_minted.forget(connection, device_id)
            await self._note(connection, org_id, now, actor, audit.Action.DEVICE_REVOKED, device_id, agent_id)
        if isinstance(sealed, bytes):
            stone = endings.credentials_replaced(tombstones.new_id(), agent_id, sealed, now)
            await tombstones.write(self._keyring.db, org_id, [stone])
        return True

    def new_id(self, now: datetime) -> UUID:
        """In the order of time."""
        return uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))

    async def _note(
        self, connection: Connection, org_id: OrgId, now: datetime, actor: str, action: str, device_id: UUID, agent_id: UUID,
        ttl_s: int | None = None,
    ) -> None:  # fmt: skip
        fields: dict[str, str | int | bool | None] = {"agent": str(agent_id)}
        if ttl_s is not None:
            fields["ttl_s"] = ttl_s
        await audit.append(connection, org_id, now, actor, action, f"device:{device_id}", fields)


def new_password(random: Random) -> str:
    """120 random bits that can be typed."""
    return base64.b32encode(random.token_bytes(15)).decode().lower()


def new_login(random: Random) -> str:
    """A digest user name that says nothing of who uses it."""
    return "d" + base64.b32encode(random.token_bytes(10)).decode().lower()


def sealed_ha1(keys: OrgKeys, device_id: UUID, login: str, slug: str, domain: str, password: str) -> bytes:
    """What digest needs of a device, as its row keeps it."""
    text = json.dumps(credentials(login, slug, domain, password), separators=(",", ":"))
    return keys.operational.seal(text.encode(), table="devices", column="ha1_sealed", row=device_id, org=keys.org_id)


def _open(keys: OrgKeys, sealed: bytes, name: str, column: str, row: UUID) -> str:
    return keys.operational.open(sealed, table=name, column=column, row=row, org=keys.org_id).decode()


def _view(keys: OrgKeys, row: table.DeviceRow, now: datetime) -> DeviceView:
    if row.revoked_at is not None:
        state = "revoked"
    elif row.expires_at is not None and row.expires_at <= now:
        state = "expired"
    else:
        state = "active" if row.is_handed_out else "waiting"
    name = _open(keys, row.name_sealed, "devices", "name_sealed", row.id)
    return DeviceView(row.id, name, row.login, state, row.created_at, row.expires_at, row.revoked_at)
