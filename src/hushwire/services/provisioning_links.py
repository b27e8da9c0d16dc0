"""One-time links under which a phone fetches its account: as a QR code for Linphone, as a sheet for a person.

The password is made when the link is opened, and stands nowhere before: whoever opens it first has it, and the one before is void. A link
that was used, has expired or never was is the same to who asks.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from typing import Final
from uuid import UUID

import segno

from hushwire.core.clock import Clock, Random
from hushwire.core.ids import OrgId, uuid7
from hushwire.privacy import audit, endings
from hushwire.services.devices import new_password, sealed_ha1
from hushwire.services.phone_accounts import PhoneAccount
from hushwire.sip.uri import SipUri
from hushwire.store import provisioning_links as table
from hushwire.store.database import Database
from hushwire.vault import tombstones
from hushwire.vault.keyring import Keyring

LINK_S: Final = 3600
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Link:
    """A fresh link's token, which stands nowhere else."""

    token: str = field(repr=False)
    expires_at: datetime


class ProvisioningLinks:
    """Links of all organisations. `domain` is `[sip] domain`, `proxy` where phones reach the deployment."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock, random: Random, domain: str, proxy: SipUri) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock
        self._random = random
        self._domain = domain
        self._proxy = proxy

    async def make(self, org_id: OrgId, agent_id: UUID, device_id: UUID, *, actor: str, ttl_s: int = LINK_S) -> Link | None:
        """A link for a device, which makes the one before it void; None where the agent has no such device, or it was revoked."""
        now = self._clock.now()
        token = base64.urlsafe_b64encode(self._random.token_bytes(_TOKEN_BYTES)).decode().rstrip("=")
        expires_at = now + timedelta(seconds=ttl_s)
        async with self._main.organisation(org_id) as connection:
            if not await table.is_usable(connection, agent_id, device_id, now):
                return None
            link_id = uuid7(int(now.timestamp() * 1000), self._random.token_bytes(10))
            await table.put(connection, org_id, link_id, device_id, _hash(token), now, expires_at)
            fields: audit.Fields = {"agent": str(agent_id), "ttl_s": ttl_s}
            await audit.append(connection, org_id, now, actor, audit.Action.DEVICE_LINKED, f"device:{device_id}", fields)
        return Link(token, expires_at)

    async def open(self, token: str) -> PhoneAccount | None:
        """The account behind a link, with a password made just now; None where the link is not, or no more, good."""
        now = self._clock.now()
        async with self._main.transaction() as connection:
            found = await table.find(connection, _hash(token))
        if found is None:
            return None
        org_id, link_id = found
        keys = await self._keyring.org_context(org_id)
        async with self._main.organisation(org_id) as connection:
            device = await table.use(connection, link_id, now)
            if device is None:
                return None
            password = new_password(self._random)
            await table.set_credential(
                connection, device.id, sealed_ha1(keys, device.id, device.login, device.slug, self._domain, password)
            )
            fields = {"agent": str(device.agent_id)}
            await audit.append(
                connection, org_id, now, f"provisioning-link:{link_id}", audit.Action.DEVICE_HANDED_OUT, f"device:{device.id}", fields
            )
            if device.ha1_sealed is not None:
                stone = endings.credentials_replaced(tombstones.new_id(), device.agent_id, device.ha1_sealed, now)
                await tombstones.write(self._keyring.db, org_id, [stone])
        sealed = device.username_sealed
        username = keys.operational.open(sealed, table="agents", column="username_sealed", row=device.agent_id, org=org_id).decode()
        domain = f"{device.slug}.{self._domain}"
        return PhoneAccount(username, domain, self._domain, device.login, password, self._proxy, device.agent_srtp == "required")


def qr_code(text: str) -> str:
    """An SVG image, black on white, that phones' cameras read."""
    image = BytesIO()
    segno.make_qr(text, error="m").save(image, kind="svg", scale=4, border=4, light="#fff", xmldecl=False)
    return image.getvalue().decode()


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
