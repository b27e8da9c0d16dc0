"""Keeping the buckets' secrets the same in every zone: what lives is healed, what was destroyed stays destroyed.

Healing must never bring back what a renewal destroys. The renewal commits `state = 'destroyed'` before it touches a file; healing holds
the bucket's row while it copies, so that commit waits for the copy, and the destruction that follows finds it.
"""

import asyncio
import time
from typing import Final

import structlog

from hushwire.core.errors import KeyUnavailable
from hushwire.core.ids import BucketId, OrgId
from hushwire.vault.keyring import Keyring

NOBODYS_AFTER_S: Final = 86_400.0
"""A secret is written before its bucket's row: a file this old whose bucket was never heard of was left by a crash between the two."""

_log = structlog.get_logger(__name__)


async def tidy_secrets(keyring: Keyring, now: float | None = None) -> int:
    """Bring the files of every zone to what the buckets' rows say; returns how many buckets needed it. `now`: Unix seconds.

    Raises Unavailable if a zone or the keyring is away.
    """
    secrets = keyring.bucket_secrets()
    # The files first: a bucket made meanwhile has its row by the time that the rows are read, or is too young to be nobody's.
    found = await asyncio.to_thread(secrets.found)
    async with keyring.db.transaction() as connection:
        rows = await connection.fetch("SELECT org_id, bucket_id FROM bucket_ids()")
    done = 0
    for row in rows:
        org_id, bucket_id = OrgId(row["org_id"]), BucketId(row["bucket_id"])
        if not await asyncio.to_thread(secrets.is_whole, bucket_id) and await _heal(keyring, org_id, bucket_id):
            done += 1
        elif bucket_id in found and await _is_over(keyring, org_id, bucket_id):
            # Put back by somebody, or by a file system that went back in time: what receipts promise comes first.
            await asyncio.to_thread(secrets.destroy, bucket_id)
            _log.error("vault.destroyed_secret_found", org_id=str(org_id), bucket_id=str(bucket_id))
            done += 1
    known = {row["bucket_id"] for row in rows}
    for bucket_id, written_at in found.items():
        if bucket_id not in known and (now or time.time()) - written_at > NOBODYS_AFTER_S:
            await asyncio.to_thread(secrets.destroy, bucket_id)
            _log.warning("vault.nobodys_secret_destroyed", bucket_id=str(bucket_id))
            done += 1
    return done


async def _is_over(keyring: Keyring, org_id: OrgId, bucket_id: BucketId) -> bool:
    async with keyring.db.organisation(org_id) as connection:
        return bool(await connection.fetchval("SELECT destroyed_at IS NOT NULL FROM buckets WHERE id = $1", bucket_id))


async def _heal(keyring: Keyring, org_id: OrgId, bucket_id: BucketId) -> bool:
    try:
        async with keyring.db.organisation(org_id) as connection:
            sealed = await connection.fetchval(
                "SELECT private_sealed FROM buckets WHERE id = $1 AND state <> 'destroyed' FOR SHARE", bucket_id
            )
            is_healed = sealed is not None and await asyncio.to_thread(keyring.bucket_secrets().heal, org_id, bucket_id, sealed)
    except KeyUnavailable as error:
        _log.error("vault.bucket_secret_lost", org_id=str(org_id), bucket_id=str(bucket_id), reason=str(error))
        return False
    if is_healed:
        # A copy that came after all too late (this process had lost the row meanwhile) is found and destroyed by the next round.
        _log.warning("vault.bucket_secret_healed", org_id=str(org_id), bucket_id=str(bucket_id))
    return is_healed
