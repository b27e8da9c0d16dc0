"""Signs the head of every organisation's audit chain once an hour, idle organisations included."""

import structlog

from hushwire.core.clock import Clock
from hushwire.core.ids import OrgId
from hushwire.core.rounds import for_each
from hushwire.privacy import audit_chain, audit_heads
from hushwire.privacy.audit_heads import SignedHead
from hushwire.store import audit as table
from hushwire.store.database import Database
from hushwire.vault.keyring import Keyring

_log = structlog.get_logger(__name__)


class AuditHeads:
    """The worker's hourly signature. Any number of workers at once: the chain's lock decides, and the second finds it done."""

    def __init__(self, main: Database, keyring: Keyring, clock: Clock) -> None:
        self._main = main
        self._keyring = keyring
        self._clock = clock

    async def sign_due(self) -> int:
        """A head for each organisation that has none of this hour yet; returns how many were made."""
        hour = audit_heads.hour_of(self._clock.now())
        async with self._main.transaction() as connection:
            due = await table.organisations_without_head(connection, hour)
        return await for_each(due, self._sign, "audit-heads")

    async def _sign(self, org_id: OrgId) -> bool:
        key_id, key = await self._keyring.signing_key()
        async with self._main.organisation(org_id) as connection:
            head = await table.lock_head(connection, org_id)
            newest = await table.newest_head(connection)
            before = SignedHead(**newest) if newest else None
            now = self._clock.now()
            if before is not None and before.at >= audit_heads.hour_of(now):
                return False
            position, digest = head or (0, audit_chain.beginning(org_id))
            if before is not None and position < before.position:
                # Somebody cut the chain. Signing what is left would be to vouch for it.
                _log.error("audit.truncated", org_id=str(org_id), position=position, signed=before.position)
                return False
            made = audit_heads.make(org_id, position, digest, before, now, key_id, key)
            await table.add_head(connection, {name: getattr(made, name) for name in SignedHead.__slots__})
        return True
