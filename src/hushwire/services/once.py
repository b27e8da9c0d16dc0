"""A request under an Idempotency-Key: carried out once, and answered with the same thing each time it is repeated.

Only the id of what was made is kept, never the answer: an answer holds personal data, which has its own place and its own key. Nor is a
plain hash of the request: it names a person by values that can all be tried, so it is a keyed one.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.store import idempotency
from hushwire.store.database import Connection
from hushwire.vault.keyring import OrgKeys


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key, and the hash of the request that it stands for."""

    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The Idempotency-Key was used for another request."""


async def made_before(connection: Connection, keys: OrgKeys, once: Once | None, made: UUID, now: datetime) -> UUID | KeyReused | None:
    """Take the key for `made` in the caller's transaction (None); or what an earlier request under it made.

    Waits for a transaction that holds the same key. If the caller's transaction is rolled back the key is free again.
    """
    if once is None:
        return None
    request = keys.index("idempotency.request_hash", once.request_hash.hex())
    kept = await idempotency.begin(connection, keys.org_id, once.key, request, {"made": str(made)}, now)
    if kept is None:
        return None
    if kept.request_hash != request or "made" not in kept.response:
        return KeyReused()
    return UUID(kept.response["made"])
