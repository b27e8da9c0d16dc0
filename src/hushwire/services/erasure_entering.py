"""Entering what is to be erased in the ledger, committed before anything is destroyed. From that commit on nothing of it is given out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from hushwire.core.clock import Random
from hushwire.core.ids import CallId, NodeId, OrgId, uuid7
from hushwire.privacy import operation_receipts, receipts
from hushwire.store import ledger
from hushwire.store.database import Connection
from hushwire.store.erasable import Found
from hushwire.store.ledger import Intent, LedgerEntry
from hushwire.vault.keyring import Keyring

SALT_BYTES: Final = 32
NO_CAUSES: Final[Mapping[UUID, UUID]] = {}


@dataclass(frozen=True, slots=True)
class Asked:
    """Who wants it erased, when and why (a code)."""

    at: datetime
    actor: str
    reason: str
    operation_id: UUID | None = None


class Entering:
    """Writes entries."""

    def __init__(self, keyring: Keyring, random: Random) -> None:
        self._keyring = keyring
        self._random = random

    async def enter(
        self, connection: Connection, org_id: OrgId, asked: Asked, found: Sequence[Found], causes: Mapping[UUID, UUID] = NO_CAUSES
    ) -> list[LedgerEntry]:
        """The entries of what was found, in the caller's transaction, which holds the ledger's lock and the rows.

        `causes`: what falls only because of something else that was found here. Live recordings are asked to stop.
        """
        if not found:
            return []
        keys = await self._keyring.fingerprints(org_id, [each.key_id for each in found if each.key_id is not None])
        ids = {each.id: self.new_id(asked.at) for each in found}
        intents = []
        for each in found:
            salt = self._random.token_bytes(SALT_BYTES)
            key = None if each.key_id is None else keys.get(each.key_id)
            fingerprint = each.fingerprint or (key.fingerprint if key else None)
            intents.append(
                Intent(
                    id=ids[each.id],
                    kind=each.kind,
                    object_id=each.id,
                    requested_at=asked.at,
                    actor=asked.actor,
                    reason=asked.reason,
                    commitment=_commitment(each, salt, fingerprint),
                    commitment_salt=salt,
                    key_fingerprint=fingerprint,
                    bucket_id=key.bucket_id if key else None,
                    stopped_at=None if each.is_live else asked.at,
                    operation_id=asked.operation_id,
                    caused_by=ids.get(causes[each.id]) if each.id in causes else None,
                )
            )
        entries = await ledger.append(connection, org_id, intents)
        wipes = [
            (self.new_id(asked.at), NodeId(each.node_id), CallId(each.call_id))
            for each in found
            if each.is_live and each.node_id is not None and each.call_id is not None
        ]
        if wipes:
            await ledger.command_wipe(connection, org_id, wipes, asked.at)
        return entries

    def new_id(self, at: datetime) -> UUID:
        """A fresh id of this time."""
        return uuid7(int(at.timestamp() * 1000), self._random.token_bytes(10))


def _commitment(found: Found, salt: bytes, fingerprint: bytes | None) -> bytes:
    if found.kind == "recording":
        return receipts.commitment(salt, found.id, fingerprint or b"", found.digest)
    return operation_receipts.commitment(found.kind, salt, found.id, fingerprint, found.digest)
