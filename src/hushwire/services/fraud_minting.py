"""A credential that is minted with the lock of another one, where the limit says `replace`: its password waits, sealed, to be fetched.

It is made in the transaction of the alarm and the lock. A lock never fails for it: where the agent has all the devices that it may have,
none is made, and the alarm says so.
"""

from datetime import UTC, datetime
from uuid import UUID

from hushwire.core.clock import Random
from hushwire.core.ids import uuid7
from hushwire.services.devices import MOST_DEVICES, REPLACEMENT, new_login, new_password, sealed_ha1
from hushwire.services.directory import Directory
from hushwire.services.fraud import Raised
from hushwire.store import devices, fraud_minted
from hushwire.store.database import Connection


class LockMinting:
    """A gateway's. `domain` is `[sip] domain`, the realm of every digest."""

    def __init__(self, directory: Directory, random: Random, domain: str) -> None:
        self._directory = directory
        self._random = random
        self._domain = domain

    async def mint(self, connection: Connection, raised: Raised, alarm_id: UUID) -> UUID | None:
        """The device that was made for a lock whose row stands; None where there is none to be made."""
        org, credential_id = self._directory.organisation(raised.org_id), raised.locks
        at = datetime.fromtimestamp(raised.at, UTC)
        if org is None or credential_id is None:
            return None
        if await devices.count_live(connection, raised.agent_id, at) >= MOST_DEVICES:
            return None
        device_id = uuid7(int(raised.at * 1000), self._random.token_bytes(10))
        login, password, seal = new_login(self._random), new_password(self._random), org.keys.operational.seal
        name = seal(REPLACEMENT.encode(), table="devices", column="name_sealed", row=device_id, org=org.id)
        ha1 = sealed_ha1(org.keys, device_id, login, org.slug, self._domain, password)
        await devices.add(connection, org.id, device_id, raised.agent_id, login, name, ha1, at, None)
        secret = seal(password.encode(), table="fraud_minted", column="secret_sealed", row=device_id, org=org.id)
        await fraud_minted.keep(connection, org.id, device_id, alarm_id, raised.agent_id, credential_id, secret, at)
        return device_id
