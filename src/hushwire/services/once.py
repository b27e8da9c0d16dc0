"""A request under an Idempotency-Key: carried out once, and answered with the same thing each time it is repeated.

Only the id of what was made is kept, never the answer: an answer holds personal data, which has its own place and its own key.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hushwire.core.ids import OrgId
from hushwire.store import idempotency
from hushwire.store.database import Connection


@dataclass(frozen=True, slots=True)
class Once:
    """An Idempotency-Key, and the hash of the request that it stands for."""

    key: str
    request_hash: bytes


@dataclass(frozen=True, slots=True)
class KeyReused:
    """The Idempotency-Key was used for another request."""


async def made_before(connection: Connection, org_id: OrgId, once: Once | None, made: UUID, now: datetime) -> UUID | KeyReused | None:
    """Take the key for `made` in the caller's transaction (None); or what an earlier request under it made.

    Waits for a transaction that holds the same key. If the caller's transaction is rolled back the key is free again.
    """
    if once is None:
        return None
    kept = await idempotency.begin(connection, org_id, once.key, once.request_hash, {"made": str(made)}, now)
    if kept is None:
        return None
    if kept.request_hash != once.request_hash or "made" not in kept.response:
        return KeyReused()
    return UUID(kept.response["made"])
